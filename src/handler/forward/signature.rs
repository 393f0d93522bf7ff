//! Signs requests so that ready-made libraries verify them: Standard Webhooks, version 1.
//!
//! What is signed is `{id}.{timestamp}.{body}`, so that neither an old body under a new time nor a body under another id
//! passes. The ids hold no dot.
//!
//! An endpoint that changes its secret needs both for a while: a request carries a signature by each secret there is, and
//! whoever verifies takes it if any of them is right.
//!
//! Source: <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use rand::CryptoRng;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use sha2::Sha256;

/// Marks a text as such a secret.
const PREFIX: &str = "whsec_";

/// Length of `v1,`, the base64 of 32 bytes, and a space.
const SIGNATURE_CHARS: usize = 48;

/// Key shared with an endpoint: 24 to 64 bytes, written `whsec_` and their base64. Hidden in `Debug`.
#[derive(Clone, Debug)]
pub struct SigningSecret {
    written: SecretString,
    key: SecretSlice<u8>,
}

impl SigningSecret {
    /// Makes a new secret of 32 bytes.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut key = vec![0; 32];
        rng.fill_bytes(&mut key);
        let key = SecretSlice::from(key);
        let mut written = PREFIX.to_owned();
        STANDARD.encode_string(key.expose_secret(), &mut written);
        let written = written.into();
        Self { written, key }
    }

    /// Parses a secret as it is written.
    ///
    /// # Errors
    ///
    /// [`SigningSecretError`] when it has not this form.
    pub fn parse(secret: &str) -> Result<Self, SigningSecretError> {
        let encoded = secret.strip_prefix(PREFIX).ok_or(SigningSecretError::Prefix)?;
        let key = STANDARD.decode(encoded).map_err(|_| SigningSecretError::Base64)?;
        let key = SecretSlice::from(key);
        let written = secret.into();
        match key.expose_secret().len() {
            24..=64 => Ok(Self { written, key }),
            bytes => Err(SigningSecretError::Length { bytes }),
        }
    }

    /// The secret as it is written, for whoever sets up the endpoint.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        self.written.expose_secret()
    }

    /// Adds a signature over `head` and `body` to `written`.
    fn sign(&self, head: &str, body: &[u8], written: &mut String) {
        // Unwrap safety: HMAC takes keys of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.expose_secret()).expect("a key of any length");
        mac.update(head.as_bytes());
        mac.update(body);
        written.push_str("v1,");
        STANDARD.encode_string(mac.finalize().into_bytes(), written);
    }
}

/// Value of `webhook-signature` for a request, with a signature by each of `secrets`; `timestamp` in Unix seconds.
pub(super) fn of(secrets: &[SigningSecret], id: &str, timestamp: u64, body: &[u8]) -> String {
    let head = format!("{id}.{timestamp}.");
    let mut written = String::with_capacity(secrets.len() * SIGNATURE_CHARS);
    for secret in secrets {
        if !written.is_empty() {
            written.push(' ');
        }
        secret.sign(&head, body, &mut written);
    }
    written
}

impl FromStr for SigningSecret {
    type Err = SigningSecretError;

    fn from_str(secret: &str) -> Result<Self, Self::Err> {
        Self::parse(secret)
    }
}

/// Why a signing secret was refused. Shows nothing of it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningSecretError {
    /// It does not begin as it must.
    #[error("must begin with whsec_")]
    Prefix,
    /// What follows is no standard base64 with padding.
    #[error("must be standard base64 after whsec_")]
    Base64,
    /// The key is too short or too long.
    #[error("must hold 24 to 64 bytes, not {bytes}")]
    Length {
        /// Length it has.
        bytes: usize,
    },
}

#[cfg(test)]
mod tests {
    use std::slice;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn signs_the_published_example_as_published() {
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = of(
            &[secret],
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_generated_secret_reads_back_as_itself() {
        let made = SigningSecret::generate(&mut StdRng::seed_from_u64(1));
        let read = SigningSecret::parse(made.expose_secret()).unwrap();
        let signed = |secret: &SigningSecret| of(slice::from_ref(secret), "a", 1, b"x");
        assert_eq!(signed(&read), signed(&made));
        let other = SigningSecret::generate(&mut StdRng::seed_from_u64(2));
        assert_ne!(signed(&other), signed(&made));
    }

    #[test]
    fn each_secret_signs_in_its_order() {
        let secrets = [1, 2, 3].map(|seed| SigningSecret::generate(&mut StdRng::seed_from_u64(seed)));
        let each: Vec<_> = secrets
            .iter()
            .map(|secret| of(slice::from_ref(secret), "a", 1, b"x"))
            .collect();
        assert_eq!(of(&secrets, "a", 1, b"x"), each.join(" "));
        assert!(
            each.iter().all(|signature| signature.len() + 1 == SIGNATURE_CHARS),
            "{each:?}"
        );
    }

    #[test]
    fn takes_24_to_64_bytes_of_base64_behind_its_prefix() {
        let written = |bytes: usize| format!("{PREFIX}{}", STANDARD.encode(vec![7; bytes]));
        for bytes in [24, 32, 64] {
            assert!(SigningSecret::parse(&written(bytes)).is_ok(), "{bytes}");
        }
        let refused = [
            (written(23), SigningSecretError::Length { bytes: 23 }),
            (written(65), SigningSecretError::Length { bytes: 65 }),
            (String::new(), SigningSecretError::Prefix),
            (written(32).replace(PREFIX, "whpk_"), SigningSecretError::Prefix),
            (written(32).replace(PREFIX, ""), SigningSecretError::Prefix),
            (format!("{} ", written(32)), SigningSecretError::Base64),
            (written(32).replace('=', ""), SigningSecretError::Base64),
        ];
        for (secret, error) in refused {
            assert_eq!(SigningSecret::parse(&secret).unwrap_err(), error);
        }
    }

    #[test]
    fn neither_the_secret_nor_its_error_shows_it() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let shown = format!("{:?}", SigningSecret::parse(secret).unwrap());
        assert!(shown.contains("REDACTED") && !shown.contains("77, "), "{shown}");
        let error = SigningSecret::parse(&secret[..20]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("MfKQ"), "{error:?}");
    }
}
