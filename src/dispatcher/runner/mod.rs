//! One handler's loop: read, try, record.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::breaker::{Breaker, Gate};
use super::lanes::{Lanes, Window};
use super::shards::Shards;
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::handler::{Attempt, Member};
use crate::message::Message;
use crate::store::{Finish, Pending, Seq, Store, StoreError, Verdict};

mod reading;
mod verdict;

use reading::{Failed, Reading};

/// How often the store is asked whether somebody replayed dead letters.
const REPLAY_CHECK: Duration = Duration::from_secs(1);
/// Outcomes that may wait for the store before no more attempts are started. Together with the attempts in hand they are
/// what a crash hands out again.
const MAX_UNRECORDED: usize = 2_000;
/// Waits between tries of a store that fails.
const STORE_BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// A future that may be absent: then it never ends.
type Pause<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

pub(super) struct Runner {
    store: Arc<dyn Store>,
    member: Member,
    clock: Arc<dyn Clock>,
    grace: Duration,
    lanes: Lanes,
    shards: Shards,
    breaker: Breaker,
    attempts: JoinSet<Attempt>,
    /// What each attempt is about; the task itself may die without telling.
    running: HashMap<Id, Arc<Pending>>,
    reading: Pause<Result<Reading, Failed>>,
    read_failures: u32,
    read_not_before: Instant,
    unrecorded: Vec<Finish>,
    recording: Pause<Result<Vec<Seq>, StoreClosed>>,
    /// Nothing can be recorded any more.
    closed: bool,
    /// Recorded while a read was under way, which may yet bring them back: forgotten when it is over.
    recorded: Vec<Seq>,
    replays: Option<u64>,
    check_replays: bool,
}

