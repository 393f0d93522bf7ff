//! How long to wait before the next try. Pure arithmetic: randomness comes in as an argument.

use std::time::Duration;

use rand::{Rng, RngExt};

/// Exponential back-off with full jitter: a random wait between zero and a bound that doubles up to a ceiling.
///
/// Full jitter, because many accounts fail together when WeCom is down and must not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    ceiling: Duration,
}

impl Backoff {
    /// Waits of up to `first` after the first failure, doubling up to `ceiling`.
    #[must_use]
    pub const fn new(first: Duration, ceiling: Duration) -> Self {
        Self { first, ceiling }
    }

    /// Longest wait after `failures` failures in a row (1 is the first).
    #[must_use]
    pub fn bound(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.ceiling)
    }

    /// Wait after `failures` failures in a row: at least a tenth of the bound, so that it never becomes a hot loop.
    pub fn wait(&self, failures: u32, rng: &mut impl Rng) -> Duration {
        self.bound(failures).mul_f64(rng.random_range(0.1..=1.0))
    }
}

/// A fixed list of waits, each shortened or lengthened by up to a fifth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(Vec<Duration>);

impl Schedule {
    /// Waits `steps[0]` after the first failure, `steps[1]` after the second, and the last one from then on. An
    /// empty list waits nothing.
    #[must_use]
    pub fn new(steps: Vec<Duration>) -> Self {
        Self(steps)
    }

    /// The waits, without their variation.
    #[must_use]
    pub fn steps(&self) -> &[Duration] {
        &self.0
    }

    /// Wait after `failures` failures of one message (1 is the first).
    pub fn wait(&self, failures: u32, rng: &mut impl Rng) -> Duration {
        let step = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
        let Some(wait) = self.0.get(step).or(self.0.last()) else {
            return Duration::ZERO;
        };
        wait.mul_f64(rng.random_range(0.8..=1.2))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    proptest! {
        #[test]
        fn a_wait_stays_between_a_tenth_of_the_bound_and_the_bound(failures in 0u32..=u32::MAX, seed: u64) {
            let backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
            let wait = backoff.wait(failures, &mut SmallRng::seed_from_u64(seed));
            let bound = backoff.bound(failures);
            prop_assert!(bound <= Duration::from_secs(30));
            prop_assert!(wait <= bound + Duration::from_micros(1), "{wait:?} > {bound:?}");
            prop_assert!(wait >= bound / 10 - Duration::from_micros(1), "{wait:?} is hot");
        }

        #[test]
        fn a_scheduled_wait_is_within_a_fifth_of_its_step(failures in 0u32..=u32::MAX, seed: u64) {
            let steps = [1, 5, 15, 30, 60].map(Duration::from_secs);
            let wait = Schedule::new(steps.to_vec()).wait(failures, &mut SmallRng::seed_from_u64(seed));
            let step = steps[(failures.saturating_sub(1) as usize).min(4)];
            prop_assert!(wait >= step.mul_f64(0.799) && wait <= step.mul_f64(1.201));
        }
    }

    #[test]
    fn the_bound_doubles_up_to_the_ceiling() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        assert_eq!(
            [1, 2, 3, 4, 5, 99].map(|n| backoff.bound(n).as_secs()),
            [1, 2, 4, 8, 10, 10]
        );
    }
}
