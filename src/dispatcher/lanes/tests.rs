//! Order, fairness and bounds of the lanes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;
use crate::clock::UnixMillis;
use crate::id::{AccountKey, AppName, Msgid, OpenKfid};
use crate::store::Letter;

fn account() -> AccountKey {
    AccountKey::new(AppName::new("main").unwrap(), OpenKfid::from("wk"))
}

pub(in crate::dispatcher) fn delivery(seq: i64, customer: &str) -> Pending {
    Pending {
        seq: Seq(seq),
        lane: Lane::of(&account(), customer),
        letter: Arc::new(Letter::new(
            account().into(),
            Msgid::from("m"),
            UnixMillis(0),
            RawValue::from_string("{}".to_owned()).unwrap().into(),
        )),
        attempts: 0,
        due: UnixMillis(0),
        urgent: false,
    }
}

pub(in crate::dispatcher) fn lanes(deliveries: usize, per_lane: usize) -> Lanes {
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
async fn probes_reach_everybody_though_urgent_ones_are_always_due() {
    let (mut lanes, now) = (lanes(9, 9), Instant::now());
    for (seq, customer, urgent) in [(1, "a", true), (2, "b", true), (3, "c", false), (4, "d", false)] {
        let delivery = Pending {
            urgent,
            ..delivery(seq, customer)
        };
        assert_eq!(lanes.offer(delivery, now, now), Offer::Held);
    }
    let probes = std::iter::repeat_with(|| {
        let probe = lanes.next_probe(now).unwrap();
        let seq = probe.seq.0;
        lanes.try_again(probe, now, now);
        seq
    });
    assert_eq!(probes.take(6).collect::<Vec<_>>(), [1, 3, 2, 4, 1, 3]);
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

#[tokio::test]
async fn a_full_window_has_a_reserve_for_other_customers_while_the_handler_fails_for_everybody() {
    let (mut lanes, now) = (lanes(8, 4), Instant::now());
    let [a, c] = ["a", "c"].map(|customer| Lane::of(&account(), customer));
    for (seq, customer) in [(1, "a"), (2, "a"), (3, "a"), (4, "a"), (5, "b"), (6, "b")] {
        let _ = lanes.offer(delivery(seq, customer), now, now);
    }
    lanes.keep_reserve(true);
    assert_eq!((lanes.room(), lanes.is_worth_filling()), (2, true), "not full yet");
    let _ = lanes.offer(delivery(7, "b"), now, now);
    lanes.keep_reserve(false);
    assert_eq!((lanes.room(), lanes.is_worth_filling()), (1, false), "it works");

    lanes.keep_reserve(true);
    assert_eq!((lanes.room(), lanes.is_worth_filling()), (3, true));
    assert_eq!(lanes.offer(delivery(1, "a"), now, now), Offer::Held, "as ever");
    assert_eq!(lanes.offer(delivery(8, "a"), now, now), Offer::Full(Full::Lane(a)));
    assert_eq!(lanes.offer(delivery(9, "c"), now, now), Offer::Held);
    assert_eq!(lanes.offer(delivery(10, "c"), now, now), Offer::Full(Full::Lane(c)));
    assert!(!lanes.has_drained(c));
    for (seq, customer) in [(11, "d"), (12, "e")] {
        assert_eq!(lanes.offer(delivery(seq, customer), now, now), Offer::Held);
    }
    assert!(!lanes.is_worth_filling());
    assert_eq!(lanes.offer(delivery(13, "f"), now, now), Offer::Full(Full::Window));

    lanes.keep_reserve(false);
    assert!(lanes.has_drained(c), "its rest can be read");
    assert_eq!(lanes.room(), 0);
}

#[tokio::test]
async fn the_window_is_a_limit_of_bytes_too() {
    // Each body has two bytes.
    let (mut lanes, now) = (
        Lanes::new(Window {
            deliveries: 10,
            bytes: 8,
            per_lane: 9,
        }),
        Instant::now(),
    );
    for (seq, room) in [(1, 7), (2, 5), (3, 2), (4, 0)] {
        assert_eq!(lanes.offer(delivery(seq, "a"), now, now), Offer::Held);
        assert_eq!(lanes.room(), room);
    }
    assert_eq!(lanes.offer(delivery(5, "b"), now, now), Offer::Full(Full::Window));
    let _ = lanes.next(now);
    assert_eq!(lanes.offer(delivery(5, "b"), now, now), Offer::Held);
}

#[tokio::test]
async fn customers_take_turns_however_much_each_of_them_is_owed() {
    let (mut lanes, now) = (lanes(9, 9), Instant::now());
    for (seq, customer) in [(1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "b")] {
        let _ = lanes.offer(delivery(seq, customer), now, now);
    }
    let turns = std::iter::from_fn(|| {
        let next = lanes.next(now)?;
        lanes.finished(next.lane, now);
        Some(next.seq.0)
    });
    assert_eq!(turns.collect::<Vec<_>>(), [1, 4, 2, 5, 3]);
}

#[tokio::test]
async fn a_customer_goes_before_others_only_while_something_urgent_waits() {
    let (mut lanes, now) = (lanes(9, 9), Instant::now());
    let urgent = Pending {
        urgent: true,
        ..delivery(1, "a")
    };
    for delivery in [urgent, delivery(2, "a"), delivery(3, "b")] {
        let _ = lanes.offer(delivery, now, now);
    }
    let first = lanes.next(now).unwrap();
    assert_eq!(first.seq, Seq(1));
    lanes.finished(first.lane, now);
    assert_eq!(seqs(&mut lanes, now), [3, 2]);
}

#[derive(Debug, Clone)]
enum Step {
    Offer {
        seq: i64,
        customer: u8,
        urgent: bool,
    },
    Start,
    Finish(usize),
    Fail(usize, u64),
    Pass(u64),
    /// The shard of one that was taken in is lost.
    Evict(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..60_i64, any::<bool>()).prop_map(|(seq, urgent)| Step::Offer { seq, customer: (seq % 5) as u8, urgent }),
        4 => Just(Step::Start),
        3 => any::<usize>().prop_map(Step::Finish),
        1 => (any::<usize>(), 0..5_u64).prop_map(|(which, wait)| Step::Fail(which, wait)),
        1 => (0..5_u64).prop_map(Step::Pass),
        1 => any::<usize>().prop_map(Step::Evict),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_no_customer_has_two_running_and_nothing_is_lost(steps in prop::collection::vec(step(), 1..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _guard = runtime.enter();
        let (mut lanes, mut now) = (lanes(20, 6), Instant::now());
        let (mut running, mut taken, mut done) = (Vec::<Pending>::new(), BTreeSet::new(), BTreeSet::new());
        let mut of_lane = HashMap::default();
        for step in steps {
            match step {
                Step::Offer { seq, customer, urgent } => {
                    let offered = Pending { urgent, ..delivery(seq, &customer.to_string()) };
                    let (full, known) = (lanes.waiting >= 20, taken.contains(&seq));
                    let held = lanes.offer(offered, now, now) == Offer::Held;
                    prop_assert!(known || !(full && held), "taken in above the window");
                    if held {
                        taken.insert(seq);
                        of_lane.insert(seq, Lane::of(&account(), &customer.to_string()));
                    }
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
                Step::Evict(which) if !taken.is_empty() => {
                    let shard = of_lane[taken.iter().nth(which % taken.len()).unwrap()].shard();
                    lanes.evict([shard].into_iter().collect());
                    let goes_on = |seq: &i64| done.contains(seq) || running.iter().any(|running| running.seq.0 == *seq);
                    taken.retain(|seq| of_lane[seq].shard() != shard || goes_on(seq));
                }
                Step::Finish(_) | Step::Fail(..) | Step::Evict(_) => {}
            }
        }
        // Let everything end: all that was taken comes out, each customer's in order.
        now += Duration::from_secs(60);
        for finished in running {
            done.insert(finished.seq.0);
            lanes.finished(finished.lane, now);
        }
        let mut last = HashMap::default();
        while let Some(next) = lanes.next(now) {
            prop_assert!(last.insert(next.lane, next.seq).is_none_or(|before| before < next.seq), "out of order");
            prop_assert!(done.insert(next.seq.0), "handed out twice");
            lanes.finished(next.lane, now);
        }
        prop_assert_eq!(done, taken);
        prop_assert_eq!((lanes.waiting, lanes.waiting_bytes, lanes.lanes.len()), (0, 0, 0));
    }
}
