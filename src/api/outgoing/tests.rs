use serde_json::json;

use super::*;
use crate::api::Unit;
use crate::id::{MediaId, ServicerUserid};

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

fn click(content: &str) -> MenuItem {
    MenuItem::Click {
        id: None,
        content: content.into(),
    }
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

/// What is said of `message` before it is sent.
fn refusal(message: &Outgoing) -> String {
    message.check().unwrap_err().to_string()
}

fn refused_menu(list: Vec<MenuItem>) -> String {
    refusal(&Outgoing::Msgmenu(Msgmenu { list, ..menu() }))
}

#[test]
fn limits_are_counted_in_bytes_and_named() {
    Outgoing::text("a".repeat(2048)).check().unwrap();
    let error = Outgoing::text("客".repeat(683)).check().unwrap_err();
    assert_eq!(error.to_string(), "text.content has 2049 bytes, more than 2048");
    assert!(matches!(
        error,
        FieldError::TooLarge {
            limit: 2048,
            actual: 2049,
            unit: Unit::Bytes,
            ..
        }
    ));
    assert_eq!(refusal(&Outgoing::text("")), "text.content is empty");

    let media = Media {
        media_id: MediaId::from(""),
    };
    assert_eq!(refusal(&Outgoing::Voice(media)), "voice.media_id is empty");
}

#[test]
fn every_field_of_a_card_is_held_to_its_limit() {
    let link = |change: fn(&mut Link)| {
        let mut link = Link {
            title: "t".repeat(128),
            desc: Some("d".repeat(512)),
            url: format!("https://{}", "u".repeat(2040)),
            thumb_media_id: MediaId::from("MEDIA"),
        };
        Outgoing::Link(link.clone()).check().unwrap();
        change(&mut link);
        refusal(&Outgoing::Link(link))
    };
    assert_eq!(link(|l| l.title.push('t')), "link.title has 129 bytes, more than 128");
    assert_eq!(link(|l| l.title.clear()), "link.title is empty");
    assert_eq!(
        link(|l| l.desc = Some("d".repeat(513))),
        "link.desc has 513 bytes, more than 512"
    );
    assert_eq!(link(|l| l.url.push('u')), "link.url has 2049 bytes, more than 2048");
    assert_eq!(
        link(|l| l.url = "work.weixin.qq.com".into()),
        "link.url must begin with https:// or http://"
    );
    assert_eq!(
        link(|l| l.url = "javascript://x".into()),
        "link.url must begin with https:// or http://"
    );
    assert_eq!(
        link(|l| l.thumb_media_id = MediaId::from("")),
        "link.thumb_media_id is empty"
    );

    let program = |change: fn(&mut Miniprogram)| {
        let mut program = Miniprogram {
            appid: "wx1".into(),
            title: Some("t".repeat(64)),
            thumb_media_id: MediaId::from("MEDIA"),
            pagepath: "pages/index.html".into(),
        };
        Outgoing::Miniprogram(program.clone()).check().unwrap();
        change(&mut program);
        refusal(&Outgoing::Miniprogram(program))
    };
    assert_eq!(program(|p| p.appid.clear()), "miniprogram.appid is empty");
    assert_eq!(
        program(|p| p.title = Some("t".repeat(65))),
        "miniprogram.title has 65 bytes, more than 64"
    );
    assert_eq!(
        program(|p| p.thumb_media_id = MediaId::from("")),
        "miniprogram.thumb_media_id is empty"
    );
    assert_eq!(program(|p| p.pagepath.clear()), "miniprogram.pagepath is empty");
    assert_eq!(
        program(|p| p.pagepath = "pages/index?x=.html".into()),
        "miniprogram.pagepath must end in .html, before any ?"
    );

    let place = |latitude, longitude| {
        let (name, address) = (None, None);
        Outgoing::Location(Location {
            name,
            address,
            latitude,
            longitude,
        })
    };
    place(-90.0, 180.0).check().unwrap();
    assert_eq!(
        refusal(&place(90.5, 0.0)),
        "location.latitude must be between -90 and 90"
    );
    assert_eq!(
        refusal(&place(f64::NAN, 0.0)),
        "location.latitude must be between -90 and 90"
    );
    assert_eq!(
        refusal(&place(0.0, -181.0)),
        "location.longitude must be between -180 and 180"
    );

    let link_url = String::new();
    assert_eq!(
        refusal(&Outgoing::CaLink(CaLink { link_url })),
        "ca_link.link_url is empty"
    );
    let userid = ServicerUserid::from("");
    assert_eq!(
        refusal(&Outgoing::BusinessCard(BusinessCard { userid })),
        "business_card.userid is empty"
    );
}

#[test]
fn a_menu_is_held_to_its_limits() {
    let words = |content: &str| MenuItem::Text {
        content: content.into(),
        no_newline: None,
    };
    let full = [vec![words("w"); 40], vec![click("c"); 10]].concat();
    Outgoing::Msgmenu(Msgmenu {
        list: full.clone(),
        ..menu()
    })
    .check()
    .unwrap();

    let overfull = [full, vec![words("w")]].concat();
    assert_eq!(refused_menu(overfull), "msgmenu.list has 51 items, more than 50");
    assert_eq!(
        refused_menu(vec![click("c"); 11]),
        "msgmenu.list (click, view and miniprogram) has 11 items, more than 10"
    );
    assert_eq!(refusal(&Outgoing::Msgmenu(Msgmenu::default())), "msgmenu is empty");
    let head_content = Some("h".repeat(1025));
    assert_eq!(
        refusal(&Outgoing::Msgmenu(Msgmenu { head_content, ..menu() })),
        "msgmenu.head_content has 1025 bytes, more than 1024"
    );
    let tail_content = Some("t".repeat(1025));
    assert_eq!(
        refusal(&Outgoing::Msgmenu(Msgmenu { tail_content, ..menu() })),
        "msgmenu.tail_content has 1025 bytes, more than 1024"
    );
}

#[test]
fn every_field_of_a_menu_item_is_held_to_its_limit() {
    let program = |appid: &str, pagepath: &str, content: &str| MenuItem::Miniprogram {
        appid: appid.into(),
        pagepath: pagepath.into(),
        content: content.into(),
    };
    let view = |url: &str, content: &str| MenuItem::View {
        url: url.into(),
        content: content.into(),
    };
    let long = "x".repeat(2049);
    for (item, complaint) in [
        (click(""), "click.content is empty"),
        (click(&long[..129]), "click.content has 129 bytes, more than 128"),
        (
            MenuItem::Click {
                id: Some(long[..129].into()),
                content: "c".into(),
            },
            "click.id has 129 bytes, more than 128",
        ),
        (view("", "c"), "view.url is empty"),
        (view("a.example", "c"), "view.url must begin with https:// or http://"),
        (view("https://a.example", ""), "view.content is empty"),
        (
            view("https://a.example", &long[..1025]),
            "view.content has 1025 bytes, more than 1024",
        ),
        (program("", "p", "c"), "miniprogram.appid is empty"),
        (
            program(&long[..33], "p", "c"),
            "miniprogram.appid has 33 bytes, more than 32",
        ),
        (program("a", "", "c"), "miniprogram.pagepath is empty"),
        (
            program("a", &long[..1025], "c"),
            "miniprogram.pagepath has 1025 bytes, more than 1024",
        ),
        (
            program("a", "p", &long[..1025]),
            "miniprogram.content has 1025 bytes, more than 1024",
        ),
        (
            MenuItem::Text {
                content: String::new(),
                no_newline: None,
            },
            "text.content is empty",
        ),
        (
            MenuItem::Text {
                content: long[..257].into(),
                no_newline: None,
            },
            "text.content has 257 bytes, more than 256",
        ),
    ] {
        assert_eq!(
            refused_menu(vec![click("fine"), item]),
            format!("msgmenu.list[1].{complaint}")
        );
    }
}

#[test]
fn an_event_is_answered_with_words_or_a_small_menu_and_nothing_else() {
    for (message, json) in samples() {
        let read = serde_json::from_value::<EventMessage>(json.clone());
        match message {
            Outgoing::Text(_) | Outgoing::Msgmenu(_) => {
                let read = read.unwrap();
                read.check().unwrap();
                assert_eq!(serde_json::to_value(&read).unwrap(), json);
            }
            other => assert_eq!(
                read.unwrap_err().to_string(),
                format!(
                    "msgtype \"{}\" cannot answer an event: only text and msgmenu can",
                    other.msgtype()
                )
            ),
        }
    }
    let words = MenuItem::Text {
        content: "w".into(),
        no_newline: None,
    };
    let menu = |items| {
        EventMessage::Msgmenu(Msgmenu {
            list: vec![words.clone(); items],
            ..menu()
        })
    };
    menu(10).check().unwrap();
    assert_eq!(
        menu(11).check().unwrap_err().to_string(),
        "msgmenu.list has 11 items, more than 10"
    );
    assert_eq!(
        EventMessage::text("").check().unwrap_err().to_string(),
        "text.content is empty"
    );
}

#[test]
fn a_long_text_becomes_several_and_an_empty_one_stays_refused() {
    let texts = Outgoing::texts(&"客".repeat(1000));
    assert_eq!(texts.len(), 2);
    assert!(texts.iter().all(|text| text.check().is_ok()));
    assert_eq!(Outgoing::texts("")[0].check(), Err(FieldError::empty("text.content")));
}
