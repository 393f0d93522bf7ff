//! What the JSON Schema of the forwarded body lets pass.

use std::sync::LazyLock;

use serde_json::{Value, json};
use wecom_kf::message::{Message, forwarded_type, schema};

use super::{FIXTURES, decode, files, value};

pub(super) static SCHEMA: LazyLock<jsonschema::Validator> =
    LazyLock::new(|| jsonschema::validator_for(&schema()).unwrap());

/// The body that a handler of kind `forward` sends for `message`.
pub(super) fn forwarded(message: &Message) -> Value {
    let mut data = value(message.raw());
    data["app"] = "main".into();
    data["open_kfid"] = message.open_kfid.as_str().into();
    if let Some(customer) = &message.external_userid {
        data["external_userid"] = customer.as_str().into();
    }
    json!({ "type": forwarded_type(message.kind().unwrap()), "timestamp": "2026-08-01T08:00:00Z", "data": data })
}

fn forwarded_fixture(name: &str) -> Value {
    forwarded(&decode(&files()[name]))
}

#[test]
fn the_schema_is_a_schema() {
    jsonschema::meta::validate(&schema()).unwrap();
}

#[test]
fn every_fixture_validates_when_forwarded() {
    for (name, ..) in FIXTURES {
        if let Err(error) = SCHEMA.validate(&forwarded_fixture(name)) {
            panic!("{name}: {error} at {}", error.instance_path());
        }
    }
}

#[test]
fn further_fields_validate() {
    for (name, ..) in FIXTURES {
        let mut body = forwarded_fixture(name);
        body["new"] = json!({});
        body["data"]["new"] = json!([]);
        let msgtype = body["data"]["msgtype"].as_str().unwrap().to_owned();
        if let Some(content) = body["data"].get_mut(msgtype) {
            content["new"] = json!(1);
        }
        assert!(SCHEMA.is_valid(&body), "{name}");
    }
}

#[test]
fn a_body_that_is_not_as_documented_does_not_validate() {
    for (name, pointer, wrong) in [
        ("text", "/type", json!("kf.image")),
        ("text", "/type", json!("text")),
        ("text", "/type", json!("kf.event")),
        ("text", "/timestamp", json!(1785571212)),
        ("text", "/data", json!([])),
        ("text", "/data/app", json!(null)),
        ("text", "/data/msgid", json!(1)),
        ("text", "/data/origin", json!("3")),
        ("text", "/data/msgtype", json!("image")),
        ("text", "/data/text", json!("words")),
        ("text", "/data/text/content", json!(5)),
        ("image", "/data/image/media_id", json!(null)),
        ("image", "/data/image", json!({})),
        ("location", "/data/location/latitude", json!("30")),
        ("channels", "/data/channels/sub_type", json!("post")),
        ("msgmenu", "/data/msgmenu/list/4/text/no_newline", json!("no")),
        ("merged_msg", "/data/merged_msg/item/0/msg_content", json!({})),
        ("event_enter_session", "/type", json!("kf.event.future_event")),
        ("event_enter_session", "/data/event", json!(null)),
        ("event_enter_session", "/data/event/event_type", json!("msg_send_fail")),
        ("event_enter_session", "/data/event/external_userid", json!(1)),
        ("event_msg_send_fail", "/data/event/fail_type", json!(-1)),
        ("unknown_event_type", "/data/event/event_type", json!(1)),
        ("unknown_msgtype", "/type", json!("future_card")),
    ] {
        let mut body = forwarded_fixture(name);
        *body
            .pointer_mut(pointer)
            .unwrap_or_else(|| panic!("{name} has no {pointer}")) = wrong.clone();
        assert!(!SCHEMA.is_valid(&body), "{name} with {wrong} at {pointer}");
    }
}
