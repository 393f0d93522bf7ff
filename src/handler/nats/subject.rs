//! Subjects that messages are published on.
//!
//! A subject is words with dots between them, and whoever listens picks by words: `kf.main.*.text`. What WeCom names
//! becomes one such word each, so that no id can break out of its place: bytes other than letters, digits, `-` and `_`
//! are written `%2E`, as in URLs. WeCom's own ids have none.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::id::AppName;
use crate::message::Message;

/// What is written as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// Longest name that is written whole, in bytes. None of WeCom's is longer. A server closes the connection on which a
/// subject comes that is longer than it takes, 4 KiB as a rule: one message must not do that to all others.
const LONGEST_NAME: usize = 64;

/// Longest template, in bytes; for the same reason.
const LONGEST_TEMPLATE: usize = 256;

/// What stands for an empty name. No name is written so.
const EMPTY_NAME: &str = "%";

/// Starts the types of events.
const EVENT: &str = "event.";

/// Pattern of subjects: text with `{app}`, `{open_kfid}` and `{type}` in it. `kf.{app}.{open_kfid}.{type}` unless told
/// otherwise.
///
/// `{type}` is one word, `text`, or two, `event.enter_session`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SubjectTemplate {
    written: Box<str>,
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(Box<str>),
    App,
    OpenKfid,
    Type,
}

/// Why a template was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectTemplateError {
    /// What stands in braces is no name of ours, or a brace stands alone.
    #[error("may hold {{app}}, {{open_kfid}} and {{type}}, and no other braces")]
    Braces,
    /// It has no words, or nothing between two dots.
    #[error("must be words with a dot between them")]
    Words,
    /// It holds what a subject that is published on must not.
    #[error("must not hold spaces, '*', '>' or anything but ASCII")]
    Characters,
    /// It begins as the server's own subjects do.
    #[error("must not begin with '$', which is the server's own")]
    System,
    /// It is too long.
    #[error("must have at most {LONGEST_TEMPLATE} bytes")]
    Length,
}

impl SubjectTemplate {
    /// Parses a template as it is written.
    ///
    /// # Errors
    ///
    /// See [`SubjectTemplateError`].
    pub fn parse(written: &str) -> Result<Self, SubjectTemplateError> {
        if written.len() > LONGEST_TEMPLATE {
            return Err(SubjectTemplateError::Length);
        }
        if written.split('.').any(str::is_empty) {
            return Err(SubjectTemplateError::Words);
        }
        if written.starts_with('$') {
            return Err(SubjectTemplateError::System);
        }
        let mut parts = Vec::new();
        let mut rest = written;
        while let Some((text, braced)) = rest.split_once('{') {
            let (name, behind) = braced.split_once('}').ok_or(SubjectTemplateError::Braces)?;
            parts.extend(text_part(text)?);
            parts.push(match name {
                "app" => Part::App,
                "open_kfid" => Part::OpenKfid,
                "type" => Part::Type,
                _ => return Err(SubjectTemplateError::Braces),
            });
            rest = behind;
        }
        parts.extend(text_part(rest)?);
        let written = written.into();
        Ok(Self { written, parts })
    }

    /// Subject of `message`, which came in on `app`.
    pub(super) fn of(&self, app: &AppName, message: &Message) -> String {
        let mut subject = String::with_capacity(LONGEST_TEMPLATE);
        for part in &self.parts {
            match part {
                Part::Text(text) => subject.push_str(text),
                Part::App => push_name(&mut subject, app.as_str()),
                Part::OpenKfid => push_name(&mut subject, message.open_kfid.as_str()),
                Part::Type => {
                    let kind = message.kind().unwrap_or_default();
                    let name = kind.strip_prefix(EVENT);
                    if name.is_some() {
                        subject.push_str(EVENT);
                    }
                    push_name(&mut subject, name.unwrap_or(kind));
                }
            }
        }
        subject
    }
}

fn text_part(text: &str) -> Result<Option<Part>, SubjectTemplateError> {
    if text.contains('}') {
        return Err(SubjectTemplateError::Braces);
    }
    if text
        .bytes()
        .any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'*' | b'>'))
    {
        return Err(SubjectTemplateError::Characters);
    }
    Ok((!text.is_empty()).then(|| Part::Text(text.into())))
}

/// Adds `name` to `subject` as a part of one word.
fn push_name(subject: &mut String, name: &str) {
    if name.is_empty() {
        subject.push_str(EMPTY_NAME);
    }
    let beginning = &name[..name.floor_char_boundary(LONGEST_NAME)];
    subject.extend(utf8_percent_encode(beginning, PLAIN));
}

impl Default for SubjectTemplate {
    fn default() -> Self {
        // Unwrap safety: a test parses it.
        Self::parse("kf.{app}.{open_kfid}.{type}").expect("a good template")
    }
}

impl FromStr for SubjectTemplate {
    type Err = SubjectTemplateError;

    fn from_str(written: &str) -> Result<Self, Self::Err> {
        Self::parse(written)
    }
}

