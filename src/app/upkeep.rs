//! What has to be done now and then: forgetting what is handled, and counting what is owed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::api::Client;
use crate::clock::Clock;
use crate::handler::Roster;
use crate::id::AppName;
use crate::metric;
use crate::store::{Seq, Store, StoreError};

/// How often what is past its retention is looked for.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// How often bodies are looked for from the beginning: those of messages that were still owed when their time came.
const ALL_BODIES_EVERY: Duration = Duration::from_hours(1);
/// Messages forgotten in one step, so that pages wait for milliseconds at most.
const STEP: usize = 500;
/// How long a reply is remembered: WeCom tells of its failure within 48 hours and keeps that for three days, and a handler
/// that is tried for longer than that is refused for other reasons.
const REPLIES_KEPT: Duration = Duration::from_hours(96);
/// Pause between two steps, which leaves the writer to the pages.
const PAUSE: Duration = Duration::from_millis(20);
/// How often owed and buried deliveries, and what may be asked of WeCom, are counted.
const COUNT_EVERY: Duration = Duration::from_secs(15);

/// What is to be kept, and for how long.
pub(super) struct Upkeep {
    pub(super) store: Arc<dyn Store>,
    pub(super) roster: Arc<Roster>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) clients: Vec<(AppName, Client)>,
    pub(super) retention: Duration,
    pub(super) body_retention: Option<Duration>,
}

impl Upkeep {
    /// Forgets and counts until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        self.tell_of_handlers_that_left().await;
        let forget = async {
            let mut ticks = every(FORGET_EVERY);
            let mut bodies = Bodies::default();
            loop {
                ticks.tick().await;
                if let Some(retention) = self.body_retention {
                    warn_of(self.blank_bodies(retention, &mut bodies).await);
                }
                warn_of(self.prune().await);
                warn_of(self.prune_replies().await);
            }
        };
        let count = async {
            let mut ticks = every(COUNT_EVERY);
            loop {
                ticks.tick().await;
                self.count_budgets();
                warn_of(self.count_owed().await);
            }
        };
        tokio::select! {
            () = forget => {}
            () = count => {}
            () = stop.cancelled() => {}
        }
    }

    /// Deliveries of a handler that is no longer configured wait for ever: its operator should know.
    async fn tell_of_handlers_that_left(&self) {
        let Ok(backlog) = self.store.backlog().await else {
            return;
        };
        for left in backlog
            .iter()
            .filter(|owed| owed.pending > 0 && !self.roster.has(&owed.handler))
        {
            let (handler, pending) = (&left.handler, left.pending);
            tracing::warn!(%handler, pending, "messages wait for a handler that is no longer configured: `wecom-kf retire` forgets them");
        }
    }

    async fn prune(&self) -> Result<(), StoreError> {
        while self.store.prune(self.clock.now().minus(self.retention), STEP).await? >= STEP as u64 {
            sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn prune_replies(&self) -> Result<(), StoreError> {
        let before = self.clock.now().minus(REPLIES_KEPT);
        while self.store.prune_replies(before, STEP).await? >= STEP as u64 {
            sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn blank_bodies(&self, retention: Duration, bodies: &mut Bodies) -> Result<(), StoreError> {
        bodies.begin();
        while let Some(next) = self
            .store
            .blank(self.clock.now().minus(retention), bodies.after, STEP)
            .await?
            .next
        {
            bodies.after = next;
            sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn count_owed(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        for owed in self.store.backlog().await? {
            let handler = owed.handler.to_string();
            let age = owed.oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64());
            metrics::gauge!(metric::DELIVERIES_PENDING, "handler" => handler.clone()).set(owed.pending as f64);
            metrics::gauge!(metric::OLDEST_UNDELIVERED_SECONDS, "handler" => handler.clone()).set(age);
            metrics::gauge!(metric::DEAD_LETTERS, "handler" => handler).set(owed.dead as f64);
        }
        Ok(())
    }

    fn count_budgets(&self) {
        for (app, client) in &self.clients {
            let budget = client.budget();
            for (kind, remaining) in [("calls", budget.calls), ("tokenless", budget.tokenless)] {
                metrics::gauge!(metric::BUDGET_REMAINING, "app" => app.to_string(), "budget" => kind)
                    .set(remaining as f64);
            }
        }
    }
}

/// How far bodies have been looked at.
#[derive(Default)]
struct Bodies {
    after: Seq,
    from_the_beginning: Option<Instant>,
}

impl Bodies {
    /// Begins another look: behind the last one, and now and then all over again.
    fn begin(&mut self) {
        let now = Instant::now();
        if self
            .from_the_beginning
            .is_none_or(|last| now.duration_since(last) >= ALL_BODIES_EVERY)
        {
            (self.after, self.from_the_beginning) = (Seq::default(), Some(now));
        }
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
