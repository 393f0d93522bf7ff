//! Who may use the gateway: keys that the operator hands out, and the tickets that `gettoken` gives for them.
//!
//! An SDK asks `gettoken` first and puts what it got into the query of every call, where proxies log it. So what
//! [`Keys::issue`] gives out is no key but a ticket, for one app and two hours: when it ends, and a MAC by the key over
//! that and the app. Nothing is kept: whoever has the keys can tell a good one, any replica and after a restart, and a
//! ticket ends with the key that it was made by.
//!
//! Whoever shows nothing, a wrong key or a forged ticket costs the same work as one who shows the right key, and none of
//! it depends on where the difference lies.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::CryptoRng;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use crate::clock::UnixMillis;

/// How long a ticket is good for: as long as WeCom's access tokens usually are, so that SDKs know what to do.
pub(super) const TICKET_LIFETIME: Duration = Duration::from_secs(7200);

/// Keeps a MAC over a ticket from being one over anything else.
const PURPOSE: &[u8] = b"wecom-kf gateway ticket 1";

const MAC_BYTES: usize = 32;
/// When it ends, in Unix seconds, and the MAC.
const TICKET_BYTES: usize = size_of::<u64>() + MAC_BYTES;

/// A key to the gateway: 32 to 256 characters of `a-z`, `A-Z`, `0-9`, `-`, `.`, `_` and `~`, which no URL needs to
/// escape. Hidden in `Debug`.
#[derive(Clone)]
pub struct GatewayKey {
    secret: SecretString,
    digest: [u8; 32],
}

/// Why a key was refused. Shows nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayKeyError {
    /// It can be guessed, or is no key at all.
    #[error("must have 32 to 256 characters, not {characters}")]
    Length {
        /// Length it has.
        characters: usize,
    },
    /// It would be damaged in a URL that somebody puts together by hand.
    #[error("must consist of letters, digits, and - . _ ~")]
    Alphabet,
}

impl GatewayKey {
    /// Makes a new key of 32 random bytes.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> SecretString {
        let mut key = [0; 32];
        rng.fill_bytes(&mut key);
        URL_SAFE_NO_PAD.encode(key).into()
    }

    /// Parses a key as it is written.
    ///
    /// # Errors
    ///
    /// [`GatewayKeyError`] when it has not this form.
    pub fn parse(key: &SecretString) -> Result<Self, GatewayKeyError> {
        let text = key.expose_secret();
        let characters = text.chars().count();
        if !(32..=256).contains(&characters) {
            return Err(GatewayKeyError::Length { characters });
        }
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if !text.bytes().all(is_fit) {
            return Err(GatewayKeyError::Alphabet);
        }
        Ok(Self {
            secret: key.clone(),
            digest: Sha256::digest(text).into(),
        })
    }

    fn mac(&self, app: &str, ends: u64) -> Hmac<Sha256> {
        let key = self.secret.expose_secret().as_bytes();
        // Unwrap safety: HMAC takes keys of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
        mac.update(PURPOSE);
        mac.update(&ends.to_be_bytes());
        mac.update(app.as_bytes());
        mac
    }
}

impl fmt::Debug for GatewayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GatewayKey(…)")
    }
}

/// What somebody showed is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Worth {
    /// A key, or a ticket for this app.
    Good,
    /// A ticket for this app that has ended.
    Ended,
    /// Nothing.
    None,
}

/// The keys that are good at the same time.
#[derive(Debug)]
pub(super) struct Keys(pub(super) Vec<GatewayKey>);

impl Keys {
    /// What `shown` is worth at the door of `app`.
    pub(super) fn worth(&self, shown: &str, app: &str, now: UnixMillis) -> Worth {
        let ticket = Ticket::parse(shown);
        let (is_key, is_ticket) = self.0.iter().fold((Choice::from(0), Choice::from(0)), |seen, key| {
            let mac: [u8; MAC_BYTES] = key.mac(app, ticket.ends).finalize().into_bytes().into();
            (seen.0 | key.is(shown), seen.1 | mac.ct_eq(&ticket.mac))
        });
        match (bool::from(is_key), bool::from(is_ticket)) {
            (true, _) => Worth::Good,
            (false, true) if now.as_secs() < ticket.ends => Worth::Good,
            (false, true) => Worth::Ended,
            (false, false) => Worth::None,
        }
    }

    /// A ticket for `app` in exchange for the key `shown`. A ticket buys no other.
    pub(super) fn issue(&self, shown: &str, app: &str, now: UnixMillis) -> Option<String> {
        let ends = now.plus(TICKET_LIFETIME).as_secs();
        // Made by each key, so that the work tells nobody which it was.
        let tickets = self.0.iter().map(|key| (key.is(shown), Ticket::write(key, app, ends)));
        let tickets: Vec<_> = tickets.collect();
        let bought = tickets.into_iter().find(|(is_key, _)| bool::from(*is_key));
        bought.map(|(_, ticket)| ticket)
    }
}

impl GatewayKey {
    fn is(&self, shown: &str) -> Choice {
        let digest: [u8; 32] = Sha256::digest(shown).into();
        digest.ct_eq(&self.digest)
    }
}

/// What a ticket says.
struct Ticket {
    ends: u64,
    mac: [u8; MAC_BYTES],
}

