//! What time it is and what chance says, asked of a value, so that a test or a simulation can answer.
//!
//! Only the wall clock stands here. Waiting is done with tokio's timers, which run on monotonic time and which
//! tests pause.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::SeedableRng;
use rand::rngs::SmallRng;

/// A moment: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// A moment given in whole seconds, as WeCom writes it. Saturates at the ends of the range.
    #[must_use]
    pub fn from_secs(secs: u64) -> Self {
        Self(i64::try_from(secs).unwrap_or(i64::MAX).saturating_mul(1000))
    }

    /// Whole seconds since 1970, rounded down; a moment before 1970 is 0.
    #[must_use]
    pub fn as_secs(self) -> u64 {
        u64::try_from(self.0 / 1000).unwrap_or(0)
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This moment and `by` more. Saturates.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(millis(by)))
    }

    /// This moment less `by`. Saturates.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(millis(by)))
    }
}

impl From<UnixMillis> for SystemTime {
    fn from(moment: UnixMillis) -> Self {
        UNIX_EPOCH + Duration::from_millis(u64::try_from(moment.0).unwrap_or(0))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Tells the wall-clock time, and throws the dice: what a run depends on beside its input.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Now.
    fn now(&self) -> UnixMillis;

    /// Chance, for waits that are to differ. A clock that answers by a seed makes a run repeatable.
    fn rng(&self) -> SmallRng {
        SmallRng::seed_from_u64(rand::random())
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
    fn now(&self) -> UnixMillis {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => UnixMillis(millis(since)),
            Err(before) => UnixMillis(-millis(before.duration())),
        }
    }
}

/// A clock that stands still until it is told to move. Clones share the hands.
#[derive(Clone, Debug, Default)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn new(now: UnixMillis) -> Self {
        Self(Arc::new(AtomicI64::new(now.0)))
    }

    /// Moves the hands forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(millis(by), Ordering::SeqCst);
    }

    /// Puts the hands to `now`, forward or back.
    pub fn set(&self, now: UnixMillis) {
        self.0.store(now.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::SeqCst))
    }
}

/// A clock that runs `factor` times as fast as another, from the moment it is made: three days in three minutes at
/// 1440.
#[derive(Debug)]
pub struct ScaledClock {
    inner: Arc<dyn Clock>,
    origin: UnixMillis,
    factor: u32,
}

impl ScaledClock {
    /// Starts at the present moment of `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Clock>, factor: u32) -> Self {
        let origin = inner.now();
        Self { inner, origin, factor }
    }
}

impl Clock for ScaledClock {
    fn now(&self) -> UnixMillis {
        let passed = self.inner.now().0.saturating_sub(self.origin.0);
        UnixMillis(
            self.origin
                .0
                .saturating_add(passed.saturating_mul(i64::from(self.factor))),
        )
    }
}

/// A clock that is set by another, of which it hears now and then. Clones share the hands.
///
/// Processes that share a store share what they write down: when a retry is due, when a callback came. So they go by the
/// clock of the store, however wrong those of their machines are.
#[derive(Clone, Debug)]
pub struct SetClock {
    inner: Arc<dyn Clock>,
    /// How far ahead of `inner` it is.
    ahead_ms: Arc<AtomicI64>,
}

impl SetClock {
    /// Goes as `inner` does until it is set.
    #[must_use]
    pub fn new(inner: Arc<dyn Clock>) -> Self {
        Self {
            inner,
            ahead_ms: Arc::default(),
        }
    }

    /// It is `now`, and goes on from there at the pace of the inner clock.
    pub fn set(&self, now: UnixMillis) {
        let ahead = now.0.saturating_sub(self.inner.now().0);
        self.ahead_ms.store(ahead, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.inner.now().0.saturating_add(self.ahead_ms.load(Ordering::SeqCst)))
    }

    fn rng(&self) -> SmallRng {
        self.inner.rng()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_goes_on_from_there() {
        let wrong = ManualClock::new(UnixMillis(3_600_000));
        let clock = SetClock::new(Arc::new(wrong.clone()));
        assert_eq!(clock.now(), UnixMillis(3_600_000));
        let seen_by_others = clock.clone();
        clock.set(UnixMillis(5_000));
        wrong.advance(Duration::from_secs(1));
        assert_eq!(seen_by_others.now(), UnixMillis(6_000));
    }

    #[test]
    fn moments_saturate_instead_of_wrapping() {
        assert_eq!(UnixMillis::from_secs(u64::MAX), UnixMillis(i64::MAX));
        assert_eq!(UnixMillis(i64::MAX).plus(Duration::MAX), UnixMillis(i64::MAX));
        assert_eq!(UnixMillis(5).since(UnixMillis(9)), Duration::ZERO);
        assert_eq!(UnixMillis(-1).as_secs(), 0);
    }

    #[test]
    fn a_scaled_clock_runs_faster_from_where_it_began() {
        let base = ManualClock::new(UnixMillis(10_000));
        let scaled = ScaledClock::new(Arc::new(base.clone()), 1440);
        assert_eq!(scaled.now(), UnixMillis(10_000));
        base.advance(Duration::from_secs(60));
        assert_eq!(scaled.now(), UnixMillis(10_000).plus(Duration::from_secs(86_400)));
    }
}
