//! Pulls messages with `sync_msg` and commits each page together with the cursor after it.
//!
//! A callback only [wakes](WakeUps::wake) an account. A `schedule` for each application decides which account is
//! pulled when, a `pull` fetches and commits its pages, and nothing before the commit has to survive a crash: at
//! start, and on a slow timer, every known account is pulled as if it had been notified.
//!
//! Where several processes share a store, each pulls the accounts it holds. A callback may reach any of them: the
//! wake-up is recorded, and whoever holds the account hears of it from the store.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/94670>

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::handler::Roster;
use crate::id::AppName;
use crate::lease::Leases;
use crate::store::Store;

mod agenda;
mod deadline;
mod floodgate;
mod hearing;
mod intake;
mod pull;
mod saving;
mod schedule;
#[cfg(test)]
mod tests;
mod upstream;
mod wake_ups;

use floodgate::Floodgate;
pub use floodgate::{Held, Marks};
use pull::Source;
use schedule::Schedule;
pub use upstream::Upstream;
pub use wake_ups::WakeUps;

/// How accounts are pulled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Messages asked for at once, 1–1000.
    pub page_limit: u32,
    /// How long after a pull an account is pulled again though nobody called, give or take a tenth.
    pub poll_interval: Duration,
    /// How old a message may be to be handed out by the first pull of its account.
    pub first_sync_window: Duration,
    /// Waits after failures.
    pub backoff: Backoff,
    /// How long an account rests after an error that an operator must mend.
    pub operator_pause: Duration,
    /// Accounts of one application that are pulled at once.
    pub pulls_at_once: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            page_limit: 1000,
            poll_interval: Duration::from_secs(300),
            first_sync_window: Duration::from_secs(300),
            backoff: Backoff::new(Duration::from_millis(200), Duration::from_secs(30)),
            operator_pause: Duration::from_secs(600),
            pulls_at_once: 8,
        }
    }
}

/// Pulls the accounts of every application.
#[derive(Debug)]
pub struct Syncer {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    sources: BTreeMap<AppName, Arc<Source>>,
    floodgate: Arc<Floodgate>,
}

impl Syncer {
    /// Will pull what `leases` hold from `upstreams` into `store`, for the handlers of `roster`, as long as `marks` leave
    /// room.
    #[must_use]
    pub fn new(
        upstreams: HashMap<AppName, (Arc<dyn Upstream>, Settings)>,
        store: &Arc<dyn Store>,
        roster: &Arc<Roster>,
        leases: &Leases,
        clock: &Arc<dyn Clock>,
        marks: Marks,
    ) -> Self {
        let floodgate = Arc::new(Floodgate::new(Arc::clone(store), Arc::clone(clock), marks));
        let source = |(app, (upstream, settings)): (AppName, (Arc<dyn Upstream>, Settings))| {
            let source = Source {
                store: Arc::clone(store),
                upstream,
                wake_ups: Arc::new(WakeUps::new(app.clone())),
                roster: Arc::clone(roster),
                clock: Arc::clone(clock),
                floodgate: Arc::clone(&floodgate),
                leases: leases.clone(),
                settings,
            };
            (app, Arc::new(source))
        };
        Self {
            store: Arc::clone(store),
            clock: Arc::clone(clock),
            sources: upstreams.into_iter().map(source).collect(),
            floodgate,
        }
    }

    /// Why nothing is pulled, while that is so.
    #[must_use]
    pub fn held(&self) -> watch::Receiver<Option<Held>> {
        self.floodgate.subscribe()
    }

    /// Where callbacks of `app` leave their news.
    #[must_use]
    pub fn wake_ups(&self, app: &AppName) -> Option<Arc<WakeUps>> {
        self.sources.get(app).map(|source| Arc::clone(&source.wake_ups))
    }

    /// Pulls until `stop`, then lets the pages in hand commit. Wake-ups are written down until `answered`: callbacks may
    /// come until then, and where several processes share the store, another one acts on them.
    pub async fn run(self, stop: CancellationToken, answered: CancellationToken) {
        let mut tasks = JoinSet::new();
        stop.run_until_cancelled(self.floodgate.look()).await;
        tasks.spawn(Arc::clone(&self.floodgate).watch(stop.clone()));
        let hear = hearing::hear(self.store, self.sources.clone(), self.clock, stop.clone());
        tasks.spawn(hear);
        for (app, source) in self.sources {
            tasks.spawn(saving::save(Arc::clone(&source), answered.clone()));
            tasks.spawn(Schedule::new(app, source).run(stop.clone()));
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "part of the syncer ended unexpectedly; its accounts wait for a restart");
            }
        }
    }
}
