//! What holds for every JSON there is.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Number, Value, json};
use wecom_kf::message::{Content, KINDS};

use super::schema::{SCHEMA, forwarded};
use super::{decode_text, decode_value, fixtures};

const SECRET: &str = "SECRET, expected SECRET at line 1";

/// Any JSON, of a few levels; integers stay integers, so that JSON Schema and serde mean the same by the word.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e6..1e6).prop_map(|float: f64| Number::from_f64(float.floor() + 0.5).into()),
        ".{0,8}".prop_map(Value::from),
        select(KINDS).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        let name = prop_oneof![
            ".{0,8}",
            select(&["msgid", "msgtype", "event", "text", "event_type"][..]).prop_map(str::to_owned)
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn any_fixture() -> impl Strategy<Value = Value> {
    select(fixtures()).prop_map(|(_, item)| item)
}

/// Where the values in `value` stand, as JSON pointers.
fn pointers(value: &Value, at: &str, into: &mut Vec<String>) {
    into.push(at.to_owned());
    match value {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, value)| pointers(value, &format!("{at}/{name}"), into)),
        Value::Array(values) => (0..)
            .zip(values)
            .for_each(|(n, value): (usize, _)| pointers(value, &format!("{at}/{n}"), into)),
        _ => (),
    }
}

/// A fixture with one value in it replaced.
fn mutated_fixture() -> impl Strategy<Value = Value> {
    (any_fixture(), any::<Index>(), json()).prop_map(|(mut item, place, value)| {
        let mut places = Vec::new();
        pointers(&item, "", &mut places);
        *item.pointer_mut(place.get::<String>(&places)).unwrap() = value;
        item
    })
}

/// Replaces every string in `value` but those that `Debug` may show.
fn make_secret(value: &mut Value) {
    const SHOWN: &[&str] = &[
        "msgid",
        "open_kfid",
        "msgtype",
        "event_type",
        "type",
        "media_id",
        "servicer_userid",
        "fail_msgid",
        "recall_msgid",
    ];
    match value {
        Value::String(text) => SECRET.clone_into(text),
        Value::Array(values) => values.iter_mut().for_each(make_secret),
        Value::Object(fields) => {
            let hidden = fields.iter_mut().filter(|(name, _)| !SHOWN.contains(&name.as_str()));
            hidden.for_each(|(_, value)| make_secret(value));
        }
        _ => (),
    }
}

proptest! {
    #[test]
    fn anything_is_read_and_kept_as_it_came(item in prop_oneof![json(), mutated_fixture()]) {
        let json = item.to_string();
        let message = decode_text(&json);
        prop_assert_eq!(message.raw().get(), &json);
        prop_assert!(!message.msgid.as_str().is_empty());
        prop_assert_eq!(message.kind().is_none(), item["msgtype"].as_str().is_none_or(str::is_empty));
        let label = message.kind_label();
        prop_assert!(matches!(label, "unknown" | "malformed") || message.kind() == Some(label));
        let written: Value = serde_json::to_value(&message).unwrap();
        prop_assert_eq!(decode_value(&written).content, message.content);
    }

    #[test]
    fn fields_we_do_not_know_change_nothing(mut item in any_fixture(), name in "x_.{0,8}", value in json()) {
        let before = decode_value(&item);
        let body = item["msgtype"].as_str().unwrap().to_owned();
        for place in ["", "/{body}", "/{body}/wechat_channels", "/{body}/list/0", "/{body}/item/0"] {
            let place = place.replace("{body}", &body);
            if let Some(object) = item.pointer_mut(&place).and_then(Value::as_object_mut) {
                object.insert(name.clone(), value.clone());
            }
        }
        let after = decode_value(&item);
        prop_assert_eq!(&after.content, &before.content);
        prop_assert_eq!(after.kind(), before.kind());
        prop_assert_eq!((after.msgid, after.send_time, after.origin), (before.msgid, before.send_time, before.origin));
        prop_assert_eq!((after.open_kfid, after.external_userid), (before.open_kfid, before.external_userid));
        prop_assert_eq!(after.servicer_userid, before.servicer_userid);
    }

    #[test]
    fn a_new_type_is_kept_whatever_it_holds(name in "new_[a-z_]{0,20}", body in json()) {
        let message = decode_value(&json!({ "msgtype": name, &name: body }));
        prop_assert_eq!((message.kind(), message.kind_label()), (Some(&*name), "unknown"));
        prop_assert_eq!(message.content, Content::Unknown);

        let message = decode_value(&json!({ "msgtype": "event", "event": { "event_type": name, "new": body } }));
        prop_assert_eq!(message.kind(), Some(&*format!("event.{name}")));
        prop_assert_eq!(message.content, Content::Unknown);
    }

    #[test]
    fn debug_output_shows_neither_words_nor_customers(mut item in prop_oneof![any_fixture(), mutated_fixture()]) {
        make_secret(&mut item);
        let message = decode_value(&item);
        for shown in [format!("{message:?}"), format!("{message:#?}")] {
            prop_assert!(!shown.contains("SECRET"), "{}", shown);
        }
    }

    #[test]
    fn what_has_the_documented_shape_can_be_read(item in mutated_fixture()) {
        let message = decode_value(&item);
        if message.kind().is_some() && SCHEMA.is_valid(&forwarded(&message)) {
            prop_assert!(!matches!(message.content, Content::Malformed(_)), "{:?}", message);
        }
    }
}
