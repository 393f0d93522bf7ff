//! Section `[[handlers]]`.

use std::time::Duration;

#[cfg(feature = "nats")]
use super::Nats;
use super::raw::{self, Span};
use super::section::{LONGEST, SHORTEST, Section};
use super::{Forward, Handler, auto_reply, filter, forward, nats};
use crate::backoff::Schedule;
use crate::handler::{self, Policy};
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

/// What a handler does with a message.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HandlerKind {
    /// Writes a line to the log.
    Log,
    /// Sends it on over HTTP.
    Forward(Forward),
    /// Publishes it to a stream of NATS JetStream.
    #[cfg(feature = "nats")]
    Nats(Box<Nats>),
    /// Answers by itself.
    AutoReply(Box<handler::auto_reply::Settings>),
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
    let keys = Keys {
        forward: forward::Raw {
            url: raw.url,
            signing_secret: raw.signing_secret,
            public_only: raw.public_only,
        },
        nats: nats::Raw {
            servers: raw.servers,
            stream: raw.stream,
            subject: raw.subject,
            user: raw.user,
            password: raw.password,
            token: raw.token,
            credentials: raw.credentials,
        },
        ca_file: raw.ca_file,
        auto_reply: auto_reply::Raw {
            welcome: raw.welcome,
            rules: raw.rules,
            hours: raw.hours,
            fallback: raw.fallback,
            hand_over: raw.hand_over,
        },
    };
    let kind = kind(raw.kind, keys, section);
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

/// The keys that belong to handlers of one kind.
struct Keys {
    forward: forward::Raw,
    nats: nats::Raw,
    /// Belongs to both of them.
    ca_file: Option<String>,
    auto_reply: auto_reply::Raw,
}

fn kind(word: Option<String>, keys: Keys, section: &mut Section<'_>) -> Option<HandlerKind> {
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Word {
        Log,
        Forward,
        Nats,
        AutoReply,
    }
    const WORDS: [(&str, Word); 4] = [
        ("log", Word::Log),
        ("forward", Word::Forward),
        ("nats", Word::Nats),
        ("auto_reply", Word::AutoReply),
    ];
    let name = section.required("kind", word, "\"log\", \"forward\", \"nats\" or \"auto_reply\"")?;
    let word = section.choice("kind", &name, &WORDS)?;
    let Keys {
        forward,
        nats,
        ca_file,
        auto_reply,
    } = keys;
    if word != Word::Forward {
        forward.refuse(&name, section);
    }
    if word != Word::Nats {
        nats.refuse(&name, section);
    }
    if !matches!(word, Word::Forward | Word::Nats) {
        section.refuse_keys_of("forward", &name, &[("ca_file", ca_file.is_some())]);
    }
    if word != Word::AutoReply {
        auto_reply.refuse(&name, section);
    }
    match word {
        Word::Log => Some(HandlerKind::Log),
        Word::Forward => forward::forward(forward, ca_file, section).map(HandlerKind::Forward),
        #[cfg(feature = "nats")]
        Word::Nats => nats::nats(nats, ca_file, section).map(|nats| HandlerKind::Nats(Box::new(nats))),
        #[cfg(not(feature = "nats"))]
        Word::Nats => {
            nats::refuse_kind(section);
            None
        }
        Word::AutoReply => {
            let settings = auto_reply::auto_reply(auto_reply, section)?;
            Some(HandlerKind::AutoReply(Box::new(settings)))
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
