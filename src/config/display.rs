//! The effective config as text: what a reader would have written to say all of it.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

#[cfg(feature = "nats")]
use super::Nats;
use super::auto_reply::{entries, match_word, words_of};
use super::filter::origin_word;
use super::size::Size;
use super::{App, Config, Gateway, Handler, HandlerKind};
use crate::api::EventMessage;
use crate::handler::auto_reply::{Answer, HandOver, Settings};
use crate::handler::forward::Reach;
#[cfg(feature = "nats")]
use crate::handler::nats::Credentials;
use crate::store::Durability;

/// TOML that reads back as the same config, but for the secrets, which are `***`, and the query of a handler's URL,
/// which is left out because services put keys into it.
impl Display for Config {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            server,
            log,
            store,
            apps,
            sync,
            handlers,
            gateway,
        } = self;
        writeln!(f, "[server]")?;
        text(f, "listen", server.listen)?;
        text(f, "admin_listen", server.admin_listen)?;
        bare(f, "max_connections", server.max_connections)?;
        duration(f, "shutdown_grace", server.shutdown_grace)?;

        writeln!(f, "\n[log]")?;
        text(f, "level", &log.filter)?;
        text(f, "format", log.format)?;
        if let Some(endpoint) = &log.otlp_endpoint {
            text(f, "otlp_endpoint", super::forward::shown(endpoint))?;
        }

        writeln!(f, "\n[store]")?;
        text(f, "url", &store.url)?;
        if store.password.is_some() {
            text(f, "password", "***")?;
        }
        if let Some(ca) = &store.ca {
            text(f, "ca_file", &ca.path)?;
        }
        bare(f, "connections", store.connections)?;
        duration(f, "lease", store.lease)?;
        duration(f, "retention", store.retention)?;
        if let Some(body_retention) = store.body_retention {
            duration(f, "body_retention", body_retention)?;
        }
        let durability = match store.durability {
            Durability::Full => "full",
            Durability::Relaxed => "relaxed",
        };
        text(f, "durability", durability)?;
        text(f, "min_free", Size(store.min_free))?;
        bare(f, "max_backlog", store.max_backlog)?;

        for entry in apps {
            app(f, entry)?;
        }

        writeln!(f, "\n[sync]")?;
        duration(f, "poll_interval", sync.poll_interval)?;
        duration(f, "first_sync_window", sync.first_sync_window)?;
        bare(f, "page_limit", sync.page_limit)?;
        bare(f, "calls_per_second", sync.calls_per_second)?;
        bare(f, "calls_burst", sync.calls_burst)?;
        bare(f, "tokenless_per_minute", sync.tokenless_per_minute)?;
        duration(f, "backoff_min", sync.backoff_min)?;
        duration(f, "backoff_max", sync.backoff_max)?;
        duration(f, "rate_limit_pause", sync.rate_limit_pause)?;
        duration(f, "operator_pause", sync.operator_pause)?;

        for entry in handlers {
            handler(f, entry)?;
        }
        gateway.iter().try_for_each(|section| gateway_section(f, section))
    }
}

