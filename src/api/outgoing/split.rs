//! Cuts long words into parts that WeCom takes whole.
//!
//! WeCom cuts a text at 2048 **bytes** without telling, in the middle of a sentence and about 680 Chinese characters.

/// Most bytes of a text.
pub(super) const TEXT_BYTES: usize = 2048;

/// Cuts `text` into parts of at most 2048 bytes, in order.
///
/// A cut falls behind a line if one ends in the second half of a part, else behind a sentence or a word, else between
/// any two characters. White space before a cut is dropped, and nothing else is. A text that fits is one part, as it is.
pub(super) fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while rest.len() > TEXT_BYTES {
        let (part, behind) = rest.split_at(cut(rest));
        let visible = part.trim_end();
        if !visible.is_empty() {
            parts.push(visible);
        }
        rest = behind;
    }
    // Nothing but white space behind the last cut is no part; as the whole text it is what was asked for.
    if parts.is_empty() || !rest.trim().is_empty() {
        parts.push(rest);
    }
    parts
}

/// Where to cut `text`, which is too long: as late as it looks good.
fn cut(text: &str) -> usize {
    let most = text.floor_char_boundary(TEXT_BYTES);
    let half = text.floor_char_boundary(TEXT_BYTES / 2);
    let behind_last = |found: fn(char) -> bool| {
        let window = &text[half..most];
        let (at, last) = window.char_indices().rev().find(|(_, c)| found(*c))?;
        Some(half + at + last.len_utf8())
    };
    behind_last(|c| c == '\n')
        .or_else(|| behind_last(|c| "。！？；".contains(c)))
        .or_else(|| behind_last(|c| c.is_whitespace() || "，、".contains(c)))
        .unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_fits_is_left_alone() {
        for text in ["", "a", " a \n", "\n", &"a".repeat(2048)] {
            assert_eq!(split(text), [text]);
        }
        assert_eq!(split(&"a".repeat(2049)), ["a".repeat(2048), "a".to_owned()]);
    }

    #[test]
    fn a_cut_falls_between_characters_and_counts_bytes() {
        let parts: Vec<_> = split(&"客".repeat(1000)).iter().map(|part| part.len()).collect();
        assert_eq!(parts, [2046, 954]);
    }

    #[test]
    fn a_cut_prefers_the_end_of_a_line_then_of_a_sentence_then_of_a_word() {
        let (a, b) = ("a".repeat(1200), "b".repeat(700));
        for (text, first) in [
            (format!("{a}\n{b} {b}"), a.clone()),
            (format!("{a}。{b} {b}"), format!("{a}。")),
            (format!("{a} {b} {b}"), format!("{a} {b}")),
            (format!("{a}，{b}{b}"), format!("{a}，")),
        ] {
            assert_eq!(split(&text)[0], first);
        }
        // A part is not cut short by more than half for the sake of its looks.
        let early = format!("a\n{}", "b".repeat(3000));
        assert_eq!(split(&early)[0].len(), 2048);
    }

    #[test]
    fn indentation_behind_a_cut_stays() {
        let text = format!("{}\n    indented", "a".repeat(2040));
        assert_eq!(split(&text)[1], "    indented");
    }

    proptest! {
        #[test]
        fn parts_hold_the_whole_text_and_none_is_too_long(text in "([a-c]{0,300}|[客服，。\u{1f600}]{0,300}|[ \n]{0,3}){0,30}") {
            let parts = split(&text);
            prop_assert!(parts.iter().all(|part| part.len() <= TEXT_BYTES));
            let visible = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(visible(&parts.concat()), visible(&text));
            prop_assert!(parts.len() == 1 || parts.iter().all(|part| !part.trim().is_empty()));
        }
    }
}
