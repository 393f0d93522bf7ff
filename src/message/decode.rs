//! Reads an item in two steps: the fields around the content, which are never refused, then the content of that type.
//!
//! The first step cuts an object into its fields without reading them, so that the second parses just the one body that
//! the type calls for. Neither recurses into what it does not know, so deep nesting in hostile JSON exhausts no stack.

use std::borrow::{Borrow, Cow};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{Content, Event, Malformed, Message};
use crate::id::{ExternalUserid, Msgid, OpenKfid, ServicerUserid};

/// Last second of the year 9999: a later time is a mistake, and fits no date of four-digit years.
const LATEST_SEND_TIME: u64 = 253_402_300_799;

/// Bytes of a longer id would not fit into the index of every store.
const LONGEST_MSGID: usize = 512;

impl Message {
    /// Reads one item of the page that was pulled for `account`.
    #[must_use]
    pub fn decode(raw: Arc<RawValue>, account: &OpenKfid) -> Self {
        let item = Fields::of(&raw).unwrap_or_default();
        let event = match item.string("msgtype").as_deref() {
            Some("event") => item.get("event").and_then(Fields::of).unwrap_or_default(),
            _ => Fields::default(),
        };
        let id = |name| item.id(name).or_else(|| event.id(name));
        let send_time = item.number("send_time").filter(|&time| time <= LATEST_SEND_TIME);
        let origin = item.number("origin").and_then(|number| u32::try_from(number).ok());
        let (kind, content) = content(&item);
        Self {
            msgid: item
                .id("msgid")
                .filter(|id| can_be_kept(id))
                .map_or_else(|| digest(&raw), Msgid::new),
            open_kfid: id("open_kfid").map_or_else(|| account.clone(), OpenKfid::new),
            external_userid: id("external_userid").map(ExternalUserid::new),
            servicer_userid: id("servicer_userid").map(ServicerUserid::new),
            send_time: send_time.unwrap_or_default(),
            origin: origin.unwrap_or_default().into(),
            content,
            kind,
            raw,
        }
    }
}

/// Whether a store can find a message by `id`, which is one of 32 characters or so: an entry of a database's index is
/// limited, and its texts hold no NUL.
fn can_be_kept(id: &str) -> bool {
    id.len() <= LONGEST_MSGID && !id.contains('\0')
}

/// Stands in for the id of an item that has none: the same JSON always gets the same.
fn digest(raw: &RawValue) -> Msgid {
    let hex: String = Sha256::digest(raw.get())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Msgid::new(format!("sha256:{hex}"))
}

/// Reads what `item` says, and the type it claims to be.
pub(super) fn content(item: &Fields<'_>) -> (Option<Cow<'static, str>>, Content) {
    let known = match item.string("msgtype") {
        None => return (None, Malformed::new("no object with a msgtype").into()),
        Some(msgtype) if msgtype == "event" => return event(item),
        Some(msgtype) => Content::read(&msgtype, item).ok_or(msgtype),
    };
    match known {
        Ok((kind, content)) => (Some(kind.into()), content.unwrap_or_else(Content::from)),
        Err(msgtype) => (Some(msgtype.into_owned().into()), Content::Unknown),
    }
}

fn event(item: &Fields<'_>) -> (Option<Cow<'static, str>>, Content) {
    let body = item.get("event");
    let event_type = body.and_then(Fields::of).and_then(|event| event.string("event_type"));
    let (Some(body), Some(event_type)) = (body, event_type) else {
        return (
            Some("event".into()),
            Malformed::new("event: no object with an event_type").into(),
        );
    };
    match Event::read(&event_type, body) {
        Some((kind, event)) => (Some(kind.into()), event.map_or_else(Content::from, Content::Event)),
        None => (Some(format!("event.{event_type}").into()), Content::Unknown),
    }
}

