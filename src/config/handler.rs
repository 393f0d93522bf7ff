//! Section `[[handlers]]`.

use std::fmt;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use url::Url;

use super::raw::{self, Span};
use super::section::{LONGEST, SHORTEST, Section};
use super::{Handler, filter};
use crate::backoff::Schedule;
use crate::handler::{Policy, SigningSecret};
use crate::id::HandlerName;

const TIMEOUT: Span = Span::secs(10);
const MAX_ATTEMPTS: i64 = 6;
const GIVE_UP_AFTER: Span = Span::hours(48);
const CONCURRENCY: i64 = 32;
const RETRY_SCHEDULE: [Span; 5] = [
    Span::secs(1),
    Span::secs(5),
    Span::secs(15),
    Span::secs(30),
    Span::secs(60),
];
const PROBE_MIN: Span = Span::secs(5);
const PROBE_MAX: Span = Span::secs(60);

const MOST_ATTEMPTS: u32 = 1000;
const MOST_CONCURRENCY: usize = 10_000;

const SIGNING_SECRET_SHAPE: &str = "\"whsec_\" and 24 to 64 random bytes in base64; make one with: wecom-kf keygen";

/// What a handler does with a message.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HandlerKind {
    /// Writes a line to the log.
    Log,
    /// Sends it on over HTTP.
    Forward(Forward),
}

/// Where a forwarder sends to. `Debug` shows the address without its query.
#[derive(Clone)]
#[non_exhaustive]
pub struct Forward {
    /// Address that messages are posted to: `http` or `https`, without credentials.
    pub url: Url,
    /// Key of the signature.
    pub signing_secret: SigningSecret,
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Forward({})", without_query(&self.url))
    }
}

/// `url` as it may be shown: services put keys into the query.
pub(super) fn without_query(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// Reads all handlers. `None` if any is wrong.
pub(super) fn handlers(raw: Vec<raw::Handler>, apps: &[String], root: &mut Section<'_>) -> Option<Vec<Handler>> {
    if raw.is_empty() {
        root.warn("handlers", "none: messages are stored, and nobody is handed them");
    }
    root.refuse_repeated_names("handlers", raw.iter().map(|handler| handler.name.as_deref()));
    let handlers: Vec<_> = raw
        .into_iter()
        .enumerate()
        .map(|(index, raw)| handler(raw, apps, &mut root.at(&format!("handlers[{index}]"))))
        .collect();
    handlers.into_iter().collect()
}

fn handler(raw: raw::Handler, apps: &[String], section: &mut Section<'_>) -> Option<Handler> {
    const NAME: &str = "a name that it keeps for ever, such as \"bot\"";
    let name = section.name(raw.name.as_deref(), NAME, HandlerName::new);
    let filter = filter::filter(&raw, apps, section);
    let kind = kind(raw.kind, raw.url, raw.signing_secret, section);
    let timeout = section.duration("timeout", raw.timeout.unwrap_or(TIMEOUT), SHORTEST..=LONGEST);
    let max_attempts = section.number(
        "max_attempts",
        raw.max_attempts.unwrap_or(MAX_ATTEMPTS),
        1..=MOST_ATTEMPTS,
    );
    let give_up_after = section.duration(
        "give_up_after",
        raw.give_up_after.unwrap_or(GIVE_UP_AFTER),
        SHORTEST..=LONGEST,
    );
    let concurrency = section.number(
        "concurrency",
        raw.concurrency.unwrap_or(CONCURRENCY),
        1..=MOST_CONCURRENCY,
    );
    let retry_schedule = retry_schedule(raw.retry_schedule, section);
    let probe = section.least_and_most(
        ("probe_min", raw.probe_min.unwrap_or(PROBE_MIN)),
        ("probe_max", raw.probe_max.unwrap_or(PROBE_MAX)),
    );
    let (probe_min, probe_max) = probe?;
    Some(Handler {
        name: name?,
        kind: kind?,
        filter: filter?,
        policy: Policy {
            timeout: timeout?,
            max_attempts: max_attempts?,
            give_up_after: give_up_after?,
            concurrency: concurrency?,
            retry_schedule: Schedule::new(retry_schedule?),
            probe_min,
            probe_max,
        },
    })
}

fn kind(
    word: Option<String>,
    url: Option<String>,
    signing_secret: Option<raw::Secret>,
    section: &mut Section<'_>,
) -> Option<HandlerKind> {
    #[derive(Clone, Copy)]
    enum Word {
        Log,
        Forward,
    }
    let word = section.required("kind", word, "\"log\" or \"forward\"")?;
    match section.choice("kind", &word, &[("log", Word::Log), ("forward", Word::Forward)])? {
        Word::Log => {
            for (key, given) in [("url", url.is_some()), ("signing_secret", signing_secret.is_some())] {
                if given {
                    section.wrong(
                        key,
                        "means nothing to a handler of kind \"log\": remove it, or make it \"forward\"",
                    );
                }
            }
            Some(HandlerKind::Log)
        }
        Word::Forward => {
            let url = section.required(
                "url",
                url,
                "the address to post messages to, such as \"http://127.0.0.1:9000/kf\"",
            );
            let url = url.and_then(|url| section.web_address("url", &url));
            let secret = section.secret("signing_secret", signing_secret, SIGNING_SECRET_SHAPE);
            let secret = secret.and_then(|secret| {
                let parsed = SigningSecret::parse(secret.expose_secret()).ok();
                if parsed.is_none() {
                    section.misshapen("signing_secret", &secret, SIGNING_SECRET_SHAPE);
                }
                parsed
            });
            Some(HandlerKind::Forward(Forward {
                url: url?,
                signing_secret: secret?,
            }))
        }
    }
}

fn retry_schedule(raw: Option<Vec<Span>>, section: &mut Section<'_>) -> Option<Vec<Duration>> {
    let steps = raw.unwrap_or(RETRY_SCHEDULE.to_vec());
    if steps.is_empty() {
        section.wrong("retry_schedule", "has no wait: name at least one, such as [\"5s\"]");
        return None;
    }
    let steps: Vec<_> = steps
        .into_iter()
        .enumerate()
        .map(|(index, step)| section.duration(&format!("retry_schedule[{index}]"), step, SHORTEST..=LONGEST))
        .collect();
    steps.into_iter().collect()
}
