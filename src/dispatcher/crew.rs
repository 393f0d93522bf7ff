//! Where attempts of one handler run: on threads of its own, so that it can block nobody but itself.
//!
//! A handler is somebody else's code, and sooner or later it blocks its thread: a lock, a database driver, a loop
//! without end. On threads it shares with callbacks and pulls it would hold those up, and on a fixed number of its own
//! its other customers. So every attempt that takes time has a thread to itself for as long as it runs.
//!
//! Most take none worth a change of threads, which costs more than they do. One thread makes them in turn. An attempt
//! that waits steps aside: its thread goes on with it alone, and another takes its turn. One that blocks cannot say so,
//! and is found out within two milliseconds. Where one attempt after the other takes time, each of the next gets a thread
//! at once. A single one says little: on a busy machine any thread may have to wait for a processor.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::handler::Attempt;
use crate::id::HandlerName;
use crate::store::Seq;

/// Threads beyond those of attempts, for what a handler starts with `spawn_blocking`: as many as tokio gives by default.
const SPARE: usize = 512;
/// How long attempts may queue while none is begun, before those under way are taken to block.
const PATIENCE: Duration = Duration::from_millis(1);
/// What an attempt may take to count as brief.
const BRIEF: Duration = Duration::from_micros(100);
/// After so many in a row that were not brief, the handler is given more threads.
const LENGTHY: u32 = 2;
/// How many attempts get a thread each then.
const WARY: usize = 32;
/// How many may have ended, of those that queued together, before the runner is told.
const TOLD_AT_ONCE: usize = 16;

/// Makes the attempts of one handler. Dropping this breaks off what can be broken off, and waits for nothing.
pub(super) struct Crew {
    /// The handler's own threads. Its one worker drives the timers and sockets of attempts, and whatever they spawn.
    /// `None` if attempts share the threads of the server.
    own: Option<Runtime>,
    board: Arc<Board>,
}

/// An attempt that ended, and how; `None` if it was not begun, because the right to make it had ended by then.
pub(super) type Ended = (Seq, Option<Attempt>);

/// An attempt to be made.
pub(super) struct Job {
    seq: Seq,
    attempt: Pin<Box<dyn Future<Output = Option<Attempt>> + Send>>,
}

impl Job {
    /// `attempt` at the delivery `seq`.
    pub(super) fn new(seq: Seq, attempt: impl Future<Output = Option<Attempt>> + Send + 'static) -> Self {
        let attempt = Box::pin(attempt);
        Self { seq, attempt }
    }
}

/// What the runner and the threads of its handler pass to each other.
struct Board {
    notes: Mutex<Notes>,
    /// Enough attempts have ended to be worth a look.
    ended: Notify,
    broken_off: CancellationToken,
}

struct Notes {
    queue: VecDeque<Job>,
    /// When one was last taken from the queue, or came into an empty one.
    moved: Instant,
    ended: Vec<Ended>,
    /// Threads that take from the queue, without those whose attempt holds them up.
    takers: usize,
    /// Goes up when all takers are found to be held up: they count no more.
    shift: u64,
    /// How many of the last attempts in a row were not brief.
    lengthy: u32,
    /// So many attempts to come get a thread each.
    wary: usize,
}

impl Crew {
    /// Makes attempts on the threads of the server.
    pub(super) fn of_the_server() -> Self {
        Self::new(None)
    }

