//! Section `[[handlers]]`.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use url::Url;
use zeroize::Zeroizing;

use super::raw::{self, Span};
use super::section::{LONGEST, SHORTEST, Section};
use super::{Handler, filter};
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

const SIGNING_SECRET_SHAPE: &str =
    "\"whsec_\" and 24 to 64 random bytes in base64; make one with: echo \"whsec_$(openssl rand -base64 32)\"";

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
    /// Key of the signature, as Standard Webhooks writes it: `whsec_` and 24–64 bytes in base64.
    pub signing_secret: SecretString,
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

/// How patiently a handler is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// Longest one attempt may take.
    pub timeout: Duration,
    /// Attempts at one message while the handler is otherwise healthy. At least 1.
    pub max_attempts: u32,
    /// Age at which a message is given up, whatever the reason.
    pub give_up_after: Duration,
    /// Messages it is handed at once, each of another customer. At least 1.
    pub concurrency: usize,
    /// Waits between the attempts at one message, at least one; the last repeats.
    pub retry_schedule: Vec<Duration>,
    /// First wait until a handler that fails for everybody is probed.
    pub probe_min: Duration,
    /// Longest such wait. Not under `probe_min`.
    pub probe_max: Duration,
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
            retry_schedule: retry_schedule?,
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
            let secret = section.secret_like(
                "signing_secret",
                signing_secret,
                is_signing_secret,
                SIGNING_SECRET_SHAPE,
            );
            Some(HandlerKind::Forward(Forward {
                url: url?,
                signing_secret: secret?,
            }))
        }
    }
}

fn is_signing_secret(text: &str) -> bool {
    text.strip_prefix("whsec_")
        .and_then(|key| STANDARD.decode(key).ok())
        .is_some_and(|key| (24..=64).contains(&Zeroizing::new(key).len()))
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
