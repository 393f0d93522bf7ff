//! One handler's loop: read, try, record.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::breaker::{Breaker, Failure, Gate};
use super::lanes::{Lanes, Window};
use super::shards::{Asked, Shards};
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::handler::{Attempt, Member};
use crate::message::Message;
use crate::metric;
use crate::store::{Finish, Pending, Seq, Store, StoreError, Verdict};

/// How often the store is asked whether somebody replayed dead letters.
const REPLAY_CHECK: Duration = Duration::from_secs(1);
/// Outcomes that may wait for the store before no more attempts are started. Together with the attempts in hand they are
/// what a crash hands out again.
const MAX_UNRECORDED: usize = 2_000;
/// Deliveries of one shard read at a time.
const READ_PER_SHARD: usize = 256;
/// Customers of one shard whose urgent deliveries are read at a time.
const READ_URGENT_PER_SHARD: usize = 16;
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
    reading: Pause<Result<Reading, (Option<Asked>, StoreError)>>,
    read_failures: u32,
    read_not_before: Instant,
    unrecorded: Vec<Finish>,
    recording: Pause<Vec<Seq>>,
    /// Recorded while a read was under way, which may yet bring them back: forgotten when it is over.
    recorded: Vec<Seq>,
    replays: Option<u64>,
    check_replays: bool,
}

/// What a read brought.
enum Reading {
    Pending(Asked, Vec<Pending>),
    Urgent(Vec<Pending>),
    Replays(u64),
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
        let news = self.store.news();
        let mut replay_check = interval(REPLAY_CHECK);
        replay_check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
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

    /// Decides what becomes of a delivery, lets its lane go on, and notes the verdict for the store.
    fn conclude(&mut self, delivery: Pending, attempt: Attempt) {
        let (now, handler, shard, seq) = (Instant::now(), self.member.id(), delivery.lane.shard(), delivery.seq);
        let was_open = self.breaker.is_open();
        let verdict = self.judge(&delivery, attempt, now);
        if was_open != self.breaker.is_open() {
            self.breaker_changed();
        }
        match &verdict {
            Verdict::Retry { attempts, due } => {
                let (attempts, due) = (*attempts, now + due.since(self.clock.now()));
                self.lanes.try_again(Pending { attempts, ..delivery }, due, now);
            }
            Verdict::Done | Verdict::Dead { .. } => self.lanes.finished(delivery.lane, now),
        }
        self.unrecorded.push(Finish {
            handler,
            shard,
            seq,
            verdict,
        });
    }

    fn judge(&mut self, delivery: &Pending, attempt: Attempt, now: Instant) -> Verdict {
        let (failure, after, reason) = match attempt {
            Attempt::Done | Attempt::Skip => {
                self.breaker.answered();
                return Verdict::Done;
            }
            Attempt::Reject { reason } => {
                self.breaker.answered();
                return self.bury(delivery, delivery.attempts + 1, format!("rejected: {reason}"));
            }
            Attempt::Retry { after, reason } => (Failure::Message, after, reason),
            Attempt::Unavailable { after, reason } => (Failure::Unavailable(after), after, reason),
        };
        let mut rng = rand::rng();
        self.breaker.failed(failure, delivery.lane, now, &mut rng);
        let blameless = failure != Failure::Message || self.breaker.is_open();
        let attempts = delivery.attempts.saturating_add(u32::from(!blameless));
        let policy = self.member.registration().policy();
        if attempts >= policy.max_attempts {
            return self.bury(
                delivery,
                attempts,
                format!("failed {attempts} times, at last: {reason}"),
            );
        }
        let age = self.clock.now().since(delivery.received);
        if age > policy.give_up_after {
            let hours = age.as_secs() / 3600;
            return self.bury(
                delivery,
                attempts,
                format!("given up after {hours} hours, at last: {reason}"),
            );
        }
        let wait = after.unwrap_or_else(|| policy.retry_schedule.wait(attempts, &mut rng));
        let handler = self.member.name();
        tracing::debug!(%handler, msgid = %delivery.msgid, attempts, %reason, "delivery will be tried again");
        Verdict::Retry {
            attempts,
            due: self.clock.now().plus(wait),
        }
    }

    fn bury(&self, delivery: &Pending, attempts: u32, reason: String) -> Verdict {
        let handler = self.member.name();
        tracing::warn!(%handler, msgid = %delivery.msgid, seq = delivery.seq.0, attempts, reason, "delivery buried");
        metrics::counter!(metric::DELIVERIES, "handler" => handler.to_string(), "result" => "dead").increment(1);
        Verdict::Dead {
            attempts,
            at: self.clock.now(),
            reason: reason.into(),
        }
    }

