//! Outgoing messages, written and read.

use serde_json::json;

use super::*;
use crate::id::{MediaId, ServicerUserid};

mod limits;

/// One message of every type as the documents have it.
fn samples() -> Vec<(Outgoing, Value)> {
    let media = || Media {
        media_id: MediaId::from("MEDIA"),
    };
    let body = |msgtype: &str, body: Value| json!({ "msgtype": msgtype, msgtype: body });
    vec![
        (Outgoing::text("你好"), body("text", json!({ "content": "你好" }))),
        (Outgoing::Image(media()), body("image", json!({ "media_id": "MEDIA" }))),
        (Outgoing::Voice(media()), body("voice", json!({ "media_id": "MEDIA" }))),
        (Outgoing::Video(media()), body("video", json!({ "media_id": "MEDIA" }))),
        (Outgoing::File(media()), body("file", json!({ "media_id": "MEDIA" }))),
        (
            Outgoing::Link(Link {
                title: "企业如何增长".into(),
                desc: Some("说明".into()),
                url: "https://work.weixin.qq.com".into(),
                thumb_media_id: MediaId::from("MEDIA"),
            }),
            body(
                "link",
                json!({
                    "title": "企业如何增长",
                    "desc": "说明",
                    "url": "https://work.weixin.qq.com",
                    "thumb_media_id": "MEDIA",
                }),
            ),
        ),
        (
            Outgoing::Miniprogram(Miniprogram {
                appid: "wx1".into(),
                title: None,
                thumb_media_id: MediaId::from("MEDIA"),
                pagepath: "pages/index.html?a=b".into(),
            }),
            body(
                "miniprogram",
                json!({ "appid": "wx1", "thumb_media_id": "MEDIA", "pagepath": "pages/index.html?a=b" }),
            ),
        ),
        (Outgoing::Msgmenu(menu()), menu_json()),
        (
            Outgoing::Location(Location {
                name: Some("西湖".into()),
                address: None,
                latitude: 30.25,
                longitude: 120.125,
            }),
            body(
                "location",
                json!({ "name": "西湖", "latitude": 30.25, "longitude": 120.125 }),
            ),
        ),
        (
            Outgoing::CaLink(CaLink {
                link_url: "https://work.weixin.qq.com/ca/xxxxxx".into(),
            }),
            body("ca_link", json!({ "link_url": "https://work.weixin.qq.com/ca/xxxxxx" })),
        ),
        (
            Outgoing::BusinessCard(BusinessCard {
                userid: ServicerUserid::from("zhangsan"),
            }),
            body("business_card", json!({ "userid": "zhangsan" })),
        ),
    ]
}

fn menu() -> Msgmenu {
    Msgmenu {
        head_content: Some("您对本次服务是否满意呢? ".into()),
        list: vec![
            MenuItem::Click {
                id: Some("101".into()),
                content: "满意".into(),
            },
            MenuItem::View {
                url: "https://work.weixin.qq.com".into(),
                content: "点击跳转到自助查询页面".into(),
            },
            MenuItem::Miniprogram {
                appid: "wx123123123123123".into(),
                pagepath: "pages/index?userid=zhangsan&orderid=123123123".into(),
                content: "点击打开小程序查询更多".into(),
            },
            MenuItem::Text {
                content: "纯文本，支持\\n换行".into(),
                no_newline: Some(false),
            },
        ],
        tail_content: Some("欢迎再次光临".into()),
    }
}

fn menu_json() -> Value {
    json!({
        "msgtype": "msgmenu",
        "msgmenu": {
            "head_content": "您对本次服务是否满意呢? ",
            "list": [
                { "type": "click", "click": { "id": "101", "content": "满意" } },
                { "type": "view", "view": { "url": "https://work.weixin.qq.com", "content": "点击跳转到自助查询页面" } },
                {
                    "type": "miniprogram",
                    "miniprogram": {
                        "appid": "wx123123123123123",
                        "pagepath": "pages/index?userid=zhangsan&orderid=123123123",
                        "content": "点击打开小程序查询更多",
                    },
                },
                { "type": "text", "text": { "content": "纯文本，支持\\n换行", "no_newline": 0 } },
            ],
            "tail_content": "欢迎再次光临",
        },
    })
}

#[test]
fn every_type_is_written_and_read_as_documented() {
    let samples = samples();
    for (message, json) in &samples {
        assert_eq!(serde_json::to_value(message).unwrap(), *json);
        assert_eq!(serde_json::from_value::<Outgoing>(json.clone()).unwrap(), *message);
        message.check().unwrap();
    }
    let types: Vec<_> = samples.iter().map(|(message, _)| message.msgtype()).collect();
    assert_eq!(types, Outgoing::MSGTYPES);
}

