//! What somebody without the keys, or with a captured request, may try.

use std::time::Duration;

use super::vectors::fixture;
use super::{CORP, KEY, NEWS, NOW, OTHER_KEY, SIGNED_AT, TOKEN, ours, pair, sealed, verifier};
use crate::callback::{
    FrameError, MAX_BODY_BYTES, Notification, Refusal, Sealed, ShapeError, Verifier, VerifierError, VerifyError,
    XmlError, seal,
};
use crate::clock::UnixMillis;
use crate::id::CorpId;

fn open(verifier: &Verifier, sealed: &Sealed) -> Result<&'static str, Refusal> {
    verifier
        .open(&sealed.query(), sealed.body().as_bytes(), NOW)
        .map(|read| read.kind())
}

/// A whole envelope with `encrypt` in it, signed with the right token.
fn signed(encrypt: &str) -> (String, String) {
    let (timestamp, nonce) = (SIGNED_AT.to_string(), "n");
    let signature = super::super::signature::sign(TOKEN, &timestamp, nonce, encrypt);
    let signature = super::super::signature::to_hex(&signature);
    (
        format!("msg_signature={signature}&timestamp={timestamp}&nonce={nonce}"),
        format!("<xml><Encrypt>{encrypt}</Encrypt></xml>"),
    )
}

#[test]
fn refuses_every_change_of_a_bit_in_the_query() {
    let sealed = sealed(NEWS);
    let query = sealed.query();
    for index in 0..query.len() {
        for bit in 0..7 {
            let mut bytes = query.clone().into_bytes();
            bytes[index] ^= 1 << bit;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(
                ours().open(&changed, sealed.body().as_bytes(), NOW).is_err(),
                "{changed}"
            );
        }
    }
}

#[test]
fn refuses_every_change_of_a_bit_in_the_ciphertext() {
    let sealed = sealed(NEWS);
    let body = sealed.body();
    let start = body.find("<![CDATA[").unwrap() + "<![CDATA[".len();
    let end = body.find("]]>").unwrap();
    for index in start..end {
        for bit in 0..8 {
            let mut changed = body.clone().into_bytes();
            changed[index] ^= 1 << bit;
            assert!(
                ours().open(&sealed.query(), &changed, NOW).is_err(),
                "byte {index}, bit {bit}"
            );
        }
    }
}

#[test]
fn refuses_an_echo_with_any_part_missing_or_changed() {
    let query = sealed("1616140317555161061").echo_query();
    assert_eq!(ours().verify_url(&query, NOW).unwrap(), b"1616140317555161061");
    for index in 0..4 {
        let mut parts: Vec<&str> = query.split('&').collect();
        let part = parts.remove(index);
        let refused = ours().verify_url(&parts.join("&"), NOW).unwrap_err();
        assert!(matches!(refused, Refusal::Shape(ShapeError::Missing { field }) if part.starts_with(field)));
    }
    for index in 0..query.len() {
        let mut bytes = query.clone().into_bytes();
        bytes[index] ^= 1;
        let changed = String::from_utf8(bytes).unwrap();
        assert!(ours().verify_url(&changed, NOW).is_err(), "{changed}");
    }
}

#[test]
fn refuses_a_signature_for_another_body() {
    let (one, other) = (sealed(NEWS), sealed("<xml><Event>enter_agent</Event></xml>"));
    let crossed = ours().open(&one.query(), other.body().as_bytes(), NOW);
    assert_eq!(crossed.unwrap_err(), VerifyError::Signature.into());
}

#[test]
fn checks_the_signature_before_it_decrypts_anything() {
    // Not canonical base64, no whole block, garbage: each would be refused as a frame, were it decrypted.
    for (encrypt, error) in [
        ("AB==", FrameError::Base64),
        ("AAAA", FrameError::Blocks),
        (&"AAAA".repeat(6), FrameError::Blocks),
        (&"A".repeat(64), FrameError::Padding),
    ] {
        let (query, body) = signed(encrypt);
        let signed_right = ours().open(&query, body.as_bytes(), NOW).unwrap_err();
        assert_eq!(signed_right, VerifyError::Frame(error).into());
        let signed_wrong = verifier("another", KEY, CORP)
            .open(&query, body.as_bytes(), NOW)
            .unwrap_err();
        assert_eq!(signed_wrong, VerifyError::Signature.into());
    }
}

#[test]
fn refuses_the_right_signature_over_another_key() {
    let refused = open(&verifier(TOKEN, OTHER_KEY, CORP), &sealed(NEWS)).unwrap_err();
    assert!(matches!(refused, Refusal::Verify(VerifyError::Frame(_))), "{refused:?}");
}

