//! What `[[handlers]]` of kind "auto_reply" says beyond what every handler does.

use super::findings::did_you_mean;
use super::raw::{self, Span};
use super::section::{LONGEST, Section};
use crate::api::outgoing::{MenuItem, Msgmenu};
use crate::api::{EventMessage, FieldError, Unit};
use crate::handler::auto_reply::{
    Answer, HandOver, Hours, Keyword, Match, Notice, OpeningHours, Rule, Settings, Stretch, UtcOffset,
};
use crate::id::ServicerUserid;

/// Least time between two notices that nobody is there: a night, once.
const CLOSED_EVERY: Span = Span::hours(8);
/// Least time between two fallbacks: people ask in several messages.
const FALLBACK_EVERY: Span = Span::mins(10);
/// A shorter time is none, and WeCom tells time in seconds.
const LEAST_EVERY: Span = Span::secs(1);

/// Longest id of a menu entry, in bytes.
const MENU_ID_BYTES: usize = 128;

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
        let what = "\"auto_reply\" has nothing to say: give it [handlers.welcome], [[handlers.rules]], \
                    [handlers.hours] or [handlers.fallback]";
        section.wrong("kind", what);
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
    warn_of_loose_ends(&settings, section);
    warn_of_idle_keywords(&settings.rules, section);
    Some(settings)
}

/// Reads what is there. The outer `None` is something wrong, the inner one nothing.
fn some<R, T>(raw: Option<R>, read: impl FnOnce(R) -> Option<T>) -> Option<Option<T>> {
    match raw {
        None => Some(None),
        Some(raw) => read(raw).map(Some),
    }
}

/// Reads words, and the menu below them.
fn message(
    reply: Option<String>,
    menu: Option<Vec<raw::MenuEntry>>,
    section: &mut Section<'_>,
) -> Option<EventMessage> {
    let Some(entries) = menu else {
        return spoken("reply", reply, "what to say", section);
    };
    let words = words("reply", reply, "what to say", section);
    let list: Vec<_> = entries
        .into_iter()
        .enumerate()
        .map(|(index, raw)| entry(raw, &mut section.at(&format!("menu[{index}]"))))
        .collect();
    let (words, list) = (words?, list.into_iter().collect::<Option<Vec<_>>>()?);
    let above = Msgmenu {
        head_content: Some(words),
        ..Msgmenu::default()
    };
    let above = checked("reply", EventMessage::Msgmenu(above), section);
    if list.is_empty() {
        section.wrong(
            "menu",
            "is empty: give it an entry, { id = \"price\", text = \"Prices\" }, or leave it out",
        );
        return None;
    }
    let EventMessage::Msgmenu(above) = above? else {
        return None;
    };
    checked("menu", EventMessage::Msgmenu(Msgmenu { list, ..above }), section)
}

/// Reads words alone.
fn spoken(key: &str, raw: Option<String>, what: &str, section: &mut Section<'_>) -> Option<EventMessage> {
    let words = words(key, raw, what, section)?;
    checked(key, EventMessage::text(words), section)
}

/// Reads words that say something.
fn words(key: &str, raw: Option<String>, what: &str, section: &mut Section<'_>) -> Option<String> {
    let words = section.required(key, raw, what)?;
    if words.trim().is_empty() {
        section.wrong(key, format!("is empty: write {what}"));
        return None;
    }
    Some(words)
}

fn entry(raw: raw::MenuEntry, section: &mut Section<'_>) -> Option<MenuItem> {
    let id = section.required(
        "id",
        raw.id,
        "a name for rules to refer to as their menu_id, such as \"price\"",
    );
    let id = id.and_then(|id| menu_id("id", id, section));
    let text = words("text", raw.text, "what the customer sees and taps", section);
    let (id, content) = (Some(id?), text?);
    let item = MenuItem::Click { id, content };
    let menu = Msgmenu {
        list: vec![item.clone()],
        ..Msgmenu::default()
    };
    checked("text", EventMessage::Msgmenu(menu), section).map(|_| item)
}

