//! Which delivery of one handler is tried next. Pure: no I/O, and time comes in as an argument.
//!
//! Deliveries wait in lanes, one per customer, in order of their sequence numbers. Only the first of a lane is ever
//! tried; while it runs or waits for its next try, the lane stands still and no other lane notices.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet, VecDeque};

use tokio::time::Instant;

use crate::store::{Lane, Pending, Seq};

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
    /// Every delivery that must not be taken in again: waiting, running, or finished but not yet recorded.
    held: HashSet<Seq>,
    waiting_bytes: usize,
    waiting: usize,
    urgent: VecDeque<Lane>,
    ready: VecDeque<Lane>,
    /// Lanes whose first delivery is not due yet.
    resting: BinaryHeap<Reverse<(Instant, Lane)>>,
}

/// One customer's deliveries.
#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeMap<Seq, Held>,
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
    /// In line.
    Ready,
    /// In line once its first delivery is due.
    Resting(Instant),
    /// One of its deliveries is being tried.
    Running,
}

impl Lanes {
    pub(crate) fn new(window: Window) -> Self {
        Self {
            window,
            lanes: HashMap::new(),
            held: HashSet::new(),
            waiting_bytes: 0,
            waiting: 0,
            urgent: VecDeque::new(),
            ready: VecDeque::new(),
            resting: BinaryHeap::new(),
        }
    }