#[test]
fn accepts_no_receiver_but_those_listed() {
    let to = |receiveid: &str| seal(&pair(TOKEN, KEY), receiveid, NEWS.as_bytes(), SIGNED_AT, "n", [0; 16]);
    let listed = Verifier::new(vec![pair(TOKEN, KEY)], vec![CORP.into(), "wwsecond".into()]).unwrap();
    for receiveid in [CORP, "wwsecond"] {
        assert_eq!(open(&listed, &to(receiveid)), Ok("message"));
    }
    for receiveid in [
        "",
        "ww",
        "WW0123456789ABCDEF",
        "ww0123456789abcdef0",
        "ww0123456789abcdef\0",
        "wwsecon",
    ] {
        assert_eq!(
            open(&listed, &to(receiveid)),
            Err(VerifyError::Receiver.into()),
            "{receiveid:?}"
        );
    }
    assert_eq!(open(&verifier(TOKEN, KEY, ""), &to("")), Ok("message"));
    assert_eq!(
        open(&verifier(TOKEN, KEY, ""), &to(CORP)),
        Err(VerifyError::Receiver.into())
    );
}

#[test]
fn the_receiver_in_the_envelope_counts_for_nothing() {
    let sealed = sealed(NEWS);
    let body = sealed.body().replace(CORP, "wwsomebodyelse");
    assert!(ours().open(&sealed.query(), body.as_bytes(), NOW).is_ok());
}

#[test]
fn every_pair_of_a_rotation_opens_its_own() {
    let rotating = |pairs: Vec<_>| Verifier::new(pairs, vec![CorpId::from(CORP)]).unwrap();
    let old = pair("old", OTHER_KEY);
    let both = rotating(vec![old.clone(), pair(TOKEN, KEY)]);
    assert_eq!(open(&both, &sealed(NEWS)), Ok("message"));
    assert_eq!(
        open(&both, &seal(&old, CORP, NEWS.as_bytes(), SIGNED_AT, "n", [0; 16])),
        Ok("message")
    );
    // A rotation of the AES key alone: the signature fits both pairs, and only the second decrypts.
    let same_token = rotating(vec![pair(TOKEN, OTHER_KEY), pair(TOKEN, KEY)]);
    assert_eq!(open(&same_token, &sealed(NEWS)), Ok("message"));
    // A pair of the one's token and the other's key was never valid.
    let mixed = seal(&pair("old", KEY), CORP, NEWS.as_bytes(), SIGNED_AT, "n", [0; 16]);
    assert!(open(&both, &mixed).is_err());
}

#[test]
fn a_verifier_that_could_check_nothing_is_not_built() {
    let no_keys = Verifier::new(vec![], vec![CORP.into()]).unwrap_err();
    assert_eq!(no_keys, VerifierError::NoKeyPair);
    assert_eq!(
        Verifier::new(vec![pair(TOKEN, KEY)], vec![]).unwrap_err(),
        VerifierError::NoReceiveId
    );
}

#[test]
fn a_captured_notification_is_not_decrypted_for_whoever_sends_it_as_an_echo() {
    let refused = ours().verify_url(&sealed(NEWS).echo_query(), NOW).unwrap_err();
    assert_eq!(refused, VerifyError::Echo.into());
}

#[test]
fn a_body_that_is_no_envelope_is_no_callback() {
    let query = sealed(NEWS).query();
    let refusal = |body: &str| ours().open(&query, body.as_bytes(), NOW).unwrap_err();
    let field = "Encrypt";
    let too_long = format!("<xml><Encrypt>{}</Encrypt></xml>", "A".repeat(MAX_BODY_BYTES));
    for (body, error) in [
        ("", ShapeError::Envelope(XmlError::Malformed)),
        ("{\"encrypt\":\"AAAA\"}", ShapeError::Envelope(XmlError::Malformed)),
        ("<!DOCTYPE xml><xml/>", ShapeError::Envelope(XmlError::Forbidden)),
        (&too_long, ShapeError::Envelope(XmlError::TooLong)),
        (
            "<xml><x><Encrypt>AAAA</Encrypt></x></xml>",
            ShapeError::Missing { field },
        ),
        ("<Encrypt>AAAA</Encrypt>", ShapeError::Missing { field }),
        (
            "<xml><Encrypt>AAAA</Encrypt><Encrypt>AAAA</Encrypt></xml>",
            ShapeError::Repeated { field },
        ),
        ("<xml><Encrypt></Encrypt></xml>", ShapeError::Misshapen { field }),
        ("<xml><Encrypt> AAAA</Encrypt></xml>", ShapeError::Misshapen { field }),
        ("<xml><Encrypt>AA-_</Encrypt></xml>", ShapeError::Misshapen { field }),
    ] {
        assert_eq!(refusal(body), error.into(), "{}", &body[..body.len().min(80)]);
    }
}

