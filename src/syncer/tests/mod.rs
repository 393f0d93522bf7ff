//! The syncer on a real store and a real client, against the simulator where its truth is asked for, and against a
//! script where the exact order of questions and answers matters.

#![cfg(feature = "simulator")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Held, Marks, Settings, Syncer, Upstream, WakeUps};
use crate::api;
use crate::backoff::Backoff;
use crate::clock::{Clock, ManualClock, UnixMillis};
use crate::handler::{LogHandler, Registration, Roster};
use crate::id::{AccountKey, AppName, CallbackToken, CorpId, HandlerName, OpenKfid};
use crate::lease::{self, Leases};
use crate::store::{self, Fence, Store};

mod back_pressure;
mod counted;
mod fairness;
mod floodgate;
mod pages;
mod refusals;
mod replicas;
mod script;
mod start;
mod stop;
mod trouble;
mod wake;
mod watched;

use script::Script;
use watched::Watched;

/// When every test begins.
const START: UnixMillis = UnixMillis(1_785_571_200_000);
/// Far longer than anything takes, and shorter than the minute in which a tokenless turn comes back.
const DEADLINE: Duration = Duration::from_secs(45);
const HOUR: Duration = Duration::from_secs(60 * 60);

fn app() -> AppName {
    AppName::new("main").unwrap()
}

fn key(open_kfid: &str) -> AccountKey {
    AccountKey::new(app(), OpenKfid::from(open_kfid))
}

/// Waits until `holds`.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(timeout(DEADLINE, waiting).await.is_ok(), "never came: {what}");
}

/// A text of `send_time` seconds before the start.
fn text(msgid: &str, age_secs: u64) -> Value {
    json!({ "msgid": msgid, "open_kfid": "wk1", "external_userid": "wm1", "send_time": START.as_secs() - age_secs,
            "origin": 3, "msgtype": "text", "text": { "content": "hi" } })
}

/// What survives a syncer: the store, its handlers and the time.
struct House {
    store: Arc<Watched>,
    roster: Arc<Roster>,
    clock: ManualClock,
    _folder: TempDir,
}

/// How a test would have it otherwise.
struct Change {
    api: api::Settings,
    sync: Settings,
    marks: Marks,
    lease: lease::Settings,
}

impl House {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}", folder.path().join("kf.db").display());
        let store = Watched::over(store::open(&store::Settings::new(url)).await.unwrap());
        let name = HandlerName::new("log").unwrap();
        let ids = store.register_handlers(std::slice::from_ref(&name)).await.unwrap();
        let log = Registration::new(name, LogHandler);
        Self {
            store,
            roster: Arc::new(Roster::new(ids.into_iter().zip([log]))),
            clock: ManualClock::new(START),
            _folder: folder,
        }
    }

    /// Makes accounts known to the store.
    async fn know(&self, open_kfids: &[&str]) {
        for open_kfid in open_kfids {
            self.store
                .claim(&key(open_kfid), Fence::FIRST, START)
                .await
                .unwrap()
                .unwrap();
        }
    }

    fn run(&self, api_base: &str) -> Running {
        self.run_with(api_base, |_| {})
    }

    /// Runs a syncer that has used its only tokenless turn and is asked for another pull of `wk1`.
    async fn run_out_of_turns(&self, api_base: &str) -> Running {
        let syncer = self.run_with(api_base, |change| change.api.tokenless_per_minute = 1);
        syncer.wake("wk1");
        until("the only turn is used", async || self.store.committed().len() == 1).await;
        syncer.wake("wk1");
        sleep(Duration::from_millis(20)).await;
        syncer
    }

    /// Runs a syncer that waits for next to nothing, and never polls.
    fn run_with(&self, api_base: &str, change: impl FnOnce(&mut Change)) -> Running {
        let store: Arc<dyn Store> = Arc::<Watched>::clone(&self.store);
        self.run_on(&store, api_base, change)
    }

    /// Runs one on `store`, which may be shared with others.
    fn run_on(&self, store: &Arc<dyn Store>, api_base: &str, change: impl FnOnce(&mut Change)) -> Running {
        let simulated = crate::simulator::Settings::default();
        let mut settings = Change {
            api: api::Settings::new(CorpId::from("ww0123456789abcdef"), simulated.secret),
            sync: Settings {
                poll_interval: HOUR,
                operator_pause: HOUR,
                backoff: Backoff::new(Duration::from_millis(1), Duration::from_millis(5)),
                ..Settings::default()
            },
            marks: Marks {
                // However full the disk is that tests run on.
                min_free: 0,
                backoff: Backoff::new(Duration::from_millis(1), Duration::from_millis(5)),
                ..Marks::default()
            },
            lease: lease::Settings::default(),
        };
        settings.api.api_base = api_base.to_owned();
        settings.api.calls_per_second = 1_000_000;
        settings.api.calls_burst = 1_000_000;
        settings.api.tokenless_per_minute = 1_000_000;
        settings.api.rate_limit_pause = Duration::from_millis(100);
        change(&mut settings);
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let client: Arc<dyn Upstream> = Arc::new(api::Client::new(settings.api, Arc::clone(&clock)).unwrap());
        let upstreams = HashMap::from([(app(), (client, settings.sync))]);
        let (leases, tender) = Leases::of(store, &clock, settings.lease);
        let syncer = Syncer::new(upstreams, store, &self.roster, &leases, &clock, settings.marks);
        let wake_ups = syncer.wake_ups(&app()).unwrap();
        let (stop, held) = (CancellationToken::new(), syncer.held());
        Running {
            held,
            task: tokio::spawn({
                let stop = stop.clone();
                let tending = async move |stop| {
                    if let Some(tender) = tender {
                        tender.run(stop).await;
                    }
                };
                async move {
                    tokio::join!(syncer.run(stop.clone(), stop.clone()), tending(stop));
                }
            }),
            stop,
            wake_ups,
        }
    }

    /// Deliveries owed.
    async fn owed(&self) -> u64 {
        self.store.backlog().await.unwrap()[0].pending
    }
}

/// A syncer at work.
struct Running {
    stop: CancellationToken,
    wake_ups: Arc<WakeUps>,
    held: watch::Receiver<Option<Held>>,
    task: JoinHandle<()>,
}

impl Running {
    fn wake(&self, open_kfid: &str) {
        self.wake_ups.wake(OpenKfid::from(open_kfid), None, START);
    }

    fn wake_with(&self, open_kfid: &str, token: &str) {
        let token = CallbackToken::new(token);
        self.wake_ups.wake(OpenKfid::from(open_kfid), Some(token), START);
    }

    async fn stop(self) {
        self.stop.cancel();
        timeout(DEADLINE, self.task).await.expect("stops promptly").unwrap();
    }
}
