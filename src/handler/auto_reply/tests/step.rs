//! What is to be done about each message.

use serde_json::json;

use super::*;
use crate::handler::samples::{decoded, every_name, read};
use crate::message::{Content, Origin};

/// 2026-08-01, a Saturday, in China: seconds at noon and at eight in the evening.
const NOON: u64 = 1_785_556_800;
const EVENING: u64 = NOON + 8 * 3600;

fn text_from(origin: u32, text: &str, menu_id: Option<&str>, send_time: u64) -> Message {
    let mut body = json!({ "content": text });
    if let Some(id) = menu_id {
        body["menu_id"] = json!(id);
    }
    let item = json!({
        "msgid": "m", "open_kfid": "wk1", "external_userid": "wm1", "send_time": send_time, "origin": origin,
        "msgtype": "text", "text": body,
    });
    decoded(&item.to_string())
}

fn written(text: &str) -> Message {
    text_from(3, text, None, NOON)
}

fn tapped(menu_id: &str, text: &str) -> Message {
    text_from(3, text, Some(menu_id), NOON)
}

/// In one word, or in the words that are said, what is to be done.
fn step(settings: &Settings, message: &Message) -> String {
    let content = match settings.step(message) {
        None => return "nothing".to_owned(),
        Some(Step::HandOver) => return "hand over".to_owned(),
        Some(Step::Welcome(content) | Step::Reply(_, content)) => content,
        Some(Step::Notice(_, notice)) => &notice.content,
    };
    match content {
        EventMessage::Text(text) => text.content.clone(),
        EventMessage::Msgmenu(menu) => menu.head_content.clone().unwrap(),
    }
}

#[test]
fn the_first_rule_with_a_keyword_in_the_text_decides() {
    for (text, expected) in [
        ("What is the price?", "25 yuan."),
        ("Where is the PRICE LIST?", "See our web site."),
        ("请问 价格", "25 yuan."),
        ("人工！", "hand over"),
        ("人工智能", "Pardon?"),
        ("price of a human", "25 yuan."),
        ("", "Pardon?"),
    ] {
        assert_eq!(step(&shop(), &written(text)), expected, "{text}");
    }
}

#[test]
fn a_tap_goes_to_its_rule_before_any_keyword() {
    assert_eq!(step(&shop(), &tapped("price", "人工")), "25 yuan.");
    assert_eq!(step(&shop(), &tapped("human", "price list")), "hand over");
    assert_eq!(
        step(&shop(), &tapped("from_elsewhere", "price")),
        "25 yuan.",
        "words of an entry that no rule knows count as typed"
    );
    let mut without_ids = shop();
    without_ids.rules.iter_mut().for_each(|rule| rule.menu_id = None);
    assert_eq!(step(&without_ids, &tapped("price", "?")), "Pardon?");
}

#[test]
fn outside_of_the_hours_rules_answer_and_nobody_is_fetched() {
    let at = |text, time| step(&shop_with_hours(), &text_from(3, text, None, time));
    for (text, open, closed) in [
        ("price", "25 yuan.", "25 yuan."),
        ("human", "hand over", "Back at nine."),
        ("blah", "Pardon?", "Back at nine."),
    ] {
        assert_eq!(at(text, NOON), open, "{text}");
        assert_eq!(at(text, EVENING), closed, "{text}");
    }
}

#[test]
fn whoever_asks_for_a_person_is_told_each_time_that_nobody_is_there_and_others_once_in_a_while() {
    let settings = shop_with_hours();
    let of = |text| text_from(3, text, None, EVENING);
    let (asked, said) = (of("human"), of("blah"));
    assert!(matches!(settings.step(&asked), Some(Step::Reply("closed", _))));
    assert!(matches!(settings.step(&said), Some(Step::Notice("closed", _))));
}

#[test]
fn what_is_no_text_gets_the_fallback() {
    let mut others = 0;
    for name in every_name() {
        let message = read(&name);
        if message.origin == Origin::Customer && !matches!(message.content, Content::Text(_)) {
            assert_eq!(step(&shop(), &message), "Pardon?", "{name}");
            others += 1;
        }
    }
    assert!(others > 10, "{others}");
}

#[test]
fn whoever_comes_is_welcomed_and_no_other_event_is_answered() {
    let mut events = 0;
    for name in every_name() {
        let message = read(&name);
        if message.origin == Origin::Event {
            let expected = match name.starts_with("event_enter_session") {
                true => "Welcome!",
                false => "nothing",
            };
            // An event of a type that is not known is nothing that a customer wrote.
            assert_eq!(step(&shop_with_hours(), &message), expected, "{name}");
            events += 1;
        }
    }
    assert!(events > 10, "{events}");
}

#[test]
fn colleagues_are_not_answered() {
    assert_eq!(step(&shop(), &text_from(5, "price", None, NOON)), "nothing");
    assert_eq!(step(&shop(), &read("text_from_servicer")), "nothing");
    assert_eq!(step(&shop(), &text_from(9, "price", None, NOON)), "nothing");
}

#[test]
fn what_is_not_there_is_not_said() {
    let nothing = Settings::default();
    for message in [written("price"), read("image"), read("event_enter_session")] {
        assert_eq!(step(&nothing, &message), "nothing");
    }
    let without_fallback = Settings {
        fallback: None,
        ..shop()
    };
    assert_eq!(step(&without_fallback, &written("blah")), "nothing");
    assert_eq!(step(&without_fallback, &written("price")), "25 yuan.");
}

#[test]
fn a_rule_forestalls_another_where_it_answers_all_that_the_other_would() {
    use Match::{Contains, Exact};
    for (first, keyword, second, forestalls) in [
        (Contains, "price", Contains, true),
        (Contains, "PRICE", Contains, true),
        (Contains, "price list", Contains, true),
        (Contains, "pric", Contains, false),
        (Contains, "price!", Exact, true),
        (Exact, "price", Exact, true),
        (Exact, "price!", Exact, true),
        (Exact, "price list", Exact, false),
        (Exact, "price", Contains, false),
    ] {
        let [first, second] = [(first, "price"), (second, keyword)]
            .map(|(matching, word)| rule(&[word], matching, None, Answer::HandOver));
        let keyword = &second.keywords[0];
        assert_eq!(
            first.forestalls(&second, keyword),
            forestalls,
            "{first:?} before {second:?}"
        );
    }
}
