//! What goes out to whoever is handed messages elsewhere: WeCom's item in an envelope.
//!
//! ```json
//! { "type": "kf.text", "timestamp": "2026-11-22T10:00:00Z", "data": { "app": "main", "msgid": "…", … } }
//! ```
//!
//! Each value of the item goes out byte for byte as it came, numbers included; nothing is decoded that a newer WeCom
//! might say differently. Only `app`, `open_kfid` and `external_userid` are ours: they stand at the top for events as
//! well, and replace what the item has under these names.

use std::borrow::{Borrow, Cow};
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::clock::UnixMillis;
use crate::id::{AppName, ExternalUserid, OpenKfid};
use crate::message::{Message, forwarded_type};

/// It is nothing that a receiver could make sense of.
#[derive(Debug, thiserror::Error)]
#[error("message cannot be forwarded: it is no JSON object with a msgtype")]
pub(super) struct NoMessage;

#[derive(Serialize)]
struct Envelope<'a> {
    r#type: String,
    timestamp: String,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    app: &'a AppName,
    open_kfid: &'a OpenKfid,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_userid: Option<&'a ExternalUserid>,
    #[serde(flatten)]
    item: BTreeMap<Name<'a>, &'a RawValue>,
}

/// Name of a field. Serde would copy every key of a map of `Cow`s.
#[derive(Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl Borrow<str> for Name<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What the envelope adds to an item, in bytes, as a rule.
const ENVELOPE_BYTES: usize = 256;

