//! Makes callbacks as WeCom would: the inverse of [`Verifier`](super::Verifier).

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use quick_xml::escape::escape;

use super::cipher;
use super::key::KeyPair;
use super::signature;

/// A callback, signed and encrypted, in the forms in which it can be sent.
#[derive(Clone, Debug)]
pub struct Sealed {
    encrypt: String,
    msg_signature: String,
    timestamp: String,
    nonce: String,
    receiveid: String,
}

/// Encrypts `message` for `receiveid` and signs it with `pair`.
///
/// `timestamp` is in Unix seconds. A verifier takes only one of ten digits, and only a `nonce` of 1 to 64 characters of
/// `a-z`, `A-Z`, `0-9`, `_` and `-`; others are sealed all the same, so that a test can have them refused. `random16`
/// should be random wherever the ciphertext travels.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/90968>
#[must_use]
pub fn seal(
    pair: &KeyPair,
    receiveid: &str,
    message: &[u8],
    timestamp: u64,
    nonce: &str,
    random16: [u8; 16],
) -> Sealed {
    let ciphertext = cipher::seal(pair.aes_key(), random16, message, receiveid.as_bytes());
    let timestamp = timestamp.to_string();
    let signature = signature::sign(pair.token(), &timestamp, nonce, ciphertext.as_str());
    Sealed {
        encrypt: ciphertext.as_str().to_owned(),
        msg_signature: signature::to_hex(&signature),
        timestamp,
        nonce: nonce.to_owned(),
        receiveid: receiveid.to_owned(),
    }
}

impl Sealed {
    /// Query string of a notification, without `?`. Goes with [`body`](Self::body), in a POST.
    #[must_use]
    pub fn query(&self) -> String {
        let nonce = utf8_percent_encode(&self.nonce, NON_ALPHANUMERIC);
        format!(
            "msg_signature={}&timestamp={}&nonce={nonce}",
            self.msg_signature, self.timestamp
        )
    }

    /// Body of a notification: the XML envelope.
    #[must_use]
    pub fn body(&self) -> String {
        format!(
            "<xml><ToUserName>{}</ToUserName><Encrypt><![CDATA[{}]]></Encrypt><AgentID></AgentID></xml>",
            escape(&self.receiveid),
            self.encrypt
        )
    }

    /// Query string of a check of the URL, without `?`: a GET that has the message in its query.
    #[must_use]
    pub fn echo_query(&self) -> String {
        format!(
            "{}&echostr={}",
            self.query(),
            utf8_percent_encode(&self.encrypt, NON_ALPHANUMERIC)
        )
    }
}
