//! The filters of a handler.

use super::findings::did_you_mean;
use super::raw;
use super::section::Section;
use crate::handler::Filter;
use crate::id::{AppName, OpenKfid};
use crate::message::{KINDS, Origin};

/// Word for the events of every type.
const EVERY_EVENT: &str = "event";

/// Words for origins; `all` takes in those that have no word.
const ORIGIN_WORDS: [(&str, Option<Origin>); 4] = [
    ("customer", Some(Origin::Customer)),
    ("event", Some(Origin::Event)),
    ("servicer", Some(Origin::Servicer)),
    ("all", None),
];

/// Word for `origin`; `None` is all of them.
pub(super) fn origin_word(origin: Option<Origin>) -> &'static str {
    let word = ORIGIN_WORDS.iter().find(|(_, meaning)| *meaning == origin);
    word.map_or("all", |(word, _)| word)
}

/// Reads the filters of a handler. `apps` are the names of all applications.
pub(super) fn filter(raw: &raw::Handler, apps: &[String], section: &mut Section<'_>) -> Option<Filter> {
    let account = |section: &mut Section<'_>, key: &str, id: &str| {
        if id.is_empty() {
            section.wrong(key, "is empty: write the open_kfid of an account, \"wk…\"");
        }
        Some(OpenKfid::from(id))
    };
    let apps = list("apps", raw.apps.as_deref(), section, |section, key, name| {
        app_name(section, key, name, apps)
    });
    let accounts = list("accounts", raw.accounts.as_deref(), section, account);
    let types = list("types", raw.types.as_deref(), section, kind);
    let origins = list("origins", raw.origins.as_deref(), section, |section, key, word| {
        section.choice(key, word, &ORIGIN_WORDS)
    });
    Some(Filter {
        apps: apps?,
        accounts: accounts?,
        types: types?,
        // `all` among others leaves nothing to criticise.
        origins: match origins? {
            None => Filter::default().origins,
            Some(origins) => origins.into_iter().collect(),
        },
    })
}

/// Reads each item of the list `key`. The outer `None` is a list with something wrong in it, the inner one no list.
fn list<T>(
    key: &str,
    items: Option<&[String]>,
    section: &mut Section<'_>,
    read: impl Fn(&mut Section<'_>, &str, &str) -> Option<T>,
) -> Option<Option<Vec<T>>> {
    const EMPTY: &str = "is empty, so that no message would pass: leave it out to let all pass";
    match items {
        None => Some(None),
        Some(items) => section.list(key, items, EMPTY, read).map(Some),
    }
}

/// The name of an app that there is.
pub(super) fn app_name(section: &mut Section<'_>, key: &str, name: &str, apps: &[String]) -> Option<AppName> {
    if !apps.iter().any(|known| known == name) {
        let hint = did_you_mean(name, apps);
        section.wrong(key, format!("no [[apps]] entry is called {name:?}{hint}"));
    }
    AppName::new(name).ok()
}

/// A type that we do not know may be one that WeCom added since: it gets a warning, not a refusal.
fn kind(section: &mut Section<'_>, key: &str, name: &str) -> Option<Box<str>> {
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let hint = || did_you_mean(name, KINDS.iter().copied().chain([EVERY_EVENT]));
    if !plain(name.strip_prefix("event.").unwrap_or(name)) {
        let hint = hint();
        section.wrong(
            key,
            format!("{name:?} is no type: write a msgtype, \"text\", or an event, \"event.enter_session\"{hint}"),
        );
        return None;
    }
    if name != EVERY_EVENT && !KINDS.contains(&name) {
        let hint = hint();
        section.warn(key, &format!("{name:?} is no type this version knows{hint}"));
    }
    Some(name.into())
}
