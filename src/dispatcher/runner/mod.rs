//! One handler's loop: read, try, record.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;

use super::breaker::{Breaker, Gate};
use super::crew::Crew;
use super::lanes::{Lanes, Window};
use super::shards::Shards;
use super::{DispatcherError, Settings};
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::handler::Member;
use crate::lease::Leases;
use crate::metric;
use crate::store::{Seq, ShardSet, Store};

mod attempts;
mod estate;
mod reading;
mod recording;
mod verdict;

use attempts::Running;
use estate::Estate;
use reading::{Failed, Reading};
use recording::{Recorded, StoreClosed, Unrecorded, record};

/// How often replayed dead letters, urgent deliveries in the backlog, and attempts that block their threads are looked
/// for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Outcomes that may wait for the store before no more attempts are started. Together with the attempts in hand they are
/// what a crash hands out again.
const MAX_UNRECORDED: usize = 2_000;
/// Waits between tries of a store that fails.
const STORE_BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// A future that may be absent: then it never ends.
type Pause<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

pub(super) struct Runner {
    store: Arc<dyn Store>,
    /// Shared with the attempts under way.
    member: Arc<Member>,
    clock: Arc<dyn Clock>,
    grace: Duration,
    lanes: Lanes,
    shards: Shards,
    estate: Estate,
    breaker: Breaker,
    crew: Crew,
    /// What the crew is at.
    running: HashMap<Seq, Running>,
    reading: Pause<Result<Reading, Failed>>,
    read_failures: u32,
    read_not_before: Instant,
    unrecorded: Unrecorded,
    recording: Pause<Result<Recorded, StoreClosed>>,
    /// Shards of what is being recorded.
    being_recorded: ShardSet,
    /// Nothing can be recorded any more.
    closed: bool,
    /// Recorded while a read was under way, which may yet bring them back: forgotten when it is over.
    recorded: Vec<Seq>,
    replays: Option<u64>,
    check_replays: bool,
    /// Urgent deliveries may be looked for: not too often, because a look passes over the whole backlog.
    check_urgent: bool,
    /// Dead letters were replayed while verdicts were being written, theirs perhaps: to be read again once that is over.
    replayed_meanwhile: bool,
    /// To be read again once what is recorded is forgotten.
    rewind: bool,
}

impl Runner {
    pub(super) fn new(
        store: Arc<dyn Store>,
        member: Member,
        leases: &Leases,
        clock: Arc<dyn Clock>,
        settings: &Settings,
    ) -> Result<Self, DispatcherError> {
        let policy = member.registration().policy();
        let crew = if member.registration().shares_threads() {
            Crew::of_the_server()
        } else {
            Crew::of_its_own(member.name(), policy.concurrency).map_err(|source| DispatcherError::Threads {
                handler: member.name().clone(),
                source,
            })?
        };
        let window = Window {
            deliveries: settings.window,
            bytes: settings.window_bytes,
            per_lane: settings.per_customer,
        };
        Ok(Self {
            lanes: Lanes::new(window),
            shards: Shards::new(),
            estate: Estate::of(leases),
            breaker: Breaker::new(policy.probe_min, policy.probe_max),
            crew,
            running: HashMap::default(),
            reading: None,
            read_failures: 0,
            read_not_before: Instant::now(),
            unrecorded: Unrecorded::default(),
            recording: None,
            being_recorded: ShardSet::default(),
            closed: false,
            recorded: Vec::new(),
            replays: None,
            check_replays: true,
            check_urgent: false,
            replayed_meanwhile: false,
            rewind: false,
            grace: settings.grace,
            store,
            member: Arc::new(member),
            clock,
        })
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        self.show_breaker();
        let news = self.store.news();
        let is_shared = self.estate.is_shared();
        self.take_holdings();
        // The first read is for whoever has waited longest.
        let mut look = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_cancelled() && !self.closed {
            self.enter_shards();
            self.start_attempts();
            self.start_reading();
            self.start_recording(&stop);
            let timer = self.next_timer();
            tokio::select! {
                // In one order, so that a run can be repeated; and what comes most often last.
                biased;
                () = stop.cancelled() => {}
                recorded = wait(&mut self.recording) => self.take_recorded(recorded),
                reading = wait(&mut self.reading) => self.take_reading(reading),
                shards = news.next() => self.shards.news(shards),
                () = self.estate.changed(), if is_shared => self.take_holdings(),
                _ = look.tick() => {
                    self.check_replays = true;
                    self.check_urgent = true;
                    self.tell_of_overdue();
                    if is_shared {
                        // What was let go of at the very moment of its renewal is still held.
                        self.take_holdings();
                    }
                }
                ended = self.crew.ended() => self.take_ended(ended),
                () = sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => {}
            }
        }
        self.finish(&stop).await;
    }

    /// Waits for what is running, up to the grace, and records it.
    async fn finish(mut self, stop: &CancellationToken) {
        // What nothing runs in can be handed over at once.
        self.estate.clear();
        let grace_ends = Instant::now() + self.grace;
        while !self.running.is_empty() {
            self.start_recording(stop);
            tokio::select! {
                biased;
                ended = self.crew.ended() => self.take_ended(ended),
                recorded = wait(&mut self.recording) => self.take_recorded(recorded),
                () = sleep_until(grace_ends) => {
                    let handler = self.member.name();
                    tracing::warn!(%handler, broken_off = self.running.len(), "attempts still ran when the grace ended");
                    break;
                }
            }
        }
        self.crew.break_off();
        while !self.unrecorded.is_empty() || self.recording.is_some() {
            self.start_recording(stop);
            let recorded = wait(&mut self.recording).await;
            self.take_recorded(recorded);
        }
    }

    /// Starts writing down verdicts if there are any and no others are being written.
    fn start_recording(&mut self, stop: &CancellationToken) {
        if self.recording.is_none() && !self.unrecorded.is_empty() {
            let unrecorded = std::mem::take(&mut self.unrecorded);
            self.being_recorded = unrecorded.shards();
            let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
            self.recording = Some(Box::pin(record(store, clock, unrecorded, stop.clone())));
        }
    }

    fn take_recorded(&mut self, recorded: Result<Recorded, StoreClosed>) {
        self.being_recorded = ShardSet::default();
        match recorded {
            Ok(Recorded { mut over, refused }) => {
                self.recorded.append(&mut over);
                self.count_refused(refused);
            }
            // Whatever was handed out now would be handed out again after a restart.
            Err(StoreClosed) => {
                let handler = self.member.name();
                tracing::error!(%handler, "the store is closed: nothing is handed out any more");
                self.closed = true;
            }
        }
        self.rewind |= std::mem::take(&mut self.replayed_meanwhile);
        if self.reading.is_none() {
            self.forget_recorded();
        }
    }

    /// No error: whoever has the shard now tries those messages in their turn.
    fn count_refused(&self, refused: u64) {
        if refused > 0 {
            let handler = self.member.name();
            tracing::info!(%handler, refused, "outcomes came too late: another replica has their shards");
            metrics::counter!(metric::OUTCOMES_REFUSED, "handler" => handler.to_string()).increment(refused);
        }
    }

    fn forget_recorded(&mut self) {
        for seq in self.recorded.drain(..) {
            self.lanes.forget(seq);
        }
        if std::mem::take(&mut self.rewind) {
            self.shards.rewind();
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
