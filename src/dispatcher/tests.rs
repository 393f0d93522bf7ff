//! The dispatcher on a real store, with handlers that misbehave. Time is paused: it jumps to the next timer whenever
//! everything waits.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::value::RawValue;
use tempfile::TempDir;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Settings;
use crate::clock::{Clock, SystemClock};
use crate::handler::{Context, Handler, HandlerError, Outcome, Policy, Registration, Roster};
use crate::id::{AccountKey, AppName, HandlerName, Msgid, OpenKfid};
use crate::message::Message;
use crate::store::{
    self, Claim, Commit, DeadSelect, HandlerId, Lane, NewMessage, Page, PageEnds, Position, Seq, Shard, Store,
};

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
        let store = store::open(&store::Settings { url }).unwrap();
        let names: Vec<_> = handlers.iter().map(|handler| handler.name().clone()).collect();
        let ids = store.register_handlers(&names).await.unwrap();
        let roster = Arc::new(Roster::new(ids.into_iter().zip(handlers)));
        let owed_to = roster.members().iter().map(|member| member.id()).collect();
        let account = AccountKey::new(AppName::new("main").unwrap(), OpenKfid::from("wk1"));
        let claim = store.claim(&account, SystemClock.now()).await.unwrap();
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
        let messages = customers.iter().map(|name| self.message(name)).collect();
        let page = Page {
            claim: self.claim.clone(),
            next_cursor: Some(format!("c{}", self.next).into()),
            messages,
            received: SystemClock.now(),
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
            owed_to: self.owed_to.clone(),
        }
    }

    fn open(&self, settings: Settings) -> Running {
        let stop = CancellationToken::new();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let run = super::run(
            Arc::clone(&self.store),
            Arc::clone(&self.roster),
            clock,
            settings,
            stop.clone(),
        );
        Running {
            stop,
            task: tokio::spawn(run),
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

    async fn until_nothing_is_owed(&self) {
        while self.pending().await > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
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

fn named(name: &str, handler: impl Handler) -> Registration {
    Registration::new(HandlerName::new(name).unwrap(), handler)
}

fn customer(message: &Message) -> String {
    message.external_userid.as_ref().unwrap().to_string()
}

fn number(message: &Message) -> u64 {
    message.msgid.as_str().rsplit_once('-').unwrap().1.parse().unwrap()
}

/// Notes the order per customer and whether two of one customer ever ran together.
#[derive(Default)]
struct Witness {
    seen: Mutex<HashMap<String, Vec<u64>>>,
    busy: Mutex<HashSet<String>>,
    overlaps: AtomicUsize,
}

struct Watched(Arc<Witness>);

impl Handler for Watched {
    async fn handle(&self, _: &Context, message: &Message) -> Result<Outcome, HandlerError> {
        let customer = customer(message);
        if !self.0.busy.lock().unwrap().insert(customer.clone()) {
            self.0.overlaps.fetch_add(1, Ordering::SeqCst);
        }
        tokio::task::yield_now().await;
        let number = number(message);
        self.0
            .seen
            .lock()
            .unwrap()
            .entry(customer.clone())
            .or_default()
            .push(number);
        self.0.busy.lock().unwrap().remove(&customer);
        Ok(Outcome::Done)
    }
}

#[tokio::test(start_paused = true)]
async fn every_message_reaches_every_handler_once_and_in_order_per_customer() {
    let witnesses = [Arc::<Witness>::default(), Arc::default()];
    let [one, two] = witnesses.clone().map(Watched);
    let mut house = House::with(vec![named("one", one), named("two", two)]).await;
    let running = house.open(Settings {
        window: 64,
        ..Settings::default()
    });
    let customers: Vec<String> = (0..20).map(|n| format!("wm{n}")).collect();
    let customers: Vec<&str> = customers.iter().map(String::as_str).collect();
    for _ in 0..25 {
        house.receive(&customers).await;
    }
    house.until_nothing_is_owed().await;
    running.stop().await;
    for witness in witnesses {
        assert_eq!(witness.overlaps.load(Ordering::SeqCst), 0);
        let seen = witness.seen.lock().unwrap();
        assert_eq!(seen.len(), 20);
        for numbers in seen.values() {
            assert_eq!(numbers.len(), 25, "each once");
            assert!(numbers.is_sorted(), "in order: {numbers:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_poison_message_is_buried_after_its_attempts_and_its_customer_goes_on() {
    let attempts = Arc::new(AtomicU32::new(0));
    let handler = crate::handler::from_fn({
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
    let handler = crate::handler::from_fn(|_, message| {
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
    let handler = crate::handler::from_fn({
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
    let handler = crate::handler::from_fn({
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
    let handler = crate::handler::from_fn(|_, _| async {
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

#[tokio::test(start_paused = true)]
async fn a_customer_with_a_long_queue_holds_up_nobody_else_and_keeps_its_order() {
    let gate = Arc::new(Semaphore::new(0));
    let hot = Arc::new(Mutex::new(Vec::new()));
    let (done, mut others) = mpsc::unbounded_channel();
    let handler = crate::handler::from_fn({
        let (gate, hot) = (Arc::clone(&gate), Arc::clone(&hot));
        move |_, message| {
            let (gate, hot, done) = (Arc::clone(&gate), Arc::clone(&hot), done.clone());
            async move {
                if customer(&message) == "hot" {
                    gate.acquire().await.unwrap().forget();
                    hot.lock().unwrap().push(number(&message));
                } else {
                    done.send(()).unwrap();
                }
                Ok(Outcome::Done)
            }
        }
    });
    let patient = Policy {
        timeout: Duration::from_secs(3600 * 24),
        ..Policy::default()
    };
    let mut house = House::with(vec![named("bot", handler).with_policy(patient)]).await;
    let names: Vec<String> = (0..400).map(|n| format!("wm{n}")).collect();
    // In turns, so that the queue stands before, between and behind the others of its own shard.
    for half in names.chunks(200) {
        house.receive(&["hot"; 300]).await;
        house
            .receive(&half.iter().map(String::as_str).collect::<Vec<_>>())
            .await;
    }
    // No room for the hot customer's queue in the window, were it not for the limit of a lane.
    let running = house.open(Settings {
        window: 250,
        per_customer: 20,
        ..Settings::default()
    });
    for _ in &names {
        others.recv().await.unwrap();
    }
    gate.add_permits(600);
    house.until_nothing_is_owed().await;
    running.stop().await;
    let hot = hot.lock().unwrap();
    assert_eq!(hot.len(), 600, "each once");
    assert!(hot.is_sorted(), "in order: {hot:?}");
}

#[tokio::test(start_paused = true)]
async fn an_urgent_message_overtakes_the_backlog_of_other_customers_but_not_its_own() {
    let (heard, mut order) = mpsc::unbounded_channel();
    let turn = Arc::new(Semaphore::new(0));
    let handler = crate::handler::from_fn({
        let turn = Arc::clone(&turn);
        move |_, message| {
            let (heard, turn) = (heard.clone(), Arc::clone(&turn));
            async move {
                turn.acquire().await.unwrap().forget();
                heard.send(message.msgid.to_string()).unwrap();
                Ok(Outcome::Done)
            }
        }
    });
    let one_by_one = Policy {
        concurrency: 1,
        timeout: Duration::from_secs(3600 * 24),
        ..Policy::default()
    };
    let mut house = House::with(vec![named("bot", handler).with_policy(one_by_one)]).await;
    let names: Vec<String> = (0..400).map(|n| format!("wm{n}")).collect();
    house
        .receive(&names.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    house.receive(&["guest"]).await;
    house.receive(&["!guest"]).await;
    let running = house.open(Settings {
        window: 16,
        ..Settings::default()
    });
    turn.add_permits(1);
    let _first = order.recv().await.unwrap();
    // The store answers in the order it is asked: after these answers the runner has had its own, and with them its look
    // at what is urgent.
    for _ in 0..20 {
        let all: Vec<_> = Shard::all()
            .map(|shard| Position {
                shard,
                after: Seq::default(),
            })
            .collect();
        house.store.pending_urgent(house.owed_to[0], &all, 1).await.unwrap();
    }
    turn.add_permits(3);
    let mut next = Vec::new();
    for _ in 0..3 {
        next.push(order.recv().await.unwrap());
    }
    // One attempt may have been in hand before.
    let guests: Vec<_> = next.iter().filter(|msgid| msgid.starts_with("guest")).collect();
    assert_eq!(guests, ["guest-401", "guest-402"], "{next:?}");
    turn.add_permits(1000);
    house.until_nothing_is_owed().await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_replayed_dead_letter_is_handed_out_while_the_server_runs() {
    let rejects = Arc::new(AtomicBool::new(true));
    let handler = crate::handler::from_fn({
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
    let handler = crate::handler::from_fn({
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
async fn what_outlasts_the_grace_stays_owed() {
    let started = Arc::new(Semaphore::new(0));
    let handler = crate::handler::from_fn({
        let started = Arc::clone(&started);
        move |_, _| {
            started.add_permits(1);
            std::future::pending()
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
    assert_eq!(house.pending().await, 1);
}
