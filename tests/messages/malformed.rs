//! What is not of the documented shape: told apart, and kept all the same.

use serde_json::{Map, Value, json};
use wecom_kf::message::{Content, Message};

use super::{PULLED, decode_text, decode_value, fixture};

fn problem(message: &Message) -> &str {
    match &message.content {
        Content::Malformed(malformed) => &malformed.problem,
        content => panic!("{content:?} is not malformed"),
    }
}

/// `item` with the object at `pointer` less its last part changed by `change`.
fn changed(item: &Value, pointer: &str, change: impl FnOnce(&mut Map<String, Value>, &str)) -> Value {
    let mut item = item.clone();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let parent = item.pointer_mut(parent).and_then(Value::as_object_mut);
    change(parent.unwrap_or_else(|| panic!("no {pointer}")), field);
    item
}

/// Without these, an item of the type would say nothing.
const REQUIRED: &[(&str, &str)] = &[
    ("image", "/image/media_id"),
    ("voice", "/voice/media_id"),
    ("video", "/video/media_id"),
    ("file", "/file/media_id"),
    ("location", "/location/latitude"),
    ("location", "/location/longitude"),
    ("business_card", "/business_card/userid"),
    ("miniprogram", "/miniprogram/appid"),
    ("channels_shop_product", "/channels_shop_product/product_id"),
    ("channels_shop_order", "/channels_shop_order/order_id"),
    ("event_enter_session", "/event/external_userid"),
    ("event_msg_send_fail", "/event/external_userid"),
    ("event_msg_send_fail", "/event/fail_msgid"),
    ("event_servicer_status_change", "/event/servicer_userid"),
    ("event_servicer_status_change", "/event/status"),
    ("event_session_status_change", "/event/external_userid"),
    ("event_session_status_change", "/event/change_type"),
    ("event_user_recall_msg", "/event/external_userid"),
    ("event_user_recall_msg", "/event/recall_msgid"),
    ("event_servicer_recall_msg", "/event/external_userid"),
    ("event_servicer_recall_msg", "/event/recall_msgid"),
    ("event_servicer_recall_msg", "/event/servicer_userid"),
    ("event_reject_customer_msg_switch_change", "/event/servicer_userid"),
    ("event_reject_customer_msg_switch_change", "/event/external_userid"),
    ("event_reject_customer_msg_switch_change", "/event/reject_switch"),
];

#[test]
fn a_required_field_that_is_absent_makes_an_item_malformed() {
    for (name, pointer) in REQUIRED {
        let item = fixture(name);
        let whole = decode_value(&item);
        let message = decode_value(&changed(&item, pointer, |object, field| drop(object.remove(field))));
        let (body, field) = pointer[1..].split_once('/').unwrap();
        assert_eq!(problem(&message), format!("{body}: missing field `{field}`"), "{name}");
        assert_eq!((message.kind(), &message.msgid), (whole.kind(), &whole.msgid), "{name}");
        assert_eq!(message.kind_label(), "malformed");
    }
}

#[test]
fn a_required_field_of_the_wrong_type_makes_an_item_malformed() {
    const ANY: &[&str] = &["null", "[]", "{}", "true", "1e400"];
    const QUOTED: &str = r#""WRONG, expected WRONG at line 1""#;
    for (name, pointer) in REQUIRED {
        let item = fixture(name);
        let others = match item.pointer(pointer).unwrap() {
            Value::String(_) => &["5", "-1"][..],
            Value::Number(number) if number.is_f64() => &[QUOTED],
            _ => &[QUOTED, "-1", "1.5", "4294967296"],
        };
        for wrong in ANY.iter().chain(others) {
            let item = changed(&item, pointer, |object, field| {
                object.insert(field.to_owned(), json!("PLACE"));
            });
            let message = decode_text(&item.to_string().replace(r#""PLACE""#, wrong));
            let problem = problem(&message);
            let path = pointer[1..].replace('/', ".");
            assert!(problem.starts_with(&format!("{path}: ")), "{name} {wrong}: {problem}");
            assert!(!problem.contains("WRONG") && !problem.contains("at line"), "{problem}");
        }
    }
}

#[test]
fn a_problem_names_the_field_and_what_was_expected() {
    for (msgtype, body, expected) in [
        ("text", json!({"content": 5}), "text.content: expected a string"),
        ("text", json!({"menu_id": []}), "text.menu_id: expected a string"),
        ("text", json!(["by place"]), "text: expected an object"),
        ("text", json!("words"), "text: expected an object"),
        ("location", json!({"latitude": "30"}), "location.latitude: expected f64"),
        (
            "channels",
            json!({"sub_type": 4_294_967_296_u64}),
            "channels.sub_type: expected u32",
        ),
        (
            "channels_shop_product",
            json!({"product_id": "1", "sales_price": 1.5}),
            "channels_shop_product.sales_price: expected a string or an integer",
        ),
        (
            "msgmenu",
            json!({"list": [{"type": "click"}, {"text": {"no_newline": "no"}}]}),
            "msgmenu.list[1].text.no_newline: expected a boolean or an integer",
        ),
        (
            "merged_msg",
            json!({"item": [{"msg_content": {}}]}),
            "merged_msg.item[0].msg_content: expected a string",
        ),
        (
            "event",
            json!({"event_type": "enter_session", "external_userid": "wm", "wechat_channels": {"scene": "live"}}),
            "event.wechat_channels.scene: expected u32",
        ),
        ("event", json!(null), "event: no object with an event_type"),
        ("event", json!("enter_session"), "event: no object with an event_type"),
        ("event", json!({"event_type": 7}), "event: no object with an event_type"),
    ] {
        let message = decode_value(&json!({"msgtype": msgtype, msgtype: body}));
        assert_eq!(problem(&message), expected);
    }
    let twice = decode_text(r#"{"msgtype":"text","text":{"content":"a","content":"b"}}"#);
    assert_eq!(problem(&twice), "text: duplicate field `content`");
}

#[test]
fn what_is_no_object_or_names_no_type_is_kept_without_a_kind() {
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let no_type = [
        "null",
        "true",
        "0",
        "1e999",
        r#""text""#,
        "[]",
        r#"[{"msgtype":"text"}]"#,
        &deep,
        "{}",
        r#"{"msgtype":null}"#,
        r#"{"msgtype":""}"#,
        r#"{"msgtype":1}"#,
        r#"{"msgtype":{"msgtype":"text"}}"#,
        r#"{"text":{"content":"hi"}}"#,
    ];
    for json in no_type {
        let message = decode_text(json);
        assert_eq!(problem(&message), "no object with a msgtype", "{json:.40}");
        assert_eq!((message.kind(), message.kind_label()), (None, "malformed"));
        assert_eq!(message.open_kfid, PULLED.into());
        assert_eq!(message.raw().get(), json);
    }
}

#[test]
fn a_body_under_another_types_name_is_not_read() {
    let message = decode_value(&json!({"msgtype": "image", "text": {"content": "a"}, "video": {"media_id": "b"}}));
    assert_eq!(problem(&message), "image: missing field `media_id`");
}
