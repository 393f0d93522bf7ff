//! What has to be done now and then: forgetting what is handled, and counting what is owed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::handler::Roster;
use crate::metric;
use crate::store::{Store, StoreError};

/// How often handled messages past their retention are looked for.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// Messages deleted in one step, so that pages wait for milliseconds at most.
const PRUNE_STEP: usize = 500;
/// Pause between two steps, which leaves the writer to the pages.
const PRUNE_PAUSE: Duration = Duration::from_millis(20);
/// How often owed and buried deliveries are counted.
const COUNT_EVERY: Duration = Duration::from_secs(15);

/// Prunes and counts until `stop`.
pub(super) async fn run(
    store: Arc<dyn Store>,
    roster: Arc<Roster>,
    clock: Arc<dyn Clock>,
    retention: Duration,
    stop: CancellationToken,
) {
    tell_of_handlers_that_left(&*store, &roster).await;
    let prune = async {
        let mut ticks = every(PRUNE_EVERY);
        loop {
            ticks.tick().await;
            warn_of(prune_all(&*store, &*clock, retention).await);
        }
    };
    let count = async {
        let mut ticks = every(COUNT_EVERY);
        loop {
            ticks.tick().await;
            warn_of(count_owed(&*store).await);
        }
    };
    tokio::select! {
        () = prune => {}
        () = count => {}
        () = stop.cancelled() => {}
    }
}

fn every(pause: Duration) -> Interval {
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn warn_of(done: Result<(), StoreError>) {
    if let Err(error) = done {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "upkeep failed, will try again"
        );
    }
}

/// Deliveries of a handler that is no longer configured wait for ever: its operator should know.
async fn tell_of_handlers_that_left(store: &dyn Store, roster: &Roster) {
    let Ok(backlog) = store.backlog().await else { return };
    for left in backlog
        .iter()
        .filter(|owed| owed.pending > 0 && !roster.has(&owed.handler))
    {
        let (handler, pending) = (&left.handler, left.pending);
        tracing::warn!(%handler, pending, "messages wait for a handler that is no longer configured: `wecom-kf retire` forgets them");
    }
}

async fn prune_all(store: &dyn Store, clock: &dyn Clock, retention: Duration) -> Result<(), StoreError> {
    while store.prune(clock.now().minus(retention), PRUNE_STEP).await? >= PRUNE_STEP as u64 {
        sleep(PRUNE_PAUSE).await;
    }
    Ok(())
}

async fn count_owed(store: &dyn Store) -> Result<(), StoreError> {
    for owed in store.backlog().await? {
        let handler = owed.handler.to_string();
        metrics::gauge!(metric::DELIVERIES_PENDING, "handler" => handler.clone()).set(owed.pending as f64);
        metrics::gauge!(metric::DEAD_LETTERS, "handler" => handler).set(owed.dead as f64);
    }
    Ok(())
}
