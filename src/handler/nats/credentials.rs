//! What a server is told about who we are.

use async_nats::ConnectOptions;
use secrecy::{ExposeSecret as _, SecretString};

/// Length of an NKey seed: a prefix, 32 bytes and a checksum in base32.
const SEED_CHARS: usize = 58;

/// How we make ourselves known. Secrets are hidden in `Debug`.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Credentials {
    /// Not at all.
    #[default]
    None,
    /// By name and password.
    Password {
        /// Name.
        user: String,
        /// Password.
        password: SecretString,
    },
    /// By a word that all clients share.
    Token(SecretString),
    /// By signing with a key of ours.
    Key(Key),
}

/// A key to sign with: an NKey seed alone, or in a credentials file with the JWT that vouches for it. Hidden in `Debug`.
#[derive(Clone, Debug)]
pub struct Key(Form);

#[derive(Clone, Debug)]
enum Form {
    Seed(SecretString),
    File(SecretString),
}

/// The text is neither a user's seed nor a credentials file. Shows nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("must be an NKey seed, which begins with SU, or the text of a credentials file")]
pub struct KeyError;

impl Key {
    /// Reads a key as `nsc` and `nk` write it.
    ///
    /// # Errors
    ///
    /// [`KeyError`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let seed = text.trim();
        if seed.starts_with("SU") && seed.len() == SEED_CHARS && seed.bytes().all(is_base32) {
            return Ok(Self(Form::Seed(seed.into())));
        }
        match ConnectOptions::with_credentials(text) {
            Ok(_) => Ok(Self(Form::File(text.into()))),
            // Its text may quote the seed.
            Err(_) => Err(KeyError),
        }
    }
}

fn is_base32(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'2'..=b'7')
}

impl Credentials {
    /// Adds them to `options`.
    pub(super) fn add_to(&self, options: ConnectOptions) -> ConnectOptions {
        match self {
            Self::None => options,
            Self::Password { user, password } => {
                options.user_and_password(user.clone(), password.expose_secret().to_owned())
            }
            Self::Token(token) => options.token(token.expose_secret().to_owned()),
            Self::Key(Key(Form::Seed(seed))) => options.nkey(seed.expose_secret().to_owned()),
            Self::Key(Key(Form::File(text))) => {
                // Unwrap safety: a key that exists was read in the same way.
                let added = options.credentials(text.expose_secret());
                added.expect("a credentials file that was read before")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the documentation of NATS.
    const SEED: &str = "SUAIO3FHUX5PNV2LQIIP7TZ3N4L7TX3W53MQGEIVYFIGA635OZCKEYHFLM";

    fn file(seed: &str) -> String {
        format!(
            "-----BEGIN NATS USER JWT-----\neyJ0eXAi.eyJqdGki.c2ln\n------END NATS USER JWT------\n\n\
             ************************* IMPORTANT *************************\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }

    #[test]
    fn a_key_is_a_seed_or_a_credentials_file() {
        assert!(matches!(Key::parse(SEED), Ok(Key(Form::Seed(_)))));
        assert!(matches!(Key::parse(&format!("{SEED}\n")), Ok(Key(Form::Seed(_)))));
        assert!(matches!(Key::parse(&file(SEED)), Ok(Key(Form::File(_)))));
        for wrong in [
            "",
            "hush",
            &SEED[1..],
            &SEED.to_lowercase(),
            &SEED.replacen("SU", "SA", 1),
            &file("hush"),
            &file(&SEED[1..]),
            &file(SEED)[..60],
        ] {
            assert_eq!(Key::parse(wrong).unwrap_err(), KeyError, "{wrong}");
        }
    }

    #[test]
    fn neither_credentials_nor_what_is_wrong_with_them_show_a_secret() {
        let credentials = [
            Credentials::Password {
                user: "kf".to_owned(),
                password: "hush".into(),
            },
            Credentials::Token("hush".into()),
            Credentials::Key(Key::parse(SEED).unwrap()),
            Credentials::Key(Key::parse(&file(SEED)).unwrap()),
        ];
        let wrong = Key::parse(&file(&SEED[1..])).unwrap_err();
        let shown = format!("{credentials:?} {wrong:?} {wrong}");
        assert!(
            !shown.contains("hush") && !shown.contains("IO3F") && !shown.contains("eyJ"),
            "{shown}"
        );
    }
}
