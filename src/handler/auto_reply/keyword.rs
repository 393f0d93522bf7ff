//! What rules look for, and when it is found.

use icu_normalizer::ComposingNormalizerBorrowed;

/// Most of a text that is looked at, in bytes: what people ask, they ask soon, and a thread is shared with others.
const LOOKED_AT: usize = 4096;

/// How keywords are looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Match {
    /// Anywhere in the text, in the middle of a word too: Chinese has no spaces, so `hi` is also found in `this`.
    #[default]
    Contains,
    /// The text is the keyword and nothing else, punctuation and spaces before and after it aside.
    Exact,
}

/// Words to look for.
///
/// Upper and lower case are the same, so are full and half width (`ＰＲＩＣＥ？` and `price?`), the several ways to write
/// one character in Unicode (normal form KC), and any number of spaces and line breaks in a row. Simplified and
/// traditional characters are not: write both.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keyword {
    written: Box<str>,
    folded: Box<str>,
}

/// A keyword of nothing but spaces, which would be found everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("is empty")]
pub struct EmptyKeyword;

impl Keyword {
    /// A keyword as somebody wrote it.
    ///
    /// # Errors
    ///
    /// [`EmptyKeyword`].
    pub fn new(written: impl Into<Box<str>>) -> Result<Self, EmptyKeyword> {
        let written = written.into();
        let folded: Box<str> = fold(&written).into();
        if folded.is_empty() {
            return Err(EmptyKeyword);
        }
        Ok(Self { written, folded })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.written
    }

    pub(super) fn is_in(&self, text: &Folded, how: Match) -> bool {
        match how {
            Match::Contains => text.0.contains(&*self.folded),
            Match::Exact => bare(&text.0) == bare(&self.folded),
        }
    }

    /// The least text that it is found in.
    pub(super) fn folded(&self, how: Match) -> Folded {
        let least = match how {
            Match::Contains => &self.folded,
            Match::Exact => bare(&self.folded),
        };
        Folded(least.to_owned())
    }
}

/// A text in which keywords can be looked for.
pub(super) struct Folded(String);

impl Folded {
    pub(super) fn of(text: &str) -> Self {
        Self(fold(&text[..text.floor_char_boundary(LOOKED_AT)]))
    }
}

/// `text` without what does not count.
fn fold(text: &str) -> String {
    let composed = ComposingNormalizerBorrowed::new_nfkc().normalize(text);
    let words: Vec<_> = composed.split_whitespace().collect();
    // Character by character, so that a letter does not depend on its place as the Greek sigma does; and by way of the
    // upper case, which is the same for letters that have several lower ones.
    let upper = words.join(" ").chars().flat_map(char::to_uppercase).collect::<String>();
    upper.chars().flat_map(char::to_lowercase).collect()
}

/// `folded` without punctuation around it, unless there is nothing else.
fn bare(folded: &str) -> &str {
    match folded.trim_matches(|c: char| !c.is_alphanumeric()) {
        "" => folded,
        bare => bare,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_found(keyword: &str, text: &str, how: Match) -> bool {
        Keyword::new(keyword).unwrap().is_in(&Folded::of(text), how)
    }

    #[test]
    fn case_width_form_and_spacing_do_not_count() {
        for (keyword, text) in [
            ("price", "What is the PRICE?"),
            ("PRICE", "price"),
            ("price", "ＰＲＩＣＥ多少"),
            ("ｐｒｉｃｅ", "price"),
            ("退款", "我要退款！"),
            ("opening hours", "Opening\u{3000} \n hours?"),
            ("straße", "STRASSE"),
            ("ΟΔΟΣ", "οδος"),
            ("οδος", "ΟΔΟΣΑ"),
            ("café", "CAFE\u{301}"),
            ("ｶﾞｲﾄﾞ", "ガイド"),
            ("ok?", "OK？"),
        ] {
            assert!(is_found(keyword, text, Match::Contains), "{keyword} in {text}");
        }
        assert!(!is_found("退款", "退货", Match::Contains));
        assert!(
            !is_found("价格", "價格", Match::Contains),
            "another character is another"
        );
    }

    #[test]
    fn exact_is_the_whole_text_but_for_punctuation_around_it() {
        for text in ["人工", " 人工。", "「人工」！！", "人工\n"] {
            assert!(is_found("人工", text, Match::Exact), "{text}");
        }
        assert!(is_found("人工！", "人工", Match::Exact));
        assert!(is_found("？", "?", Match::Exact), "a keyword may be punctuation");
        for text in ["转人工", "人工智能", "人 工", "?", ""] {
            assert!(!is_found("人工", text, Match::Exact), "{text}");
        }
        assert!(!is_found("?", "??", Match::Exact));
    }

    #[test]
    fn what_would_be_found_everywhere_is_no_keyword() {
        for written in ["", " ", "\u{3000}\n"] {
            assert_eq!(Keyword::new(written), Err(EmptyKeyword), "{written:?}");
        }
        assert_eq!(Keyword::new("ＨＩ").unwrap().as_str(), "ＨＩ", "it is shown as written");
    }

    #[test]
    fn only_the_beginning_of_a_very_long_text_is_looked_at() {
        let long = |before: usize| format!("{}价格", "长".repeat(before));
        assert!(is_found("价格", &long(1000), Match::Contains));
        assert!(!is_found("价格", &long(1_000_000), Match::Contains));
    }
}