    /// Makes attempts on threads of `handler`'s own, up to `concurrency` at once.
    pub(super) fn of_its_own(handler: &HandlerName, concurrency: usize) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(concurrency.saturating_add(SPARE))
            .thread_name(format!("kf-{handler}"))
            .enable_all()
            .build()?;
        Ok(Self::new(Some(runtime)))
    }

    fn new(own: Option<Runtime>) -> Self {
        let notes = Notes {
            queue: VecDeque::new(),
            moved: Instant::now(),
            ended: Vec::new(),
            takers: 0,
            shift: 0,
            lengthy: 0,
            wary: 0,
        };
        let board = Board {
            notes: Mutex::new(notes),
            ended: Notify::new(),
            broken_off: CancellationToken::new(),
        };
        Self {
            own,
            board: Arc::new(board),
        }
    }

    /// Makes the attempts of `jobs`, none of which must be under way. How they ended comes out of
    /// [`ended`](Self::ended), also if they panic.
    pub(super) fn start(&self, jobs: Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        if let Some(runtime) = &self.own {
            return self.board.queue(jobs, runtime.handle());
        }
        for Job { seq, attempt } in jobs {
            let report = Report::on(&self.board, seq);
            tokio::spawn(async move {
                let attempt = report.board.unless_broken_off(attempt).await;
                report.file(attempt);
            });
        }
    }

    /// Waits for attempts to end, and returns those that have. Loses none if it is dropped.
    pub(super) async fn ended(&self) -> Vec<Ended> {
        loop {
            let queued_until = {
                let mut notes = self.board.notes();
                if notes.are_worth_a_look() {
                    return mem::take(&mut notes.ended);
                }
                (!notes.queue.is_empty()).then(|| notes.moved + PATIENCE)
            };
            let Some(until) = queued_until else {
                self.board.ended.notified().await;
                continue;
            };
            if timeout_at(until, self.board.ended.notified()).await.is_err()
                && let Some(ended) = self.look_after_queue()
            {
                return ended;
            }
        }
    }

    /// Gives attempts that queue in vain another thread, and returns what has ended meanwhile, if anything has.
    fn look_after_queue(&self) -> Option<Vec<Ended>> {
        let mut notes = self.board.notes();
        let ended = (!notes.ended.is_empty()).then(|| mem::take(&mut notes.ended));
        if let Some(runtime) = &self.own
            && notes.moved.elapsed() >= PATIENCE
        {
            notes.shift += 1;
            notes.takers = 0;
            self.board.call_takers(notes, runtime.handle());
        }
        ended
    }

    /// Drops the futures of attempts that run. A thread that is blocked keeps its own until it returns.
    pub(super) fn break_off(&self) {
        self.board.broken_off.cancel();
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.break_off();
        if let Some(runtime) = self.own.take() {
            // A plain drop would wait for threads that may be blocked for ever, and panic in a task besides.
            runtime.shutdown_background();
        }
    }
}

impl Notes {
    /// Whether so much has ended, of what was started together, that the runner should take it.
    fn are_worth_a_look(&self) -> bool {
        !self.ended.is_empty() && (self.queue.is_empty() || self.ended.len() >= TOLD_AT_ONCE)
    }

    fn take(&mut self, Made { ended, took }: Made) {
        self.ended.push(ended);
        self.lengthy = if took > BRIEF {
            self.lengthy.saturating_add(1)
        } else {
            0
        };
        if self.lengthy >= LENGTHY {
            self.wary = WARY;
        }
    }
}

impl Board {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, ended: Ended) {
        let mut notes = self.notes();
        notes.ended.push(ended);
        if notes.are_worth_a_look() {
            drop(notes);
            self.ended.notify_one();
        }
    }

    fn queue(self: &Arc<Self>, jobs: Vec<Job>, threads: &Handle) {
        let mut notes = self.notes();
        if notes.queue.is_empty() {
            notes.moved = Instant::now();
        }
        notes.queue.extend(jobs);
        self.call_takers(notes, threads);
    }

    /// Sees to it that somebody takes from the queue: one thread, or, with a handler that needs them, one for each.
    fn call_takers(self: &Arc<Self>, mut notes: MutexGuard<'_, Notes>, threads: &Handle) {
        let queued = notes.queue.len();
        let wanted = if notes.wary > 0 { queued } else { queued.min(1) };
        let missing = wanted.saturating_sub(notes.takers);
        notes.takers += missing;
        let shift = notes.shift;
        // A thread looks at the notes first of all.
        drop(notes);
        for _ in 0..missing {
            let taker = Taker {
                board: Arc::clone(self),
                threads: threads.clone(),
                shift: Some(shift),
            };
            threads.spawn_blocking(|| taker.work());
        }
    }

    /// Waits for `attempt`, unless it is broken off.
    async fn unless_broken_off(&self, attempt: impl Future<Output = Option<Attempt>>) -> Option<Option<Attempt>> {
        if self.broken_off.is_cancelled() {
            return None;
        }
        tokio::select! {
            // Most have ended when they are first looked at, and need not wait for anything else.
            biased;
            attempt = attempt => Some(attempt),
            () = self.broken_off.cancelled() => None,
        }
    }
}

