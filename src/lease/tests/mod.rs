//! Leases of several processes on one store, with time paused.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Holdings, Leases, Settings, Title};
use crate::clock::{Clock, SystemClock};
use crate::id::{AccountKey, AppName, OpenKfid};
use crate::store::joint::{Handle, Joint};
use crate::store::{self, Right, Shard, Store};

mod handing_over;
mod losing;
mod sharing;

const TERM: Duration = Duration::from_secs(15);
const SECOND: Duration = Duration::from_secs(1);

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

/// A store, and who shares it.
struct House {
    joint: Arc<Joint>,
    _folder: TempDir,
}

impl House {
    async fn with_accounts(accounts: usize) -> Self {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}", folder.path().join("kf.db").display());
        let joint = Joint::over(store::open(&store::Settings::new(url)).await.unwrap());
        (0..accounts).for_each(|n| joint.know(&account(n)));
        Self { joint, _folder: folder }
    }

    fn join(&self) -> Replica {
        let handle = self.joint.open();
        let store: Arc<dyn Store> = Arc::<Handle>::clone(&handle);
        let (leases, tender) = Leases::of(&store, &clock(), Settings { term: TERM });
        let stop = CancellationToken::new();
        Replica {
            holdings: leases.holdings(),
            task: tokio::spawn(tender.unwrap().run(stop.clone())),
            handle,
            stop,
        }
    }

    fn owner_of_shard(&self, number: u8) -> Option<u32> {
        self.joint.owner(&Right::HandOut(shard(number)))
    }
}

/// One process.
struct Replica {
    handle: Arc<Handle>,
    holdings: watch::Receiver<Holdings>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Replica {
    fn shards(&self) -> BTreeSet<u8> {
        let holdings = self.holdings.borrow();
        let held = Shard::all().filter(|shard| holdings.shard(*shard).is_some_and(|title| title.stands()));
        held.map(Shard::number).collect()
    }

    fn accounts(&self) -> usize {
        let holdings = self.holdings.borrow();
        let titles = holdings.accounts().unwrap();
        titles.filter(|(_, title)| title.stands()).count()
    }

    fn title(&self, number: u8) -> Title {
        self.holdings.borrow().shard(shard(number)).expect("held")
    }

    async fn until_it_holds(&self, shards: usize) {
        until(&format!("{shards} shards"), || self.shards().len() == shards).await;
    }

    /// Ends it without a word, as a crash does.
    fn crash(self) {
        self.task.abort();
    }
}

fn shard(number: u8) -> Shard {
    Shard::new(number).unwrap()
}

fn account(number: usize) -> AccountKey {
    AccountKey::new(AppName::new("main").unwrap(), OpenKfid::new(format!("wk{number}")))
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(timeout(120 * SECOND, waiting).await.is_ok(), "never came: {what}");
}