#[test]
fn what_a_program_got_wrong_is_named_and_what_it_says_is_not_quoted() {
    for (message, complaint) in [
        (json!([]), "the message must be an object, not a list"),
        (json!("客户"), "the message must be an object, not a string"),
        (json!({}), "msgtype is missing"),
        (json!({ "msgtype": 1 }), "msgtype must be a string, not a number"),
        (json!({ "msgtype": "text" }), "text is missing"),
        (json!({ "msgtype": "text", "text": null }), "text is missing"),
        (
            json!({ "msgtype": "text", "text": "客户" }),
            "text must be an object, not a string",
        ),
        (json!({ "msgtype": "text", "text": {} }), "text.content is missing"),
        (
            json!({ "msgtype": "text", "text": { "content": ["客户"] } }),
            "text.content must be a string, not a list",
        ),
        (
            json!({ "msgtype": "image", "image": { "media_id": 7 } }),
            "image.media_id must be a string, not a number",
        ),
        (
            json!({ "msgtype": "location", "location": { "latitude": "客户" } }),
            "location.latitude must be a number, not a string",
        ),
        (
            json!({ "msgtype": "link", "link": { "title": "客户", "url": "https://a.example", "desc": {} } }),
            "link.desc must be a string, not an object",
        ),
        (
            json!({ "msgtype": "msgmenu", "msgmenu": { "list": {} } }),
            "msgmenu.list must be a list, not an object",
        ),
        (
            json!({ "msgtype": "msgmenu", "msgmenu": { "list": ["客户"] } }),
            "msgmenu.list[0] must be an object, not a string",
        ),
        (
            json!({ "msgtype": "msgmenu", "msgmenu": { "list": [{ "type": "click", "view": {} }] } }),
            "msgmenu.list[0].click is missing",
        ),
        (
            json!({ "msgtype": "msgmenu", "msgmenu": { "list": [{ "type": "button" }] } }),
            "msgmenu.list[0].type \"button\" is none of click, view, miniprogram, text",
        ),
        (
            json!({ "msgtype": "msgmenu", "msgmenu": { "list": [
                { "type": "text", "text": { "content": "a", "no_newline": true } },
                { "type": "text", "text": { "content": "a", "no_newline": 2 } },
            ] } }),
            "msgmenu.list[1].text.no_newline must be 0 or 1",
        ),
    ] {
        let error = serde_json::from_value::<Outgoing>(message.clone()).unwrap_err();
        assert_eq!(error.to_string(), complaint, "{message}");
    }
}

#[test]
fn an_unknown_type_is_quoted_if_it_looks_like_a_name() {
    let refusal = |msgtype: &str| {
        Outgoing::from_json(&json!({ "msgtype": msgtype }))
            .unwrap_err()
            .to_string()
    };
    let known =
        "is none of text, image, voice, video, file, link, miniprogram, msgmenu, location, ca_link, business_card";
    assert_eq!(refusal("markdown"), format!("msgtype \"markdown\" {known}"));
    assert_eq!(refusal("my number is 555"), format!("msgtype {known}"));
}

#[test]
fn other_fields_and_null_are_passed_over() {
    let message = json!({
        "msgtype": "text",
        "touser": "wm1",
        "text": { "content": "a", "menu_id": null, "more": 1 },
        "image": null,
    });
    assert_eq!(Outgoing::from_json(&message).unwrap(), Outgoing::text("a"));
    let message = json!({ "msgtype": "msgmenu", "msgmenu": { "head_content": "a", "list": null } });
    let menu = Msgmenu {
        head_content: Some("a".into()),
        ..Msgmenu::default()
    };
    assert_eq!(Outgoing::from_json(&message).unwrap(), Outgoing::Msgmenu(menu));
}

#[test]
fn empty_options_are_not_sent() {
    let menu = Msgmenu {
        head_content: Some("a".into()),
        tail_content: Some(String::new()),
        list: vec![MenuItem::Click {
            id: Some(String::new()),
            content: "b".into(),
        }],
    };
    assert_eq!(
        serde_json::to_value(Outgoing::Msgmenu(menu)).unwrap()["msgmenu"],
        json!({ "head_content": "a", "list": [{ "type": "click", "click": { "content": "b" } }] })
    );
}

#[test]
fn debug_output_shows_nothing_of_what_is_said() {
    for (message, _) in samples() {
        let shown = format!("{message:?} {message:#?}");
        for said in ["你好", "企业", "满意", "光临", "西湖", "30.25", "wx1", "weixin"] {
            assert!(!shown.contains(said), "{shown}");
        }
    }
}
