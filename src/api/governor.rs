//! Keeps us inside WeCom's limits, per app: rate, concurrency, the strict limit on pulls without a callback token, and
//! the pause that a 45009 asks for.
//!
//! WeCom counts each call of its API by itself, so each has a [`Gate`] of its own here: replies do not wait behind
//! pulls, nor pulls behind replies, nor anything behind a download that takes its time.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/90312> (10 000 calls a minute and 150 000 an hour per
//! corporation and API; a block lasts as long as the exceeded window).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngExt;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::pace::{Bucket, Turnstile, Window};
use super::{ApiError, Call, Settings};
use crate::backoff::Backoff;

/// Longest pause after repeated 45009.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// What lets one kind of call through.
#[derive(Debug)]
struct Gate {
    calls: Turnstile<Bucket>,
    slots: Semaphore,
}

/// Whether a call falls under the strict limit on pulls without a callback token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Limit {
    Ordinary,
    Tokenless,
}

/// How much may be called at once before anybody has to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Budget {
    /// Calls of the kind that has the fewest left.
    pub calls: u64,
    /// Pulls without a callback's token.
    pub tokenless: u64,
}

/// Gives out turns. Every wait is in order of asking, and a dropped waiter uses nothing up but a turn it already had.
#[derive(Debug)]
pub(super) struct Governor {
    /// One for each of [`Call::ALL`], in that order.
    gates: Box<[Gate]>,
    tokenless: Turnstile<Window>,
    rests: Rests,
}

impl Gate {
    fn new(settings: &Settings) -> Self {
        Self {
            calls: Turnstile::new(Bucket::new(settings.calls_per_second, settings.calls_burst)),
            slots: Semaphore::new(settings.concurrency),
        }
    }
}

impl Governor {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            gates: Call::ALL.iter().map(|_| Gate::new(settings)).collect(),
            tokenless: Turnstile::new(Window::per_minute(settings.tokenless_per_minute)),
            rests: Rests::new(settings.rate_limit_pause),
        }
    }

    /// Waits for a turn to make `call`, which lasts until the permit is dropped.
    ///
    /// # Errors
    ///
    /// [`ApiError::RateLimited`] while the call rests.
    pub(super) async fn turn(&self, call: Call, limit: Limit) -> Result<SemaphorePermit<'_>, ApiError> {
        self.rests.check(call)?;
        // Longest wait first, while nothing scarce is held.
        if limit == Limit::Tokenless {
            self.tokenless_turn().await;
        }
        let gate = &self.gates[call as usize];
        gate.calls.pass().await;
        // Unwrap safety: nobody closes the semaphore.
        let slot = gate.slots.acquire().await.expect("the slots are never closed");
        // Much may have happened in line: nothing goes out while the call rests.
        self.rests.check(call)?;
        Ok(slot)
    }

    /// Waits until a pull without a callback token may be made.
    pub(super) async fn tokenless_turn(&self) {
        self.tokenless.pass().await;
    }

    /// Counts a pull whose callback token was refused: to WeCom it is one without.
    pub(super) fn note_tokenless(&self) {
        self.tokenless.pace().note(Instant::now());
    }

    /// What may be called at once, without waiting.
    pub(super) fn budget(&self) -> Budget {
        let now = Instant::now();
        let calls = self.gates.iter().map(|gate| gate.calls.pace().remaining(now));
        Budget {
            calls: calls.min().unwrap_or_default(),
            tokenless: self.tokenless.pace().remaining(now),
        }
    }

    /// Notes that `call` was answered with 45009.
    pub(super) fn limited(&self, call: Call) {
        self.rests.begin(call);
    }

    /// Notes that `call` succeeded.
    pub(super) fn succeeded(&self, call: Call) {
        self.rests.forget(call);
    }
}

/// Calls that rest after a 45009, each for longer than the last time until one succeeds.
#[derive(Debug)]
struct Rests {
    pause: Backoff,
    calls: Mutex<HashMap<Call, Rest>>,
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    until: Instant,
    /// How many rests in a row this is.
    count: u32,
}

impl Rests {
    fn new(first: Duration) -> Self {
        Self {
            pause: Backoff::new(first, LONGEST_PAUSE),
            calls: Mutex::default(),
        }
    }

    fn check(&self, call: Call) -> Result<(), ApiError> {
        let until = self.calls().get(&call).map(|rest| rest.until);
        match until.map(|until| until.saturating_duration_since(Instant::now())) {
            None | Some(Duration::ZERO) => Ok(()),
            Some(after) => Err(ApiError::RateLimited { call, after }),
        }
    }

    fn begin(&self, call: Call) {
        let now = Instant::now();
        let mut calls = self.calls();
        let last = calls.get(&call).copied();
        // Calls that were already under way when the rest began come back with the same answer: one block, one rest.
        if last.is_some_and(|rest| now < rest.until) {
            return;
        }
        let count = last.map_or(0, |rest| rest.count).saturating_add(1);
        let stretch = rand::rng().random_range(1.0..=1.1);
        let until = now + self.pause.bound(count).mul_f64(stretch);
        calls.insert(call, Rest { until, count });
    }