impl Runner {
    pub(super) fn new(store: Arc<dyn Store>, member: Member, clock: Arc<dyn Clock>, settings: &Settings) -> Self {
        let policy = member.registration().policy();
        let window = Window {
            deliveries: settings.window,
            bytes: settings.window_bytes,
            per_lane: settings.per_customer,
        };
        Self {
            lanes: Lanes::new(window),
            shards: Shards::new(),
            breaker: Breaker::new(policy.probe_min, policy.probe_max),
            attempts: JoinSet::new(),
            running: HashMap::new(),
            reading: None,
            read_failures: 0,
            read_not_before: Instant::now(),
            unrecorded: Vec::new(),
            recording: None,
            closed: false,
            recorded: Vec::new(),
            replays: None,
            check_replays: true,
            grace: settings.grace,
            store,
            member,
            clock,
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        self.show_breaker();
        let news = self.store.news();
        let mut replay_check = interval(REPLAY_CHECK);
        replay_check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_cancelled() && !self.closed {
            self.start_attempts();
            self.start_reading();
            self.start_recording();
            let timer = self.next_timer();
            tokio::select! {
                () = stop.cancelled() => {}
                Some(ended) = self.attempts.join_next_with_id() => self.take_ended(ended),
                recorded = wait(&mut self.recording) => self.take_recorded(recorded),
                reading = wait(&mut self.reading) => self.take_reading(reading),
                shards = news.next() => self.shards.news(shards),
                _ = replay_check.tick() => self.check_replays = true,
                () = sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => {}
            }
        }
        self.finish().await;
    }

    /// Waits for what is running, up to the grace, and records it.
    async fn finish(mut self) {
        let grace_ends = Instant::now() + self.grace;
        while !self.attempts.is_empty() {
            self.start_recording();
            tokio::select! {
                Some(ended) = self.attempts.join_next_with_id() => self.take_ended(ended),
                recorded = wait(&mut self.recording) => self.take_recorded(recorded),
                () = sleep_until(grace_ends) => {
                    let handler = self.member.name();
                    tracing::warn!(%handler, broken_off = self.attempts.len(), "attempts still ran when the grace ended");
                    break;
                }
            }
        }
        self.attempts.abort_all();
        while !self.unrecorded.is_empty() || self.recording.is_some() {
            self.start_recording();
            let recorded = wait(&mut self.recording).await;
            self.take_recorded(recorded);
        }
    }

    /// Starts as many attempts as the handler takes at once.
    fn start_attempts(&mut self) {
        while self.may_start_more() {
            let now = Instant::now();
            let gate = self.breaker.gate(now);
            if !matches!(gate, Gate::Open | Gate::Probe) {
                return;
            }
            let Some(delivery) = self.lanes.next(now) else { return };
            if gate == Gate::Probe {
                self.breaker.probe_started();
            }
            self.start_attempt(delivery);
        }
    }

    fn may_start_more(&self) -> bool {
        let concurrency = self.member.registration().policy().concurrency;
        self.attempts.len() < concurrency && self.unrecorded.len() < MAX_UNRECORDED
    }

    fn start_attempt(&mut self, delivery: Pending) {
        let delivery = Arc::new(delivery);
        let member = self.member.clone();
        let task = self.attempts.spawn({
            let delivery = Arc::clone(&delivery);
            async move {
                let message = Message::decode(delivery.body.clone().into(), &delivery.account.open_kfid);
                let attempt = delivery.attempts.saturating_add(1);
                member
                    .registration()
                    .attempt(&delivery.account, &message, attempt)
                    .await
            }
        });
        self.running.insert(task.id(), delivery);
    }

    /// Takes an attempt that ended, and with it all others that have ended by now.
    fn take_ended(&mut self, first: Result<(Id, Attempt), JoinError>) {
        let mut next = Some(first);
        while let Some(ended) = next {
            let (id, attempt) = ended.unwrap_or_else(|error| {
                let reason = format!("the attempt's task died: {error}").into();
                (error.id(), Attempt::Retry { after: None, reason })
            });
            if let Some(delivery) = self.running.remove(&id) {
                self.conclude(Arc::unwrap_or_clone(delivery), attempt);
            }
            next = self.attempts.try_join_next_with_id();
        }
    }

    /// Starts writing down verdicts if there are any and no others are being written.
    fn start_recording(&mut self) {
        if self.recording.is_none() && !self.unrecorded.is_empty() {
            let finished = std::mem::take(&mut self.unrecorded);
            self.recording = Some(Box::pin(record(Arc::clone(&self.store), finished)));
        }
    }

    fn take_recorded(&mut self, recorded: Result<Vec<Seq>, StoreClosed>) {
        match recorded {
            Ok(mut recorded) => self.recorded.append(&mut recorded),
            // Whatever was handed out now would be handed out again after a restart.
            Err(StoreClosed) => {
                let handler = self.member.name();
                tracing::error!(%handler, "the store is closed: nothing is handed out any more");
                self.closed = true;
            }
        }
        if self.reading.is_none() {
            self.forget_recorded();
        }
    }

    fn forget_recorded(&mut self) {
        for seq in self.recorded.drain(..) {
            self.lanes.forget(seq);
        }
    }

    /// When there will be something to do even if nothing happens. Never in the past: what is due now but has no room is
    /// done when something ends.
    fn next_timer(&self) -> Option<Instant> {
        let now = Instant::now();
        let attempt = match self.breaker.gate(now) {
            _ if !self.may_start_more() => None,
            Gate::ClosedUntil(probe_at) => Some(probe_at),
            Gate::Probing => None,
            Gate::Open | Gate::Probe => self.lanes.next_due(),
        };
        let read = Some(self.read_not_before).filter(|at| *at > now);
        attempt.into_iter().chain(read).min()
    }
}

/// Waits for what is under way, and for ever if nothing is.
async fn wait<T>(pause: &mut Pause<T>) -> T {
    let Some(future) = pause else {
        return std::future::pending().await;
    };
    let value = future.await;
    *pause = None;
    value
}

/// The store takes nothing any more.
struct StoreClosed;

/// Writes `finished` down, however long the store takes. Returns those that are over.
async fn record(store: Arc<dyn Store>, finished: Vec<Finish>) -> Result<Vec<Seq>, StoreClosed> {
    let mut failures = 0;
    loop {
        match store.finish(finished.clone()).await {
            Ok(()) => break,
            Err(StoreError::Closed) => return Err(StoreClosed),
            Err(error) => {
                failures += 1;
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "cannot record outcomes, will try again"
                );
                let wait = STORE_BACKOFF.wait(failures, &mut rand::rng());
                tokio::time::sleep(wait).await;
            }
        }
    }
    let over = finished
        .into_iter()
        .filter(|finish| !matches!(finish.verdict, Verdict::Retry { .. }));
    Ok(over.map(|finish| finish.seq).collect())
}
