use super::script::{nothing_new, page};
use super::*;
use crate::id::ExternalUserid;
use crate::simulator::{self, Account, Bells, Draft, Fault, Faults, Limits, Simulator};

pub(super) fn hello() -> Draft {
    Draft::text(&ExternalUserid::from("wm1"), "hello")
}

/// A simulator with the clock of `house` and patience for tokenless calls.
pub(super) async fn simulator(house: &House, accounts: &[&str]) -> Simulator {
    let settings = simulator::Settings {
        clock: Arc::new(house.clock.clone()),
        accounts: accounts.iter().map(|id| Account::new(*id, "one")).collect(),
        limits: Limits {
            per_minute: 1_000_000,
            per_hour: 1_000_000,
            tokenless_per_minute: 1_000_000,
            gettoken_per_minute: 1_000_000,
            ..Limits::default()
        },
        ..simulator::Settings::default()
    };
    Simulator::start(settings).await.unwrap()
}

#[tokio::test]
async fn the_poll_finds_what_no_callback_announced() {
    let house = House::new().await;
    let wecom = simulator(&house, &["wk1"]).await;
    let syncer = house.run_with(&wecom.base_url(), |change| {
        change.sync.poll_interval = Duration::from_millis(30);
    });
    until("the first pull", async || !house.store.committed().is_empty()).await;
    wecom.say(&OpenKfid::from("wk1"), hello()).unwrap();
    until("the message", async || house.owed().await == 1).await;
    syncer.stop().await;
}

#[tokio::test]
async fn a_storm_of_wake_ups_neither_overlaps_pulls_nor_loses_or_doubles_a_message() {
    let house = House::new().await;
    let accounts = ["wk1", "wk2", "wk3"];
    let wecom = simulator(&house, &accounts).await;
    let mut faults = Faults::only(Fault::Latency, simulator::Dial::Chance(1.0));
    faults.slowness = Duration::from_millis(4);
    wecom.set_faults(faults);
    let syncer = house.run_with(&wecom.base_url(), |change| change.sync.page_limit = 3);
    for round in 0..100 {
        for open_kfid in accounts {
            let drafts = [hello(), hello()];
            wecom
                .say_many(&OpenKfid::from(open_kfid), drafts, Bells::Silent)
                .unwrap();
            for _ in 0..5 {
                syncer.wake(open_kfid);
            }
        }
        if round % 4 == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }
    until("every message", async || house.owed().await == 600).await;
    syncer.stop().await;
    assert_eq!(house.store.rows(), 600);
    let counts = wecom.counts();
    assert_eq!(counts.overlap, 0);
    assert!(counts.sync_msg < 1000, "{} calls for 1500 wake-ups", counts.sync_msg);
}

#[tokio::test]
async fn a_thousand_wake_ups_during_a_pull_cause_exactly_one_more() {
    let house = House::new().await;
    let script = Script::new(|_, asked| nothing_new(asked)).await;
    // The pull that began is held up where its page is committed.
    house.store.gate.forget_permits(1_000_000);
    let syncer = house.run(&script.base_url);
    syncer.wake_with("wk1", "first");
    house.store.arrived.acquire().await.unwrap().forget();
    for _ in 0..1000 {
        syncer.wake_with("wk1", "during");
        tokio::task::yield_now().await;
    }
    house.store.gate.add_permits(1_000_000);
    until("another pull", async || script.asked().len() == 2).await;
    until("its end", async || house.store.committed().len() == 2).await;
    syncer.wake_with("wk1", "last");
    until("the last pull", async || {
        script.asked().last().unwrap().token.as_deref() == Some("last")
    })
    .await;
    let tokens: Vec<_> = script.asked().into_iter().map(|asked| asked.token.unwrap()).collect();
    assert_eq!(tokens, ["first", "during", "last"]);
    syncer.stop().await;
}

#[tokio::test]
async fn an_account_that_nobody_knew_is_pulled_when_a_callback_names_it() {
    let house = House::new().await;
    let script = Script::new(|_, _| page(&[text("m1", 0)], "c1", 0)).await;
    let syncer = house.run(&script.base_url);
    syncer.wake_with("wk1", "ENC1");
    until("its message", async || house.owed().await == 1).await;
    syncer.stop().await;
}
