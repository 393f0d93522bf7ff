//! Sections `[server]` and `[log]`.

use std::net::SocketAddr;

use super::Server;
use super::raw::{self, Span};
use super::section::{LONGEST, SHORTEST, Section};
use crate::telemetry::{self, Filter, LogFormat};

const LISTEN: &str = "0.0.0.0:8080";
const ADMIN_LISTEN: &str = "127.0.0.1:9090";
const MAX_CONNECTIONS: i64 = 4096;
const SHUTDOWN_GRACE: Span = Span::secs(25);
const LEVEL: &str = "info";
const FORMAT: &str = "text";

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
