//! Which delivery of one handler is tried next. Pure: no I/O, and time comes in as an argument.
//!
//! Deliveries wait in lanes, one per customer, in order of their sequence numbers. Only the first of a lane is ever
//! tried; while it runs or waits for its next try, the lane stands still and no other lane notices.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use foldhash::{HashMap, HashSet};
use tokio::time::Instant;

use crate::store::{Lane, Pending, Seq, ShardSet};

#[cfg(test)]
pub(super) mod tests;

/// How much may be in memory at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// Deliveries of the handler.
    pub(crate) deliveries: usize,
    /// Bytes of their bodies.
    pub(crate) bytes: usize,
    /// Deliveries of one lane.
    pub(crate) per_lane: usize,
}

/// What became of a delivery that was offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Offer {
    /// It waits in its lane, or did already.
    Held,
    /// There is no room now: offer it again later, and nothing behind it before.
    Full(Full),
}

/// What has no room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Full {
    /// The window as a whole.
    Window,
    /// This lane.
    Lane(Lane),
}

/// The deliveries of one handler that are in memory.
#[derive(Debug)]
pub(crate) struct Lanes {
    window: Window,
    lanes: HashMap<Lane, Queue>,
    /// The window is full, and the handler fails for everybody in it: there is a reserve for others.
    reserve_is_open: bool,
    /// Every delivery that must not be taken in again: waiting, running, or finished but not yet recorded.
    held: HashSet<Seq>,
    waiting_bytes: usize,
    waiting: usize,
    urgent: VecDeque<Lane>,
    ready: VecDeque<Lane>,
    /// Who goes first when the handler is probed the next time.
    probe_first: Line,
    /// Lanes whose first delivery is not due yet.
    resting: BinaryHeap<Reverse<(Instant, Lane)>>,
}

/// Where lanes stand that are to be tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Line {
    Urgent,
    Ready,
}

/// One customer's deliveries.
#[derive(Debug, Default)]
struct Queue {
    /// In order of sequence numbers.
    waiting: VecDeque<Held>,
    urgent: usize,
    state: State,
}

/// A delivery that waits, and until when at least.
#[derive(Debug)]
struct Held {
    delivery: Pending,
    due: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    /// To be settled by its first delivery.
    #[default]
    Idle,
    /// In this line.
    Ready(Line),
    /// In line once its first delivery is due.
    Resting(Instant),
    /// One of its deliveries is being tried.
    Running,
}

impl Lanes {
    pub(crate) fn new(window: Window) -> Self {
        Self {
            window,
            lanes: HashMap::default(),
            reserve_is_open: false,
            held: HashSet::default(),
            waiting_bytes: 0,
            waiting: 0,
            urgent: VecDeque::new(),
            ready: VecDeque::new(),
            probe_first: Line::Urgent,
            resting: BinaryHeap::new(),
        }
    }

    /// Keeps a reserve of a quarter of the window for customers it does not hold, one delivery of each, if it is full
    /// and the handler `fails` for everybody. Those in it may all have written poison: without others nobody would find
    /// out that the handler works.
    pub(crate) fn keep_reserve(&mut self, fails: bool) {
        self.reserve_is_open = false;
        self.reserve_is_open = fails && !self.is_worth_filling();
    }

    /// Whether there is so much room that it is worth a read. Refilling by spoonfuls would cost one for each delivery.
    pub(crate) fn is_worth_filling(&self) -> bool {
        self.room()
            >= if self.reserve_is_open {
                1
            } else {
                self.window.deliveries / 4
            }
    }

    /// Takes `delivery` in, not to be tried before `due`, unless there is no room for it.
    pub(crate) fn offer(&mut self, delivery: Pending, due: Instant, now: Instant) -> Offer {
        if self.held.contains(&delivery.seq) {
            return Offer::Held;
        }
        if self.room() == 0 {
            return Offer::Full(Full::Window);
        }
        if self.reserve_is_open && !self.has_drained(delivery.lane) {
            return Offer::Full(Full::Lane(delivery.lane));
        }
        self.offer_beyond_window(delivery, due, now)
    }

    /// Takes `delivery` in even above the window, unless its lane is full. For urgent ones and what stands before them:
    /// they are few.
    pub(crate) fn offer_beyond_window(&mut self, delivery: Pending, due: Instant, now: Instant) -> Offer {
        let lane = delivery.lane;
        if self.held.contains(&delivery.seq) {
            return Offer::Held;
        }
        if self
            .lanes
            .get(&lane)
            .is_some_and(|queue| queue.waiting.len() >= self.window.per_lane)
        {
            return Offer::Full(Full::Lane(lane));
        }
        self.held.insert(delivery.seq);
        self.put(delivery, due);
        self.settle(lane, now);
        Offer::Held
    }

    /// The next delivery to try. Its lane stands still until [`finished`](Self::finished) or
    /// [`try_again`](Self::try_again).
    pub(crate) fn next(&mut self, now: Instant) -> Option<Pending> {
        self.next_from(Line::Urgent, now)
    }

    /// The next delivery to probe a handler with that fails for everybody, as [`next`](Self::next); but urgent ones go
    /// first only every other time. Two customers whose urgent message is poison would otherwise get every probe, and it
    /// would never be found out that the handler works for all the others.
    pub(crate) fn next_probe(&mut self, now: Instant) -> Option<Pending> {
        let delivery = self.next_from(self.probe_first, now)?;
        self.probe_first = match self.probe_first {
            Line::Urgent => Line::Ready,
            Line::Ready => Line::Urgent,
        };
        Some(delivery)
    }

