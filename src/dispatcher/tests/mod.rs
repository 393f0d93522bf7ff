//! The dispatcher on a real store, with handlers that misbehave. Time is paused: it jumps to the next timer whenever
//! everything waits.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Dispatcher, Settings};
use crate::clock::{Clock, SystemClock, UnixMillis};
use crate::handler::{Handler, Registration, Roster};
use crate::id::{AccountKey, AppName, HandlerName, Msgid, OpenKfid};
use crate::lease::Leases;
use crate::message::Message;
use crate::store::{self, Claim, Commit, DeadSelect, Fence, HandlerId, Lane, NewMessage, Page, PageEnds, Store};

mod crew;
mod failure;
mod order;
mod pace;
mod replicas;
mod stop;

/// A store, one account, and the handlers that messages are owed to.
struct House {
    store: Arc<dyn Store>,
    roster: Arc<Roster>,
    owed_to: Vec<HandlerId>,
    claim: Claim,
    next: u64,
    _folder: TempDir,
}

impl House {
    async fn with(handlers: Vec<Registration>) -> Self {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}", folder.path().join("kf.db").display());
        let store = store::open(&store::Settings::new(url)).await.unwrap();
        let names: Vec<_> = handlers.iter().map(|handler| handler.name().clone()).collect();
        let ids = store.register_handlers(&names).await.unwrap();
        let roster = Arc::new(Roster::new(ids.into_iter().zip(handlers)));
        let owed_to = roster.members().iter().map(|member| member.id()).collect();
        let account = AccountKey::new(AppName::new("main").unwrap(), OpenKfid::from("wk1"));
        let claim = store
            .claim(&account, Fence::FIRST, SystemClock.now())
            .await
            .unwrap()
            .unwrap();
        Self {
            store,
            roster,
            owed_to,
            claim,
            next: 0,
            _folder: folder,
        }
    }

    /// Commits one page with a message of each of `customers`; `!` before a name makes it urgent.
    async fn receive(&mut self, customers: &[&str]) {
        self.receive_at(customers, SystemClock.now()).await;
    }

    async fn receive_at(&mut self, customers: &[&str], received: UnixMillis) {
        let messages = customers.iter().map(|name| self.message(name)).collect();
        let page = Page {
            claim: self.claim.clone(),
            next_cursor: Some(format!("c{}", self.next).into()),
            messages,
            received,
            ends: PageEnds::More,
        };
        let Commit::Stored(stored) = self.store.commit_page(page).await.unwrap() else {
            panic!("superseded")
        };
        self.claim = stored.claim;
    }

    fn message(&mut self, customer: &str) -> NewMessage {
        self.next += 1;
        let (urgent, customer) = (customer.starts_with('!'), customer.trim_start_matches('!'));
        let msgid = format!("{customer}-{}", self.next);
        let body = format!(
            r#"{{"msgid":"{msgid}","open_kfid":"wk1","external_userid":"{customer}","send_time":1,"origin":3,
                "msgtype":"text","text":{{"content":"hi"}}}}"#
        );
        NewMessage {
            msgid: Msgid::new(msgid),
            send_time: 1,
            lane: Lane::of(&self.claim.account, customer),
            kind: "text".into(),
            urgent,
            body: RawValue::from_string(body).unwrap().into(),
            decoded: None,
            owed_to: self.owed_to.clone(),
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "tests read better")]
    fn open(&self, settings: Settings) -> Running {
        let stop = CancellationToken::new();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let dispatcher = Dispatcher::new(&self.store, &self.roster, &Leases::sole(), &clock, &settings).unwrap();
        Running {
            task: tokio::spawn(dispatcher.run(stop.clone())),
            stop,
        }
    }

    async fn pending(&self) -> u64 {
        self.store
            .backlog()
            .await
            .unwrap()
            .iter()
            .map(|owed| owed.pending)
            .sum()
    }

    async fn dead(&self) -> Vec<String> {
        let dead = self.store.dead_letters(DeadSelect::default(), 1000).await.unwrap();
        dead.into_iter().map(|letter| letter.msgid.to_string()).collect()
    }

    /// Looks often enough for anything that ends, also where time is paused and jumps from one look to the next.
    async fn until_nothing_is_owed(&self) {
        for _ in 0..200_000 {
            if self.pending().await == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("something stays owed");
    }
}

struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// Runs on the test's own thread, where time is paused.
fn named(name: &str, handler: impl Handler) -> Registration {
    Registration::new(HandlerName::new(name).unwrap(), handler).on_shared_threads()
}

fn customer(message: &Message) -> String {
    message.external_userid.as_ref().unwrap().to_string()
}

fn number(message: &Message) -> u64 {
    message.msgid.as_str().rsplit_once('-').unwrap().1.parse().unwrap()
}
