//! Several dispatchers on one store.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{advance, sleep};
use tokio_util::sync::CancellationToken;

use super::{Dispatcher, House, Settings, customer, named, number};
use crate::clock::{Clock, SystemClock};
use crate::handler::{HandlerError, Outcome, Registration, Roster, from_fn};
use crate::lease::{self, Leases};
use crate::message::Message;
use crate::metric::tests::Metrics;
use crate::store::joint::{Handle, Joint, Outcomes};
use crate::store::{DeadSelect, Quota, Shared, Store};

const TERM: Duration = Duration::from_secs(15);

/// What the replicas' handlers did, all of them together.
#[derive(Default)]
struct Log {
    /// Replica, customer and number of the message, in the order of their beginnings.
    begun: Mutex<Vec<(u32, String, u64)>>,
    /// Customers a message of whom is in hand.
    in_hand: Mutex<HashSet<String>>,
    overlapped: AtomicBool,
}

impl Log {
    fn begin(&self, replica: u32, message: &Message) {
        let entry = (replica, customer(message), number(message));
        self.begun.lock().unwrap().push(entry);
        if !self.in_hand.lock().unwrap().insert(customer(message)) {
            self.overlapped.store(true, Ordering::SeqCst);
        }
    }

    fn end(&self, message: &Message) {
        self.in_hand.lock().unwrap().remove(&customer(message));
    }

    fn begun(&self) -> Vec<(u32, String, u64)> {
        self.begun.lock().unwrap().clone()
    }

    /// Numbers of the messages that `replica` began, in order.
    fn begun_by(&self, replica: u32) -> Vec<u64> {
        let begun = self.begun().into_iter().filter(|(by, ..)| *by == replica);
        begun.map(|(.., number)| number).collect()
    }

    fn assert_nothing_overlapped(&self) {
        assert!(!self.overlapped.load(Ordering::SeqCst), "{:?}", self.begun());
    }
}

/// One process.
struct Replica {
    handle: Arc<Handle>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Replica {
    async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
    }

    /// Ends it without a word.
    async fn crash(self) {
        for task in &self.tasks {
            task.abort();
        }
        for task in self.tasks {
            assert!(task.await.unwrap_err().is_cancelled());
        }
    }
}

async fn house() -> (House, Arc<Joint>) {
    let bot = named("bot", from_fn(|_, _| async { Ok(Outcome::Done) }));
    let house = House::with(vec![bot]).await;
    let joint = Joint::over(Arc::clone(&house.store));
    (house, joint)
}

/// Runs a replica with a handler that is made for it.
fn join(house: &House, joint: &Arc<Joint>, handler: impl FnOnce(&Arc<Handle>) -> Registration) -> Replica {
    let handle = joint.open();
    let store: Arc<dyn Store> = Arc::<Handle>::clone(&handle);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (leases, tender) = Leases::of(&store, &clock, lease::Settings { term: TERM });
    let roster = Roster::new([(house.owed_to[0], handler(&handle))]);
    let dispatcher = Dispatcher::new(&store, &roster, &leases, &clock, &Settings::default()).unwrap();
    let stop = CancellationToken::new();
    let tasks = vec![
        tokio::spawn(dispatcher.run(stop.clone())),
        tokio::spawn(tender.unwrap().run(stop.clone())),
    ];
    Replica { handle, stop, tasks }
}

/// A handler that writes down what it begins, and takes a while.
fn diligent(log: &Arc<Log>, replica: &Arc<Handle>) -> Registration {
    let (log, replica) = (Arc::clone(log), replica.owner());
    let handler = from_fn(move |_, message: Message| {
        let log = Arc::clone(&log);
        async move {
            log.begin(replica, &message);
            sleep(Duration::from_millis(20)).await;
            log.end(&message);
            Ok(Outcome::Done)
        }
    });
    named("bot", handler)
}

