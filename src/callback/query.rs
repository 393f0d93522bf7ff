//! Reads the query string of a callback, by hand.
//!
//! A form decoder would do two things we cannot afford: take the last of two parameters with one name, and turn `+`
//! into a space. And the shapes are strict because the signature joins its fields without a separator, see
//! `signature.rs`.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/90930>

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::cipher::Ciphertext;
use super::refusal::ShapeError;
use super::signature::{self, Signature};

const MSG_SIGNATURE: &str = "msg_signature";
const TIMESTAMP: &str = "timestamp";
const NONCE: &str = "nonce";
const ECHOSTR: &str = "echostr";

const MAX_NONCE_BYTES: usize = 64;

/// The parameters of a callback; each has its documented shape.
#[derive(Debug)]
pub(super) struct Query<'a> {
    signature: Signature,
    /// Text, because that is what is signed.
    timestamp: Cow<'a, str>,
    timestamp_secs: u64,
    nonce: Cow<'a, str>,
    echostr: Option<Cow<'a, [u8]>>,
}

impl<'a> Query<'a> {
    /// Parses a raw query string. Each value is percent-decoded once; parameters that are not ours are ignored.
    pub(super) fn parse(raw: &'a str) -> Result<Self, ShapeError> {
        let [mut signature, mut timestamp, mut nonce, mut echostr] = [const { None }; 4];
        for parameter in raw.split('&') {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let name: Cow<'_, [u8]> = percent_decode_str(name).into();
            let (field, slot) = match &*name {
                b"msg_signature" => (MSG_SIGNATURE, &mut signature),
                b"timestamp" => (TIMESTAMP, &mut timestamp),
                b"nonce" => (NONCE, &mut nonce),
                b"echostr" => (ECHOSTR, &mut echostr),
                _ => continue,
            };
            let value = percent_decode_str(value).into();
            if slot.replace(value).is_some() {
                return Err(ShapeError::Repeated { field });
            }
        }

        let timestamp = required(TIMESTAMP, timestamp, parse_timestamp)?;
        Ok(Self {
            signature: required(MSG_SIGNATURE, signature, |text| signature::from_hex(&text))?,
            timestamp_secs: timestamp.1,
            timestamp: timestamp.0,
            nonce: required(NONCE, nonce, parse_nonce)?,
            echostr,
        })
    }

    pub(super) fn signature(&self) -> &Signature {
        &self.signature
    }

    pub(super) fn timestamp(&self) -> &str {
        &self.timestamp
    }

    pub(super) fn timestamp_secs(&self) -> u64 {
        self.timestamp_secs
    }

    pub(super) fn nonce(&self) -> &str {
        &self.nonce
    }

    /// The ciphertext that a check of the URL brings in its query.
    ///
    /// Some proxies decode `%2B` and send on a `+`, others make it a space. Base64 has no space in it, so each stands
    /// for `+`; the signature is over the repaired text.
    pub(super) fn echostr(&self) -> Result<Ciphertext<'static>, ShapeError> {
        required(ECHOSTR, self.echostr.as_deref(), |text| {
            let text = str::from_utf8(text).ok()?.replace(' ', "+");
            Ciphertext::parse(text.into())
        })
    }
}

fn required<V, T>(field: &'static str, value: Option<V>, parse: impl FnOnce(V) -> Option<T>) -> Result<T, ShapeError> {
    let value = value.ok_or(ShapeError::Missing { field })?;
    parse(value).ok_or(ShapeError::Misshapen { field })
}

/// Ten digits without a leading zero: seconds, from 2001 to 2286.
fn parse_timestamp(text: Cow<'_, [u8]>) -> Option<(Cow<'_, str>, u64)> {
    let is_timestamp = text.len() == 10 && text.iter().all(u8::is_ascii_digit) && text[0] != b'0';
    let text = utf8(text).filter(|_| is_timestamp)?;
    let secs = text.parse().ok()?;
    Some((text, secs))
}

