//! An auto reply by itself, and one that talks to customers of a simulated WeCom.

use std::time::Duration;

use super::step::Step;
use super::*;
use crate::api::EventMessage;
use crate::api::outgoing::{MenuItem, Msgmenu};

mod step;
mod talk;

fn says(words: &str) -> EventMessage {
    EventMessage::text(words)
}

fn menu(words: &str, entries: &[(&str, &str)]) -> EventMessage {
    let entry = |(id, text): &(&str, &str)| MenuItem::Click {
        id: Some((*id).to_owned()),
        content: (*text).to_owned(),
    };
    EventMessage::Msgmenu(Msgmenu {
        head_content: Some(words.to_owned()),
        list: entries.iter().map(entry).collect(),
        tail_content: None,
    })
}

fn rule(keywords: &[&str], matching: Match, menu_id: Option<&str>, answer: Answer) -> Rule {
    Rule {
        keywords: keywords.iter().map(|&word| Keyword::new(word).unwrap()).collect(),
        matching,
        menu_id: menu_id.map(Into::into),
        answer,
    }
}

/// A small shop that is always open.
fn shop() -> Settings {
    Settings {
        welcome: Some(menu("Welcome!", &[("price", "Prices"), ("human", "A person")])),
        rules: vec![
            rule(
                &["price list"],
                Match::Contains,
                None,
                Answer::Say(says("See our web site.")),
            ),
            rule(
                &["price", "价格"],
                Match::Contains,
                Some("price"),
                Answer::Say(says("25 yuan.")),
            ),
            rule(&["human", "人工"], Match::Exact, Some("human"), Answer::HandOver),
        ],
        hours: None,
        fallback: Some(Notice {
            content: menu("Pardon?", &[("price", "Prices")]),
            every: Duration::from_mins(10),
        }),
        hand_over: HandOver {
            servicer_userid: None,
            reply: Some(says("One moment.")),
        },
    }
}

/// The same, open from nine to six in China.
fn shop_with_hours() -> Settings {
    let open = OpeningHours {
        utc_offset: UtcOffset::CHINA,
        stretches: vec!["Mon-Sun 09:00-18:00".parse().unwrap()],
    };
    let closed = Notice {
        content: says("Back at nine."),
        every: Duration::from_hours(8),
    };
    Settings {
        hours: Some(Hours { open, closed }),
        ..shop()
    }
}
