//! What happens by chance, so that the same seed has the same happen.
//!
//! Nothing is drawn from one long sequence: each question names its subject and is answered by that and the seed alone.
//! So it does not matter in which order two tasks ask that run at the same moment.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// A number that a whole run follows from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(digest(("seed", seed)))
    }

    /// Answers questions about `subject`.
    pub(crate) fn of(&self, subject: impl Hash) -> SmallRng {
        SmallRng::seed_from_u64(digest((self.0, subject)))
    }

    /// Whether it happens to `subject` that happens in so many cases of a thousand.
    pub(crate) fn happens(&self, per_mille: u32, subject: impl Hash) -> bool {
        self.of(subject).random_range(0..1000) < per_mille
    }

    /// A time within `range` milliseconds.
    pub(crate) fn millis(&self, range: std::ops::RangeInclusive<u64>, subject: impl Hash) -> Duration {
        Duration::from_millis(self.of(subject).random_range(range))
    }
}

/// The same number for the same value, on any machine and with any compiler.
pub(crate) fn digest(value: impl Hash) -> u64 {
    let mut fnv = Fnv(0xcbf2_9ce4_8422_2325);
    value.hash(&mut fnv);
    fnv.finish()
}

/// FNV-1a with a last stir, because its high bits hardly move for short values.
struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        let mut stirred = self.0;
        stirred = (stirred ^ (stirred >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        stirred = (stirred ^ (stirred >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        stirred ^ (stirred >> 33)
    }
}