/// An attempt that was made, and the time it had its thread to itself.
struct Made {
    ended: Ended,
    took: Duration,
}

/// A thread that makes attempts.
struct Taker {
    board: Arc<Board>,
    threads: Handle,
    /// In which shift it takes from the queue; `None` while an attempt keeps it from that.
    shift: Option<u64>,
}

impl Taker {
    fn work(mut self) {
        let mut made = None;
        while let Some((Job { seq, attempt }, began)) = self.next(made.take()) {
            let mut report = Report::on(&self.board, seq);
            let threads = self.threads.clone();
            let attempt = threads.block_on(self.make(attempt));
            made = Some(Made {
                ended: report.hand_over(attempt),
                took: began.elapsed(),
            });
        }
    }

    /// Notes what was `made`, and takes an attempt from the queue, with the moment of that; none if it is empty.
    fn next(&mut self, made: Option<Made>) -> Option<(Job, Instant)> {
        let mut notes = self.board.notes();
        if let Some(made) = made {
            notes.take(made);
        }
        let counted = self.shift == Some(notes.shift);
        let job = notes.queue.pop_front().map(|job| (job, Instant::now()));
        // Where attempts are known to take time, none is counted on to be over soon.
        let counts = job.is_some() && notes.wary == 0;
        notes.takers = notes.takers + usize::from(counts) - usize::from(counted);
        self.shift = counts.then_some(notes.shift);
        if let Some((_, now)) = &job {
            notes.moved = *now;
            notes.wary = notes.wary.saturating_sub(1);
        }
        // Before the last one is begun, too: it may be the one that blocks.
        if notes.are_worth_a_look() {
            drop(notes);
            self.board.ended.notify_one();
        }
        job
    }

    /// Makes an attempt; as soon as that has to wait, somebody else takes from the queue.
    async fn make(&mut self, attempt: impl Future<Output = Option<Attempt>>) -> Option<Option<Attempt>> {
        let board = Arc::clone(&self.board);
        let mut attempt = pin!(board.unless_broken_off(attempt));
        poll_fn(|task| {
            let poll = attempt.as_mut().poll(task);
            if poll.is_pending() {
                self.step_aside();
            }
            poll
        })
        .await
    }

    fn step_aside(&mut self) {
        let Some(shift) = self.shift.take() else { return };
        let mut notes = self.board.notes();
        notes.takers -= usize::from(shift == notes.shift);
        self.board.call_takers(notes, &self.threads);
    }
}

/// Says that an attempt ended, whatever becomes of it.
struct Report {
    board: Arc<Board>,
    seq: Seq,
    /// Nobody has been told how it ended.
    is_due: bool,
}

impl Report {
    fn on(board: &Arc<Board>, seq: Seq) -> Self {
        Self {
            board: Arc::clone(board),
            seq,
            is_due: true,
        }
    }

    /// How it ended, to be noted by who asks; an `attempt` that is `None` was broken off.
    fn hand_over(&mut self, attempt: Option<Option<Attempt>>) -> Ended {
        self.is_due = false;
        (self.seq, attempt.unwrap_or_else(broken_off))
    }

    /// Notes how it ended; an `attempt` that is `None` was broken off.
    fn file(mut self, attempt: Option<Option<Attempt>>) {
        let ended = self.hand_over(attempt);
        self.board.file(ended);
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if self.is_due {
            self.board.file((self.seq, broken_off()));
        }
    }
}

fn broken_off() -> Option<Attempt> {
    Some(Attempt::Retry {
        after: None,
        reason: "broken off".into(),
    })
}
