//! Sections `[server]`, `[log]` and `[store]`.

use std::net::SocketAddr;
use std::time::Duration;

use super::raw::{self, Span};
use super::section::{LONGEST, SHORTEST, Section};
use super::size::Size;
use super::{Server, Store};
use crate::store::Durability;
use crate::telemetry::{self, Filter, LogFormat};

const LISTEN: &str = "0.0.0.0:8080";
const ADMIN_LISTEN: &str = "127.0.0.1:9090";
const MAX_CONNECTIONS: i64 = 4096;
const SHUTDOWN_GRACE: Span = Span::secs(25);
const LEVEL: &str = "info";
const FORMAT: &str = "text";
const STORE_URL: &str = "sqlite://data/wecom-kf.db";
const RETENTION: Span = Span::hours(7 * 24);
const DURABILITY: &str = "full";
const MIN_FREE: Size = Size(1 << 30);
const MAX_BACKLOG: i64 = 5_000_000;

/// More than any disk holds.
const MOST_BACKLOG: u64 = 1_000_000_000_000;

/// WeCom keeps three days of history and repeats it when a cursor is lost; a day on top for clocks and outages.
const LEAST_RETENTION: Duration = Duration::from_secs(96 * 60 * 60);

pub(super) fn server(raw: &raw::Server, section: &mut Section<'_>) -> Option<Server> {
    let listen = address("listen", raw.listen.as_deref().unwrap_or(LISTEN), section);
    let admin_listen = address(
        "admin_listen",
        raw.admin_listen.as_deref().unwrap_or(ADMIN_LISTEN),
        section,
    );
    if let (Some(listen), Some(admin)) = (listen, admin_listen) {
        if collide(listen, admin) {
            section.wrong(
                "admin_listen",
                format!("is taken by server.listen ({listen}): give it another port"),
            );
        }
        if !admin.ip().is_loopback() {
            section.warn(
                "admin_listen",
                "reachable from other machines: whoever reaches it may read metrics and administer the server, so \
                 keep it behind a firewall",
            );
        }
    }
    let max_connections = section.number(
        "max_connections",
        raw.max_connections.unwrap_or(MAX_CONNECTIONS),
        16..=u16::MAX,
    );
    let shutdown_grace = section.duration(
        "shutdown_grace",
        raw.shutdown_grace.unwrap_or(SHUTDOWN_GRACE),
        SHORTEST..=LONGEST,
    );
    Some(Server {
        listen: listen?,
        admin_listen: admin_listen?,
        max_connections: max_connections?,
        shutdown_grace: shutdown_grace?,
    })
}

pub(super) fn address(key: &str, text: &str, section: &mut Section<'_>) -> Option<SocketAddr> {
    let address = text.parse().ok();
    if address.is_none() {
        section.wrong(
            key,
            format!(
                "{text:?} is no address: write an IP address and a port, such as \"0.0.0.0:8080\" or \"[::]:8080\""
            ),
        );
    }
    address
}

/// Whether the second listener could not bind beside the first. Port 0 is a new port every time.
pub(super) fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

pub(super) fn log(raw: &raw::Log, section: &mut Section<'_>) -> Option<telemetry::Settings> {
    let filter = match Filter::new(raw.level.as_deref().unwrap_or(LEVEL)) {
        Ok(filter) => Some(filter),
        Err(error) => {
            section.wrong("level", error.to_string());
            None
        }
    };
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let format = section.choice("format", raw.format.as_deref().unwrap_or(FORMAT), &formats);
    let otlp_endpoint = raw
        .otlp_endpoint
        .as_deref()
        .map(|text| section.web_address("otlp_endpoint", text));
    if otlp_endpoint.is_some() && !cfg!(feature = "otel") {
        section.wrong(
            "otlp_endpoint",
            "this build sends no traces: build it with `--features otel`, or leave this out",
        );
    }
    Some(telemetry::Settings {
        filter: filter?,
        format: format?,
        otlp_endpoint: match otlp_endpoint {
            Some(address) => Some(address?),
            None => None,
        },
    })
}

pub(super) fn store(raw: &raw::Store, section: &mut Section<'_>) -> Option<Store> {
    let url = store_url(raw.url.as_deref().unwrap_or(STORE_URL), section);
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
    Some(Store {
        url: url?,
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

/// Nothing of a wrong address but its scheme is repeated: it may carry a password.
fn store_url(text: &str, section: &mut Section<'_>) -> Option<String> {
    const MEND: &str = "write \"sqlite://\" and the path of a file, such as \"sqlite://data/wecom-kf.db\"";
    let problem = match text.split_once("://") {
        Some(("sqlite", "")) => "names no file",
        Some(("sqlite", path)) if path.contains(['?', '#', '\0']) => "takes no options behind the path",
        Some(("sqlite", _)) => return Some(text.to_owned()),
        Some(("postgres" | "postgresql", _)) => "this version has no PostgreSQL store",
        Some(_) => "has an unknown scheme",
        None => "has no scheme",
    };
    section.wrong("url", format!("{problem}: {MEND}"));
    None
}
