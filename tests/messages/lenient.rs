//! What WeCom does not document, or should not send, and is read all the same.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use wecom_kf::message::{Content, Event, FailType, KINDS, MenuItem, Message, Origin};

use super::{PULLED, decode_text, decode_value, fixtures, is};

fn event(event: &Value) -> Message {
    decode_value(&json!({"msgid": "a", "msgtype": "event", "event": event}))
}

#[test]
fn texts_and_bodies_that_are_absent_or_null_default() {
    for text in [
        json!({}),
        json!({"text": null}),
        json!({"text": {}}),
        json!({"text": {"content": null, "menu_id": null}}),
    ] {
        let mut item = text.clone();
        item["msgtype"] = "text".into();
        let Content::Text(text) = decode_value(&item).content else {
            panic!("{item}")
        };
        assert_eq!((&*text.content, text.menu_id), ("", None));
    }
    let Content::Event(Event::MsgSendFail(fail)) =
        event(&json!({"event_type": "msg_send_fail", "external_userid": "wm", "fail_msgid": "a"})).content
    else {
        panic!("not read")
    };
    assert_eq!(fail.fail_type, FailType::Unknown);
}

#[test]
fn an_item_without_a_readable_id_is_named_by_its_digest() {
    assert_eq!(
        decode_text("{}").msgid.as_str(),
        "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    );
    for msgid in [
        "null",
        r#""""#,
        "1.5",
        "1e999",
        "12345678901234567890123",
        "[]",
        "{}",
        "true",
        // No index would take it, and no text of a database.
        &format!("\"{}\"", "m".repeat(513)),
        r#""m\u0000""#,
    ] {
        let json = format!(r#"{{"msgid":{msgid},"msgtype":"note"}}"#);
        let message = decode_text(&json);
        assert!(message.msgid.as_str().starts_with("sha256:"), "{msgid}");
        assert_eq!(message.msgid, decode_text(&json).msgid);
        assert_ne!(message.msgid, decode_text(&json.replace("note", "meeting")).msgid);
        assert_eq!(message.kind(), Some("note"));
    }
    assert_eq!(
        decode_text(r#"{"msgid":1234567890123456789}"#).msgid.as_str(),
        "1234567890123456789"
    );
}

#[test]
fn what_cannot_be_read_around_the_content_counts_as_absent() {
    for odd in [
        "null",
        r#""""#,
        "[1]",
        r#"{"a":1}"#,
        "true",
        "1.5",
        "1e999",
        "18446744073709551616",
    ] {
        let json = format!(
            r#"{{"msgtype":"note","open_kfid":{odd},"external_userid":{odd},"servicer_userid":{odd},
                "send_time":{odd},"origin":{odd}}}"#
        );
        let message = decode_text(&json);
        assert_eq!(message.open_kfid, PULLED.into(), "{odd}");
        assert_eq!(
            (&message.external_userid, &message.servicer_userid),
            (&None, &None),
            "{odd}"
        );
        assert_eq!((message.send_time, message.origin), (0, Origin::Other(0)), "{odd}");
        assert_eq!(message.kind_label(), "note", "{odd}");
    }
    let message = decode_text(r#"{"msgtype":"note","send_time":-1,"origin":4294967299}"#);
    assert_eq!((message.send_time, message.origin), (0, Origin::Other(0)));
}

#[test]
fn numbers_around_the_content_may_be_strings_and_ids_integers() {
    let message = decode_text(
        r#"{"msgtype":"note","open_kfid":1,"external_userid":2,"servicer_userid":3,"send_time":"4","origin":"5"}"#,
    );
    assert_eq!(message.open_kfid.as_str(), "1");
    assert_eq!(message.external_userid.unwrap().as_str(), "2");
    assert_eq!(message.servicer_userid.unwrap().as_str(), "3");
    assert_eq!((message.send_time, message.origin), (4, Origin::Servicer));
}

#[test]
fn a_send_time_after_the_year_9999_counts_as_absent() {
    for (sent, read) in [(253_402_300_799, 253_402_300_799), (253_402_300_800, 0), (u64::MAX, 0)] {
        assert_eq!(
            decode_value(&json!({"msgtype": "note", "send_time": sent})).send_time,
            read
        );
    }
}

#[test]
fn of_a_field_that_is_named_twice_around_the_content_the_last_counts() {
    let message = decode_text(
        r#"{"msgid":"a","msgtype":"note","text":{},"origin":3,
            "msgid":"b","msgtype":"text","text":{"content":"last"},"origin":5}"#,
    );
    assert_eq!((message.msgid.as_str(), message.origin), ("b", Origin::Servicer));
    let Content::Text(text) = message.content else {
        panic!("not a text")
    };
    assert_eq!(text.content, "last");
}

#[test]
fn names_may_be_escaped() {
    let message = decode_text(r#"{"\u006dsgid":"\u0061","msgtype":"t\u0065xt","t\u0065xt":{"cont\u0065nt":"\u4f60"}}"#);
    let Content::Text(text) = message.content else {
        panic!("not a text")
    };
    assert_eq!((message.msgid.as_str(), &*text.content), ("a", "你"));
}

#[test]
fn ids_of_an_event_are_lifted_wherever_they_stand() {
    let inside =
        event(&json!({"event_type": "new", "open_kfid": "wk1", "external_userid": "wm1", "servicer_userid": "s"}));
    let outside = decode_value(&json!({"msgtype": "event", "event": {"event_type": "new"},
        "open_kfid": "wk1", "external_userid": "wm1", "servicer_userid": "s"}));
    for message in [inside, outside] {
        assert_eq!(message.open_kfid.as_str(), "wk1");
        assert_eq!(message.external_userid.unwrap().as_str(), "wm1");
        assert_eq!(message.servicer_userid.unwrap().as_str(), "s");
    }
    let no_event = decode_value(&json!({"msgtype": "text", "event": {"external_userid": "wm1"}}));
    assert_eq!(no_event.external_userid, None);
}

#[test]
fn a_party_is_the_customer_else_the_colleague_else_nobody() {
    let party = |body: Value| event(&body).party().into_owned();
    assert_eq!(
        party(json!({"event_type": "e", "external_userid": "wm1", "servicer_userid": "s"})),
        "wm1"
    );
    assert_eq!(party(json!({"event_type": "e", "servicer_userid": "s"})), "@s");
    assert_eq!(party(json!({"event_type": "e"})), "");
}

#[test]
fn only_entering_a_session_is_urgent_and_that_even_if_malformed() {
    for (name, item) in fixtures() {
        let urgent = name.starts_with("event_enter_session");
        assert_eq!(decode_value(&item).is_urgent(), urgent, "{name}");
    }
    assert!(event(&json!({"event_type": "enter_session", "welcome_code": "WC"})).is_urgent());
}

#[test]
fn a_schedule_is_a_calendar_entry() {
    let message = decode_value(&json!({"msgid": "a", "msgtype": "schedule"}));
    assert_eq!(message.kind(), Some("calendar"));
    assert!(matches!(message.content, Content::Calendar(_)));
}

#[test]
fn other_spellings_of_a_shop_product_are_read() {
    let product = json!({"product_id": "1", "head_img": "a", "shop_head_img": "b", "sales_price": 12900});
    let message = decode_value(&json!({"msgtype": "channels_shop_product", "channels_shop_product": product}));
    let Content::ChannelsShopProduct(product) = message.content else {
        panic!("not a product")
    };
    assert_eq!(
        (&*product.head_image, &*product.shop_head_image, &*product.sales_price),
        ("a", "b", "12900")
    );
}

#[test]
fn what_is_now_a_text_and_now_a_number_is_read_as_it_is_written() {
    for (price, read) in [
        (json!("12900"), "12900"),
        (json!(12900), "12900"),
        (json!(-1), "-1"),
        (json!(null), ""),
    ] {
        let product = json!({"product_id": "1", "sales_price": price});
        let message = decode_value(&json!({"msgtype": "channels_shop_product", "channels_shop_product": product}));
        let Content::ChannelsShopProduct(product) = message.content else {
            panic!("{message:?}")
        };
        assert_eq!(product.sales_price, read);
    }
}

#[test]
fn a_menus_flag_may_be_a_number_or_a_boolean_and_its_items_of_any_type() {
    let list = json!([
        {"type": "text", "text": {"no_newline": true}}, {"type": "text", "text": {"no_newline": 0}},
        {"type": "text", "text": {"no_newline": null}}, {"type": "click"}, {"type": "location_select", "x": {}}, {}
    ]);
    let message = decode_value(&json!({"msgtype": "msgmenu", "msgmenu": {"list": list}}));
    let Content::Msgmenu(menu) = message.content else {
        panic!("{message:?}")
    };
    for (item, expected) in menu.list.iter().zip([Some(true), Some(false), None]) {
        is!(
            item,
            MenuItem::Text {
                content: "",
                no_newline: expected
            }
        );
    }
    is!(&menu.list[3], MenuItem::Click { id: None, content: "" });
    let others = menu.list[4..].iter().map(|item| match item {
        MenuItem::Other { r#type } => r#type.as_str(),
        item => panic!("{item:?}"),
    });
    assert_eq!(others.collect::<Vec<_>>(), ["location_select", ""]);
}

#[test]
fn a_number_that_we_do_not_know_is_kept() {
    let message =
        event(&json!({"event_type": "msg_send_fail", "external_userid": "wm", "fail_msgid": "a", "fail_type": 7}));
    let Content::Event(Event::MsgSendFail(fail)) = message.content else {
        panic!("{message:?}")
    };
    assert_eq!((fail.fail_type, fail.fail_type.number()), (FailType::Other(7), 7));
    assert_eq!(
        decode_value(&json!({"msgtype": "note", "origin": 6})).origin,
        Origin::Other(6)
    );
}

#[test]
fn a_kind_is_named_once() {
    let names: BTreeSet<_> = KINDS.iter().collect();
    assert_eq!(names.len(), KINDS.len());
    let seen: BTreeSet<_> = fixtures()
        .iter()
        .map(|(_, item)| decode_value(item).kind_label())
        .collect();
    assert!(KINDS.iter().all(|kind| seen.contains(kind)), "a kind without a fixture");
    assert!(
        seen.into_iter()
            .all(|label| label == "unknown" || KINDS.contains(&label))
    );
}

#[test]
fn fields_at_the_top_can_be_asked_for() {
    let message = decode_text(r#"{"msgtype":"event","app":null,"event":{"open_kfid":"wk"}}"#);
    assert!(message.has_field("app"));
    assert!(!message.has_field("open_kfid"));
    assert!(!decode_text("[]").has_field("app"));
}
