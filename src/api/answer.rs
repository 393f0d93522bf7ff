//! Reads the body of an answer: is it JSON, does it say yes, and if not, why.
//!
//! The HTTP status is 200 also for failures; `errcode` decides. Reading is as forgiving as it can be without guessing,
//! because an answer that cannot be read holds up an account until somebody looks.

use std::fmt::{self, Write as _};

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde_json::error::Category;

use super::{ErrCode, Problem};

/// Longest explanation we pass on, in characters.
const ERRMSG_CHARS: usize = 300;

/// The text of an answer, known to be a JSON object.
pub(super) struct Answer {
    text: String,
    /// What it says of success. Absent in some successful answers.
    pub(super) errcode: Option<ErrCode>,
    errmsg: Option<String>,
}

#[derive(Deserialize)]
struct Envelope {
    errcode: Option<LooseInt>,
    errmsg: Option<String>,
}

impl Answer {
    /// Reads a body.
    ///
    /// Two defects are mended rather than refused, since one message with a defect would else keep every later one
    /// out of reach: bytes that are not UTF-8 (a text cut in the middle of a character) become U+FFFD, and bare control
    /// characters inside strings are escaped.
    pub(super) fn parse(body: Vec<u8>) -> Result<Self, Problem> {
        let text = String::from_utf8(body).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into());
        if !text.trim_ascii_start().starts_with('{') {
            return Err(Problem::NotJson);
        }
        match serde_json::from_str(&text) {
            Ok(envelope) => Ok(Self::new(text, envelope)),
            Err(error) if error.classify() == Category::Syntax => {
                let text = escape_control_characters(&text);
                let envelope = serde_json::from_str(&text).map_err(|_| problem(&error))?;
                Ok(Self::new(text, envelope))
            }
            Err(error) => Err(problem(&error)),
        }
    }

    fn new(text: String, envelope: Envelope) -> Self {
        Self {
            text,
            errcode: envelope.errcode.map(|code| ErrCode(code.0)),
            errmsg: envelope.errmsg,
        }
    }

    /// Reads what a successful answer holds beside its code.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_str(&self.text).map_err(|error| problem(&error))
    }

    /// Explanation of a failure: one short line with `secrets` struck out, since WeCom likes to quote what it refuses.
    pub(super) fn explanation(&self, secrets: &[&str]) -> Box<str> {
        let mut errmsg = self.errmsg.clone().unwrap_or_default();
        for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
            errmsg = errmsg.replace(secret, "…");
        }
        let printable = errmsg.chars().map(|c| if c.is_control() { ' ' } else { c });
        printable.take(ERRMSG_CHARS).collect::<String>().into()
    }
}

/// Reads an answer that holds nothing but its code: some other JSON must not pass for success.
pub(super) fn done(answer: &Answer) -> Result<(), Problem> {
    let code = answer.errcode.map(drop);
    code.ok_or(Problem::Shape { line: 1, column: 1 })
}

/// What serde says, without its text: that may quote the answer.
fn problem(error: &serde_json::Error) -> Problem {
    match error.classify() {
        Category::Eof => Problem::Truncated,
        Category::Data => Problem::Shape {
            line: error.line(),
            column: error.column(),
        },
        Category::Syntax | Category::Io => Problem::NotJson,
    }
}

/// Writes control characters inside JSON strings as the escapes they should have been.
fn escape_control_characters(text: &str) -> String {
    let mut mended = String::with_capacity(text.len() + 64);
    let (mut in_string, mut escaped) = (false, false);
    for c in text.chars() {
        match c {
            '\0'..='\x1f' if in_string => {
                // A control character after a backslash takes the backslash's place in an escape.
                mended.push_str(if escaped { "u" } else { "\\u" });
                // Writing to a string cannot fail.
                let _ = write!(mended, "{:04x}", u32::from(c));
                escaped = false;
                continue;
            }
            '"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = in_string && c == '\\' && !escaped;
        mended.push(c);
    }
    mended
}

/// An integer that may come as a number, a boolean or a string: WeCom's own pages disagree about `has_more` and others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LooseInt(pub(super) i64);

impl<'de> Deserialize<'de> for LooseInt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LooseIntVisitor)
    }
}

struct LooseIntVisitor;

