//! Holding back: how often something may happen, and waiting in line for it.
//!
//! Two paces, because they promise different things. A [`Bucket`] allows a burst on top of a steady rate. A [`Window`]
//! promises that no minute, wherever it begins, sees more than so many: a bucket of eight that refills at eight a
//! minute would let sixteen through, and ten are enough for WeCom to punish.
//!
//! Everything runs on tokio's clock, so that tests can pause it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

/// Says whether one more may pass now.
pub(super) trait Pace: fmt::Debug {
    /// Lets one pass, or says how long to wait before asking again.
    fn take(&mut self, now: Instant) -> Result<(), Duration>;
}

/// Up to `burst` at once, and `per_second` sustained.
///
/// Kept as one instant instead of a count of tokens: no rounding adds up, and nothing has to be refilled.
#[derive(Debug)]
pub(super) struct Bucket {
    interval: Duration,
    /// How far `full_at` may lie ahead of the present.
    tolerance: Duration,
    /// When the bucket will be full again if nobody takes any more.
    full_at: Instant,
}

impl Bucket {
    /// Both numbers are at least 1.
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second;
        Self {
            interval,
            tolerance: interval * (burst - 1),
            full_at: Instant::now(),
        }
    }
}

impl Bucket {
    /// How many may pass at once.
    pub(super) fn remaining(&self, now: Instant) -> u64 {
        let missing = self.full_at.saturating_duration_since(now);
        let room = (self.tolerance + self.interval).saturating_sub(missing);
        u64::try_from(room.as_nanos() / self.interval.as_nanos().max(1)).unwrap_or(u64::MAX)
    }
}

impl Pace for Bucket {
    fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let missing = self.full_at.saturating_duration_since(now);
        match missing.checked_sub(self.tolerance) {
            None | Some(Duration::ZERO) => {
                self.full_at = self.full_at.max(now) + self.interval;
                Ok(())
            }
            Some(wait) => Err(wait),
        }
    }
}

/// At most `limit` in any stretch of `period`.
#[derive(Debug)]
pub(super) struct Window {
    limit: usize,
    period: Duration,
    /// When the last `limit` passed, oldest first.
    passed: VecDeque<Instant>,
}

impl Window {
    /// `limit` is at least 1.
    pub(super) fn per_minute(limit: u32) -> Self {
        Self {
            limit: limit as usize,
            period: Duration::from_secs(60),
            passed: VecDeque::new(),
        }
    }

    /// Counts one that passed without asking.
    pub(super) fn note(&mut self, now: Instant) {
        self.passed.push_back(now);
        if self.passed.len() > self.limit {
            self.passed.pop_front();
        }
    }

    /// How many may pass at once.
    pub(super) fn remaining(&self, now: Instant) -> u64 {
        let held = self.passed.iter().filter(|passed| **passed + self.period > now).count();
        self.limit.saturating_sub(held) as u64
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.passed.clear();
    }
}

impl Pace for Window {
    fn take(&mut self, now: Instant) -> Result<(), Duration> {
        if let Some(oldest) = self.passed.front().filter(|_| self.passed.len() == self.limit) {
            let wait = (*oldest + self.period).saturating_duration_since(now);
            if !wait.is_zero() {
                return Err(wait);
            }
        }
        self.note(now);
        Ok(())
    }
}

/// A line of waiters that a [`Pace`] lets through one by one, first come first served.
#[derive(Debug)]
pub(super) struct Turnstile<P> {
    /// Its one permit belongs to whoever is first in line. Tokio hands it on in the order of asking, and takes it back
    /// from a waiter that is dropped.
    line: Semaphore,
    pace: Mutex<P>,
}

impl<P: Pace> Turnstile<P> {
    pub(super) fn new(pace: P) -> Self {
        Self {
            line: Semaphore::new(1),
            pace: Mutex::new(pace),
        }
    }

    /// Waits in line. A dropped waiter leaves the line and uses nothing up.
    pub(super) async fn pass(&self) {
        // Unwrap safety: nobody closes the semaphore.
        let _first_in_line = self.line.acquire().await.expect("the line is never closed");
        while let Err(wait) = self.take() {
            sleep(wait).await;
        }
    }

    pub(super) fn pace(&self) -> MutexGuard<'_, P> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Result<(), Duration> {
        self.pace().take(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Poll, Waker};

    use proptest::prelude::*;
    use tokio::time::{advance, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_bucket_lets_a_burst_through_and_then_keeps_its_rate() {
        let line = Turnstile::new(Bucket::new(10, 5));
        let start = Instant::now();
        for _ in 0..5 {
            line.pass().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        for _ in 0..20 {
            line.pass().await;
        }
        assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
        assert!(start.elapsed() < Duration::from_millis(2_100), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_bucket_saves_up_no_more_than_its_burst() {
        let line = Turnstile::new(Bucket::new(10, 2));
        advance(Duration::from_secs(3600)).await;
        let start = Instant::now();
        for _ in 0..3 {
            line.pass().await;
        }
        assert!(start.elapsed() >= Duration::from_millis(100));
    }

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_does_not_overtake_those_in_line() {
        let line = Turnstile::new(Bucket::new(1, 1));
        line.pass().await;
        let (mut first, mut second) = (pin!(line.pass()), pin!(line.pass()));
        assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
        advance(Duration::from_secs(1)).await;
        // The way is free, but the first has not been woken yet.
        let mut newcomer = pin!(line.pass());
        assert!(poll(newcomer.as_mut()).is_pending());
        assert!(poll(first).is_ready());
        advance(Duration::from_secs(2)).await;
        assert!(poll(newcomer.as_mut()).is_pending());
        assert!(poll(second).is_ready());
        newcomer.await;
    }

    fn poll(future: Pin<&mut impl Future<Output = ()>>) -> Poll<()> {
        future.poll(&mut std::task::Context::from_waker(Waker::noop()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_that_gives_up_uses_nothing_up() {
        let line = Turnstile::new(Bucket::new(1, 1));
        line.pass().await;
        let start = Instant::now();
        assert!(timeout(Duration::from_millis(900), line.pass()).await.is_err());
        line.pass().await;
        assert!(start.elapsed() < Duration::from_millis(1_050), "{:?}", start.elapsed());
    }

    #[test]
    fn a_noted_one_counts_like_one_that_waited() {
        let mut window = Window::per_minute(2);
        let now = Instant::now();
        window.note(now);
        assert_eq!(window.take(now), Ok(()));
        assert_eq!(window.take(now), Err(Duration::from_secs(60)));
        window.clear();
        assert_eq!(window.take(now), Ok(()));
    }

    proptest! {
        #[test]
        fn no_minute_sees_more_than_the_limit(limit in 1u32..10, gaps in prop::collection::vec(0u64..20_000, 1..60)) {
            let mut window = Window::per_minute(limit);
            let mut now = Instant::now();
            let mut passed = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                if window.take(now).is_ok() {
                    passed.push(now);
                }
            }
            for first in &passed {
                let within = passed.iter().filter(|at| *at >= first && **at < *first + Duration::from_secs(60)).count();
                prop_assert!(within <= limit as usize);
            }
        }
    }
}
