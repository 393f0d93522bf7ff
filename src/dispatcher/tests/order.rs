//! Order, fairness and urgency.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use super::{House, customer, named, number};
use crate::dispatcher::Settings;
use crate::handler::{Context, Handler, HandlerError, Outcome, Policy, Registration, from_fn};
use crate::message::Message;
use crate::store::{Lane, Position, Seq, Shard};

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
async fn what_is_over_is_recorded_while_another_attempt_goes_on() {
    let gate = Arc::new(Semaphore::new(0));
    let handler = {
        let gate = Arc::clone(&gate);
        from_fn(move |_, message| {
            let gate = Arc::clone(&gate);
            async move {
                if customer(&message) == "slow" {
                    gate.acquire().await?.forget();
                }
                Ok(Outcome::Done)
            }
        })
    };
    let mut house = House::with(vec![named("bot", handler)]).await;
    house.receive(&["slow", "quick", "quick"]).await;
    let running = house.open(Settings::default());
    while house.pending().await > 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    gate.add_permits(1);
    house.until_nothing_is_owed().await;
    running.stop().await;
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
async fn a_customer_with_a_long_queue_holds_up_nobody_else_and_keeps_its_order() {
    let gate = Arc::new(Semaphore::new(0));
    let hot = Arc::new(Mutex::new(Vec::new()));
    let (done, mut others) = mpsc::unbounded_channel();
    let handler = from_fn({
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

/// A handler that takes one message at a time, when it is given a turn, and what it then `tells` of each.
fn in_turns(tells: fn(&Message) -> String) -> (Registration, Arc<Semaphore>, mpsc::UnboundedReceiver<String>) {
    let (heard, order) = mpsc::unbounded_channel();
    let turn = Arc::new(Semaphore::new(0));
    let handler = from_fn({
        let turn = Arc::clone(&turn);
        move |_, message| {
            let (heard, turn) = (heard.clone(), Arc::clone(&turn));
            async move {
                turn.acquire().await.unwrap().forget();
                heard.send(tells(&message)).unwrap();
                Ok(Outcome::Done)
            }
        }
    });
    let one_by_one = Policy {
        concurrency: 1,
        timeout: Duration::from_secs(3600 * 24),
        ..Policy::default()
    };
    (named("bot", handler).with_policy(one_by_one), turn, order)
}

#[tokio::test(start_paused = true)]
async fn an_urgent_message_overtakes_the_backlog_of_other_customers_but_not_its_own() {
    let (bot, turn, mut order) = in_turns(|message| message.msgid.to_string());
    let mut house = House::with(vec![bot]).await;
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
    let mut first = vec![order.recv().await.unwrap()];
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
    for _ in 0..3 {
        first.push(order.recv().await.unwrap());
    }
    // Two attempts may have been in hand before.
    let guests: Vec<_> = first.iter().filter(|msgid| msgid.starts_with("guest")).collect();
    assert_eq!(guests, ["guest-401", "guest-402"], "{first:?}");
    turn.add_permits(1000);
    house.until_nothing_is_owed().await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn more_urgent_customers_than_one_look_reads_overtake_too() {
    let (bot, turn, mut order) = in_turns(customer);
    let mut house = House::with(vec![bot]).await;
    let account = house.claim.account.clone();
    let of_one_shard = |prefix: &str, count| -> Vec<String> {
        let names = (0..).map(|n| format!("{prefix}{n}"));
        let of_the_shard = names.filter(|name| Lane::of(&account, name).shard().number() == 7);
        of_the_shard.take(count).collect()
    };
    let (backlog, guests) = (of_one_shard("wm", 400), of_one_shard("guest", 40));
    house
        .receive(&backlog.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let urgent: Vec<String> = guests.iter().map(|name| format!("!{name}")).collect();
    house
        .receive(&urgent.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let running = house.open(Settings {
        window: 16,
        ..Settings::default()
    });
    // As slow as a handler whose backlog stands for minutes: the clock of the test jumps while all wait.
    let mut heard = Vec::new();
    while heard.len() < backlog.len() + guests.len() {
        turn.add_permits(1);
        heard.push(order.recv().await.unwrap());
        tokio::time::sleep(Duration::from_secs(1)).await;
        // The clock does not wait for the store's threads. What they were asked before this is answered before it.
        house.store.replays().await.unwrap();
    }
    running.stop().await;
    let last = heard.iter().rposition(|name| name.starts_with("guest")).unwrap();
    assert!(
        last < 300,
        "the last guest was served as number {last} of {}",
        heard.len()
    );
}

#[tokio::test(start_paused = true)]
async fn an_urgent_message_overtakes_a_backlog_that_goes_as_fast_as_it_is_read() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let handler = from_fn({
        let order = Arc::clone(&order);
        move |_, message| {
            order.lock().unwrap().push(customer(&message));
            async { Ok(Outcome::Done) }
        }
    });
    let mut house = House::with(vec![named("bot", handler)]).await;
    let names: Vec<String> = (0..6_000).map(|n| format!("wm{n}")).collect();
    for page in names.chunks(1_000) {
        house
            .receive(&page.iter().map(String::as_str).collect::<Vec<_>>())
            .await;
    }
    house.receive(&["!guest"]).await;
    let running = house.open(Settings {
        window: 64,
        ..Settings::default()
    });
    house.until_nothing_is_owed().await;
    running.stop().await;
    let order = order.lock().unwrap();
    let guest = order.iter().position(|name| name == "guest").unwrap();
    assert!(guest < 3_000, "served as number {guest} of {}", order.len());
}
