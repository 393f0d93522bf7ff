//! The callback router without a socket, and the server with real ones.

mod router;
mod sockets;

use std::sync::{Arc, Mutex};

use axum::Router;

use super::{CallbackApp, Callbacks};
use crate::callback::{KeyPair, Notification, Sealed, Verifier, seal};
use crate::clock::{ManualClock, UnixMillis};
use crate::id::{AppName, CorpId};

const CORP: &str = "ww0123456789abcdef";
const NEWS: &str = "<xml><Event>kf_msg_or_event</Event><OpenKfId>wk1</OpenKfId></xml>";

/// What the router handed on: app and kind.
type Notified = Arc<Mutex<Vec<(String, Notification)>>>;

fn pair() -> KeyPair {
    KeyPair::new("token".into(), "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfG".into()).unwrap()
}

fn sealed(message: &str) -> Sealed {
    seal(&pair(), CORP, message.as_bytes(), 1_760_000_000, "n0nce", [7; 16])
}

/// A router for apps of these names, all with the same keys.
fn router(names: &[&str]) -> (Router, Notified) {
    let verifier = Verifier::new(vec![pair()], vec![CorpId::from(CORP)]).unwrap();
    router_with(names, &verifier)
}

fn router_with(names: &[&str], verifier: &Verifier) -> (Router, Notified) {
    let notified = Notified::default();
    let apps = names
        .iter()
        .map(|name| CallbackApp {
            name: AppName::new(name).unwrap(),
            verifier: verifier.clone(),
        })
        .collect();
    let clock = Arc::new(ManualClock::new(UnixMillis(1_760_000_000_000)));
    let notify = Arc::clone(&notified);
    let callbacks = Callbacks::new(
        apps,
        clock,
        Arc::new(move |app, notification| notify.lock().unwrap().push((app.to_string(), notification))),
    );
    (callbacks.router(), notified)
}
