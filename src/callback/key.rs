//! The two secrets that an operator shares with WeCom.
//!
//! An `EncodingAESKey` is 43 base64 symbols: 258 bits for a key of 256. WeCom's console does not zero the two that are
//! left over, so most real keys are not canonical base64 and a strict decoder refuses them.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/90930>

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rand::CryptoRng;
use rand::distr::{Alphanumeric, SampleString};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

const MAX_TOKEN_CHARS: usize = 32;
const KEY_CHARS: usize = 43;
const KEY_BYTES: usize = 32;

/// Reads 43 symbols whatever their last two bits.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// A callback token and the AES key that goes with it, as entered in WeCom's console.
///
/// Wiped from memory when dropped, and not shown by `Debug`.
#[derive(Clone)]
pub struct KeyPair {
    token: SecretString,
    aes_key: AesKey,
}

/// An AES key, which WeCom also takes the initialisation vector from.
#[derive(Clone)]
pub(super) struct AesKey(Zeroizing<[u8; KEY_BYTES]>);

/// Why a key pair was refused. Says what is wrong with a value, never the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The token is empty or too long.
    #[error("token has {chars} characters, must have 1 to {MAX_TOKEN_CHARS}")]
    TokenLength {
        /// Characters it has.
        chars: usize,
    },
    /// The token has characters that WeCom does not allow.
    #[error("token has characters other than a-z, A-Z and 0-9")]
    TokenAlphabet,
    /// The key has not the one length it can have.
    #[error("encoding_aes_key has {chars} characters, must have {KEY_CHARS}")]
    KeyLength {
        /// Characters it has.
        chars: usize,
    },
    /// The key is not base64. The decoder's own error is left out: it quotes the key.
    #[error("encoding_aes_key has characters other than a-z, A-Z, 0-9, '+' and '/'")]
    KeyAlphabet,
}

impl KeyPair {
    /// Parses a pair: `token` of 1 to 32 ASCII letters and digits, `encoding_aes_key` of exactly 43 base64 symbols.
    ///
    /// # Errors
    ///
    /// [`KeyError`] names the value that is wrong.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the text of the key is to be wiped once it is parsed"
    )]
    pub fn new(token: SecretString, encoding_aes_key: SecretString) -> Result<Self, KeyError> {
        check_token(token.expose_secret())?;
        let aes_key = AesKey::parse(encoding_aes_key.expose_secret())?;
        Ok(Self { token, aes_key })
    }

    /// Makes up a pair: 32 characters of token, 43 of key, letters and digits only, as WeCom's console demands.
    pub fn generate(rng: &mut impl CryptoRng) -> GeneratedKeys {
        GeneratedKeys {
            token: Alphanumeric.sample_string(rng, MAX_TOKEN_CHARS).into(),
            encoding_aes_key: Alphanumeric.sample_string(rng, KEY_CHARS).into(),
        }
    }

    pub(super) fn token(&self) -> &str {
        self.token.expose_secret()
    }

    pub(super) fn aes_key(&self) -> &AesKey {
        &self.aes_key
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPair(…)")
    }
}

/// The text of a new pair, to be shown to the operator once and entered in WeCom's console.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GeneratedKeys {
    /// Token (Token).
    pub token: SecretString,
    /// Key (EncodingAESKey).
    pub encoding_aes_key: SecretString,
}

impl AesKey {
    fn parse(text: &str) -> Result<Self, KeyError> {
        let chars = text.chars().count();
        if chars != KEY_CHARS {
            return Err(KeyError::KeyLength { chars });
        }
        // One byte more than the key, because the decoder wants room for its estimate.
        let mut decoded = Zeroizing::new([0; KEY_BYTES + 1]);
        match LENIENT.decode_slice(text, &mut *decoded) {
            Ok(KEY_BYTES) => {}
            _ => return Err(KeyError::KeyAlphabet),
        }
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        key.copy_from_slice(&decoded[..KEY_BYTES]);
        Ok(Self(key))
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Initialisation vector: the first half of the key, the same for every message.
    pub(super) fn iv(&self) -> &[u8; 16] {
        // Unwrap safety: the array has 32 bytes.
        self.0.first_chunk().expect("a key is longer than a vector")
    }
}

impl fmt::Debug for AesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AesKey(…)")
    }
}

fn check_token(token: &str) -> Result<(), KeyError> {
    let chars = token.chars().count();
    if !(1..=MAX_TOKEN_CHARS).contains(&chars) {
        return Err(KeyError::TokenLength { chars });
    }
    if !token.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(KeyError::TokenAlphabet);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const KEY: &str = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C";

    fn refusal(token: &str, key: &str) -> String {
        KeyPair::new(token.into(), key.into()).unwrap_err().to_string()
    }

    #[test]
    fn a_refusal_says_which_value_is_wrong_and_how() {
        assert_eq!(refusal("", KEY), "token has 0 characters, must have 1 to 32");
        assert_eq!(
            refusal(&"t".repeat(33), KEY),
            "token has 33 characters, must have 1 to 32"
        );
        assert_eq!(refusal("a-b", KEY), "token has characters other than a-z, A-Z and 0-9");
        assert_eq!(
            refusal("tok", &KEY[1..]),
            "encoding_aes_key has 42 characters, must have 43"
        );
        assert_eq!(
            refusal("tok", &format!("{KEY}=")),
            "encoding_aes_key has 44 characters, must have 43"
        );
        for bad in [KEY.replace('j', "-"), KEY.replace('j', "密"), format!("{}=", &KEY[1..])] {
            assert!(
                refusal("tok", &bad).starts_with("encoding_aes_key has characters other than"),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_key_is_the_same_whatever_its_two_last_bits() {
        // `A`, `B`, `C` and `D` differ in nothing else.
        let keys = ["A", "B", "C", "D"].map(|last| AesKey::parse(&format!("{}{last}", &KEY[..42])).unwrap());
        assert!(keys.iter().all(|key| key.bytes() == keys[0].bytes()));
        assert_eq!(keys[0].iv(), &keys[0].bytes()[..16]);
    }

    #[test]
    fn a_pair_does_not_print_itself() {
        let pair = KeyPair::new("s3cr3t".into(), KEY.into()).unwrap();
        let shown = format!(
            "{pair:?} {:?} {:?}",
            pair.aes_key(),
            KeyPair::generate(&mut StdRng::seed_from_u64(1))
        );
        assert_eq!(shown.matches("(…)").count(), 2);
        assert!(!shown.contains("s3cr3t") && !shown.contains(KEY));
    }

    #[test]
    fn a_generated_pair_is_accepted_and_new_each_time() {
        let mut rng = StdRng::seed_from_u64(7);
        let [one, other] = [KeyPair::generate(&mut rng), KeyPair::generate(&mut rng)];
        assert!(KeyPair::new(one.token.clone(), one.encoding_aes_key.clone()).is_ok());
        assert_ne!(one.token.expose_secret(), other.token.expose_secret());
        assert_ne!(
            one.encoding_aes_key.expose_secret(),
            other.encoding_aes_key.expose_secret()
        );
        assert!(
            one.encoding_aes_key
                .expose_secret()
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric())
        );
    }
}