impl Ticket {
    fn write(key: &GatewayKey, app: &str, ends: u64) -> String {
        let mac = key.mac(app, ends).finalize().into_bytes();
        URL_SAFE_NO_PAD.encode([&ends.to_be_bytes()[..], &mac].concat())
    }

    /// What is no ticket is one that no key made.
    fn parse(shown: &str) -> Self {
        let mut bytes = [0; TICKET_BYTES];
        // Longer text does not fit and is refused without being read.
        let is_whole = URL_SAFE_NO_PAD.decode_slice(shown, &mut bytes) == Ok(TICKET_BYTES);
        let (ends, mac) = bytes.split_at(size_of::<u64>());
        match (is_whole, ends.try_into(), mac.try_into()) {
            (true, Ok(ends), Ok(mac)) => Self {
                ends: u64::from_be_bytes(ends),
                mac,
            },
            _ => Self {
                ends: 0,
                mac: [0; MAC_BYTES],
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OLD: &str = "old-old-old-old-old-old-old-old-1";
    const NEW: &str = "new.new_new~new-NEW0NEW1NEW2NEW34";
    const NOW: UnixMillis = UnixMillis(1_760_000_000_000);

    fn keys(keys: &[&str]) -> Keys {
        let parse = |key: &&str| GatewayKey::parse(&SecretString::from(*key)).unwrap();
        Keys(keys.iter().map(parse).collect())
    }

    #[test]
    fn every_key_that_is_listed_opens_and_no_other() {
        let both = keys(&[OLD, NEW]);
        for key in [OLD, NEW] {
            assert_eq!(both.worth(key, "main", NOW), Worth::Good);
        }
        for wrong in ["", "old", &OLD[1..], &format!("{OLD}1"), &OLD.to_uppercase()] {
            assert_eq!(both.worth(wrong, "main", NOW), Worth::None, "{wrong}");
        }
        assert_eq!(keys(&[NEW]).worth(OLD, "main", NOW), Worth::None, "it was taken out");
    }

    #[test]
    fn a_ticket_is_good_for_its_app_until_it_ends_or_its_key_is_taken_out() {
        let both = keys(&[OLD, NEW]);
        let ticket = both.issue(OLD, "main", NOW).unwrap();
        assert!(!ticket.contains(OLD) && ticket.len() < 64, "{ticket}");
        assert_eq!(both.worth(&ticket, "main", NOW), Worth::Good);
        assert_eq!(both.worth(&ticket, "other", NOW), Worth::None);
        let last = NOW.plus(TICKET_LIFETIME - Duration::from_secs(1));
        assert_eq!(both.worth(&ticket, "main", last), Worth::Good);
        assert_eq!(both.worth(&ticket, "main", NOW.plus(TICKET_LIFETIME)), Worth::Ended);
        assert_eq!(
            keys(&[OLD]).worth(&ticket, "main", NOW),
            Worth::Good,
            "another replica takes it"
        );
        assert_eq!(keys(&[NEW]).worth(&ticket, "main", NOW), Worth::None);
    }

    #[test]
    fn only_a_key_buys_a_ticket() {
        let keys = keys(&[OLD]);
        let ticket = keys.issue(OLD, "main", NOW).unwrap();
        for shown in ["", NEW, &ticket] {
            assert_eq!(keys.issue(shown, "main", NOW), None, "{shown}");
        }
    }

    #[test]
    fn a_key_that_could_be_guessed_or_damaged_is_refused() {
        let parse = |key: &str| GatewayKey::parse(&SecretString::from(key)).map(|_| ());
        assert_eq!(parse(""), Err(GatewayKeyError::Length { characters: 0 }));
        assert_eq!(parse(&"k".repeat(31)), Err(GatewayKeyError::Length { characters: 31 }));
        assert_eq!(
            parse(&"k".repeat(257)),
            Err(GatewayKeyError::Length { characters: 257 })
        );
        for bad in ["+", "=", "%", " ", "\n", "长"] {
            let key = format!("{OLD}{bad}");
            assert_eq!(parse(&key), Err(GatewayKeyError::Alphabet), "{key}");
        }
        assert_eq!(parse(&"k".repeat(32)), Ok(()));
        assert_eq!(format!("{:?}", keys(&[OLD])), "Keys([GatewayKey(…)])");
    }

    #[test]
    fn a_generated_key_is_a_key_and_no_two_are_alike() {
        let [one, other] = [(); 2].map(|()| GatewayKey::generate(&mut rand::rng()));
        assert!(GatewayKey::parse(&one).is_ok());
        assert_ne!(one.expose_secret(), other.expose_secret());
    }

    proptest! {
        #[test]
        fn a_changed_ticket_is_worth_nothing(at in 0..54_usize, to in "[a-zA-Z0-9_-]") {
            let keys = keys(&[OLD]);
            let ticket = keys.issue(OLD, "main", NOW).unwrap();
            let mut changed = ticket.clone();
            changed.replace_range(at..=at, &to);
            prop_assume!(changed != ticket);
            prop_assert_eq!(keys.worth(&changed, "main", NOW), Worth::None);
        }

        #[test]
        fn nothing_that_is_shown_makes_the_door_panic_or_open(shown in ".*", app in ".*") {
            prop_assert_eq!(keys(&[OLD, NEW]).worth(&shown, &app, NOW), Worth::None);
        }
    }
}