/// A handler that writes down what it begins, and ends each attempt as it is told: with an error if that is `false`.
fn obedient(log: &Arc<Log>, replica: &Arc<Handle>, may_end: &Arc<Semaphore>, well: &Arc<AtomicBool>) -> Registration {
    let replica = replica.owner();
    let (log, may_end, well) = (Arc::clone(log), Arc::clone(may_end), Arc::clone(well));
    let handler = from_fn(move |_, message: Message| {
        let (log, may_end, well) = (Arc::clone(&log), Arc::clone(&may_end), Arc::clone(&well));
        async move {
            log.begin(replica, &message);
            may_end.acquire().await.unwrap().forget();
            log.end(&message);
            match well.load(Ordering::SeqCst) {
                true => Ok(Outcome::Done),
                false => Err(HandlerError::Retry {
                    after: Some(Duration::ZERO),
                    source: "not yet".into(),
                }),
            }
        }
    });
    let policy = crate::handler::Policy {
        timeout: Duration::from_secs(100_000),
        ..crate::handler::Policy::default()
    };
    named("bot", handler).with_policy(policy)
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..1_000_000 {
        if holds() {
            return;
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("never came: {what}");
}

#[tokio::test(start_paused = true)]
async fn replicas_that_come_and_go_hand_out_everything_once_in_order_and_never_beside_each_other() {
    let (mut house, joint) = house().await;
    let log = Arc::<Log>::default();
    let customers: Vec<_> = (0..40).map(|n| format!("wm{n}")).collect();
    let customers: Vec<_> = customers.iter().map(String::as_str).collect();
    let mut replicas = vec![join(&house, &joint, |replica| diligent(&log, replica))];
    for round in 0..24 {
        house.receive(&customers).await;
        house.receive(&customers).await;
        sleep(Duration::from_millis(1500)).await;
        match round % 6 {
            0 | 1 | 3 => replicas.push(join(&house, &joint, |replica| diligent(&log, replica))),
            2 | 4 => replicas.remove(0).stop().await,
            _ => {
                replicas.remove(0).stop().await;
                replicas.truncate(3);
            }
        }
    }
    house.until_nothing_is_owed().await;
    for replica in replicas {
        replica.stop().await;
    }
    log.assert_nothing_overlapped();
    let mut last: HashMap<String, u64> = HashMap::new();
    let begun = log.begun();
    for (_, customer, number) in &begun {
        let before = last.insert(customer.clone(), *number);
        assert!(before < Some(*number), "{customer}: {number} after {before:?}");
    }
    assert_eq!(begun.len(), 24 * 2 * 40, "each once");
    assert_eq!(joint.refused(), 0);
    let by: HashSet<_> = begun.iter().map(|(replica, ..)| *replica).collect();
    assert!(by.len() > 2, "several took part: {by:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_crashed_replica_had_in_hand_is_handed_out_by_another() {
    let (mut house, joint) = house().await;
    let (log, never, well) = (Arc::<Log>::default(), Arc::new(Semaphore::new(0)), Arc::default());
    let a = join(&house, &joint, |replica| obedient(&log, replica, &never, &well));
    house.receive(&["wm1", "wm2", "wm1"]).await;
    until("two are in hand", || log.begun().len() == 2).await;
    a.crash().await;
    let survivors = Arc::<Log>::default();
    let b = join(&house, &joint, |replica| diligent(&survivors, replica));
    house.until_nothing_is_owed().await;
    assert_eq!(survivors.begun().len(), 3);
    b.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_was_stopped_too_long_begins_nothing_of_what_it_had_lined_up() {
    let (mut house, joint) = house().await;
    let log = Arc::<Log>::default();
    let stopped_once = Arc::new(AtomicBool::new(false));
    let handler = |replica: &Arc<Handle>| {
        let (log, stopped_once, replica) = (Arc::clone(&log), Arc::clone(&stopped_once), Arc::clone(replica));
        let handler = from_fn(move |_, message: Message| {
            log.begin(replica.owner(), &message);
            if !stopped_once.swap(true, Ordering::SeqCst) {
                replica.cut();
                // As when the whole process is stopped: time passes, and nobody else has a turn.
                let mut advancing = pin!(advance(TERM));
                let _ = advancing.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            }
            log.end(&message);
            async { Ok(Outcome::Done) }
        });
        named("bot", handler)
    };
    house.receive(&["wm1", "wm2", "wm3"]).await;
    let a = join(&house, &joint, handler);
    until("the first began", || !log.begun().is_empty()).await;
    sleep(10 * TERM).await;
    assert_eq!(log.begun().len(), 1, "those beside it were lined up with it");
    a.handle.mend();
    until("the others began", || log.begun().len() == 3).await;
    a.crash().await;
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_comes_after_the_shard_was_taken_is_refused_and_counted_and_changes_nothing() {
    let metrics = Metrics::new();
    let _recorder = metrics::set_default_local_recorder(&metrics.recorder);
    let (mut house, joint) = house().await;
    let (log, may_end, well) = (Arc::<Log>::default(), Arc::new(Semaphore::new(0)), Arc::default());
    let a = join(&house, &joint, |replica| obedient(&log, replica, &may_end, &well));
    house.receive(&["wm1"]).await;
    until("it is in hand", || log.begun().len() == 1).await;
    a.handle.cut();
    let others = Arc::<Log>::default();
    let b = join(&house, &joint, |replica| diligent(&others, replica));
    house.until_nothing_is_owed().await;
    assert_eq!(others.begun().len(), 1);
    a.handle.mend();
    may_end.add_permits(1);
    until("the retry is refused", || joint.refused() == 1).await;
    sleep(10 * TERM).await;
    assert!(metrics.say(r#"wecom_kf_outcomes_refused_total{handler="bot"} 1"#));
    assert_eq!((log.begun().len(), others.begun().len()), (1, 1));
    a.stop().await;
    b.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_ran_out_and_came_back_goes_on_where_it_stood() {
    let (mut house, joint) = house().await;
    let (log, may_end) = (Arc::<Log>::default(), Arc::new(Semaphore::new(0)));
    let well = Arc::new(AtomicBool::new(true));
    let a = join(&house, &joint, |replica| obedient(&log, replica, &may_end, &well));
    house.receive(&["wm1", "wm1", "wm1"]).await;
    until("the first is in hand", || log.begun().len() == 1).await;
    a.handle.cut();
    sleep(3 * TERM).await;
    a.handle.mend();
    sleep(3 * TERM).await;
    assert_eq!(log.begun().len(), 1, "it runs, and is not begun beside itself");
    may_end.add_permits(3);
    house.until_nothing_is_owed().await;
    assert_eq!(log.begun_by(a.handle.owner()), [1, 2, 3]);
    assert_eq!(joint.refused(), 0);
    a.stop().await;
}

/// Lets somebody else have everything for a moment, while `replica` does not answer.
async fn take_meanwhile(joint: &Arc<Joint>, replica: &Handle) {
    replica.cut();
    sleep(TERM + Duration::from_secs(1)).await;
    let everything = Quota {
        pulls: 1_000,
        shards: 64,
    };
    let other = joint.open();
    let taken = other.take(everything, TERM).await.unwrap();
    other.give_back(taken).await.unwrap();
    replica.mend();
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_somebody_else_had_meanwhile_is_read_anew_and_stays_in_order() {
    let (mut house, joint) = house().await;
    let (log, may_end, well) = (Arc::<Log>::default(), Arc::new(Semaphore::new(0)), Arc::default());
    let a = join(&house, &joint, |replica| obedient(&log, replica, &may_end, &well));
    house.receive(&["wm1", "wm1"]).await;
    until("the first is in hand", || log.begun().len() == 1).await;
    take_meanwhile(&joint, &a.handle).await;
    sleep(3 * TERM).await;
    assert_eq!(log.begun().len(), 1, "it runs, and nothing begins beside or behind it");
    may_end.add_permits(1);
    until("it is tried again", || log.begun().len() == 2).await;
    assert_eq!(
        joint.refused(),
        1,
        "what came of the first was decided under the old fence"
    );
    well.store(true, Ordering::SeqCst);
    may_end.add_permits(2);
    house.until_nothing_is_owed().await;
    assert_eq!(log.begun_by(a.handle.owner()), [1, 1, 2]);
    log.assert_nothing_overlapped();
    a.stop().await;
}

/// A handler that rejects what it gets first, and takes the rest.
fn rejecting_once(_: &Arc<Handle>) -> Registration {
    let rejected = AtomicBool::new(false);
    let handler = from_fn(move |_, _| {
        let first = !rejected.swap(true, Ordering::SeqCst);
        async move {
            match first {
                true => Err(HandlerError::Reject { source: "no".into() }),
                false => Ok(Outcome::Done),
            }
        }
    });
    named("bot", handler)
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_comes_back_is_not_read_before_what_came_of_it_is_written_down() {
    let (mut house, joint) = house().await;
    let a = join(&house, &joint, rejecting_once);
    a.handle.let_outcomes(Outcomes::Waiting);
    house.receive(&["wm1"]).await;
    until("a burial waits", || a.handle.outcomes_wait()).await;
    take_meanwhile(&joint, &a.handle).await;
    sleep(3 * TERM).await;
    a.handle.let_outcomes(Outcomes::Answered);
    house.until_nothing_is_owed().await;
    assert_eq!(joint.refused(), 1, "it was decided under the old fence");
    assert_eq!(house.dead().await, [""; 0], "it was tried again");
    a.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_is_replayed_while_its_burial_is_written_down_is_handed_out() {
    let (mut house, joint) = house().await;
    let a = join(&house, &joint, rejecting_once);
    a.handle.let_outcomes(Outcomes::Written);
    house.receive(&["wm1"]).await;
    while house.dead().await.is_empty() {
        sleep(Duration::from_millis(5)).await;
    }
    let replayed = house.store.replay_dead(DeadSelect::default(), SystemClock.now()).await;
    assert_eq!(replayed.unwrap(), 1);
    // Time enough to see the replay, and to read again what is still in hand.
    sleep(TERM).await;
    a.handle.let_outcomes(Outcomes::Answered);
    house.until_nothing_is_owed().await;
    a.stop().await;
}