fn parse_nonce(text: Cow<'_, [u8]>) -> Option<Cow<'_, str>> {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let is_nonce = (1..=MAX_NONCE_BYTES).contains(&text.len()) && text.iter().all(allowed);
    utf8(text).filter(|_| is_nonce)
}

fn utf8(bytes: Cow<'_, [u8]>) -> Option<Cow<'_, str>> {
    match bytes {
        Cow::Borrowed(bytes) => str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURE: &str = "5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3";

    fn with(timestamp: &str, nonce: &str) -> String {
        format!("msg_signature={SIGNATURE}&timestamp={timestamp}&nonce={nonce}")
    }

    #[test]
    fn reads_parameters_in_any_order_and_ignores_others() {
        let raw = format!("x=1&&nonce=n0-_&y&timestamp=1409659589&msg_signature={SIGNATURE}&");
        let query = Query::parse(&raw).unwrap();
        assert_eq!((query.timestamp(), query.nonce()), ("1409659589", "n0-_"));
        assert_eq!(query.timestamp_secs(), 1_409_659_589);
    }

    #[test]
    fn a_missing_parameter_is_named() {
        let whole = format!("msg_signature={SIGNATURE}&timestamp=1409659589&nonce=n");
        for (index, field) in [MSG_SIGNATURE, TIMESTAMP, NONCE].into_iter().enumerate() {
            let mut parts: Vec<&str> = whole.split('&').collect();
            parts.remove(index);
            assert_eq!(
                Query::parse(&parts.join("&")).unwrap_err(),
                ShapeError::Missing { field }
            );
        }
        assert_eq!(Query::parse("").unwrap_err(), ShapeError::Missing { field: TIMESTAMP });
        let no_echo = Query::parse(&whole).unwrap().echostr().unwrap_err();
        assert_eq!(no_echo, ShapeError::Missing { field: ECHOSTR });
    }

    #[test]
    fn a_repeated_parameter_is_refused_however_it_is_spelled() {
        let whole = format!("msg_signature={SIGNATURE}&timestamp=1409659589&nonce=n&echostr=AAAA");
        for (again, field) in [
            ("msg_signature", MSG_SIGNATURE),
            ("timestamp=", TIMESTAMP),
            ("non%63e=n", NONCE),
            ("echostr=AAAA", ECHOSTR),
        ] {
            let refused = Query::parse(&format!("{whole}&{again}")).unwrap_err();
            assert_eq!(refused, ShapeError::Repeated { field });
        }
    }

    #[test]
    fn a_timestamp_has_ten_digits() {
        for bad in [
            "",
            "140965958",
            "14096595899",
            "0409659589",
            "+409659589",
            "140965958x",
            "1409659589%20",
            "%zz",
        ] {
            assert_eq!(
                Query::parse(&with(bad, "n")).unwrap_err(),
                ShapeError::Misshapen { field: TIMESTAMP },
                "{bad}"
            );
        }
    }

    #[test]
    fn a_nonce_is_short_and_plain() {
        assert!(Query::parse(&with("1409659589", &"n".repeat(64))).is_ok());
        for bad in ["", "a%20b", "a+b", "a.b", "%ff", "n=", &"n".repeat(65)] {
            assert_eq!(
                Query::parse(&with("1409659589", bad)).unwrap_err(),
                ShapeError::Misshapen { field: NONCE },
                "{bad}"
            );
        }
    }

    #[test]
    fn a_value_is_percent_decoded_once() {
        assert_eq!(Query::parse(&with("14096595%389", "%6e")).unwrap().nonce(), "n");
        assert!(Query::parse(&with("1409659589", "%256e")).is_err());
    }

    #[test]
    fn an_echostr_survives_what_proxies_make_of_its_plus_sign() {
        for text in ["ab%2B%2F", "ab+/", "ab%20/", "ab /"] {
            let raw = format!("{}&echostr={text}", with("1409659589", "n"));
            assert_eq!(
                Query::parse(&raw).unwrap().echostr().unwrap().as_str(),
                "ab+/",
                "{text}"
            );
        }
    }
}