impl From<Malformed> for Content {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// Reads the `body` that stands under `name` in an item. An absent one counts as empty.
pub(super) fn body<T: DeserializeOwned>(name: &str, body: Option<&RawValue>) -> Result<T, Malformed> {
    let json = body.map_or("{}", RawValue::get);
    // Serde would read a list as the fields of the struct, one by one.
    if !json.starts_with('{') {
        return Err(Malformed::new(format!("{name}: expected an object")));
    }
    serde_json::from_str(json).or_else(|_| {
        // Read again to learn where it went wrong: keeping track of the path would slow down all that are well.
        serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(json)).map_err(|error| {
            let path = match error.path().to_string().as_str() {
                "." => name.to_owned(),
                below => format!("{name}.{below}"),
            };
            Malformed::new(format!("{path}: {}", without_value(error.inner())))
        })
    })
}

/// What is wrong, without the offending value that serde quotes.
///
/// `invalid type: string "…", expected u32 at line 1 column 9`: only what follows the last `expected` is surely ours.
fn without_value(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if let Some((_, expected)) = text.rsplit_once(", expected ") {
        return format!("expected {}", without_position(expected));
    }
    match text.split_once(" `") {
        Some(("missing field" | "duplicate field", _)) => without_position(&text).to_owned(),
        _ => "cannot be read".to_owned(),
    }
}

/// Cuts the position off: it counts from the start of the body, which nobody sees.
fn without_position(text: &str) -> &str {
    text.split_once(" at line ").map_or(text, |(text, _)| text)
}

/// The fields of a JSON object, each unread. Of a field that is named twice, the last.
#[derive(Deserialize, Default)]
#[serde(transparent)]
pub(super) struct Fields<'a>(#[serde(borrow)] BTreeMap<Name<'a>, &'a RawValue>);

/// Name of a field. Serde would copy every key of a map of `Cow`s.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl Borrow<str> for Name<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'a> Fields<'a> {
    /// Cuts `json` into its fields; `None` if it is no object.
    pub(super) fn of(json: &'a RawValue) -> Option<Self> {
        Self::of_text(json.get())
    }

    /// Cuts `json` into its fields; `None` if it is no JSON object.
    pub(super) fn of_text(json: &'a str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    /// Whether the object names `field`, be it null.
    pub(super) fn names(&self, field: &str) -> bool {
        self.0.contains_key(field)
    }

    /// Value of `field`; null counts as absent.
    pub(super) fn get(&self, field: &str) -> Option<&'a RawValue> {
        self.0.get(field).copied().filter(|value| value.get() != "null")
    }

    /// Value of `field` if it is a string with anything in it.
    pub(super) fn string(&self, field: &str) -> Option<Cow<'a, str>> {
        let Name(text) = serde_json::from_str(self.get(field)?.get()).ok()?;
        (!text.is_empty()).then_some(text)
    }

    /// Value of `field` as an id: a string with anything in it, or the digits of an integer.
    fn id(&self, field: &str) -> Option<Box<str>> {
        let TextOrInteger(text) = serde_json::from_str(self.get(field)?.get()).ok()?;
        (!text.is_empty()).then(|| text.into())
    }

    /// Value of `field` as a number: an integer, or a string of its digits.
    fn number(&self, field: &str) -> Option<u64> {
        let value = self.get(field)?.get();
        value.trim_matches('"').parse().ok()
    }
}

/// Reads null as the default.
///
/// # Errors
///
/// Whatever reading a `T` says.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Text that WeCom's documents call now a string and now a number, and write either way.
#[derive(Default)]
pub(super) struct TextOrInteger(String);

/// Reads a string, or an integer as its digits; null as nothing.
///
/// # Errors
///
/// On anything else.
pub(super) fn text_or_integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    or_default(deserializer).map(|TextOrInteger(text)| text)
}

impl<'de> Deserialize<'de> for TextOrInteger {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = TextOrInteger;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an integer")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<TextOrInteger, E> {
                Ok(TextOrInteger(text.to_owned()))
            }

            fn visit_u64<E: Error>(self, integer: u64) -> Result<TextOrInteger, E> {
                Ok(TextOrInteger(integer.to_string()))
            }

            fn visit_i64<E: Error>(self, integer: i64) -> Result<TextOrInteger, E> {
                Ok(TextOrInteger(integer.to_string()))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}