fn app(f: &mut Formatter<'_>, app: &App) -> fmt::Result {
    writeln!(f, "\n[[apps]]")?;
    text(f, "name", &app.name)?;
    text(f, "corp_id", &app.corp_id)?;
    text(f, "secret", "***")?;
    text(f, "api_base", &app.api_base)?;
    let keys = app
        .callback_keys
        .iter()
        .map(|_| r#"{ token = "***", encoding_aes_key = "***" }"#);
    list(f, "callback_keys", keys)?;
    list(f, "receive_ids", app.receive_ids.iter().map(quoted))?;
    if let Some(skew) = app.max_clock_skew {
        duration(f, "max_clock_skew", skew)?;
    }
    bare(f, "api_concurrency", app.api_concurrency)?;
    duration(f, "api_timeout", app.api_timeout)
}

fn handler(f: &mut Formatter<'_>, handler: &Handler) -> fmt::Result {
    writeln!(f, "\n[[handlers]]")?;
    text(f, "name", &handler.name)?;
    match &handler.kind {
        HandlerKind::Log => text(f, "kind", "log")?,
        HandlerKind::AutoReply(_) => text(f, "kind", "auto_reply")?,
        HandlerKind::Forward(forward) => {
            text(f, "kind", "forward")?;
            text(f, "url", forward.shown_url())?;
            match forward.signing_secrets.len() {
                1 => text(f, "signing_secret", "***")?,
                several => list(f, "signing_secret", vec![quoted("***"); several])?,
            }
            bare(f, "public_only", forward.reach == Reach::PublicOnly)?;
            if let Some(ca) = &forward.ca {
                text(f, "ca_file", &ca.path)?;
            }
        }
        #[cfg(feature = "nats")]
        HandlerKind::Nats(section) => nats(f, section)?,
    }
    let filter = &handler.filter;
    if let Some(apps) = &filter.apps {
        list(f, "apps", apps.iter().map(quoted))?;
    }
    if let Some(accounts) = &filter.accounts {
        list(f, "accounts", accounts.iter().map(quoted))?;
    }
    if let Some(types) = &filter.types {
        list(f, "types", types.iter().map(quoted))?;
    }
    let origins = match &filter.origins {
        None => vec![None],
        Some(origins) => origins.iter().copied().map(Some).collect(),
    };
    list(
        f,
        "origins",
        origins.into_iter().map(|origin| quoted(origin_word(origin))),
    )?;
    let policy = &handler.policy;
    duration(f, "timeout", policy.timeout)?;
    bare(f, "max_attempts", policy.max_attempts)?;
    duration(f, "give_up_after", policy.give_up_after)?;
    bare(f, "concurrency", policy.concurrency)?;
    let steps = policy.retry_schedule.steps().iter();
    list(
        f,
        "retry_schedule",
        steps.map(|step| quoted(humantime::format_duration(*step))),
    )?;
    duration(f, "probe_min", policy.probe_min)?;
    duration(f, "probe_max", policy.probe_max)?;
    // Its tables end the list of keys.
    match &handler.kind {
        HandlerKind::AutoReply(settings) => auto_reply(f, settings),
        HandlerKind::Log | HandlerKind::Forward(_) => Ok(()),
        #[cfg(feature = "nats")]
        HandlerKind::Nats(_) => Ok(()),
    }
}

#[cfg(feature = "nats")]
fn nats(f: &mut Formatter<'_>, nats: &Nats) -> fmt::Result {
    text(f, "kind", "nats")?;
    list(f, "servers", nats.servers.iter().map(quoted))?;
    if let Some(stream) = &nats.stream {
        text(f, "stream", stream)?;
    }
    text(f, "subject", &nats.subject)?;
    match &nats.credentials {
        Credentials::None => {}
        Credentials::Password { user, .. } => {
            text(f, "user", user)?;
            text(f, "password", "***")?;
        }
        Credentials::Token(_) => text(f, "token", "***")?,
        Credentials::Key(_) => text(f, "credentials", "***")?,
    }
    nats.ca.iter().try_for_each(|ca| text(f, "ca_file", &ca.path))
}

fn auto_reply(f: &mut Formatter<'_>, settings: &Settings) -> fmt::Result {
    let Settings {
        welcome,
        rules,
        hours,
        fallback,
        hand_over,
    } = settings;
    if let Some(welcome) = welcome {
        writeln!(f, "\n[handlers.welcome]")?;
        reply(f, welcome)?;
    }
    for rule in rules {
        writeln!(f, "\n[[handlers.rules]]")?;
        if !rule.keywords.is_empty() {
            list(
                f,
                "keywords",
                rule.keywords.iter().map(|keyword| quoted(keyword.as_str())),
            )?;
            text(f, "match", match_word(rule.matching))?;
        }
        if let Some(id) = &rule.menu_id {
            text(f, "menu_id", id)?;
        }
        match &rule.answer {
            Answer::Say(content) => reply(f, content)?,
            Answer::HandOver => bare(f, "hand_over", true)?,
        }
    }
    if let Some(hours) = hours {
        writeln!(f, "\n[handlers.hours]")?;
        text(f, "utc_offset", hours.open.utc_offset)?;
        list(f, "open", hours.open.stretches.iter().map(quoted))?;
        text(f, "closed_reply", words_of(&hours.closed.content))?;
        duration(f, "every", hours.closed.every)?;
    }
    if let Some(fallback) = fallback {
        writeln!(f, "\n[handlers.fallback]")?;
        reply(f, &fallback.content)?;
        duration(f, "every", fallback.every)?;
    }
    if *hand_over != HandOver::default() {
        writeln!(f, "\n[handlers.hand_over]")?;
    }
    if let Some(servicer) = &hand_over.servicer_userid {
        text(f, "servicer_userid", servicer)?;
    }
    if let Some(said) = &hand_over.reply {
        text(f, "reply", words_of(said))?;
    }
    Ok(())
}

/// Words, and the menu below them.
fn reply(f: &mut Formatter<'_>, content: &EventMessage) -> fmt::Result {
    text(f, "reply", words_of(content))?;
    let mut menu = entries(content).peekable();
    if menu.peek().is_none() {
        return Ok(());
    }
    let entry = |(id, words)| format!("{{ id = {}, text = {} }}", quoted(id), quoted(words));
    list(f, "menu", menu.map(entry))
}

fn gateway_section(f: &mut Formatter<'_>, gateway: &Gateway) -> fmt::Result {
    writeln!(f, "\n[gateway]")?;
    text(f, "listen", gateway.listen)?;
    list(f, "keys", gateway.keys.iter().map(|_| quoted("***")))?;
    list(f, "apps", gateway.apps.iter().map(quoted))?;
    list(f, "calls", gateway.calls.iter().map(quoted))?;
    duration(f, "request_timeout", gateway.request_timeout)
}

fn bare(f: &mut Formatter<'_>, key: &str, value: impl Display) -> fmt::Result {
    writeln!(f, "{key} = {value}")
}

fn text(f: &mut Formatter<'_>, key: &str, value: impl Display) -> fmt::Result {
    bare(f, key, quoted(value))
}

fn duration(f: &mut Formatter<'_>, key: &str, value: Duration) -> fmt::Result {
    text(f, key, humantime::format_duration(value))
}

fn list(f: &mut Formatter<'_>, key: &str, items: impl IntoIterator<Item = impl Display>) -> fmt::Result {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    bare(f, key, format!("[{}]", items.join(", ")))
}

/// `value` as a TOML string.
fn quoted(value: impl Display) -> toml::Value {
    toml::Value::String(value.to_string())
}
