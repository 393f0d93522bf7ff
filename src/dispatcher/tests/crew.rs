//! Handlers that block their threads. Time is real: a blocked thread does not see another.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tokio::sync::{Barrier, Semaphore};
use tokio::time::{sleep, timeout};

use super::{House, customer};
use crate::dispatcher::Settings;
use crate::dispatcher::crew::{Crew, Job};
use crate::handler::{Attempt, Handler, Outcome, Policy, Registration, from_fn};
use crate::id::HandlerName;
use crate::metric::tests::Metrics;
use crate::store::Seq;

/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Blocks the threads that come to it until it is opened, which a drop does.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn pass(&self) {
        let (open, opened) = &*self.0;
        drop(opened.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

/// Opens the gate however the test ends.
struct Opens(Gate);

impl Drop for Opens {
    fn drop(&mut self) {
        self.0.open();
    }
}

fn on_threads_of_its_own(name: &str, handler: impl Handler) -> Registration {
    Registration::new(HandlerName::new(name).unwrap(), handler)
}

/// A handler that waits at `gate`, for customers called `stuck…` only, and counts who came and who went on.
fn blocking(gate: &Gate, came: &Arc<Semaphore>, went: &Arc<Semaphore>) -> impl Handler + use<> {
    let (gate, came, went) = (gate.clone(), Arc::clone(came), Arc::clone(went));
    from_fn(move |_, message| {
        let (gate, came, went) = (gate.clone(), Arc::clone(&came), Arc::clone(&went));
        async move {
            came.add_permits(1);
            if customer(&message).starts_with("stuck") {
                gate.pass();
            }
            went.add_permits(1);
            Ok(Outcome::Done)
        }
    })
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n}")).collect()
}

async fn receive(house: &mut House, customers: &[String]) {
    house
        .receive(&customers.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
}

async fn soon(what: &str, waiting: impl Future) {
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "never came: {what}");
}

async fn told(metrics: &Metrics, line: &str) {
    soon(line, metrics.until(line)).await;
}

async fn take(semaphore: &Semaphore, count: u32) {
    semaphore.acquire_many(count).await.unwrap().forget();
}

#[tokio::test]
async fn who_blocks_its_threads_holds_up_no_other_handler_and_of_its_own_customers_none_but_these() {
    let gate = Gate::default();
    let _opens = Opens(gate.clone());
    let [came, went, others] = [(); 3].map(|()| Arc::new(Semaphore::new(0)));
    let other = {
        let others = Arc::clone(&others);
        from_fn(move |_, _| {
            others.add_permits(1);
            // It needs timers and the turn of others, like any handler that waits for an answer.
            async {
                sleep(Duration::from_millis(1)).await;
                Ok(Outcome::Done)
            }
        })
    };
    let patient = Policy {
        timeout: Duration::from_secs(3600),
        ..Policy::default()
    };
    let mut house = House::with(vec![
        on_threads_of_its_own("blocks", blocking(&gate, &came, &went)).with_policy(patient),
        on_threads_of_its_own("other", other),
    ])
    .await;
    // One place among its 32 is left.
    receive(&mut house, &names("stuck", 31)).await;
    let running = house.open(Settings::default());
    soon("31 blocked threads", take(&came, 31)).await;
    receive(&mut house, &names("wm", 100)).await;
    soon("the other handler", take(&others, 131)).await;
    soon("its own other customers", take(&went, 100)).await;
    assert_eq!(went.available_permits(), 0);
    gate.open();
    soon("the rest", house.until_nothing_is_owed()).await;
    running.stop().await;
}

#[tokio::test]
async fn attempts_that_wait_for_each_other_are_made_side_by_side() {
    // Each ends only when all 32 have come, twice over: first when nothing is known of the handler, then when it is.
    let meeting = Arc::new(Barrier::new(32));
    let waits = from_fn(move |_, _| {
        let meeting = Arc::clone(&meeting);
        async move {
            meeting.wait().await;
            Ok(Outcome::Done)
        }
    });
    let patient = Policy {
        timeout: Duration::from_secs(3600),
        ..Policy::default()
    };
    let mut house = House::with(vec![on_threads_of_its_own("waits", waits).with_policy(patient)]).await;
    receive(&mut house, &names("wm", 64)).await;
    let running = house.open(Settings::default());
    soon("everybody", house.until_nothing_is_owed()).await;
    running.stop().await;
}

#[tokio::test]
async fn attempts_that_block_their_threads_for_each_other_are_made_side_by_side() {
    let meeting = Arc::new(std::sync::Barrier::new(32));
    let blocks = from_fn(move |_, _| {
        let meeting = Arc::clone(&meeting);
        async move {
            meeting.wait();
            Ok(Outcome::Done)
        }
    });
    let patient = Policy {
        timeout: Duration::from_secs(3600),
        ..Policy::default()
    };
    let mut house = House::with(vec![on_threads_of_its_own("blocks", blocks).with_policy(patient)]).await;
    receive(&mut house, &names("wm", 64)).await;
    let running = house.open(Settings::default());
    soon("everybody", house.until_nothing_is_owed()).await;
    running.stop().await;
}

#[tokio::test]
async fn an_attempt_that_vanishes_is_told_as_broken_off() {
    let own = Crew::of_its_own(&HandlerName::new("own").unwrap(), 1).unwrap();
    for crew in [own, Crew::of_the_server()] {
        crew.start(vec![Job::new(Seq(7), async { panic!("where nobody catches it") })]);
        let ended = timeout(PATIENCE, crew.ended()).await.expect("somebody is told");
        assert!(matches!(ended[..], [(Seq(7), Some(Attempt::Retry { .. }))]));
    }
}

#[tokio::test]
async fn a_stop_waits_for_blocked_threads_no_longer_than_the_grace() {
    let gate = Gate::default();
    let _opens = Opens(gate.clone());
    let [came, went] = [(); 2].map(|()| Arc::new(Semaphore::new(0)));
    let mut house = House::with(vec![on_threads_of_its_own("blocks", blocking(&gate, &came, &went))]).await;
    receive(&mut house, &names("stuck", 3)).await;
    let running = house.open(Settings {
        grace: Duration::from_millis(50),
        ..Settings::default()
    });
    soon("three blocked threads", take(&came, 3)).await;
    soon("the end", running.stop()).await;
    assert_eq!((went.available_permits(), house.pending().await), (0, 3));
}

#[tokio::test]
async fn a_blocked_attempt_counts_as_failing_at_its_deadline_is_not_repeated_beside_itself_and_may_end_well() {
    let metrics = Metrics::new();
    let _recorder = metrics::set_default_local_recorder(&metrics.recorder);
    let gate = Gate::default();
    let _opens = Opens(gate.clone());
    let [came, went] = [(); 2].map(|()| Arc::new(Semaphore::new(0)));
    let hasty = Policy {
        timeout: Duration::from_millis(20),
        ..Policy::default()
    };
    let blocks = on_threads_of_its_own("blocks", blocking(&gate, &came, &went)).with_policy(hasty);
    let mut house = House::with(vec![blocks]).await;
    receive(&mut house, &names("stuck", 5)).await;
    receive(&mut house, &names("stuck", 5)).await;
    let running = house.open(Settings::default());
    soon("five blocked threads", take(&came, 5)).await;
    told(&metrics, r#"wecom_kf_attempts_overdue{handler="blocks"} 5"#).await;
    told(&metrics, r#"wecom_kf_breaker_open{handler="blocks"} 1"#).await;
    assert_eq!(came.available_permits(), 0, "nobody had a second attempt");
    gate.open();
    soon("the end of all", house.until_nothing_is_owed()).await;
    told(&metrics, r#"wecom_kf_attempts_overdue{handler="blocks"} 0"#).await;
    assert_eq!(came.available_permits(), 5, "each message was handled once");
    running.stop().await;
}

#[tokio::test]
async fn a_panic_and_a_timeout_on_threads_of_its_own_are_errors_like_any_other() {
    let tries = Arc::new(AtomicUsize::new(0));
    let handler = {
        let tries = Arc::clone(&tries);
        from_fn(move |_, _| {
            let attempt = tries.fetch_add(1, Ordering::SeqCst);
            async move {
                match attempt {
                    0 => panic!("as handlers do"),
                    1 => std::future::pending().await,
                    _ => Ok(Outcome::Done),
                }
            }
        })
    };
    let hasty = Policy {
        timeout: Duration::from_millis(20),
        retry_schedule: crate::backoff::Schedule::new(vec![Duration::from_millis(1)]),
        ..Policy::default()
    };
    let mut house = House::with(vec![on_threads_of_its_own("fails", handler).with_policy(hasty)]).await;
    receive(&mut house, &names("wm", 1)).await;
    let running = house.open(Settings::default());
    soon("the third attempt", house.until_nothing_is_owed()).await;
    running.stop().await;
    assert_eq!(tries.load(Ordering::SeqCst), 3);
}
