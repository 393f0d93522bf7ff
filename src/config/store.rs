//! Section `[store]`.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use secrecy::SecretString;

use super::Store;
use super::ca::ca;
use super::raw::{self, Span};
use super::section::{LONGEST, SHORTEST, Section};
use super::size::Size;
use crate::store::{self, Durability};

const URL: &str = "sqlite://data/wecom-kf.db";
const CONNECTIONS: i64 = 8;
const LEASE: Span = Span::secs(15);
const RETENTION: Span = Span::hours(7 * 24);
const DURABILITY: &str = "full";
const MIN_FREE: Size = Size(1 << 30);
const MAX_BACKLOG: i64 = 5_000_000;

/// A lease is renewed three times in its term: in less than a second, a slow answer would cost it.
const SHORTEST_LEASE: Duration = Duration::from_secs(3);

/// What a replica had that died waits for as long.
const LONGEST_LEASE: Duration = Duration::from_mins(10);

/// One is not enough: a page that waits for another of its account would keep everybody waiting.
const FEWEST_CONNECTIONS: usize = 2;

/// More would rather slow a database down.
const MOST_CONNECTIONS: usize = 200;

/// More than any disk holds.
const MOST_BACKLOG: u64 = 1_000_000_000_000;

/// WeCom keeps three days of history and repeats it when a cursor is lost; a day on top for clocks and outages.
const LEAST_RETENTION: Duration = Duration::from_secs(96 * 60 * 60);

/// What belongs to one kind of store may stand beside the address of the other, which may come from the environment.
pub(super) fn store(raw: raw::Store, section: &mut Section<'_>) -> Option<Store> {
    let address = address(raw.url.as_deref().unwrap_or(URL), raw.password, section);
    let ca = match raw.ca_file {
        None => Some(None),
        Some(path) => ca(path, section).map(Some),
    };
    let connections = section.number(
        "connections",
        raw.connections.unwrap_or(CONNECTIONS),
        FEWEST_CONNECTIONS..=MOST_CONNECTIONS,
    );
    let lease = section.duration("lease", raw.lease.unwrap_or(LEASE), SHORTEST_LEASE..=LONGEST_LEASE);
    let retention = section.duration(
        "retention",
        raw.retention.unwrap_or(RETENTION),
        LEAST_RETENTION..=LONGEST,
    );
    let durabilities = [("full", Durability::Full), ("relaxed", Durability::Relaxed)];
    let durability = section.choice(
        "durability",
        raw.durability.as_deref().unwrap_or(DURABILITY),
        &durabilities,
    );
    let max_backlog = section.number("max_backlog", raw.max_backlog.unwrap_or(MAX_BACKLOG), 1..=MOST_BACKLOG);
    let body_retention = raw
        .body_retention
        .map(|span| section.duration("body_retention", span, SHORTEST..=LONGEST));
    if let (Some(retention), Some(Some(of_bodies))) = (retention, body_retention)
        && of_bodies > retention
    {
        section.wrong(
            "body_retention",
            format!(
                "must be at most retention ({}), but is {}",
                humantime::format_duration(retention),
                humantime::format_duration(of_bodies)
            ),
        );
    }
    let Address { url, password } = address?;
    Some(Store {
        url,
        password,
        ca: ca?,
        connections: connections?,
        lease: lease?,
        retention: retention?,
        body_retention: match body_retention {
            Some(span) => Some(span?),
            None => None,
        },
        durability: durability?,
        min_free: raw.min_free.unwrap_or(MIN_FREE).0,
        max_backlog: max_backlog?,
    })
}

impl Store {
    /// How to open it.
    #[must_use]
    pub fn settings(&self) -> store::Settings {
        store::Settings {
            durability: self.durability,
            password: self.password.clone(),
            authorities: self.ca.as_ref().map(|ca| ca.authorities.clone()),
            connections: self.connections,
            ..store::Settings::new(&*self.url)
        }
    }
}

/// Where a store is. The address is fit to be shown.
struct Address {
    url: String,
    password: Option<SecretString>,
}

/// Nothing of a wrong address but its scheme is repeated: it may carry a password.
fn address(text: &str, password: Option<raw::Secret>, section: &mut Section<'_>) -> Option<Address> {
    const FILE: &str = "write \"sqlite://\" and the path of a file, such as \"sqlite://data/wecom-kf.db\"";
    const DATABASE: &str = "write it as \"postgres://user@host/database\"";
    let problem = match text.split_once("://") {
        Some(("sqlite", "")) => format!("names no file: {FILE}"),
        Some(("sqlite", path)) if path.contains(['?', '#', '\0']) => {
            format!("takes no options behind the path: {FILE}")
        }
        Some(("sqlite", _)) => {
            let password = match password {
                Some(secret) => Some(section.secret("password", Some(secret), "")?),
                None => None,
            };
            return Some(Address {
                url: text.to_owned(),
                password,
            });
        }
        Some((scheme @ ("postgres" | "postgresql"), place)) => return database(scheme, place, password, section),
        Some(_) => format!("has an unknown scheme: {FILE}, or {DATABASE}"),
        None => format!("has no scheme: {FILE}, or {DATABASE}"),
    };
    section.wrong("url", problem);
    None
}

/// Takes the password out of the address of a database.
fn database(scheme: &str, place: &str, password: Option<raw::Secret>, section: &mut Section<'_>) -> Option<Address> {
    let (user, within, place) = match place.split_once('@') {
        None => (None, None, place),
        Some((login, place)) => match login.split_once(':') {
            None => (Some(login), None, place),
            Some((user, password)) => (Some(user), Some(password), place),
        },
    };
    let problem = if place.contains('@') {
        "has an @ in its password or behind it: write %40 for it, or move the password to `password`"
    } else if place.contains("password=") {
        "has its password among the options: move it to `password`"
    } else if within.is_some() && password.is_some() {
        "has a password in it, and `password` names another: keep one"
    } else {
        let secret = match within {
            Some(within) => {
                let within = percent_decode_str(within).decode_utf8_lossy();
                Some(("url", raw::Secret::Inline(within.into_owned().into())))
            }
            None => password.map(|secret| ("password", secret)),
        };
        let password = match secret {
            Some((key, secret)) => Some(section.secret(key, Some(secret), "")?),
            None => None,
        };
        let user = user.map(|user| format!("{user}@")).unwrap_or_default();
        let url = format!("{scheme}://{user}{place}");
        return match store::Settings::new(&*url).review() {
            Ok(()) => Some(Address { url, password }),
            Err(problem) => {
                section.wrong("url", problem);
                None
            }
        };
    };
    section.wrong("url", problem);
    None
}
