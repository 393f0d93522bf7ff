//! What `[[handlers]]` of kind "auto_reply" says beyond what every handler does.

use super::raw::{self, Span};
use super::section::{LONGEST, Section};
use crate::handler::auto_reply::{
    Answer, HandOver, Hours, Keyword, Match, Notice, OpeningHours, Rule, Settings, Stretch, UtcOffset,
};
use crate::id::ServicerUserid;

mod loose_ends;
mod message;

pub(super) use message::{entries, words_of};

use message::{menu_id, message, spoken};

/// Least time between two notices that nobody is there: a night, once.
const CLOSED_EVERY: Span = Span::hours(8);
/// Least time between two fallbacks: people ask in several messages.
const FALLBACK_EVERY: Span = Span::mins(10);
/// A shorter time is none, and WeCom tells time in seconds.
const LEAST_EVERY: Span = Span::secs(1);

/// Words for how keywords are looked for.
const MATCHES: [(&str, Match); 2] = [("contains", Match::Contains), ("exact", Match::Exact)];

/// Word for `matching`.
pub(super) fn match_word(matching: Match) -> &'static str {
    let word = MATCHES.iter().find(|(_, meaning)| *meaning == matching);
    word.map_or("", |(word, _)| word)
}

/// The keys of an auto reply.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) welcome: Option<raw::Welcome>,
    pub(super) rules: Option<Vec<raw::Rule>>,
    pub(super) hours: Option<raw::Hours>,
    pub(super) fallback: Option<raw::Fallback>,
    pub(super) hand_over: Option<raw::HandOver>,
}

impl Raw {
    /// Tells of every key that is set although the handler is of another `kind`.
    pub(super) fn refuse(&self, kind: &str, section: &mut Section<'_>) {
        let keys = [
            ("welcome", self.welcome.is_some()),
            ("rules", self.rules.is_some()),
            ("hours", self.hours.is_some()),
            ("fallback", self.fallback.is_some()),
            ("hand_over", self.hand_over.is_some()),
        ];
        section.refuse_keys_of("auto_reply", kind, &keys);
    }
}

/// Reads an auto reply. `None` if anything is wrong with it.
pub(super) fn auto_reply(raw: Raw, section: &mut Section<'_>) -> Option<Settings> {
    let says = [raw.welcome.is_some(), raw.hours.is_some(), raw.fallback.is_some()];
    if !says.contains(&true) && raw.rules.as_ref().is_none_or(Vec::is_empty) {
        let what = "missing: without [[handlers.rules]], [handlers.welcome], [handlers.hours] or [handlers.fallback] \
                    there is nothing to say";
        section.wrong("rules", what);
    }
    let is_handing_over = raw.hand_over.is_some();
    let welcome = some(raw.welcome, |raw| {
        message(raw.reply, raw.menu, &mut section.at("welcome"))
    });
    let rules = rules(raw.rules.unwrap_or_default(), section);
    let hours = some(raw.hours, |raw| hours(raw, &mut section.at("hours")));
    let fallback = some(raw.fallback, |raw| fallback(raw, &mut section.at("fallback")));
    let hand_over = hand_over(raw.hand_over.unwrap_or_default(), &mut section.at("hand_over"));
    let settings = Settings {
        welcome: welcome?,
        rules: rules?,
        hours: hours?,
        fallback: fallback?,
        hand_over: hand_over?,
    };
    if is_handing_over && settings.rules.iter().all(|rule| rule.answer != Answer::HandOver) {
        section.warn("hand_over", "no rule has hand_over = true, so nobody is handed over");
    }
    loose_ends::warn(&settings, section);
    Some(settings)
}

/// Reads what is there. The outer `None` is something wrong, the inner one nothing.
fn some<R, T>(raw: Option<R>, read: impl FnOnce(R) -> Option<T>) -> Option<Option<T>> {
    match raw {
        None => Some(None),
        Some(raw) => read(raw).map(Some),
    }
}

fn rules(raw: Vec<raw::Rule>, section: &mut Section<'_>) -> Option<Vec<Rule>> {
    let ids: Vec<_> = raw.iter().map(|rule| rule.menu_id.clone()).collect();
    for (index, id) in ids.iter().enumerate().filter(|(_, id)| id.is_some()) {
        if let Some(first) = ids[..index].iter().position(|earlier| earlier == id) {
            let what = format!("is that of rules[{first}] already, which comes first: merge the two");
            section.wrong(&format!("rules[{index}].menu_id"), what);
        }
    }
    let numbered = raw.into_iter().enumerate();
    let rules: Vec<_> = numbered
        .map(|(index, raw)| rule(raw, &mut section.at(&format!("rules[{index}]"))))
        .collect();
    rules.into_iter().collect()
}

