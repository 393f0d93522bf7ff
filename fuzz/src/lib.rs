//! What the fuzz targets try, one function each. `tests/corpora.rs` of the server replays the corpora through the same
//! functions, so that what was found once is looked for in every test run.

use std::sync::Arc;

use serde_json::value::RawValue;
use wecom_kf::api::SyncPage;
use wecom_kf::callback::{KeyPair, Notification, Refusal, Sealed, Verifier, VerifyError, seal};
use wecom_kf::clock::UnixMillis;
use wecom_kf::config::{Config, Environment};
use wecom_kf::id::{CorpId, OpenKfid};
use wecom_kf::message::Message;

const CORP: &str = "ww0123456789abcdef";
const NOW: u64 = 1_760_000_000;
const ECHO: &[u8] = b"1616140317555161061";
const NEWS: &[u8] = b"<xml><Event>kf_msg_or_event</Event><OpenKfId>wk1</OpenKfId></xml>";

fn pair() -> KeyPair {
    let key = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfG";
    KeyPair::new("kf0Test1Token2Vector3".into(), key.into()).expect("good keys")
}

fn verifier() -> Verifier {
    Verifier::new(vec![pair()], vec![CorpId::from(CORP)]).expect("keys and a receiver")
}

fn sealed(message: &[u8]) -> Sealed {
    seal(&pair(), CORP, message, NOW, "n0nceA1", *b"0123456789abcdef")
}

/// What may become of something from anybody: it is refused before anything is decrypted, or it is what was signed.
fn refused_or_genuine(opened: Result<Notification, Refusal>) {
    match opened {
        Ok(Notification::Message { open_kfid, .. }) => assert_eq!(open_kfid, Some(OpenKfid::from("wk1"))),
        Ok(other) => panic!("{other:?} was never signed"),
        Err(Refusal::Shape(_) | Refusal::Verify(VerifyError::Signature)) => {}
        Err(other) => panic!("{other}: nobody without the token gets as far"),
    }
}

/// The body of a notification.
pub fn envelope(body: &[u8]) {
    refused_or_genuine(verifier().open(&sealed(NEWS).query(), body, UnixMillis::from_secs(NOW)));
}

/// The message inside an authentic notification: never refused, whatever it is, and what is logged of it is plain.
pub fn inner_xml(message: &[u8]) {
    // What is sealed here must fit into a body.
    if message.len() > 32 * 1024 {
        return;
    }
    let (sealed, now) = (sealed(message), UnixMillis::from_secs(NOW));
    let opened = verifier().open(&sealed.query(), sealed.body().as_bytes(), now);
    if let Notification::Other { name } = opened.expect("it is authentic") {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        assert!((1..=64).contains(&name.len()) && name.chars().all(is_plain), "{name}");
    }
    match verifier().verify_url(&sealed.echo_query(), now) {
        Ok(echo) => assert_eq!(echo, message),
        Err(refusal) => assert!(
            refusal == VerifyError::Echo.into() && message.contains(&b'<'),
            "{refusal}"
        ),
    }
}

/// The query string of a callback.
pub fn query(query: &[u8]) {
    let Ok(query) = std::str::from_utf8(query) else { return };
    let now = UnixMillis::from_secs(NOW);
    refused_or_genuine(verifier().open(query, sealed(NEWS).body().as_bytes(), now));
    match verifier().verify_url(query, now) {
        Ok(echo) => assert_eq!(echo, ECHO),
        Err(Refusal::Shape(_) | Refusal::Verify(VerifyError::Signature | VerifyError::Echo)) => {}
        Err(other) => panic!("{other}: nobody without the token gets as far"),
    }
}

/// An answer to `sync_msg`: every item becomes a message, and is kept as it came.
pub fn page(body: &[u8]) {
    let Ok(page) = SyncPage::parse(body.to_owned()) else {
        return;
    };
    let account = OpenKfid::from("wkDEMO");
    for raw in page.items {
        let message = Message::decode(Arc::clone(&raw), &account);
        assert_eq!(message.raw().get(), raw.get());
        let written = serde_json::to_string(&message).expect("a message can be written");
        // Not as a `Value`: that has a limit of nesting, and what WeCom sent is kept however deep it is.
        serde_json::from_str::<&RawValue>(&written).expect("what is written is JSON");
    }
}

/// A config: read or refused, and a good one shows itself as TOML.
pub fn config(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    // Reads a file that the config names: not one that the fuzzer makes up.
    if text.contains("file") {
        return;
    }
    match Config::parse(text, &Environment::default()) {
        Ok(loaded) => drop(loaded.config.to_string()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
