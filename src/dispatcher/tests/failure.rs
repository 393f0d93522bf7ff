//! Handlers that fail: alone, for everybody, or with a bang.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{House, customer, named, number};
use crate::backoff::Schedule;
use crate::clock::{Clock, SystemClock};
use crate::dispatcher::Settings;
use crate::handler::{Handler, HandlerError, Outcome, Policy, from_fn};
use crate::store::DeadSelect;

#[tokio::test(start_paused = true)]
async fn a_poison_message_is_buried_after_its_attempts_and_its_customer_goes_on() {
    let attempts = Arc::new(AtomicU32::new(0));
    let handler = from_fn({
        let attempts = Arc::clone(&attempts);
        move |_, message| {
            let poison = message.msgid.as_str() == "wm1-1";
            attempts.fetch_add(u32::from(poison), Ordering::SeqCst);
            async move {
                if poison {
                    Err(std::io::Error::other("cannot digest").into())
                } else {
                    Ok(Outcome::Done)
                }
            }
        }
    });
    let mut house = House::with(vec![named("bot", handler)]).await;
    house.receive(&["wm1", "wm1", "wm2"]).await;
    let running = house.open(Settings::default());
    house.until_nothing_is_owed().await;
    running.stop().await;
    assert_eq!(attempts.load(Ordering::SeqCst), 6);
    assert_eq!(house.dead().await, ["wm1-1"]);
    let letters = house.store.dead_letters(DeadSelect::default(), 1).await.unwrap();
    assert!(letters[0].reason.contains("cannot digest"), "{}", letters[0].reason);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_alone_makes_the_handler_unavailable_is_buried_too() {
    let handler = from_fn(|_, message| {
        let poison = message.msgid.as_str() == "wm1-1";
        async move {
            if poison {
                return Err(HandlerError::Unavailable {
                    after: None,
                    source: "502".into(),
                });
            }
            Ok(Outcome::Done)
        }
    });
    let mut house = House::with(vec![named("bot", handler)]).await;
    house.receive(&["wm1", "wm1"]).await;
    let running = house.open(Settings::default());
    // Others are answered all the time, so that it cannot be an outage.
    while house.dead().await.is_empty() {
        house.receive(&["wm2", "wm3"]).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    house.until_nothing_is_owed().await;
    running.stop().await;
    assert_eq!(house.dead().await, ["wm1-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_and_a_timeout_are_errors_like_any_other() {
    let tries = Arc::new(AtomicU32::new(0));
    let handler = from_fn({
        let tries = Arc::clone(&tries);
        move |_, _| {
            let attempt = tries.fetch_add(1, Ordering::SeqCst);
            async move {
                match attempt {
                    0 => panic!("as handlers do"),
                    1 => std::future::pending().await,
                    _ => Ok(Outcome::Done),
                }
            }
        }
    });
    let mut house = House::with(vec![named("bot", handler)]).await;
    house.receive(&["wm1"]).await;
    let running = house.open(Settings::default());
    house.until_nothing_is_owed().await;
    running.stop().await;
    assert_eq!(tries.load(Ordering::SeqCst), 3);
    assert!(house.dead().await.is_empty());
}

/// A handler that can be down, and notes what it did when it was not.
#[derive(Clone, Default)]
struct Endpoint {
    down: Arc<AtomicBool>,
    /// Most attempts of one message, counted while the first is 1.
    most: Arc<AtomicU32>,
    tried: Arc<AtomicU32>,
    took: Arc<Mutex<Vec<(String, u64)>>>,
}

impl Endpoint {
    fn handler(&self, error: fn() -> HandlerError) -> impl Handler + use<> {
        let endpoint = self.clone();
        from_fn(move |cx, message| {
            endpoint.most.fetch_max(cx.attempt(), Ordering::SeqCst);
            endpoint.tried.fetch_add(1, Ordering::SeqCst);
            let down = endpoint.down.load(Ordering::SeqCst);
            if !down {
                let mut took = endpoint.took.lock().unwrap();
                took.push((customer(&message), number(&message)));
            }
            async move { if down { Err(error()) } else { Ok(Outcome::Done) } }
        })
    }
}

fn unavailable() -> HandlerError {
    HandlerError::Unavailable {
        after: None,
        source: "status 503".into(),
    }
}

fn failing() -> HandlerError {
    HandlerError::Retry {
        after: None,
        source: "status 500".into(),
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_hours_uses_up_no_attempt_buries_nothing_and_the_backlog_drains_fairly_and_in_order() {
    for error in [unavailable, failing] {
        let endpoint = Endpoint::default();
        endpoint.down.store(true, Ordering::SeqCst);
        let mut house = House::with(vec![named("bot", endpoint.handler(error))]).await;
        // Others write before, between and behind ten thousand messages of one customer.
        let others: Vec<String> = (0..50).map(|n| format!("wm{n}")).collect();
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        for _ in 0..10 {
            house.receive(&["hot"; 1_000]).await;
            house.receive(&others).await;
        }
        // Not before all are there: whoever fails alone counts as poison.
        let running = house.open(Settings::default());
        let tried = || endpoint.tried.load(Ordering::SeqCst);
        // The outage is noticed: the clock may run away before, while the store is asked for the first messages.
        while tried() < 10 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let before = tried();
        tokio::time::sleep(Duration::from_secs(6 * 3600)).await;
        // The rest of those in hand, and then one at a time, in the end three quarters of a minute apart or more.
        let probes = tried() - before;
        assert!(probes < 600, "{probes} attempts in six hours");
        let most = endpoint.most.load(Ordering::SeqCst);
        assert!(most <= 3, "attempts used up: {most}");
        assert_eq!(house.dead().await, [""; 0]);
        assert_eq!(house.pending().await, 10_500);

        endpoint.down.store(false, Ordering::SeqCst);
        house.until_nothing_is_owed().await;
        running.stop().await;
        let took = endpoint.took.lock().unwrap();
        assert_eq!(took.len(), 10_500);
        let mut last = HashMap::new();
        for (customer, number) in &*took {
            let before = last.insert(customer, number);
            assert!(before < Some(number), "{customer} got {number} after {before:?}");
        }
        // Each customer gets a turn before another gets its next: by the time the others are served, the hot one has had
        // about as many turns as one of them, and those of the window it was read into first.
        let last_other = took.iter().rposition(|(customer, _)| customer != "hot").unwrap();
        let hot = took[..last_other]
            .iter()
            .filter(|(customer, _)| customer == "hot")
            .count();
        assert!(hot <= 500, "{hot} of the hot customer went before {last_other} others");
    }
}

#[tokio::test(start_paused = true)]
async fn a_poison_message_holds_up_nobody_but_its_own_customer() {
    let handler = from_fn(|_, message| async move {
        match message.msgid.as_str() {
            "wm0-1" => Err(failing()),
            _ => Ok(Outcome::Done),
        }
    });
    // Long, because the test's clock jumps while the store is at work.
    let month = Duration::from_hours(24 * 30);
    let patient = Policy {
        retry_schedule: Schedule::new(vec![month]),
        ..Policy::default()
    };
    let mut house = House::with(vec![named("bot", handler).with_policy(patient)]).await;
    house.receive(&["wm0", "wm0", "wm1", "wm2"]).await;
    let running = house.open(Settings::default());
    while house.pending().await > 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.stop().await;
    assert_eq!(
        house.pending().await,
        2,
        "the poison and what its customer wrote after it"
    );
}

#[test]
fn a_poison_message_is_buried_within_three_minutes() {
    let policy = Policy::default();
    let waits = (1..policy.max_attempts).map(|failures| {
        let longest = policy.retry_schedule.steps().get(failures as usize - 1);
        longest.or(policy.retry_schedule.steps().last()).unwrap().mul_f64(1.2)
    });
    assert!(waits.sum::<Duration>() < Duration::from_secs(180));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_message_is_buried_at_once() {
    let handler = from_fn(|_, _| async {
        Err(HandlerError::Reject {
            source: "not for us".into(),
        })
    });
    let mut house = House::with(vec![named("bot", handler)]).await;
    house.receive(&["wm1"]).await;
    let running = house.open(Settings::default());
    house.until_nothing_is_owed().await;
    running.stop().await;
    assert_eq!(house.dead().await, ["wm1-1"]);
    let letters = house.store.dead_letters(DeadSelect::default(), 1).await.unwrap();
    assert_eq!(letters[0].attempts, 1);
    assert!(letters[0].reason.contains("not for us"), "{}", letters[0].reason);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_fails_when_nobody_can_answer_it_any_more_is_given_up() {
    let mut house = House::with(vec![named("bot", from_fn(|_, _| async { Err(failing()) }))]).await;
    let fifty_hours = Duration::from_hours(50);
    house.receive_at(&["wm1"], SystemClock.now().minus(fifty_hours)).await;
    let running = house.open(Settings::default());
    house.until_nothing_is_owed().await;
    running.stop().await;
    assert_eq!(house.dead().await, ["wm1-1"]);
    let letters = house.store.dead_letters(DeadSelect::default(), 1).await.unwrap();
    assert_eq!(letters[0].attempts, 1);
    let reason = &letters[0].reason;
    assert!(
        reason.starts_with("given up after 50 hours") && reason.contains("status 500"),
        "{reason}"
    );
}