fn rule(raw: raw::Rule, section: &mut Section<'_>) -> Option<Rule> {
    if raw.keywords.as_ref().is_none_or(Vec::is_empty) && raw.menu_id.is_none() {
        section.wrong(
            "keywords",
            "missing: write what customers ask with, [\"price\", \"价格\"], or the menu_id of what they tap",
        );
    }
    let matching = match raw.r#match {
        None => Some(Match::default()),
        Some(word) => section.choice("match", &word, &MATCHES),
    };
    let keywords = raw.keywords.unwrap_or_default().into_iter().enumerate();
    let keywords: Vec<_> = keywords
        .map(|(index, written)| {
            let keyword = Keyword::new(written);
            keyword
                .map_err(|error| {
                    section.wrong(
                        &format!("keywords[{index}]"),
                        format!("{error}: write a word, or remove it"),
                    )
                })
                .ok()
        })
        .collect();
    let menu_id = some(raw.menu_id, |id| menu_id("menu_id", id, section).map(Into::into));
    let answer = match raw.hand_over {
        Some(true) => {
            for (key, given) in [("reply", raw.reply.is_some()), ("menu", raw.menu.is_some())] {
                if given {
                    let what = "does not go with hand_over = true: what the customer hears then is the reply of \
                                [handlers.hand_over]";
                    section.wrong(key, what);
                }
            }
            Some(Answer::HandOver)
        }
        Some(false) | None if raw.reply.is_none() && raw.menu.is_none() => {
            section.wrong(
                "reply",
                "missing: what to answer, or hand_over = true to fetch a person",
            );
            None
        }
        Some(false) | None => message(raw.reply, raw.menu, section).map(Answer::Say),
    };
    Some(Rule {
        keywords: keywords.into_iter().collect::<Option<_>>()?,
        matching: matching?,
        menu_id: menu_id?,
        answer: answer?,
    })
}

fn hours(raw: raw::Hours, section: &mut Section<'_>) -> Option<Hours> {
    let utc_offset = match raw.utc_offset {
        None => Some(UtcOffset::CHINA),
        Some(text) => parsed("utc_offset", &text, section),
    };
    let open = section.required(
        "open",
        raw.open,
        "when somebody is there, such as [\"Mon-Fri 09:00-18:00\"]",
    );
    if open.as_ref().is_some_and(Vec::is_empty) {
        section.wrong(
            "open",
            "is empty: write when somebody is there, such as [\"Mon-Fri 09:00-18:00\"]",
        );
    }
    let stretches: Vec<Option<Stretch>> = open
        .iter()
        .flatten()
        .enumerate()
        .map(|(index, text)| parsed(&format!("open[{index}]"), text, section))
        .collect();
    let closed = spoken(
        "closed_reply",
        raw.closed_reply,
        "what to say while nobody is there",
        section,
    );
    let every = section.duration("every", raw.every.unwrap_or(CLOSED_EVERY), LEAST_EVERY.0..=LONGEST);
    let open = OpeningHours {
        utc_offset: utc_offset?,
        stretches: open.and(stretches.into_iter().collect::<Option<_>>())?,
    };
    let closed = Notice {
        content: closed?,
        every: every?,
    };
    Some(Hours { open, closed })
}

/// Reads a text that has a form of its own.
fn parsed<T>(key: &str, text: &str, section: &mut Section<'_>) -> Option<T>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse()
        .map_err(|error| section.wrong(key, format!("{text:?} {error}")))
        .ok()
}

fn fallback(raw: raw::Fallback, section: &mut Section<'_>) -> Option<Notice> {
    let content = message(raw.reply, raw.menu, section);
    let every = section.duration("every", raw.every.unwrap_or(FALLBACK_EVERY), LEAST_EVERY.0..=LONGEST);
    Some(Notice {
        content: content?,
        every: every?,
    })
}

fn hand_over(raw: raw::HandOver, section: &mut Section<'_>) -> Option<HandOver> {
    let servicer_userid = some(raw.servicer_userid, |id| {
        if id.trim().is_empty() {
            section.wrong(
                "servicer_userid",
                "is empty: write a colleague's userid, or leave it out for the pool",
            );
            return None;
        }
        Some(ServicerUserid::new(id))
    });
    let reply = some(raw.reply, |reply| spoken("reply", Some(reply), "what to say", section));
    Some(HandOver {
        servicer_userid: servicer_userid?,
        reply: reply?,
    })
}
