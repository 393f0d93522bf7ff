//! Vectors that the vendor and others published, and a few made like them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::{CORP, NEWS, NOW, SIGNED_AT, ours, pair, sealed, verifier};
use crate::callback::{KeyPair, Notification, Refusal, Verifier, VerifyError, seal};
use crate::clock::UnixMillis;

#[derive(Deserialize)]
pub(super) struct Fixture {
    encoding_aes_key_trailing_bits: BTreeMap<String, serde_json::Value>,
    pub(super) vectors: Vec<Vector>,
}

#[derive(Deserialize)]
pub(super) struct Vector {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) token: String,
    pub(super) encoding_aes_key: String,
    pub(super) timestamp: String,
    pub(super) nonce: String,
    pub(super) msg_signature: String,
    pub(super) encrypt: String,
    receiveid: Option<String>,
    query: Option<String>,
    post_body: Option<String>,
    plaintext: Option<String>,
    random16: Option<String>,
    expect: Option<String>,
}

impl Vector {
    fn query(&self) -> String {
        self.query.clone().unwrap_or_else(|| {
            let mut query = format!(
                "msg_signature={}&timestamp={}&nonce={}",
                self.msg_signature, self.timestamp, self.nonce
            );
            if self.kind == "url_verify" {
                query += &format!("&echostr={}", self.encrypt.replace('+', "%2B"));
            }
            query
        })
    }

    pub(super) fn verifier(&self) -> Verifier {
        let receiveid = self.receiveid.as_deref().unwrap_or(CORP);
        verifier(&self.token, &self.encoding_aes_key, receiveid)
    }

    /// What comes out of it: the echo, or the notification as `Debug` shows it.
    fn open(&self) -> Result<String, Refusal> {
        let verifier = self.verifier();
        match &self.post_body {
            Some(body) => verifier
                .open(&self.query(), body.as_bytes(), NOW)
                .map(|read| format!("{read:?}")),
            None => verifier
                .verify_url(&self.query(), NOW)
                .map(|echo| String::from_utf8(echo).unwrap()),
        }
    }
}

pub(super) fn fixture() -> Fixture {
    serde_json::from_str(include_str!("../../../tests/fixtures/vectors.json")).unwrap()
}

#[test]
fn every_published_vector_has_the_outcome_it_names() {
    for vector in fixture().vectors {
        let outcome = vector.open();
        let as_expected = match vector.expect.as_deref() {
            None => outcome.is_ok(),
            Some("signature_mismatch") => outcome == Err(VerifyError::Signature.into()),
            Some("decrypt_error") => matches!(outcome, Err(Refusal::Verify(VerifyError::Frame(_)))),
            Some("receiveid_mismatch") => outcome == Err(VerifyError::Receiver.into()),
            Some(expect) => panic!("{}: unknown expectation {expect}", vector.id),
        };
        assert!(as_expected, "{}: {outcome:?}", vector.id);
        if vector.kind == "url_verify" {
            assert_eq!(outcome.ok(), vector.plaintext, "{}", vector.id);
        }
    }
}

#[test]
fn every_published_vector_is_what_we_would_have_sealed() {
    let mut compared = 0;
    for vector in fixture().vectors {
        let (Some(plaintext), Some(random16), Some(receiveid)) =
            (&vector.plaintext, &vector.random16, &vector.receiveid)
        else {
            continue;
        };
        let sealed = seal(
            &pair(&vector.token, &vector.encoding_aes_key),
            receiveid,
            plaintext.as_bytes(),
            vector.timestamp.parse().unwrap(),
            &vector.nonce,
            random16.as_bytes().try_into().unwrap(),
        );
        assert!(sealed.body().contains(&vector.encrypt), "{}", vector.id);
        assert!(sealed.query().contains(&vector.msg_signature), "{}", vector.id);
        compared += 1;
    }
    assert!(compared >= 8, "only {compared} vectors tell their random bytes");
}

#[test]
fn every_published_key_is_accepted_whatever_its_trailing_bits() {
    for key in fixture().encoding_aes_key_trailing_bits.keys() {
        assert!(KeyPair::new("token".into(), key.as_str().into()).is_ok(), "{key}");
    }
}

#[test]
fn the_vectors_are_read_as_what_they_announce() {
    let read = |id: &str| {
        let vector = fixture().vectors.into_iter().find(|vector| vector.id == id).unwrap();
        vector
            .verifier()
            .open(&vector.query(), vector.post_body.as_ref().unwrap().as_bytes(), NOW)
            .unwrap()
    };
    match read("synthetic-kf-event") {
        Notification::Message {
            open_kfid,
            token,
            create_time,
        } => {
            assert_eq!(open_kfid.unwrap().as_str(), "wkDEMOAAAAbCdEfGhIjKlMnOpQrStUvW");
            assert_eq!(
                token.unwrap().expose(),
                "ENCdEm0T0kenABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
            );
            assert_eq!(create_time, 1_760_000_000);
        }
        other => panic!("{other:?}"),
    }
    match read("synthetic-kf-auth-change") {
        Notification::AccountsChanged { added, removed } => {
            assert_eq!(added, ["wkDEMOadd0001".into(), "wkDEMOadd0002".into()]);
            assert_eq!(removed, ["wkDEMOdel0001".into()]);
        }
        other => panic!("{other:?}"),
    }
    for (id, expected) in [
        ("synthetic-non-kf-event", "enter_agent"),
        ("official-1-post-xml", "text"),
        ("synthetic-pad-17", "unreadable"),
    ] {
        assert!(
            matches!(read(id), Notification::Other { name } if &*name == expected),
            "{id}"
        );
    }
}

#[test]
fn age_does_not_matter_unless_asked() {
    let sealed = sealed(NEWS);
    let open = |verifier: &Verifier, secs: u64| {
        verifier
            .open(&sealed.query(), sealed.body().as_bytes(), UnixMillis::from_secs(secs))
            .map(|read| read.kind())
    };
    assert_eq!(open(&ours(), 0), Ok("message"));
    let strict = ours().with_max_clock_skew(Duration::from_secs(600));
    for secs in [SIGNED_AT - 600, SIGNED_AT, SIGNED_AT + 600] {
        assert_eq!(open(&strict, secs), Ok("message"));
    }
    for secs in [0, SIGNED_AT - 601, SIGNED_AT + 601, u64::MAX] {
        assert_eq!(open(&strict, secs), Err(VerifyError::Stale.into()));
    }
}
