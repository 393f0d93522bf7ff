//! Long words, cut so that they fit.

use super::error::BUDGET;
use crate::api::Outgoing;

/// Most bytes of a text.
const TEXT_BYTES: usize = 2048;

/// The messages that `content` makes. Depends on nothing else: a later attempt must come to the same.
///
/// Cut where it looks good, unless that takes more messages than there are.
pub(in crate::handler) fn parts(content: Outgoing) -> Vec<Outgoing> {
    let Outgoing::Text(text) = &content else {
        return vec![content];
    };
    let parts = Outgoing::texts(&text.content);
    if parts.len() <= BUDGET {
        return parts;
    }
    full(&text.content)
}

/// As few messages as there can be: each as full as characters let it be.
fn full(text: &str) -> Vec<Outgoing> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let (part, behind) = rest.split_at(rest.floor_char_boundary(TEXT_BYTES));
        parts.push(Outgoing::text(part));
        rest = behind;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(parts: &[Outgoing]) -> Vec<usize> {
        let length = |part: &Outgoing| match part {
            Outgoing::Text(text) => text.content.len(),
            other => panic!("{} is no text", other.msgtype()),
        };
        parts.iter().map(length).collect()
    }

    #[test]
    fn what_is_no_text_or_fits_is_one_message() {
        for content in ["", "您好", &"x".repeat(2048)].map(Outgoing::text) {
            assert_eq!(parts(content.clone()), [content]);
        }
        let image = Outgoing::from_json(&serde_json::json!({"msgtype":"image","image":{"media_id":"m"}})).unwrap();
        assert_eq!(parts(image.clone()), [image]);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(lengths(&parts(Outgoing::text("客".repeat(1000)))), [2046, 954]);
    }

    #[test]
    fn a_text_is_cut_to_look_good_only_while_that_needs_no_sixth_message() {
        let line = format!("{}\n", "x".repeat(1199));
        // Two lines do not fit into one message.
        assert_eq!(
            lengths(&parts(Outgoing::text(line.repeat(5)))),
            [1199, 1199, 1199, 1199, 1200]
        );
        assert_eq!(
            lengths(&parts(Outgoing::text(line.repeat(6)))),
            [2048, 2048, 2048, 1056]
        );
    }

    #[test]
    fn five_messages_hold_what_they_can_and_not_a_byte_more() {
        assert_eq!(parts(Outgoing::text("x".repeat(5 * 2048))).len(), 5);
        assert_eq!(parts(Outgoing::text("x".repeat(5 * 2048 + 1))).len(), 6);
        assert_eq!(parts(Outgoing::text("客".repeat(5 * 682))).len(), 5);
        assert_eq!(parts(Outgoing::text("客".repeat(5 * 682 + 1))).len(), 6);
    }
}
