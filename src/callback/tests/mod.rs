//! The module as a whole: published vectors, attacks, and properties.

mod attacks;
mod properties;
mod vectors;

use super::{KeyPair, Sealed, Verifier, seal};
use crate::clock::UnixMillis;
use crate::id::CorpId;

const TOKEN: &str = "kf0Test1Token2Vector3";
const KEY: &str = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfG";
const OTHER_KEY: &str = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C";
const CORP: &str = "ww0123456789abcdef";
const SIGNED_AT: u64 = 1_760_000_001;
const NOW: UnixMillis = UnixMillis(1_760_000_003_000);
const NEWS: &str = "<xml><MsgType>event</MsgType><Event>kf_msg_or_event</Event><Token>ENC1</Token>\
                    <OpenKfId>wk1</OpenKfId><CreateTime>1760000000</CreateTime></xml>";

fn pair(token: &str, key: &str) -> KeyPair {
    KeyPair::new(token.into(), key.into()).unwrap()
}

/// A verifier with one pair and one receiver.
fn verifier(token: &str, key: &str, receiveid: &str) -> Verifier {
    Verifier::new(vec![pair(token, key)], vec![CorpId::from(receiveid)]).unwrap()
}

/// The verifier that everything in these tests is sealed for.
fn ours() -> Verifier {
    verifier(TOKEN, KEY, CORP)
}

fn sealed(message: &str) -> Sealed {
    seal(
        &pair(TOKEN, KEY),
        CORP,
        message.as_bytes(),
        SIGNED_AT,
        "n0nceA1",
        *b"0123456789abcdef",
    )
}