impl fmt::Display for SubjectTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::handler::samples::{decoded, every_name, read};

    fn subject(template: &str, message: &Message) -> String {
        let template = SubjectTemplate::parse(template).unwrap();
        template.of(&AppName::new("main").unwrap(), message)
    }

    /// A message of this account and type; `event_type` makes it an event.
    fn message(open_kfid: &str, msgtype: &str, event_type: Option<&str>) -> Message {
        let mut item = json!({ "msgid": "m", "open_kfid": open_kfid, "msgtype": msgtype });
        if let Some(event_type) = event_type {
            item["event"] = json!({ "event_type": event_type, "open_kfid": open_kfid });
        }
        decoded(&item.to_string())
    }

    /// Whether a server takes a message on `subject`, and a stream finds it there.
    fn is_publishable(subject: &str) -> bool {
        let word =
            |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic() && b != b'*' && b != b'>');
        subject.len() < 1024 && subject.split('.').all(word)
    }

    #[test]
    fn a_message_is_published_on_app_account_and_type() {
        let default = SubjectTemplate::default().to_string();
        assert_eq!(
            subject(&default, &read("text")),
            "kf.main.wkQ7x2DAAA8nTfL3mRzPpVbC5uYkHs0w.text"
        );
        assert_eq!(
            subject(&default, &read("event_enter_session")),
            "kf.main.wkQ7x2DAAA8nTfL3mRzPpVbC5uYkHs0w.event.enter_session"
        );
        assert_eq!(
            subject("wecom.{type}", &read("unknown_event_type")),
            "wecom.event.future_event"
        );
        assert_eq!(
            subject("{type}.of-{app}", &read("unknown_msgtype")),
            "future_card.of-main"
        );
        assert_eq!(subject("messages", &read("text")), "messages");
    }

    #[test]
    fn every_sample_has_as_many_words_as_its_type_says() {
        for name in every_name() {
            let message = read(&name);
            let Some(kind) = message.kind() else { continue };
            let subject = subject("kf.{app}.{open_kfid}.{type}", &message);
            assert!(is_publishable(&subject), "{name}: {subject}");
            assert!(subject.ends_with(&format!(".{kind}")), "{name}: {subject}");
        }
    }

    #[test]
    fn no_name_breaks_out_of_its_word() {
        for (hostile, word) in [
            ("wk.1", "wk%2E1"),
            ("*", "%2A"),
            (">", "%3E"),
            ("a b\tc", "a%20b%09c"),
            ("a\r\nPUB x 1\r\n", "a%0D%0APUB%20x%201%0D%0A"),
            ("$JS", "%24JS"),
            ("100%", "100%25"),
            ("客服", "%E5%AE%A2%E6%9C%8D"),
        ] {
            let as_type = subject("{type}", &message("wk", hostile, None));
            assert_eq!(as_type, word, "{hostile:?}");
            let as_event = subject("{type}", &message("wk", "event", Some(hostile)));
            assert_eq!(as_event, format!("event.{word}"), "{hostile:?}");
            let as_account = subject("{open_kfid}", &message(hostile, "text", None));
            assert_eq!(as_account, word, "{hostile:?}");
        }
    }

    #[test]
    fn a_name_that_is_too_long_is_cut_between_two_characters() {
        let long = "客".repeat(100);
        assert_eq!(subject("{type}", &message("wk", &long, None)), "%E5%AE%A2".repeat(21));
        let fitting = "x".repeat(LONGEST_NAME);
        assert_eq!(subject("{type}", &message("wk", &fitting, None)), fitting);
    }

    #[test]
    fn templates_that_make_no_subject_are_refused() {
        for (template, error) in [
            ("", SubjectTemplateError::Words),
            (".kf", SubjectTemplateError::Words),
            ("kf..{type}", SubjectTemplateError::Words),
            ("kf.", SubjectTemplateError::Words),
            ("kf.*", SubjectTemplateError::Characters),
            ("kf.>", SubjectTemplateError::Characters),
            ("kf {type}", SubjectTemplateError::Characters),
            ("客服.{type}", SubjectTemplateError::Characters),
            ("kf.{external_userid}", SubjectTemplateError::Braces),
            ("kf.{}", SubjectTemplateError::Braces),
            ("kf.{type", SubjectTemplateError::Braces),
            ("kf.type}", SubjectTemplateError::Braces),
            ("kf.{{type}}", SubjectTemplateError::Braces),
            ("$JS.API.{type}", SubjectTemplateError::System),
            (&"x".repeat(257), SubjectTemplateError::Length),
        ] {
            assert_eq!(SubjectTemplate::parse(template).unwrap_err(), error, "{template:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_wecom_names_can_be_published_and_told_apart(
            (a, b) in (".{0,20}", ".{0,20}"),
            (msgtype, event) in (".{0,90}", ".{0,90}"),
        ) {
            let of = |account: &str| subject("kf.{app}.{open_kfid}.{type}", &message(account, &msgtype, Some(&event)));
            prop_assert!(is_publishable(&of(&a)), "{}", of(&a));
            // An empty account is taken for the one that was pulled; what is cut may come to the same.
            let whole = |name: &str| !name.is_empty() && name.len() <= LONGEST_NAME;
            if a != b && whole(&a) && whole(&b) {
                prop_assert_ne!(of(&a), of(&b));
            }
        }
    }
}