    fn forget(&self, call: Call) {
        let mut calls = self.calls();
        // A success that was under way when the rest began says nothing about the block.
        if calls.get(&call).is_some_and(|rest| rest.until <= Instant::now()) {
            calls.remove(&call);
        }
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<Call, Rest>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use secrecy::SecretString;
    use tokio::time::{advance, timeout};

    use super::*;
    use crate::id::CorpId;

    fn governor(change: impl FnOnce(&mut Settings)) -> Governor {
        let mut settings = Settings::new(CorpId::from("ww1"), SecretString::from("s"));
        change(&mut settings);
        Governor::new(&settings)
    }

    async fn wait_of(governor: &Governor, limit: Limit) -> Duration {
        let start = Instant::now();
        drop(governor.turn(Call::SyncMsg, limit).await.unwrap());
        start.elapsed()
    }

    fn rest_of(governor: &Governor, call: Call) -> Duration {
        governor.rests.check(call).unwrap_err().retry_after().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_tells_what_may_be_called_without_waiting() {
        let governor = governor(|settings| {
            (settings.calls_per_second, settings.calls_burst) = (10, 5);
            settings.tokenless_per_minute = 2;
        });
        let budget = || (governor.budget().calls, governor.budget().tokenless);
        assert_eq!(budget(), (5, 2));
        assert_eq!(wait_of(&governor, Limit::Tokenless).await, Duration::ZERO);
        assert_eq!(wait_of(&governor, Limit::Ordinary).await, Duration::ZERO);
        assert_eq!(budget(), (3, 1));
        advance(Duration::from_millis(100)).await;
        assert_eq!(budget(), (4, 1));
        advance(Duration::from_secs(60)).await;
        assert_eq!(budget(), (5, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn pulls_without_a_token_wait_in_a_line_of_their_own() {
        let governor = governor(|settings| settings.tokenless_per_minute = 3);
        for _ in 0..3 {
            assert_eq!(wait_of(&governor, Limit::Tokenless).await, Duration::ZERO);
        }
        let fourth = timeout(Duration::from_secs(59), governor.turn(Call::SyncMsg, Limit::Tokenless));
        assert!(fourth.await.is_err(), "a fourth pull within the minute");
        assert_eq!(wait_of(&governor, Limit::Ordinary).await, Duration::ZERO);
        assert!(wait_of(&governor, Limit::Tokenless).await <= Duration::from_millis(1_010));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_callback_token_counts_as_a_pull_without_one() {
        let governor = governor(|settings| settings.tokenless_per_minute = 1);
        governor.note_tokenless();
        assert!(wait_of(&governor, Limit::Tokenless).await >= Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_calls_run_at_a_time_than_there_are_slots() {
        let governor = governor(|settings| settings.concurrency = 2);
        let first = governor.turn(Call::SyncMsg, Limit::Ordinary).await.unwrap();
        let _second = governor.turn(Call::SyncMsg, Limit::Ordinary).await.unwrap();
        let third = timeout(Duration::from_secs(3600), governor.turn(Call::SyncMsg, Limit::Ordinary));
        assert!(third.await.is_err());
        drop(first);
        assert_eq!(wait_of(&governor, Limit::Ordinary).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn pulls_and_replies_do_not_wait_for_each_other() {
        for (busy, other) in [(Call::SyncMsg, Call::SendMsg), (Call::SendMsg, Call::SyncMsg)] {
            let governor = governor(|settings| {
                (settings.calls_per_second, settings.calls_burst) = (1, 2);
                settings.concurrency = 2;
            });
            let _first = governor.turn(busy, Limit::Ordinary).await.unwrap();
            let _second = governor.turn(busy, Limit::Ordinary).await.unwrap();
            assert_eq!(governor.budget().calls, 0);
            let start = Instant::now();
            drop(governor.turn(other, Limit::Ordinary).await.unwrap());
            assert_eq!(start.elapsed(), Duration::ZERO, "{other} waits for {busy}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_limited_call_rests_longer_each_time_until_it_succeeds() {
        let governor = governor(|_| {});
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            governor.limited(Call::SyncMsg);
            let rest = rest_of(&governor, Call::SyncMsg);
            let least = Duration::from_secs(minutes * 60);
            assert!(
                rest >= least && rest <= least.mul_f64(1.11),
                "{rest:?} for {minutes} min"
            );
            advance(rest).await;
            governor.rests.check(Call::SyncMsg).unwrap();
        }
        governor.succeeded(Call::SyncMsg);
        governor.limited(Call::SyncMsg);
        assert!(rest_of(&governor, Call::SyncMsg) < Duration::from_secs(67));
    }

    #[tokio::test(start_paused = true)]
    async fn one_block_makes_one_rest_however_many_calls_ran_into_it() {
        let governor = governor(|_| {});
        for _ in 0..8 {
            governor.limited(Call::SyncMsg);
        }
        governor.succeeded(Call::SyncMsg);
        let rest = rest_of(&governor, Call::SyncMsg);
        assert!(rest < Duration::from_secs(67), "{rest:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_stops_its_own_call_also_for_those_already_in_line() {
        let governor = Arc::new(governor(|settings| settings.concurrency = 1));
        let slot = governor.turn(Call::SyncMsg, Limit::Ordinary).await.unwrap();
        let waiting = tokio::spawn({
            let governor = Arc::clone(&governor);
            async move { governor.turn(Call::SyncMsg, Limit::Ordinary).await.map(drop) }
        });
        tokio::task::yield_now().await;
        governor.limited(Call::SyncMsg);
        drop(slot);
        assert!(matches!(waiting.await.unwrap(), Err(ApiError::RateLimited { .. })));
        drop(governor.turn(Call::AccountList, Limit::Ordinary).await.unwrap());
    }
}
