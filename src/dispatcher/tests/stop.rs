//! Stops and replays.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{House, named};
use crate::clock::{Clock, SystemClock};
use crate::dispatcher::Settings;
use crate::handler::{HandlerError, Outcome, Policy, from_fn};
use crate::store::DeadSelect;

#[tokio::test(start_paused = true)]
async fn a_replayed_dead_letter_is_handed_out_while_the_server_runs() {
    let rejects = Arc::new(AtomicBool::new(true));
    let handler = from_fn({
        let rejects = Arc::clone(&rejects);
        move |_, _| {
            let rejects = rejects.load(Ordering::SeqCst);
            async move {
                if rejects {
                    Err(HandlerError::Reject { source: "no".into() })
                } else {
                    Ok(Outcome::Done)
                }
            }
        }
    });
    let mut house = House::with(vec![named("bot", handler)]).await;
    house.receive(&["wm1", "wm2"]).await;
    let running = house.open(Settings::default());
    house.until_nothing_is_owed().await;
    assert_eq!(house.dead().await.len(), 2);
    rejects.store(false, Ordering::SeqCst);
    assert_eq!(
        house
            .store
            .replay_dead(DeadSelect::default(), SystemClock.now())
            .await
            .unwrap(),
        2
    );
    house.until_nothing_is_owed().await;
    running.stop().await;
    assert!(house.dead().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_attempts_in_hand_and_starts_no_others() {
    let (started, release) = (Arc::new(Semaphore::new(0)), Arc::new(Notify::new()));
    let handler = from_fn({
        let (started, release) = (Arc::clone(&started), Arc::clone(&release));
        move |_, _| {
            let (started, release) = (Arc::clone(&started), Arc::clone(&release));
            async move {
                started.add_permits(1);
                release.notified().await;
                Ok(Outcome::Done)
            }
        }
    });
    let mut house = House::with(vec![named("bot", handler)]).await;
    house.receive(&["wm1", "wm1"]).await;
    let running = house.open(Settings::default());
    started.acquire().await.unwrap().forget();
    running.stop.cancel();
    tokio::task::yield_now().await;
    release.notify_one();
    running.task.await.unwrap();
    assert_eq!(house.pending().await, 1, "the first is done, the second was not begun");
    assert_eq!(started.available_permits(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_outlasts_the_grace_is_broken_off_and_stays_owed() {
    let (started, broken_off) = (Arc::new(Semaphore::new(0)), CancellationToken::new());
    let handler = from_fn({
        let (started, broken_off) = (Arc::clone(&started), broken_off.clone());
        move |_, _| {
            started.add_permits(1);
            let until_dropped = broken_off.clone().drop_guard();
            async move {
                let _until_dropped = until_dropped;
                std::future::pending().await
            }
        }
    });
    let patient = Policy {
        timeout: Duration::from_secs(3600),
        ..Policy::default()
    };
    let mut house = House::with(vec![named("bot", handler).with_policy(patient)]).await;
    house.receive(&["wm1"]).await;
    let running = house.open(Settings {
        grace: Duration::from_secs(1),
        ..Settings::default()
    });
    started.acquire().await.unwrap().forget();
    running.stop().await;
    let gone = timeout(Duration::from_secs(60), broken_off.cancelled()).await;
    assert!(gone.is_ok(), "it still runs");
    assert_eq!(house.pending().await, 1);
}