    /// Takes `delivery` in, not to be tried before `due`, unless there is no room for it.
    pub(crate) fn offer(&mut self, delivery: Pending, due: Instant, now: Instant) -> Offer {
        if self.room() == 0 && !self.held.contains(&delivery.seq) {
            return Offer::Full(Full::Window);
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
        self.wake_rested(now);
        loop {
            let lane = self.urgent.pop_front().or_else(|| self.ready.pop_front())?;
            // A lane may stand in both lines; whichever entry comes second finds it running, or gone.
            let Some(queue) = self.lanes.get_mut(&lane) else {
                continue;
            };
            if queue.state != State::Ready {
                continue;
            }
            let Some((_, Held { delivery, .. })) = queue.waiting.pop_first() else {
                continue;
            };
            queue.state = State::Running;
            queue.urgent -= usize::from(delivery.urgent);
            self.waiting -= 1;
            self.waiting_bytes -= delivery.body.get().len();
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

    /// The end of `seq` is durable: were it read again, it would be owed again.
    pub(crate) fn forget(&mut self, seq: Seq) {
        self.held.remove(&seq);
    }

    /// When the next resting lane is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.resting.peek().map(|Reverse((due, _))| *due)
    }

    /// How many more deliveries the window has room for.
    pub(crate) fn room(&self) -> usize {
        if self.waiting_bytes < self.window.bytes {
            self.window.deliveries.saturating_sub(self.waiting)
        } else {
            0
        }
    }

    /// How many deliveries the window holds.
    pub(crate) fn window(&self) -> usize {
        self.window.deliveries
    }

    /// Whether a lane that was full is half empty again.
    pub(crate) fn has_drained(&self, lane: Lane) -> bool {
        self.lanes
            .get(&lane)
            .is_none_or(|queue| queue.waiting.len() <= self.window.per_lane / 2)
    }

    fn put(&mut self, delivery: Pending, due: Instant) {
        self.waiting += 1;
        self.waiting_bytes += delivery.body.get().len();
        let queue = self.lanes.entry(delivery.lane).or_default();
        queue.urgent += usize::from(delivery.urgent);
        queue.waiting.insert(delivery.seq, Held { delivery, due });
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
        let Some(first) = queue.waiting.first_entry() else {
            self.lanes.remove(&lane);
            return;
        };
        let due = first.get().due;
        let state = if due > now { State::Resting(due) } else { State::Ready };
        // A lane already in line gets a second place only where urgency moves it to the faster line.
        if queue.state == state && !(state == State::Ready && queue.urgent == 1) {
            return;
        }
        queue.state = state;
        match state {
            State::Resting(due) => self.resting.push(Reverse((due, lane))),
            _ if queue.urgent > 0 => self.urgent.push_back(lane),
            _ => self.ready.push_back(lane),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;
    use crate::clock::UnixMillis;
    use crate::id::{AccountKey, AppName, Msgid, OpenKfid};

    fn account() -> AccountKey {
        AccountKey::new(AppName::new("main").unwrap(), OpenKfid::from("wk"))
    }

    fn delivery(seq: i64, customer: &str) -> Pending {
        Pending {
            seq: Seq(seq),
            lane: Lane::of(&account(), customer),
            account: account(),
            msgid: Msgid::from("m"),
            received: UnixMillis(0),
            body: RawValue::from_string("{}".to_owned()).unwrap(),
            attempts: 0,
            due: UnixMillis(0),
            urgent: false,
        }
    }

    fn lanes(deliveries: usize, per_lane: usize) -> Lanes {
        Lanes::new(Window {
            deliveries,
            bytes: 1 << 20,
            per_lane,
        })
    }

    fn seqs(lanes: &mut Lanes, now: Instant) -> Vec<i64> {
        std::iter::from_fn(|| lanes.next(now))
            .map(|delivery| delivery.seq.0)
            .collect()
    }

    #[tokio::test]
    async fn a_lane_stands_still_while_one_of_it_runs() {
        let (mut lanes, now) = (lanes(9, 9), Instant::now());
        for (seq, customer) in [(1, "a"), (2, "a"), (3, "b")] {
            assert_eq!(lanes.offer(delivery(seq, customer), now, now), Offer::Held);
        }
        assert_eq!(seqs(&mut lanes, now), [1, 3]);
        lanes.finished(Lane::of(&account(), "a"), now);
        assert_eq!(seqs(&mut lanes, now), [2]);
    }

    #[tokio::test]
    async fn a_failing_message_holds_up_its_own_customer_only() {
        let (mut lanes, now) = (lanes(9, 9), Instant::now());
        for (seq, customer) in [(1, "a"), (2, "a"), (3, "b")] {
            let _ = lanes.offer(delivery(seq, customer), now, now);
        }
        let failed = lanes.next(now).unwrap();
        let later = now + Duration::from_secs(1);
        lanes.try_again(failed, later, now);
        assert_eq!(seqs(&mut lanes, now), [3]);
        assert_eq!(lanes.next_due(), Some(later));
        assert_eq!(seqs(&mut lanes, later), [1]);
    }

    #[tokio::test]
    async fn a_delivery_read_twice_is_taken_once_until_its_end_is_recorded() {
        let (mut lanes, now) = (lanes(9, 9), Instant::now());
        for _ in 0..2 {
            assert_eq!(lanes.offer(delivery(1, "a"), now, now), Offer::Held);
        }
        assert_eq!(seqs(&mut lanes, now), [1]);
        assert_eq!(lanes.offer(delivery(1, "a"), now, now), Offer::Held);
        lanes.finished(Lane::of(&account(), "a"), now);
        assert_eq!(seqs(&mut lanes, now), [0; 0]);
        lanes.forget(Seq(1));
        let _ = lanes.offer(delivery(1, "a"), now, now);
        assert_eq!(seqs(&mut lanes, now), [1], "replayed");
    }

    #[tokio::test]
    async fn an_earlier_delivery_that_comes_back_goes_before_one_that_rests() {
        let (mut lanes, now) = (lanes(9, 9), Instant::now());
        let rested = now + Duration::from_secs(60);
        let _ = lanes.offer(delivery(5, "a"), rested, now);
        let _ = lanes.offer(delivery(2, "a"), now, now);
        assert_eq!(seqs(&mut lanes, now), [2]);
        lanes.finished(Lane::of(&account(), "a"), now);
        assert_eq!(seqs(&mut lanes, now), [0; 0], "the other still rests");
        assert_eq!(seqs(&mut lanes, rested), [5]);
    }

    #[tokio::test]
    async fn an_urgent_customer_goes_before_all_others_but_not_before_itself() {
        let (mut lanes, now) = (lanes(9, 9), Instant::now());
        for (seq, customer) in [(1, "a"), (2, "b"), (3, "c")] {
            let _ = lanes.offer(delivery(seq, customer), now, now);
        }
        let _ = lanes.offer(
            Pending {
                urgent: true,
                ..delivery(4, "b")
            },
            now,
            now,
        );
        let _ = lanes.offer(
            Pending {
                urgent: true,
                ..delivery(5, "d")
            },
            now,
            now,
        );
        assert_eq!(seqs(&mut lanes, now), [2, 5, 1, 3]);
        lanes.finished(Lane::of(&account(), "b"), now);
        assert_eq!(seqs(&mut lanes, now), [4]);
    }

    #[tokio::test]
    async fn the_window_and_a_lane_are_limits() {
        let (mut lanes, now) = (lanes(3, 2), Instant::now());
        let full = Lane::of(&account(), "a");
        let _ = lanes.offer(delivery(1, "a"), now, now);
        let _ = lanes.offer(delivery(2, "a"), now, now);
        assert_eq!(lanes.offer(delivery(3, "a"), now, now), Offer::Full(Full::Lane(full)));
        assert!(!lanes.has_drained(full));
        let _ = lanes.offer(delivery(4, "b"), now, now);
        assert_eq!(lanes.offer(delivery(5, "c"), now, now), Offer::Full(Full::Window));
        assert_eq!(lanes.offer_beyond_window(delivery(5, "c"), now, now), Offer::Held);
        let _ = lanes.next(now);
        assert!(lanes.has_drained(full));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Offer { seq: i64, customer: u8, urgent: bool },
        Start,
        Finish(usize),
        Fail(usize, u64),
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..60_i64, any::<bool>()).prop_map(|(seq, urgent)| Step::Offer { seq, customer: (seq % 5) as u8, urgent }),
            4 => Just(Step::Start),
            3 => any::<usize>().prop_map(Step::Finish),
            1 => (any::<usize>(), 0..5_u64).prop_map(|(which, wait)| Step::Fail(which, wait)),
            1 => (0..5_u64).prop_map(Step::Pass),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_no_customer_has_two_running_and_nothing_is_lost(steps in prop::collection::vec(step(), 1..200)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let _guard = runtime.enter();
            let (mut lanes, mut now) = (lanes(20, 6), Instant::now());
            let (mut running, mut taken, mut done) = (Vec::<Pending>::new(), BTreeSet::new(), BTreeSet::new());
            for step in steps {
                match step {
                    Step::Offer { seq, customer, urgent } => {
                        let offered = Pending { urgent, ..delivery(seq, &customer.to_string()) };
                        if lanes.offer(offered, now, now) == Offer::Held {
                            taken.insert(seq);
                        }
                        prop_assert!(taken.len() - done.len() - running.len() <= 20);
                    }
                    Step::Start => {
                        if let Some(next) = lanes.next(now) {
                            prop_assert!(running.iter().all(|other| other.lane != next.lane), "two of one customer");
                            running.push(next);
                        }
                    }
                    Step::Finish(which) if !running.is_empty() => {
                        let finished = running.swap_remove(which % running.len());
                        done.insert(finished.seq.0);
                        lanes.finished(finished.lane, now);
                    }
                    Step::Fail(which, wait) if !running.is_empty() => {
                        let failed = running.swap_remove(which % running.len());
                        lanes.try_again(failed, now + Duration::from_secs(wait), now);
                    }
                    Step::Pass(seconds) => now += Duration::from_secs(seconds),
                    Step::Finish(_) | Step::Fail(..) => {}
                }
            }
            // Let everything end: all that was taken comes out, each customer's in order.
            now += Duration::from_secs(60);
            for finished in running {
                done.insert(finished.seq.0);
                lanes.finished(finished.lane, now);
            }
            let mut last = HashMap::new();
            while let Some(next) = lanes.next(now) {
                prop_assert!(last.insert(next.lane, next.seq).is_none_or(|before| before < next.seq), "out of order");
                prop_assert!(done.insert(next.seq.0), "handed out twice");
                lanes.finished(next.lane, now);
            }
            prop_assert_eq!(done, taken);
            prop_assert_eq!((lanes.waiting, lanes.waiting_bytes, lanes.lanes.len()), (0, 0, 0));
        }
    }
}
