//! The signature: what it covers, and how two of them are compared.
//!
//! It is a SHA-1 over four strings, sorted and joined **without a separator**. So `("12", "345")` and `("123", "45")`
//! sign alike, and one captured request yields dozens of others that verify: the same ciphertext under another
//! timestamp and nonce. Two things follow. A (timestamp, nonce) pair is never taken for the identity of a request. And
//! the shapes of the fields are strict (`query.rs`), which leaves only the cuts whose ten digits happen to read as a
//! timestamp. Those say nothing new, so they amount to a replay, and
//! [`with_max_clock_skew`](super::Verifier::with_max_clock_skew) refuses them along with the others.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/90968>

use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

/// A SHA-1 digest.
pub(super) type Signature = [u8; 20];

/// Signs `encrypt`, the base64 text as it stands on the wire.
pub(super) fn sign(token: &str, timestamp: &str, nonce: &str, encrypt: &str) -> Signature {
    let mut parts = [token, timestamp, nonce, encrypt];
    parts.sort_unstable();
    parts
        .iter()
        .fold(Sha1::new(), |sha, part| sha.chain_update(part))
        .finalize()
        .into()
}

/// Compares in constant time.
pub(super) fn equal(ours: &Signature, theirs: &Signature) -> bool {
    ours.ct_eq(theirs).into()
}

/// Reads a signature as the wire has it: exactly 40 lower-case hex digits.
pub(super) fn from_hex(text: &[u8]) -> Option<Signature> {
    let digits: &[u8; 40] = text.try_into().ok()?;
    let (pairs, _) = digits.as_chunks();
    let mut signature = Signature::default();
    let mut all = 0;
    for (byte, [high, low]) in signature.iter_mut().zip(pairs) {
        let (high, low) = (NIBBLES[usize::from(*high)], NIBBLES[usize::from(*low)]);
        *byte = high << 4 | low;
        all |= high | low;
    }
    (all != u8::MAX).then_some(signature)
}

/// Writes a signature as the wire has it.
pub(super) fn to_hex(signature: &Signature) -> String {
    signature.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What each byte is worth as a lower-case hex digit; 255 if it is none. A table, because which of two kinds of digit comes
/// next cannot be foreseen: a branch would be guessed wrong every other time.
const NIBBLES: [u8; 256] = {
    let mut nibbles = [u8::MAX; 256];
    let digits = b"0123456789abcdef";
    let mut value = 0;
    while value < digits.len() {
        nibbles[digits[value] as usize] = value as u8;
        value += 1;
    }
    nibbles
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_the_hex_it_writes() {
        let signature = sign("a", "b", "c", "d");
        assert_eq!(from_hex(to_hex(&signature).as_bytes()), Some(signature));
    }

    #[test]
    fn takes_nothing_but_forty_lower_case_hex_digits() {
        let good = to_hex(&sign("a", "b", "c", "d"));
        for bad in [
            "",
            &good[1..],
            &format!("{good}0"),
            &good.to_uppercase(),
            &good.replace(&good[..1], "g"),
            &format!("zz{}", &good[2..]),
        ] {
            assert_eq!(from_hex(bad.as_bytes()), None, "{bad}");
        }
    }
}
