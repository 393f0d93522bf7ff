//! Section `[gateway]`.

use std::time::Duration;

use super::findings::did_you_mean;
use super::raw::{self, Span};
use super::section::Section;
use super::server::{address, collide};
use super::{Gateway, Server, filter};
use crate::api::Call;
use crate::http::GatewayKey;

/// What a key must look like.
const KEY_SHAPE: &str = "32 to 256 letters, digits and - . _ ~; make one with: wecom-kf keygen";

/// Every call that can be passed on.
const CALLS: [&str; 2] = ["kf/*", "media/*"];

/// Enough for 20 MiB at 1.4 Mbit/s.
const REQUEST_TIMEOUT: Span = Span::mins(2);

/// In less, no file gets through.
const SHORTEST_REQUEST: Duration = Duration::from_secs(1);

/// In more, a client that hangs holds up others all day.
const LONGEST_REQUEST: Duration = Duration::from_hours(1);

/// Reads the gateway, if there is a section. `None` if anything is wrong with it.
pub(super) fn gateway(
    raw: raw::Gateway,
    apps: &[String],
    server: Option<&Server>,
    section: &mut Section<'_>,
) -> Option<Gateway> {
    let listen = section.required(
        "listen",
        raw.listen,
        "the address of its listener, such as \"127.0.0.1:8082\"",
    );
    let listen = listen.and_then(|text| address("listen", &text, section));
    if let (Some(listen), Some(server)) = (listen, server) {
        for (key, other) in [("listen", server.listen), ("admin_listen", server.admin_listen)] {
            if collide(listen, other) {
                section.wrong(
                    "listen",
                    format!("is taken by server.{key} ({other}): give it another port"),
                );
            }
        }
    }
    if listen.is_some_and(|listen| !listen.ip().is_loopback()) {
        section.warn(
            "listen",
            "reachable from other machines by http: keys and what customers say travel in it, so put TLS before it",
        );
    }
    let keys = keys(raw.keys, section);
    let named = raw.apps.as_deref().unwrap_or(apps);
    let names = section.list(
        "apps",
        named,
        "leads nowhere: leave it out to lead to all",
        |section, key, name| filter::app_name(section, key, name, apps),
    );
    let calls = raw.calls.unwrap_or(CALLS.map(str::to_owned).to_vec());
    let calls = section.list(
        "calls",
        &calls,
        "passes nothing on: leave it out to pass on all",
        calls_named,
    );
    let request_timeout = section.duration(
        "request_timeout",
        raw.request_timeout.unwrap_or(REQUEST_TIMEOUT),
        SHORTEST_REQUEST..=LONGEST_REQUEST,
    );
    Some(Gateway {
        listen: listen?,
        keys: keys?,
        apps: names?,
        calls: calls?.concat(),
        request_timeout: request_timeout?,
    })
}

fn keys(raw: Option<Vec<raw::Secret>>, section: &mut Section<'_>) -> Option<Vec<GatewayKey>> {
    const MEND: &str = "[…], each of 32 to 256 letters, digits and - . _ ~; make one with: wecom-kf keygen";
    let raw = section.required("keys", raw.filter(|keys| !keys.is_empty()), MEND)?;
    let keys: Vec<_> = raw
        .into_iter()
        .enumerate()
        .map(|(index, raw)| {
            let name = format!("keys[{index}]");
            let key = section.secret(&name, Some(raw), KEY_SHAPE)?;
            let parsed = GatewayKey::parse(&key).ok();
            if parsed.is_none() {
                section.misshapen(&name, &key, KEY_SHAPE);
            }
            parsed
        })
        .collect();
    keys.into_iter().collect()
}

/// The calls that `name` stands for: one, or all below a path that ends in `/*`.
fn calls_named(section: &mut Section<'_>, key: &str, name: &str) -> Option<Vec<Call>> {
    let is_meant = |call: &Call| match name.strip_suffix('*') {
        Some(path) if path.ends_with('/') => call.as_str().starts_with(path),
        _ => call.as_str() == name,
    };
    let calls: Vec<_> = Call::passable().filter(is_meant).collect();
    if calls.is_empty() {
        let known = Call::passable().map(Call::as_str).chain(CALLS);
        let hint = did_you_mean(name, known);
        let what = format!("{name:?} is no call that can be passed on: write its path, such as \"kf/send_msg\"{hint}");
        section.wrong(key, what);
        return None;
    }
    Some(calls)
}