/// Writes the envelope of `message` of `app`. It is dated when it was sent, or `now` if WeCom gave no such time.
pub(super) fn of(message: &Message, app: &AppName, now: UnixMillis) -> Result<Vec<u8>, NoMessage> {
    let kind = message.kind().ok_or(NoMessage)?;
    let item = message.raw().get();
    let mut fields: BTreeMap<Name<'_>, &RawValue> = serde_json::from_str(item).map_err(|_| NoMessage)?;
    fields.remove("app");
    fields.remove("open_kfid");
    if message.external_userid.is_some() {
        fields.remove("external_userid");
    }
    let sent = match message.send_time {
        0 => now,
        secs => UnixMillis::from_secs(secs),
    };
    let envelope = Envelope {
        r#type: forwarded_type(kind),
        timestamp: humantime::format_rfc3339_seconds(sent.into()).to_string(),
        data: Data {
            app,
            open_kfid: &message.open_kfid,
            external_userid: message.external_userid.as_ref(),
            item: fields,
        },
    };
    let mut body = Vec::with_capacity(item.len() + ENVELOPE_BYTES);
    // Unwrap safety: every key is a string and no part of it fails to serialize.
    serde_json::to_writer(&mut body, &envelope).expect("an envelope of strings and JSON");
    Ok(body)
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::handler::samples::{decoded, every_name, read};
    use crate::message::schema;

    const NOW: UnixMillis = UnixMillis(1_795_000_000_000);

    fn text(message: &Message) -> String {
        String::from_utf8(of(message, &AppName::new("main").unwrap(), NOW).unwrap()).unwrap()
    }

    fn parsed(message: &Message) -> Value {
        serde_json::from_str(&text(message)).unwrap()
    }

    #[test]
    fn a_message_is_forwarded_as_the_contract_says() {
        let expected = json!({
            "type": "kf.text",
            "timestamp": "2026-08-01T08:00:12Z",
            "data": {
                "app": "main",
                "msgid": "7Kq01vXbT9cRzWm4NpYh2LdGsE8fUoA6jC1ikQ",
                "open_kfid": "wkQ7x2DAAA8nTfL3mRzPpVbC5uYkHs0w",
                "external_userid": "wmQ7x2DAAAZ1pJcV8yTqHs3LfUeKoB6g",
                "send_time": 1_785_571_212,
                "origin": 3,
                "msgtype": "text",
                "text": { "content": "你好，订单 20260801-0042 什么时候发货？\nThanks 🙏" },
            },
        });
        assert_eq!(parsed(&read("text")), expected);
    }

    #[test]
    fn every_sample_is_forwarded_as_the_published_schema_says() {
        let validator = jsonschema::validator_for(&schema()).unwrap();
        for name in every_name() {
            if let Err(error) = validator.validate(&parsed(&read(&name))) {
                panic!("{name}: {error}");
            }
        }
    }

    #[test]
    fn an_event_carries_its_account_and_customer_at_the_top() {
        let body = parsed(&read("event_enter_session"));
        assert_eq!(body["type"], "kf.event.enter_session");
        assert_eq!(body["data"]["open_kfid"], "wkQ7x2DAAA8nTfL3mRzPpVbC5uYkHs0w");
        assert_eq!(body["data"]["external_userid"], "wmQ7x2DAAAZ1pJcV8yTqHs3LfUeKoB6g");
        assert_eq!(body["data"]["event"]["scene_param"], "order=42&src=h5");
    }

    #[test]
    fn an_event_that_concerns_no_customer_names_none() {
        let body = parsed(&read("event_servicer_status_change"));
        assert!(!body["data"].as_object().unwrap().contains_key("external_userid"));
    }

    #[test]
    fn types_not_known_yet_are_forwarded_all_the_same() {
        assert_eq!(parsed(&read("unknown_msgtype"))["type"], "kf.future_card");
        assert_eq!(parsed(&read("unknown_event_type"))["type"], "kf.event.future_event");
    }

    #[test]
    fn numbers_keep_every_digit() {
        let item = r#"{"msgtype":"location","location":{"latitude":23.106021881103501000,"big":18446744073709551616}}"#;
        let body = text(&decoded(item));
        assert!(
            body.contains("23.106021881103501000") && body.contains("18446744073709551616"),
            "{body}"
        );
    }

    #[test]
    fn a_message_without_a_usable_time_is_dated_now() {
        for send_time in ["0", "253402300800", "18446744073709551615", "null"] {
            let item = format!(r#"{{"msgid":"m","msgtype":"note","send_time":{send_time}}}"#);
            assert_eq!(
                parsed(&decoded(&item))["timestamp"],
                "2026-11-18T11:06:40Z",
                "{send_time}"
            );
        }
    }

    #[test]
    fn what_is_no_message_is_not_forwarded() {
        let app = AppName::new("main").unwrap();
        for item in ["17", "[]", "{}"] {
            assert!(of(&decoded(item), &app, NOW).is_err(), "{item}");
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(Value::from),
                btree_map(".{0,4}", inner, 0..4).prop_map(|map| map.into_iter().collect::<Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_body_is_the_item_and_the_names_added(
            mut item in btree_map("app|open_kfid|external_userid|msgid|event|send_time|origin|.{0,6}", json(), 0..8),
            msgtype in "text|event|note|[a-z]{1,6}",
        ) {
            item.insert("msgtype".to_owned(), msgtype.into());
            let message = decoded(&serde_json::to_string(&item).unwrap());
            prop_assume!(message.kind().is_some());

            let mut expected = item;
            expected.insert("app".to_owned(), "main".into());
            expected.insert("open_kfid".to_owned(), message.open_kfid.as_str().into());
            if let Some(customer) = &message.external_userid {
                expected.insert("external_userid".to_owned(), customer.as_str().into());
            }
            let body = text(&message);
            prop_assert_eq!(&serde_json::from_str::<Value>(&body).unwrap()["data"], &json!(expected));

            #[derive(serde::Deserialize)]
            struct Parts<'a> {
                #[serde(borrow)]
                data: &'a RawValue,
            }
            // Writing the parsed keys once more comes to the same length only if none stood there twice.
            let data = serde_json::from_str::<Parts<'_>>(&body).unwrap().data.get();
            let keys: BTreeMap<String, &RawValue> = serde_json::from_str(data).unwrap();
            prop_assert_eq!(serde_json::to_string(&keys).unwrap().len(), data.len());
        }
    }
}
