//! The order of the checks: what is looked at before what, and with which keys.

use std::time::Duration;

use super::cipher::{self, Ciphertext, Frame};
use super::key::KeyPair;
use super::notification::Notification;
use super::query::Query;
use super::refusal::{Refusal, ShapeError, VerifyError};
use super::xml::{Children, XmlError};
use super::{MAX_BODY_BYTES, signature};
use crate::clock::UnixMillis;
use crate::id::CorpId;

/// Verifies and opens the callbacks of one application.
///
/// Several key pairs may be valid at once, so that keys rotate without a lost notification.
#[derive(Clone, Debug)]
pub struct Verifier {
    /// Never empty.
    pairs: Vec<KeyPair>,
    /// Never empty.
    receive_ids: Vec<CorpId>,
    max_clock_skew: Option<Duration>,
}

/// Why a [`Verifier`] cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifierError {
    /// There is nothing to check a signature with.
    #[error("no key pair is given")]
    NoKeyPair,
    /// There is no receiver to accept messages for.
    #[error("no receiveid is given")]
    NoReceiveId,
}

impl Verifier {
    /// Accepts what is signed with any of `pairs` and addressed to exactly one of `receive_ids`.
    ///
    /// For a self-built app the receiver is the corporation. The empty id, which apps of individuals receive, is
    /// accepted only when it is listed.
    ///
    /// # Errors
    ///
    /// [`VerifierError`] when either list is empty: such a verifier would refuse everything, or check nothing.
    pub fn new(pairs: Vec<KeyPair>, receive_ids: Vec<CorpId>) -> Result<Self, VerifierError> {
        if pairs.is_empty() {
            return Err(VerifierError::NoKeyPair);
        }
        if receive_ids.is_empty() {
            return Err(VerifierError::NoReceiveId);
        }
        Ok(Self {
            pairs,
            receive_ids,
            max_clock_skew: None,
        })
    }

    /// Also refuses what was signed further than `skew` from our clock, in whole seconds.
    ///
    /// Off unless asked for: a replayed notification only makes us pull once more, while a wrong clock would refuse
    /// every genuine one. Tools that check a URL with fixed values are refused as well.
    #[must_use]
    pub fn with_max_clock_skew(mut self, skew: Duration) -> Self {
        self.max_clock_skew = Some(skew);
        self
    }

    /// Answers the request by which WeCom checks that this URL is ours: gives the bytes to send back, exactly.
    ///
    /// `raw_query` is the query string as it came, not decoded, without `?`. The same request may come several times,
    /// and is answered each time.
    ///
    /// # Errors
    ///
    /// [`Refusal`], which says whether this was a callback at all.
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/90930>
    pub fn verify_url(&self, raw_query: &str, now: UnixMillis) -> Result<Vec<u8>, Refusal> {
        let query = Query::parse(raw_query)?;
        let echostr = query.echostr()?;
        let frame = self.authenticate(&query, &echostr, now)?;
        let echo = frame.message();
        // A notification is encrypted and signed exactly like an echo. Whoever captured one could have it decrypted,
        // token included, by sending it back as an `echostr`. An echo is a run of digits; a notification is XML.
        if echo.contains(&b'<') {
            return Err(VerifyError::Echo.into());
        }
        Ok(echo.to_owned())
    }

    /// Opens a notification. `raw_query` is the query string as it came, not decoded, without `?`.
    ///
    /// What is authentic is never refused: if it is not about customer service, or not even XML inside, it is
    /// [`Notification::Other`].
    ///
    /// # Errors
    ///
    /// [`Refusal`], which says whether this was a callback at all.
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/90930>
    pub fn open(&self, raw_query: &str, body: &[u8], now: UnixMillis) -> Result<Notification, Refusal> {
        let query = Query::parse(raw_query)?;
        let encrypt = read_envelope(body)?;
        let frame = self.authenticate(&query, &encrypt, now)?;
        Ok(Notification::read(frame.message()))
    }

    /// Opens a signed ciphertext that is addressed to us.
    fn authenticate(&self, query: &Query<'_>, encrypt: &Ciphertext<'_>, now: UnixMillis) -> Result<Frame, VerifyError> {
        // Every pair is tried, so that the time taken does not tell which one fits. And more than one may: pairs that
        // rotate only their AES key share a token, and the signature covers no more than that.
        let signers: Vec<&KeyPair> = self
            .pairs
            .iter()
            .filter(|pair| {
                let ours = signature::sign(pair.token(), query.timestamp(), query.nonce(), encrypt.as_str());
                signature::equal(&ours, query.signature())
            })
            .collect();

        let mut refusal = VerifyError::Signature;
        for pair in signers {
            let age = self.check_age(query.timestamp_secs(), now);
            match age.and_then(|()| self.decrypt(pair, encrypt)) {
                Ok(frame) => return Ok(frame),
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    fn decrypt(&self, pair: &KeyPair, encrypt: &Ciphertext<'_>) -> Result<Frame, VerifyError> {
        let frame = cipher::open(pair.aes_key(), encrypt)?;
        let is_ours = |id: &CorpId| id.as_str().as_bytes() == frame.receiveid();
        if self.receive_ids.iter().any(is_ours) {
            Ok(frame)
        } else {
            Err(VerifyError::Receiver)
        }
    }

    fn check_age(&self, timestamp_secs: u64, now: UnixMillis) -> Result<(), VerifyError> {
        match self.max_clock_skew {
            Some(skew) if timestamp_secs.abs_diff(now.as_secs()) > skew.as_secs() => Err(VerifyError::Stale),
            _ => Ok(()),
        }
    }
}

/// Finds the ciphertext in the body. Nothing else in it is signed, so nothing else is looked at.
fn read_envelope(body: &[u8]) -> Result<Ciphertext<'_>, ShapeError> {
    const FIELD: &str = "Encrypt";
    if body.len() > MAX_BODY_BYTES {
        return Err(XmlError::TooLong.into());
    }
    let encrypt = Children::parse(body, &[FIELD])?.take_single(FIELD)?;
    let encrypt = encrypt.ok_or(ShapeError::Missing { field: FIELD })?;
    Ciphertext::parse(encrypt).ok_or(ShapeError::Misshapen { field: FIELD })
}
