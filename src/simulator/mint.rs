//! Makes the opaque strings that come back: cursors and callback tokens.
//!
//! WeCom's strings mean nothing to a client, and one account's are worthless for another. Ours carry a number, masked
//! and sealed with a key that nobody else holds, so that nothing has to be remembered about the millions handed out,
//! and an invented, damaged or borrowed one is recognised.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rand::{Rng, RngExt};
use sha2::{Digest, Sha256};

use crate::id::OpenKfid;

/// Bytes of number and salt.
const CLEAR: usize = 12;
/// Bytes of number, salt and seal.
const WHOLE: usize = CLEAR + 8;

/// What an opaque string is good for. A cursor is no token, though the same mint made both.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Cursor,
    CallbackToken,
}

/// Holds the key of one simulator.
pub(super) struct Mint([u8; 16]);

impl Mint {
    pub(super) fn new(rng: &mut impl Rng) -> Self {
        Self(rng.random())
    }

    /// A string of 27 characters that stands for `number`. A different `salt` makes a different string with the same
    /// meaning.
    pub(super) fn make(&self, purpose: Purpose, account: &OpenKfid, number: u64, salt: u32) -> String {
        let mut bytes = [0; WHOLE];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        bytes[8..CLEAR].copy_from_slice(&salt.to_be_bytes());
        let seal = self.seal(purpose, account, &bytes[..CLEAR]);
        bytes[CLEAR..].copy_from_slice(&seal);
        self.mask(&mut bytes);
        STANDARD_NO_PAD.encode(bytes)
    }

    /// The number that `text` stands for, if this mint made it for this purpose and account.
    pub(super) fn read(&self, purpose: Purpose, account: &OpenKfid, text: &str) -> Option<u64> {
        let mut bytes: [u8; WHOLE] = STANDARD_NO_PAD.decode(text).ok()?.try_into().ok()?;
        self.mask(&mut bytes);
        let number = u64::from_be_bytes(*bytes.first_chunk()?);
        (self.seal(purpose, account, &bytes[..CLEAR]) == bytes[CLEAR..]).then_some(number)
    }

    fn seal(&self, purpose: Purpose, account: &OpenKfid, clear: &[u8]) -> [u8; 8] {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update([purpose as u8]);
        hash.update(clear);
        hash.update(account.as_str());
        first_bytes(&hash.finalize())
    }

    /// Hides the clear part under a stream that depends on the seal; doing it twice undoes it.
    fn mask(&self, bytes: &mut [u8; WHOLE]) {
        let (clear, seal) = bytes.split_at_mut(CLEAR);
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(b"mask");
        hash.update(&*seal);
        for (byte, mask) in clear.iter_mut().zip(hash.finalize()) {
            *byte ^= mask;
        }
    }
}

fn first_bytes(digest: &[u8]) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    fn mint(seed: u64) -> Mint {
        Mint::new(&mut SmallRng::seed_from_u64(seed))
    }

    proptest! {
        #[test]
        fn what_is_made_is_recognised_and_fits_the_wire(number: u64, salt: u32) {
            let account = OpenKfid::from("wk1");
            let text = mint(1).make(Purpose::Cursor, &account, number, salt);
            prop_assert!(text.len() <= 64);
            prop_assert_eq!(mint(1).read(Purpose::Cursor, &account, &text), Some(number));
        }

        #[test]
        fn one_changed_character_spoils_it(number: u64, at in 0usize..26) {
            let account = OpenKfid::from("wk1");
            let mut text = mint(1).make(Purpose::Cursor, &account, number, 0).into_bytes();
            text[at] = if text[at] == b'A' { b'B' } else { b'A' };
            let text = String::from_utf8(text).unwrap();
            prop_assert_eq!(mint(1).read(Purpose::Cursor, &account, &text), None);
        }
    }

    #[test]
    fn nothing_foreign_is_recognised() {
        let account = OpenKfid::from("wk1");
        let text = mint(1).make(Purpose::Cursor, &account, 7, 0);
        assert_eq!(mint(2).read(Purpose::Cursor, &account, &text), None, "another mint");
        assert_eq!(
            mint(1).read(Purpose::CallbackToken, &account, &text),
            None,
            "another purpose"
        );
        assert_eq!(
            mint(1).read(Purpose::Cursor, &OpenKfid::from("wk2"), &text),
            None,
            "another account"
        );
        assert_eq!(mint(1).read(Purpose::Cursor, &account, "made up"), None);
    }

    #[test]
    fn the_same_place_can_be_said_in_other_words() {
        let account = OpenKfid::from("wk1");
        let [one, other] = [0, 1].map(|salt| mint(1).make(Purpose::Cursor, &account, 7, salt));
        assert_ne!(one, other);
        assert_eq!(mint(1).read(Purpose::Cursor, &account, &other), Some(7));
    }
}
