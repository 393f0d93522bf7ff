//! What may be said to a customer: every type of message at its limits and one step beyond.

use super::replies::{after_a_message, message, send};
use super::*;

/// A simulator that sets no budget, and in which `wm1` has written to `wk1`.
async fn start() -> (Simulator, Client) {
    let (simulator, client) = after_a_message(&ManualClock::default()).await;
    simulator.set_reply_rules(ReplyRules {
        budget: u32::MAX,
        ..ReplyRules::default()
    });
    (simulator, client)
}

fn of(msgtype: &str, body: &Value) -> Value {
    message(json!({ "msgtype": msgtype, msgtype: body }))
}

/// Sends each body as a message of `msgtype` and compares what is answered.
async fn check(client: &Client, msgtype: &str, cases: &[(Value, i64)]) {
    for (body, errcode) in cases {
        assert_eq!(send(client, &of(msgtype, body)).await, *errcode, "{msgtype} {body}");
    }
}

/// `body` with `field` replaced; left out if it is null.
fn with(body: &Value, field: &str, value: Value) -> Value {
    let mut body = body.clone();
    if value.is_null() {
        body.as_object_mut().unwrap().remove(field);
    } else {
        body[field] = value;
    }
    body
}

#[tokio::test]
async fn a_text_is_not_empty_and_cut_at_2048_bytes() {
    let (simulator, client) = start().await;
    let text = |content: Value| json!({ "content": content });
    let cases = [
        (text(json!("")), 44004),
        (json!({}), 44004),
        (text(json!(1)), 40058),
        (text("x".repeat(2048).into()), 0),
        (text("x".repeat(2049).into()), 0),
        (text("字".repeat(1000).into()), 0),
    ];
    check(&client, "text", &cases).await;
    let lengths: Vec<_> = simulator
        .seen()
        .iter()
        .map(|seen| seen.text.as_ref().unwrap().len())
        .collect();
    assert_eq!(lengths, [2048, 2048, 2046], "between two characters");
    assert_eq!(simulator.seen()[2].text.as_deref(), Some("字".repeat(682).as_str()));
}

#[tokio::test]
async fn an_unknown_msgtype_or_none_is_refused() {
    let (_simulator, client) = start().await;
    for fields in [
        json!({ "msgtype": "hologram", "hologram": {} }),
        json!({ "msgtype": "event", "event": {} }),
        json!({ "msgtype": "" }),
        json!({ "text": { "content": "hi" } }),
    ] {
        assert_eq!(send(&client, &message(fields.clone())).await, 40008, "{fields}");
    }
    assert_eq!(
        send(&client, &message(json!({ "msgtype": "text", "text": "hi" }))).await,
        40058
    );
    assert_eq!(send(&client, &message(json!({ "msgtype": "text" }))).await, 44004);
}

#[tokio::test]
async fn a_file_is_sent_by_an_id_of_its_own_kind() {
    let (simulator, client) = start().await;
    let kept: Vec<_> = MediaKind::ALL
        .iter()
        .map(|kind| simulator.keep_media(*kind, "name", "content"))
        .collect();
    for (kind, own) in MediaKind::ALL.iter().zip(&kept) {
        for media_id in &kept {
            let errcode = if media_id == own { 0 } else { 40004 };
            check(&client, kind.name(), &[(json!({ "media_id": media_id }), errcode)]).await;
        }
        let cases = [
            (json!({ "media_id": "made up" }), 40007),
            (json!({ "media_id": "" }), 41006),
            (json!({}), 41006),
        ];
        check(&client, kind.name(), &cases).await;
    }
    assert_eq!(simulator.seen().len(), 4);
}

#[tokio::test]
async fn a_file_can_be_sent_for_three_days() {
    let clock = ManualClock::default();
    let (simulator, mut client) = after_a_message(&clock).await;
    let image = simulator.keep_media(MediaKind::Image, "name", "content");
    clock.advance(72 * HOUR);
    client.renew().await.unwrap();
    simulator
        .customer(&wk1(), &ExternalUserid::from("wm1"))
        .writes("hello?")
        .unwrap();
    check(&client, "image", &[(json!({ "media_id": image }), 40145)]).await;
}

#[tokio::test]
async fn a_link_is_cut_but_for_its_address() {
    let (simulator, client) = start().await;
    let thumb = simulator.keep_media(MediaKind::Image, "name", "content");
    let file = simulator.keep_media(MediaKind::File, "name", "content");
    let link = json!({ "title": "t".repeat(129), "desc": "d".repeat(513), "url": "https://example.com",
                       "thumb_media_id": thumb });
    let cases = [
        (link.clone(), 0),
        (with(&link, "desc", Value::Null), 0),
        (with(&link, "title", Value::Null), 40058),
        (with(&link, "title", "".into()), 40058),
        (with(&link, "url", Value::Null), 40058),
        (with(&link, "url", "example.com".into()), 40058),
        (with(&link, "url", format!("https://{}", "u".repeat(2040)).into()), 0),
        (
            with(&link, "url", format!("https://{}", "u".repeat(2041)).into()),
            40058,
        ),
        (with(&link, "thumb_media_id", Value::Null), 41006),
        (with(&link, "thumb_media_id", json!(file)), 40004),
    ];
    check(&client, "link", &cases).await;
    let body = &simulator.seen()[0].body;
    assert_eq!(
        (&body["title"], &body["desc"]),
        (&json!("t".repeat(128)), &json!("d".repeat(512)))
    );
}