#[test]
fn a_body_may_have_64_kib_and_no_more() {
    let sealed = sealed(NEWS);
    let body = sealed.body();
    let longest = format!("{body}{}", " ".repeat(64 * 1024 - body.len()));
    let opened = |body: &str| {
        ours()
            .open(&sealed.query(), body.as_bytes(), NOW)
            .map(|read| read.kind())
    };
    assert_eq!(opened(&longest), Ok("message"));
    let longer = longest + " ";
    assert_eq!(opened(&longer), Err(ShapeError::Envelope(XmlError::TooLong).into()));
}

/// Every way to cut the signed string into a timestamp, a nonce and a ciphertext. The token's place is the only thing
/// that an attacker cannot move.
fn cuts(parts: [&str; 3]) -> Vec<[String; 3]> {
    const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let mut sorted = parts;
    sorted.sort_unstable();
    let joined = sorted.concat();
    let mut cuts = Vec::new();
    for first in 0..=joined.len() {
        for second in first..=joined.len() {
            let pieces = [&joined[..first], &joined[first..second], &joined[second..]];
            cuts.extend(ORDERS.map(|order| order.map(|place| pieces[place].to_owned())));
        }
    }
    cuts.sort_unstable();
    cuts.dedup();
    cuts.retain(|cut| *cut != parts);
    cuts
}

#[test]
fn a_capture_cut_elsewhere_says_nothing_new_and_is_refused_by_its_age() {
    for vector in fixture().vectors.iter().filter(|vector| vector.kind == "url_verify") {
        let timestamp: u64 = vector.timestamp.parse().unwrap();
        let now = UnixMillis::from_secs(timestamp);
        let verifier = vector.verifier();
        let strict = verifier.clone().with_max_clock_skew(Duration::from_secs(600));
        let query = |[timestamp, nonce, echostr]: &[String; 3]| {
            let signature = &vector.msg_signature;
            format!("msg_signature={signature}&timestamp={timestamp}&nonce={nonce}&echostr={echostr}")
        };
        let captured = [&vector.timestamp, &vector.nonce, &vector.encrypt].map(String::clone);
        let echo = strict.verify_url(&query(&captured), now).unwrap();

        let mut forged = 0;
        for cut in cuts([&vector.timestamp, &vector.nonce, &vector.encrypt]) {
            assert!(strict.verify_url(&query(&cut), now).is_err(), "{cut:?}");
            if let Ok(said) = verifier.verify_url(&query(&cut), now) {
                assert_eq!(said, echo);
                forged += 1;
            }
        }
        assert!(forged <= 1, "{}: the shapes let {forged} forgeries pass", vector.id);
    }
}

#[test]
fn a_capture_whose_nonce_is_no_number_cannot_be_cut_elsewhere() {
    let sealed = sealed("1616140317555161061");
    let query = sealed.echo_query();
    let [signature, timestamp, nonce, echostr] = query
        .split('&')
        .map(|part| {
            percent_encoding::percent_decode_str(part.split_once('=').unwrap().1)
                .decode_utf8()
                .unwrap()
        })
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    for [timestamp, nonce, echostr] in cuts([&timestamp, &nonce, &echostr]) {
        let query = format!("msg_signature={signature}&timestamp={timestamp}&nonce={nonce}&echostr={echostr}");
        assert!(ours().verify_url(&query, NOW).is_err(), "{query}");
    }
}

#[test]
fn a_refusal_gives_nothing_of_the_request_away() {
    let secret = "Sup3rSecretText";
    let (query, _) = signed(secret);
    let refused = ours()
        .open(&query, format!("<xml><{secret}></xml>").as_bytes(), NOW)
        .unwrap_err();
    assert!(!format!("{refused} {refused:?}").contains(secret));
    let authentic = ours()
        .open(&sealed(NEWS).query(), sealed(NEWS).body().as_bytes(), NOW)
        .unwrap();
    assert!(matches!(authentic, Notification::Message { .. }));
    assert!(
        !format!("{authentic:?}").contains("ENC1"),
        "the ticket shows in {authentic:?}"
    );
}
