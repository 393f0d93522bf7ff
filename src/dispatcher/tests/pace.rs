//! How many are tried at once, when the next is, and who is told.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::{House, named};
use crate::backoff::Schedule;
use crate::dispatcher::Settings;
use crate::handler::{Handler, HandlerError, Outcome, Policy, from_fn};
use crate::metric::tests::Metrics;

/// A handler that asks to be tried again `after`, each time, and notes when it was tried.
fn putting_off(after: Option<Duration>, tried: &Arc<Mutex<Vec<Instant>>>) -> impl Handler + use<> {
    let tried = Arc::clone(tried);
    from_fn(move |_, _| {
        tried.lock().unwrap().push(Instant::now());
        async move {
            Err(HandlerError::Retry {
                after,
                source: "later".into(),
            })
        }
    })
}

#[tokio::test(start_paused = true)]
async fn no_more_are_tried_at_once_than_the_handler_takes() {
    let (under_way, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let gate = Arc::new(Semaphore::new(0));
    let handler = from_fn({
        let (under_way, most, gate) = (Arc::clone(&under_way), Arc::clone(&most), Arc::clone(&gate));
        move |_, _| {
            most.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let (under_way, gate) = (Arc::clone(&under_way), Arc::clone(&gate));
            async move {
                gate.acquire().await?.forget();
                under_way.fetch_sub(1, Ordering::SeqCst);
                Ok(Outcome::Done)
            }
        }
    });
    let three = Policy {
        concurrency: 3,
        timeout: Duration::from_hours(1),
        ..Policy::default()
    };
    let mut house = House::with(vec![named("bot", handler).with_policy(three)]).await;
    house.receive(&["a", "b", "c", "d", "e", "f", "g"]).await;
    let running = house.open(Settings::default());
    while most.load(Ordering::SeqCst) < 3 {
        sleep(Duration::from_millis(10)).await;
    }
    // Time enough for every look that could start another.
    sleep(Duration::from_mins(1)).await;
    assert_eq!(under_way.load(Ordering::SeqCst), 3);
    gate.add_permits(7);
    house.until_nothing_is_owed().await;
    running.stop().await;
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_made_when_it_is_due() {
    let tried = Arc::new(Mutex::new(Vec::new()));
    let wait = Duration::from_millis(10);
    let soon = Policy {
        retry_schedule: Schedule::new(vec![wait]),
        ..Policy::default()
    };
    let mut house = House::with(vec![named("bot", putting_off(None, &tried)).with_policy(soon)]).await;
    house.receive(&["wm1"]).await;
    let running = house.open(Settings::default());
    house.until_nothing_is_owed().await;
    running.stop().await;
    let tried = tried.lock().unwrap();
    assert_eq!(tried.len(), 6);
    for pair in tried.windows(2) {
        // The schedule's jitter, and a tick of the timers.
        let waited = pair[1] - pair[0];
        assert!(wait / 2 <= waited && waited <= 3 * wait, "{waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_was_put_off_waits_as_long_in_another_process() {
    let tried = Arc::new(Mutex::new(Vec::new()));
    // While the store works the clock may run away, by minutes.
    let month = Duration::from_hours(30 * 24);
    let mut house = House::with(vec![named("bot", putting_off(Some(month), &tried))]).await;
    house.receive(&["wm1"]).await;
    let first = house.open(Settings::default());
    while tried.lock().unwrap().is_empty() {
        sleep(Duration::from_millis(10)).await;
    }
    first.stop().await;
    let second = house.open(Settings::default());
    sleep(Duration::from_hours(1)).await;
    assert_eq!(tried.lock().unwrap().len(), 1);
    assert_eq!(house.pending().await, 1);
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nobody_is_overdue_who_keeps_the_deadline() {
    let metrics = Metrics::new();
    let _recorder = metrics::set_default_local_recorder(&metrics.recorder);
    let brief = Policy {
        timeout: Duration::from_millis(2_500),
        max_attempts: 1,
        ..Policy::default()
    };
    let waits = from_fn(|_, _| std::future::pending::<Result<Outcome, HandlerError>>());
    let mut house = House::with(vec![named("bot", waits).with_policy(brief)]).await;
    house.receive(&["wm1"]).await;
    let running = house.open(Settings::default());
    while house.pending().await > 0 {
        assert!(!metrics.say(r#"wecom_kf_attempts_overdue{handler="bot"} 1"#));
        sleep(Duration::from_millis(100)).await;
    }
    metrics.until(r#"wecom_kf_attempts_overdue{handler="bot"} 0"#).await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn that_a_handler_fails_for_everybody_is_told_at_once() {
    let metrics = Metrics::new();
    let _recorder = metrics::set_default_local_recorder(&metrics.recorder);
    let tried = Arc::new(Mutex::new(Vec::new()));
    let mut house = House::with(vec![named("bot", putting_off(None, &tried))]).await;
    house.receive(&["a", "b", "c", "d", "e"]).await;
    let running = house.open(Settings::default());
    metrics.until(r#"wecom_kf_breaker_open{handler="bot"} 1"#).await;
    assert_eq!(tried.lock().unwrap().len(), 5, "before the first probe");
    running.stop().await;
}
