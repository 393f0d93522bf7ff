//! Describes the forwarded body to those who read it in another language, by JSON Schema (draft 2020-12).
//!
//! It is derived from the same structs that the decoder fills. It holds what is documented: an item that is not of the
//! documented shape is forwarded as it came, and does not validate.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{KINDS, Origin, kind};
use crate::id::{ExternalUserid, Msgid, OpenKfid, ServicerUserid};

/// Type of the forwarded body of a message whose [`kind`](super::Message::kind) is `kind`.
#[must_use]
pub fn forwarded_type(kind: &str) -> String {
    format!("kf.{kind}")
}

/// JSON Schema of what handlers of kind `forward` send.
///
/// Further fields are allowed everywhere, and so are types that this version does not know.
#[must_use]
pub fn schema() -> Value {
    let mut generator = SchemaGenerator::new(SchemaSettings::draft2020_12());
    let data = json!({
        "description": "The item as WeCom gave it, with `app`, and with the ids of an event lifted to the top.",
        "type": "object",
        "properties": {
            "app": { "description": "Application it came in on, as the config names it.", "type": "string" },
            "msgid": generator.subschema_for::<Msgid>(),
            "open_kfid": generator.subschema_for::<OpenKfid>(),
            "external_userid": generator.subschema_for::<ExternalUserid>(),
            "servicer_userid": generator.subschema_for::<ServicerUserid>(),
            "send_time": { "description": "When it was sent, Unix seconds.", "type": "integer", "minimum": 0 },
            "origin": generator.subschema_for::<Origin>(),
            "msgtype": { "type": "string", "minLength": 1 },
        },
        "required": ["app", "msgid", "open_kfid", "send_time", "origin", "msgtype"],
    });
    let mut types = kind::schemas(&mut generator);
    types.extend(unknown());
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A message or event of WeCom customer service",
        "type": "object",
        "properties": {
            "type": { "description": "`kf.` and the msgtype, or `kf.event.` and the event_type.", "type": "string" },
            "timestamp": { "description": "When it was sent.", "type": "string", "format": "date-time" },
            "data": data,
        },
        "required": ["type", "timestamp", "data"],
        "oneOf": types,
        "$defs": generator.take_definitions(true),
    })
}

/// A type whose content stands under its own name.
pub(super) fn bodied<T: JsonSchema + DeserializeOwned>(generator: &mut SchemaGenerator, msgtype: &str) -> Value {
    // The decoder reads an absent body as an empty one; so does the schema where that has the documented shape.
    let required: &[&str] = match serde_json::from_str::<T>("{}") {
        Ok(_) => &[],
        Err(_) => &[msgtype],
    };
    one_of(
        msgtype,
        &json!({
            "properties": { "msgtype": { "const": msgtype }, msgtype: generator.subschema_for::<T>() },
            "required": required,
        }),
    )
}

/// A type without content, under any of its `names`.
pub(super) fn bare(msgtype: &str, names: &[&str]) -> Value {
    one_of(msgtype, &json!({ "properties": { "msgtype": { "enum": names } } }))
}

/// A type of event.
pub(super) fn event<T: JsonSchema>(generator: &mut SchemaGenerator, event_type: &str) -> Value {
    one_of(
        &format!("event.{event_type}"),
        &json!({
            "properties": {
                "msgtype": { "const": "event" },
                "event": {
                    "allOf": [generator.subschema_for::<T>()],
                    "properties": { "event_type": { "const": event_type } },
                    "required": ["event_type"],
                },
            },
            "required": ["event"],
        }),
    )
}

/// Types that are not in the table: of messages, and of events.
fn unknown() -> [Value; 2] {
    let events: Vec<_> = KINDS.iter().filter_map(|kind| kind.strip_prefix("event.")).collect();
    let messages: Vec<_> = KINDS
        .iter()
        .filter(|kind| !kind.starts_with("event."))
        .chain(&["event"])
        .collect();
    let event_type = json!({ "type": "string", "minLength": 1, "not": { "enum": events } });
    [
        json!({
            "title": "A msgtype that this version does not know",
            "properties": {
                "type": { "pattern": "^kf\\." },
                "data": { "properties": { "msgtype": { "not": { "enum": messages } } } },
            },
        }),
        json!({
            "title": "An event_type that this version does not know",
            "properties": {
                "type": { "pattern": "^kf\\.event\\." },
                "data": {
                    "properties": {
                        "msgtype": { "const": "event" },
                        "event": {
                            "type": "object",
                            "properties": { "event_type": event_type },
                            "required": ["event_type"],
                        },
                    },
                    "required": ["event"],
                },
            },
        }),
    ]
}

fn one_of(kind: &str, data: &Value) -> Value {
    json!({ "title": kind, "properties": { "type": { "const": forwarded_type(kind) }, "data": data } })
}
