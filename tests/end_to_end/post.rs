//! A forwarded message: its signature and shape, checked as a stranger would who knows the contract only.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use wecom_kf::id::{ExternalUserid, Msgid, OpenKfid};
use wecom_kf::simulator::Received;

/// 32 bytes, as Standard Webhooks writes them.
pub(crate) const SIGNING_SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const KEY: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

/// The type it has and the message it is about, or what is wrong with it.
pub(crate) fn read(headers: &HeaderMap, body: &[u8]) -> Result<(String, Received), String> {
    let header = |name: &str| {
        let value = headers.get(name).ok_or_else(|| format!("no {name}"))?;
        value.to_str().map_err(|_| format!("{name} is no text"))
    };
    let (id, timestamp, signature) = (
        header("webhook-id")?,
        header("webhook-timestamp")?,
        header("webhook-signature")?,
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY).expect("any length is a key");
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    if signature != expected {
        return Err(format!("{id}: wrong signature"));
    }
    let body: Value = serde_json::from_slice(body).map_err(|error| format!("{id}: {error}"))?;
    let data = &body["data"];
    let text = |value: &Value, name: &str| {
        value
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| format!("{id}: no {name}"))
    };
    if data["app"] != "main" {
        return Err(format!("{id}: app is {}", data["app"]));
    }
    let msgtype = text(&data["msgtype"], "msgtype")?;
    let kind = match data["event"]["event_type"].as_str() {
        Some(event) if msgtype == "event" => format!("kf.event.{event}"),
        _ => format!("kf.{msgtype}"),
    };
    if body["type"] != kind.as_str() {
        return Err(format!("{id}: type is {}, not {kind}", body["type"]));
    }
    let received = Received {
        open_kfid: OpenKfid::new(text(&data["open_kfid"], "open_kfid")?),
        msgid: Msgid::new(data["msgid"].as_str().unwrap_or_default()),
        external_userid: data["external_userid"].as_str().map(ExternalUserid::from),
    };
    Ok((kind, received))
}