fn menu_id(key: &str, id: String, section: &mut Section<'_>) -> Option<String> {
    let is_plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_plain && (1..=MENU_ID_BYTES).contains(&id.len()) {
        return Some(id);
    }
    let what = format!("must be 1 to {MENU_ID_BYTES} characters of a-z, A-Z, 0-9 and \"_\", but is {id:?}");
    section.wrong(key, what);
    None
}

/// Holds what `key` adds to `message` to WeCom's limits.
fn checked(key: &str, message: EventMessage, section: &mut Section<'_>) -> Option<EventMessage> {
    let problem = match message.check() {
        Ok(()) => return Some(message),
        Err(FieldError::TooLarge {
            limit, actual, unit, ..
        }) => {
            let hint = if unit == Unit::Bytes {
                " (a Chinese character has three)"
            } else {
                ""
            };
            format!("must have at most {limit} {unit}{hint}, but has {actual}")
        }
        Err(error) => error.to_string(),
    };
    section.wrong(key, problem);
    None
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

/// Warns of menu entries that no rule answers, and of rules for entries that there are not.
fn warn_of_loose_ends(settings: &Settings, section: &mut Section<'_>) {
    let menus = [
        ("welcome".to_owned(), settings.welcome.as_ref()),
        (
            "fallback".to_owned(),
            settings.fallback.as_ref().map(|fallback| &fallback.content),
        ),
    ];
    let in_rules = settings
        .rules
        .iter()
        .enumerate()
        .map(|(index, rule)| match &rule.answer {
            Answer::Say(content) => (format!("rules[{index}]"), Some(content)),
            Answer::HandOver => (format!("rules[{index}]"), None),
        });
    let offered: Vec<_> = menus
        .into_iter()
        .chain(in_rules)
        .flat_map(|(place, content)| {
            let ids = content.into_iter().flat_map(entries).enumerate();
            ids.map(move |(index, (id, _))| (format!("{place}.menu[{index}].id"), id))
        })
        .collect();
    let answered: Vec<_> = settings
        .rules
        .iter()
        .filter_map(|rule| rule.menu_id.as_deref())
        .collect();
    for (key, id) in offered.iter().filter(|(_, id)| !answered.contains(id)) {
        let hint = did_you_mean(id, &answered);
        section.warn(key, &format!("no rule has the menu_id {id:?}{hint}"));
    }
    for (index, rule) in settings.rules.iter().enumerate() {
        let Some(id) = rule.menu_id.as_deref() else { continue };
        if !offered.iter().any(|(_, offer)| *offer == id) {
            let hint = did_you_mean(id, offered.iter().map(|(_, offer)| offer));
            section.warn(
                &format!("rules[{index}].menu_id"),
                &format!("no menu here has an entry {id:?}{hint}"),
            );
        }
    }
}

/// Warns of keywords that never decide anything, because an earlier rule answers first.
fn warn_of_idle_keywords(rules: &[Rule], section: &mut Section<'_>) {
    for (index, rule) in rules.iter().enumerate() {
        for (place, keyword) in rule.keywords.iter().enumerate() {
            if let Some(first) = rules[..index]
                .iter()
                .position(|earlier| earlier.forestalls(rule, keyword))
            {
                let what = format!(
                    "{:?} is of no use: rules[{first}] comes first and answers it",
                    keyword.as_str()
                );
                section.warn(&format!("rules[{index}].keywords[{place}]"), &what);
            }
        }
    }
}

/// Id and words of each entry of a menu, top to bottom.
pub(super) fn entries(content: &EventMessage) -> impl Iterator<Item = (&str, &str)> {
    let list = match content {
        EventMessage::Msgmenu(menu) => menu.list.as_slice(),
        EventMessage::Text(_) => &[],
    };
    // Nothing else is read from a config.
    list.iter().filter_map(|item| match item {
        MenuItem::Click { id: Some(id), content } => Some((id.as_str(), content.as_str())),
        _ => None,
    })
}

/// The words, above the menu if there is one.
pub(super) fn words_of(content: &EventMessage) -> &str {
    match content {
        EventMessage::Text(text) => &text.content,
        EventMessage::Msgmenu(menu) => menu.head_content.as_deref().unwrap_or_default(),
    }
}