#[tokio::test]
async fn a_miniprogram_names_itself_and_a_page() {
    let (simulator, client) = start().await;
    let thumb = simulator.keep_media(MediaKind::Image, "name", "content");
    let program = json!({ "appid": "wx3f6a9c20b14d75e8", "title": "t".repeat(64), "pagepath": "a/b.html?c=d",
                          "thumb_media_id": thumb });
    let cases = [
        (program.clone(), 0),
        (with(&program, "title", Value::Null), 0),
        (with(&program, "title", "t".repeat(65).into()), 40058),
        (with(&program, "appid", Value::Null), 40058),
        (with(&program, "appid", "3f6a9c20b14d75e8".into()), 90207),
        (with(&program, "pagepath", "a/b?c=d.html".into()), 40058),
        (with(&program, "pagepath", Value::Null), 40058),
        (with(&program, "thumb_media_id", "made up".into()), 40007),
    ];
    check(&client, "miniprogram", &cases).await;
}

#[tokio::test]
async fn places_links_to_colleagues_and_cards() {
    let (_simulator, client) = start().await;
    let place = json!({ "latitude": -90, "longitude": 180.0, "name": "n" });
    let cases = [
        (place.clone(), 0),
        (with(&place, "latitude", json!(90.1)), 40058),
        (with(&place, "longitude", json!(-180.1)), 40058),
        (with(&place, "latitude", "30".into()), 40058),
        (with(&place, "longitude", Value::Null), 40058),
        (with(&place, "name", json!(1)), 40058),
    ];
    check(&client, "location", &cases).await;
    let link = "https://work.weixin.qq.com/ca/cawcde0";
    check(
        &client,
        "ca_link",
        &[(json!({ "link_url": link }), 0), (json!({}), 40058)],
    )
    .await;
    check(
        &client,
        "business_card",
        &[(json!({ "userid": "LiMing" }), 0), (json!({}), 40058)],
    )
    .await;
}

#[tokio::test]
async fn a_menu_has_50_entries_at_most_and_10_to_tap() {
    let (_simulator, client) = start().await;
    let text = json!({ "type": "text", "text": { "content": "line" } });
    let click = json!({ "type": "click", "click": { "content": "tap" } });
    let menu = |texts: usize, clicks: usize| {
        let list = [vec![text.clone(); texts], vec![click.clone(); clicks]].concat();
        json!({ "list": list })
    };
    let cases = [
        (menu(40, 10), 0),
        (menu(41, 10), 95008),
        (menu(51, 0), 95008),
        (menu(0, 11), 95008),
        (menu(0, 0), 40058),
        (json!({ "head_content": "only words" }), 0),
        (
            json!({ "head_content": "h".repeat(1024), "tail_content": "t".repeat(1024) }),
            0,
        ),
        (json!({ "head_content": "h".repeat(1025) }), 40058),
        (json!({ "head_content": "h", "tail_content": "t".repeat(1025) }), 40058),
        (json!({ "list": "none" }), 40058),
    ];
    check(&client, "msgmenu", &cases).await;
}

#[tokio::test]
async fn each_entry_of_a_menu_has_limits_of_its_own() {
    let (_simulator, client) = start().await;
    let long = |length| Value::from("x".repeat(length));
    let entries = [
        (
            json!({ "type": "click", "click": { "id": long(128), "content": long(128) } }),
            0,
        ),
        (
            json!({ "type": "click", "click": { "id": long(129), "content": "c" } }),
            40058,
        ),
        (json!({ "type": "click", "click": { "id": "", "content": "c" } }), 40058),
        (
            json!({ "type": "click", "click": { "id": "i", "content": long(129) } }),
            40058,
        ),
        (json!({ "type": "click", "click": { "id": "i" } }), 40058),
        (json!({ "type": "click" }), 40058),
        (
            json!({ "type": "view", "view": { "url": long(2048), "content": long(1024) } }),
            0,
        ),
        (
            json!({ "type": "view", "view": { "url": long(2049), "content": "c" } }),
            40058,
        ),
        (
            json!({ "type": "view", "view": { "url": "u", "content": long(1025) } }),
            40058,
        ),
        (json!({ "type": "view", "view": { "content": "c" } }), 40058),
        (
            json!({ "type": "miniprogram", "miniprogram": { "appid": "wx1", "pagepath": "p", "content": "c" } }),
            0,
        ),
        (
            json!({ "type": "miniprogram", "miniprogram": { "appid": long(33), "pagepath": "p" } }),
            40058,
        ),
        (
            json!({ "type": "miniprogram", "miniprogram": { "appid": "wx1", "pagepath": long(1025) } }),
            40058,
        ),
        (
            json!({ "type": "text", "text": { "content": long(256), "no_newline": 1 } }),
            0,
        ),
        (json!({ "type": "text", "text": { "content": long(257) } }), 40058),
        (json!({ "type": "text", "text": { "content": "" } }), 40058),
        (json!({ "type": "button", "button": {} }), 95009),
        (json!({ "click": { "content": "c" } }), 95009),
        (json!(7), 95009),
    ];
    for (entry, errcode) in entries {
        check(&client, "msgmenu", &[(json!({ "list": [entry] }), errcode)]).await;
    }
}