impl Visitor<'_> for LooseIntVisitor {
    type Value = LooseInt;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer, as a number, a boolean or a string")
    }

    fn visit_bool<E>(self, value: bool) -> Result<LooseInt, E> {
        Ok(LooseInt(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<LooseInt, E> {
        Ok(LooseInt(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<LooseInt, E> {
        Ok(LooseInt(i64::try_from(value).unwrap_or(i64::MAX)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<LooseInt, E> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "saturates, and nothing here has a fraction"
        )]
        Ok(LooseInt(value as i64))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<LooseInt, E> {
        match value.trim() {
            "" | "false" => Ok(LooseInt(0)),
            "true" => Ok(LooseInt(1)),
            digits => digits.parse().map(LooseInt).map_err(|_| E::custom("not an integer")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    fn parse(body: &str) -> Result<Answer, Problem> {
        Answer::parse(body.as_bytes().to_vec())
    }

    impl fmt::Debug for Answer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.text.fmt(f)
        }
    }

    #[test]
    fn what_is_no_json_object_is_no_answer() {
        for body in ["", "<html>502</html>", "[]", "\"ok\"", "null", "{'a':1}", "{\"a\":1}}"] {
            assert_eq!(parse(body).unwrap_err(), Problem::NotJson, "{body}");
        }
        assert_eq!(parse(r#"{"errcode":0,"errmsg":"o"#).unwrap_err(), Problem::Truncated);
        assert_eq!(
            parse(r#"{"errcode":{}}"#).unwrap_err(),
            Problem::Shape { line: 1, column: 13 }
        );
    }

    #[test]
    fn an_answer_without_a_code_is_told_from_success() {
        assert_eq!(parse(r#" {"access_token":"t"}"#).unwrap().errcode, None);
        assert_eq!(parse(r#"{"errcode":0}"#).unwrap().errcode, Some(ErrCode::OK));
        assert_eq!(
            parse(r#"{"errcode":"-1"}"#).unwrap().errcode,
            Some(ErrCode::SYSTEM_BUSY)
        );
    }

    #[test]
    fn bare_control_characters_and_broken_utf8_cost_nobody_the_answer() {
        #[derive(Deserialize)]
        struct Page {
            list: Vec<Box<RawValue>>,
        }
        let body = b"{\n\t\"errcode\":0,\"list\":[\"a\nb\", \"\xe4\xbd\", \"\\\\\x01\", \"\\\"\x02\"]}".to_vec();
        let page: Page = Answer::parse(body).unwrap().read().unwrap();
        let texts: Vec<String> = page
            .list
            .iter()
            .map(|item| serde_json::from_str(item.get()).unwrap())
            .collect();
        assert_eq!(texts, ["a\nb", "\u{fffd}", "\\\u{1}", "\"\u{2}"]);
    }

    #[test]
    fn an_explanation_is_one_short_line_without_secrets() {
        let errmsg = format!("bad secret s3cret\\n{}", "长".repeat(1000));
        let answer = parse(&format!(r#"{{"errcode":40001,"errmsg":"{errmsg}"}}"#)).unwrap();
        let explanation = answer.explanation(&["", "s3cret"]);
        assert!(explanation.starts_with("bad secret … 长"), "{explanation}");
        assert_eq!(explanation.chars().count(), ERRMSG_CHARS);
    }

    #[test]
    fn a_loose_integer_comes_in_many_clothes() {
        for (json, value) in [
            ("1", 1),
            ("true", 1),
            ("\"1\"", 1),
            ("1.0", 1),
            ("\"true\"", 1),
            ("0", 0),
            ("false", 0),
            ("\"\"", 0),
            ("-1", -1),
        ] {
            assert_eq!(
                serde_json::from_str::<LooseInt>(json).unwrap(),
                LooseInt(value),
                "{json}"
            );
        }
        assert!(serde_json::from_str::<LooseInt>("\"many\"").is_err());
        assert!(serde_json::from_str::<LooseInt>("[]").is_err());
    }

    proptest! {
        #[test]
        fn mending_leaves_good_json_alone(text in any::<String>(), number: i64) {
            let json = serde_json::json!({ "text": text, "list": [number, [text]] }).to_string();
            prop_assert_eq!(escape_control_characters(&json), json);
        }

        #[test]
        fn no_body_makes_reading_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Answer::parse(body);
        }
    }
}