    fn breaker_changed(&self) {
        let (handler, open) = (self.member.name(), self.breaker.is_open());
        metrics::gauge!(metric::BREAKER_OPEN, "handler" => handler.to_string()).set(f64::from(u8::from(open)));
        if open {
            tracing::error!(%handler, "handler fails for everybody: only probing it until it answers, nothing is buried");
        } else {
            tracing::info!(%handler, "handler answers again");
        }
    }

    /// Starts a read if there is something to read and none is under way.
    fn start_reading(&mut self) {
        if self.reading.is_some() || Instant::now() < self.read_not_before {
            return;
        }
        let (store, handler) = (Arc::clone(&self.store), self.member.id());
        // Refilling by spoonfuls would cost a query per delivery; a quarter of the window is worth one.
        let room = self.lanes.room();
        let worth_it = room >= self.lanes.window() / 4;
        self.reading = if std::mem::take(&mut self.check_replays) {
            Some(Box::pin(async move {
                store
                    .replays()
                    .await
                    .map(Reading::Replays)
                    .map_err(|error| (None, error))
            }))
        } else if let Some(asked) = self
            .shards
            .ask(if worth_it { room } else { 0 }, READ_PER_SHARD, &self.lanes)
        {
            Some(Box::pin(async move {
                match store.pending(handler, &asked.positions, asked.limit_each).await {
                    Ok(rows) => Ok(Reading::Pending(asked, rows)),
                    Err(error) => Err((Some(asked), error)),
                }
            }))
        } else if let Some(asked) = self.shards.ask_urgent(READ_URGENT_PER_SHARD) {
            Some(Box::pin(async move {
                match store.pending_urgent(handler, &asked.positions, asked.limit_each).await {
                    Ok(rows) => Ok(Reading::Urgent(rows)),
                    Err(error) => Err((Some(asked), error)),
                }
            }))
        } else {
            None
        };
    }

    fn take_reading(&mut self, reading: Result<Reading, (Option<Asked>, StoreError)>) {
        let now = Instant::now();
        let wall = self.clock.now();
        let due = |delivery: &Pending| now + delivery.due.since(wall);
        match reading {
            Ok(Reading::Pending(asked, rows)) => self.shards.take(&asked, rows, |row| {
                let due = due(&row);
                self.lanes.offer(row, due, now)
            }),
            Ok(Reading::Urgent(rows)) => {
                for row in rows {
                    let due = due(&row);
                    // A customer with a full lane gets the rest in its turn.
                    let _ = self.lanes.offer_beyond_window(row, due, now);
                }
            }
            Ok(Reading::Replays(replays)) => {
                if self.replays.replace(replays).is_some_and(|before| before != replays) {
                    self.shards.rewind();
                }
            }
            Err((asked, error)) => {
                self.read_failures = self.read_failures.saturating_add(1);
                self.read_not_before = now + STORE_BACKOFF.wait(self.read_failures, &mut rand::rng());
                let (handler, error) = (self.member.name(), &error as &dyn std::error::Error);
                tracing::error!(%handler, error, "cannot read owed deliveries, will try again");
                if let Some(asked) = asked {
                    self.shards.failed(&asked);
                }
                return self.forget_recorded();
            }
        }
        self.read_failures = 0;
        self.forget_recorded();
    }

    /// Starts writing down verdicts if there are any and no others are being written.
    fn start_recording(&mut self) {
        if self.recording.is_none() && !self.unrecorded.is_empty() {
            let finished = std::mem::take(&mut self.unrecorded);
            self.recording = Some(Box::pin(record(Arc::clone(&self.store), finished)));
        }
    }

    fn take_recorded(&mut self, mut recorded: Vec<Seq>) {
        self.recorded.append(&mut recorded);
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

/// Writes `finished` down, however long the store takes. Returns those that are over.
async fn record(store: Arc<dyn Store>, finished: Vec<Finish>) -> Vec<Seq> {
    let mut failures = 0;
    loop {
        match store.finish(finished.clone()).await {
            Ok(()) => break,
            Err(StoreError::Closed) => return Vec::new(),
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
    finished
        .into_iter()
        .filter(|finish| !matches!(finish.verdict, Verdict::Retry { .. }))
        .map(|finish| finish.seq)
        .collect()
}
