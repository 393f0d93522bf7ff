//! What is refused before it is sent.

use super::*;
use crate::api::Unit;

fn click(content: &str) -> MenuItem {
    MenuItem::Click {
        id: None,
        content: content.into(),
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