    fn next_from(&mut self, first: Line, now: Instant) -> Option<Pending> {
        self.wake_rested(now);
        loop {
            let (first, second) = match first {
                Line::Urgent => (&mut self.urgent, &mut self.ready),
                Line::Ready => (&mut self.ready, &mut self.urgent),
            };
            let lane = first.pop_front().or_else(|| second.pop_front())?;
            // A lane may stand in both lines; whichever entry comes second finds it running, or gone.
            let Some(queue) = self.lanes.get_mut(&lane) else {
                continue;
            };
            if !matches!(queue.state, State::Ready(_)) {
                continue;
            }
            let Some(Held { delivery, .. }) = queue.waiting.pop_front() else {
                continue;
            };
            queue.state = State::Running;
            queue.urgent -= usize::from(delivery.urgent);
            self.waiting -= 1;
            self.waiting_bytes -= delivery.letter.body.get().len();
            return Some(delivery);
        }
    }

    /// The delivery that ran in `lane` is over: the lane goes on.
    pub(crate) fn finished(&mut self, lane: Lane, now: Instant) {
        self.release(lane);
        self.settle(lane, now);
    }

    /// The delivery that ran is to be tried again, not before `due`; its lane waits with it.
    pub(crate) fn try_again(&mut self, delivery: Pending, due: Instant, now: Instant) {
        let lane = delivery.lane;
        self.release(lane);
        self.put(delivery, due);
        self.settle(lane, now);
    }

    /// Forgets what waits of `shards`. What runs, and what ended and is not recorded yet, must still not be taken in again.
    pub(crate) fn evict(&mut self, shards: ShardSet) {
        self.lanes.retain(|lane, queue| {
            if !shards.contains(lane.shard()) {
                return true;
            }
            for Held { delivery, .. } in std::mem::take(&mut queue.waiting) {
                self.held.remove(&delivery.seq);
                self.waiting -= 1;
                self.waiting_bytes -= delivery.letter.body.get().len();
            }
            queue.urgent = 0;
            queue.state == State::Running
        });
    }

    /// The end of `seq` is durable: were it read again, it would be owed again.
    pub(crate) fn forget(&mut self, seq: Seq) {
        self.held.remove(&seq);
    }

    /// When the next resting lane is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.resting.peek().map(|Reverse((due, _))| *due)
    }

    /// How many more deliveries the window has room for: of the share that is free by number or by size, the smaller.
    pub(crate) fn room(&self) -> usize {
        let Window { deliveries, bytes, .. } = self.window;
        let reserve = |whole: usize| if self.reserve_is_open { whole / 4 } else { 0 };
        let (deliveries, bytes) = (deliveries + reserve(deliveries), bytes.saturating_add(reserve(bytes)));
        let by_size = deliveries.saturating_mul(bytes.saturating_sub(self.waiting_bytes)) / bytes.max(1);
        deliveries.saturating_sub(self.waiting).min(by_size)
    }

    /// Whether a lane that was full is half empty again; while only the reserve is left, whether nothing waits in it.
    pub(crate) fn has_drained(&self, lane: Lane) -> bool {
        let few = if self.reserve_is_open {
            0
        } else {
            self.window.per_lane / 2
        };
        self.lanes.get(&lane).is_none_or(|queue| queue.waiting.len() <= few)
    }

    fn put(&mut self, delivery: Pending, due: Instant) {
        self.waiting += 1;
        self.waiting_bytes += delivery.letter.body.get().len();
        let queue = self.lanes.entry(delivery.lane).or_default();
        queue.urgent += usize::from(delivery.urgent);
        // At the end or at the front, but for an urgent one that was read out of turn.
        let place = queue.waiting.partition_point(|held| held.delivery.seq < delivery.seq);
        queue.waiting.insert(place, Held { delivery, due });
    }

    fn release(&mut self, lane: Lane) {
        if let Some(queue) = self.lanes.get_mut(&lane) {
            queue.state = State::Idle;
        }
    }

    /// Brings the lane's state in line with its first delivery, and the lane into the line it belongs to.
    fn settle(&mut self, lane: Lane, now: Instant) {
        let Some(queue) = self.lanes.get_mut(&lane) else { return };
        if queue.state == State::Running {
            return;
        }
        let Some(Held { due, .. }) = queue.waiting.front() else {
            self.lanes.remove(&lane);
            return;
        };
        let state = match *due {
            due if due > now => State::Resting(due),
            _ if queue.urgent > 0 => State::Ready(Line::Urgent),
            _ => State::Ready(Line::Ready),
        };
        // A lane already in line gets a second place only where urgency moves it to the faster line.
        if queue.state == state {
            return;
        }
        queue.state = state;
        match state {
            State::Resting(due) => self.resting.push(Reverse((due, lane))),
            State::Ready(Line::Urgent) => self.urgent.push_back(lane),
            State::Ready(Line::Ready) => self.ready.push_back(lane),
            State::Idle | State::Running => {}
        }
    }

    /// Lines up the lanes whose rest is over.
    fn wake_rested(&mut self, now: Instant) {
        while let Some(Reverse((due, lane))) = self.resting.peek().copied()
            && due <= now
        {
            self.resting.pop();
            self.settle(lane, now);
        }
    }
}
