//! Handlers that fail: alone, for everybody, or with a bang.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use super::{House, named};
use crate::dispatcher::Settings;
use crate::handler::{HandlerError, Outcome, from_fn};
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

#[tokio::test(start_paused = true)]
async fn an_outage_of_hours_uses_up_no_attempt_and_buries_nothing() {
    let down = Arc::new(AtomicBool::new(true));
    let most = Arc::new(AtomicU32::new(0));
    let handler = from_fn({
        let (down, most) = (Arc::clone(&down), Arc::clone(&most));
        move |cx, _| {
            let down = down.load(Ordering::SeqCst);
            most.fetch_max(cx.attempt(), Ordering::SeqCst);
            async move {
                if down {
                    return Err(HandlerError::Retry {
                        after: None,
                        source: "status 500".into(),
                    });
                }
                Ok(Outcome::Done)
            }
        }
    });
    let mut house = House::with(vec![named("bot", handler)]).await;
    let customers: Vec<String> = (0..40).map(|n| format!("wm{n}")).collect();
    house
        .receive(&customers.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let running = house.open(Settings::default());
    tokio::time::sleep(Duration::from_secs(6 * 3600)).await;
    assert_eq!(house.pending().await, 40);
    assert!(most.load(Ordering::SeqCst) <= 3, "attempts used up: {most:?}");
    down.store(false, Ordering::SeqCst);
    house.until_nothing_is_owed().await;
    running.stop().await;
    assert!(house.dead().await.is_empty());
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
}
