//! The real binary, a simulated WeCom and a receiving HTTP server: everything that is said arrives, once, in order.
//!
//! Each test prints its verdict, `lost=0 double=0 order=0 overlap=0`; run with `--nocapture` to see the figures.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod answers;
mod auto_reply;
mod bot;
#[path = "../postgres/mod.rs"]
mod cluster;
mod crashes;
mod debian;
mod dice;
mod endpoints;
mod front;
mod gateway;
mod hostile_clients;
mod load;
mod metrics;
mod migration;
mod outages;
mod post;
mod privacy;
mod proxies;
mod receiver;
mod server;
mod stage;
mod talk;
#[cfg(feature = "otel")]
mod traces;
mod units;
mod wire;

use std::num::NonZeroUsize;
use std::time::Duration;

use nix::sys::signal::Signal;
use server::Server;
use stage::{Pace, Stage};
use wecom_kf::simulator::{Bells, Dial, Fault, Faults, Violations};

/// Messages of the large runs.
const MANY: usize = 100_000;
/// Messages for each single fault, unless `WECOM_KF_E2E_MESSAGES` says another number: 100,000 take some five minutes.
const FOR_EACH_FAULT: usize = 20_000;
/// How often a fault that has not happened by then is given another chance.
const MORE_CHANCES: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_messages_arrive_once_and_in_order() {
    let stage = Stage::with_accounts(5, Pace::AsShipped).await;
    let server = stage.start();
    stage.say(MANY, Bells::Every(NonZeroUsize::new(500).unwrap()));
    stage.all_arrived().await;
    assert!(server.stop().success());
    stage.wecom.quiet().await;

    let verdict = stage.verdict();
    let counts = stage.wecom.counts();
    println!(
        "{MANY} messages, {} pages, {} callbacks: {verdict}",
        counts.sync_msg, counts.callbacks.sent
    );
    assert!(verdict.is_clean(), "{verdict}");
    assert_eq!(counts.violations, Violations::default());
    assert_eq!(counts.gettoken, 1);
    stage.receiver.assert_contract_kept();
    // Some 26 types of message and event, those included that nobody knows.
    assert!(stage.receiver.kinds().len() >= 26, "{:?}", stage.receiver.kinds());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_doubled_or_disordered_by_any_single_fault() {
    let messages = messages_for_each_fault();
    for fault in Fault::ALL {
        let stage = Stage::with_accounts(4, Pace::Fast).await;
        let dial = match fault {
            // A token is asked for once: this must fail several times in a row to be felt.
            Fault::GettokenFails | Fault::GettokenLimited => Dial::Next(3),
            // Most pulls are quick enough to need their token once.
            Fault::CallbackTokenRefused => Dial::Chance(0.5),
            // These need a page with room for them, of which there are few.
            Fault::DuplicateItem
            | Fault::ChangedItem
            | Fault::NonObjectItem
            | Fault::ItemWithoutMsgid
            | Fault::UnknownMsgtype
            | Fault::NullFields
            | Fault::HugeFields => Dial::Chance(1.0),
            _ => Dial::Chance(0.2),
        };
        stage.wecom.set_faults(quick(Faults::only(*fault, dial)));
        let server = stage.start();
        let happened = run_with_faults(&stage, server, messages).await;
        let verdict = stage.verdict();
        println!("{:<24} happened {happened:>5} times: {verdict}", fault.name());
        assert!(verdict.is_clean(), "{fault}: {verdict}");
        assert!(happened > 0, "{fault} was never tried");
        stage.receiver.assert_contract_kept();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_doubled_or_disordered_by_all_faults_together() {
    let stage = Stage::with_accounts(5, Pace::Fast).await;
    stage.wecom.set_faults(quick(Faults::all(0.02)));
    let server = stage.start();
    let happened = run_with_faults(&stage, server, MANY).await;
    let verdict = stage.verdict();
    println!("{MANY} messages with {happened} faults of all kinds: {verdict}");
    assert!(verdict.is_clean(), "{verdict}");
    stage.receiver.assert_contract_kept();
}

#[expect(
    clippy::disallowed_methods,
    reason = "it is for whoever runs the test, not a setting of the server"
)]
fn messages_for_each_fault() -> usize {
    match std::env::var("WECOM_KF_E2E_MESSAGES") {
        Ok(number) => number.parse().expect("WECOM_KF_E2E_MESSAGES is a number"),
        Err(_) => FOR_EACH_FAULT,
    }
}

/// The same faults, with delays of milliseconds.
fn quick(mut faults: Faults) -> Faults {
    faults.slowness = Duration::from_millis(50);
    faults
}

/// Says `count` messages while faults happen, waits for them, and stops the server. Returns how often a fault happened.
async fn run_with_faults(stage: &Stage, server: Server, count: usize) -> u64 {
    let happened = || stage.wecom.counts().faults.values().sum();
    stage.say(count, Bells::Every(NonZeroUsize::new(50).unwrap()));
    stage.all_arrived().await;
    // Odd items need a page with room for them, and a machine may be quick or slow enough never to ask for one. The
    // page of a few more messages has room.
    for _ in 0..MORE_CHANCES {
        if happened() > 0 {
            break;
        }
        stage.say(40, Bells::Once);
        stage.all_arrived().await;
    }
    assert!(server.stop().success());
    stage.wecom.quiet().await;
    happened()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_loses_nothing_and_after_a_clean_stop_nothing_comes_twice() {
    let stage = Stage::with_accounts(3, Pace::Fast).await;
    let server = stage.start();
    stage.say(30_000, Bells::Every(NonZeroUsize::new(100).unwrap()));

    stage.receiver.until(10_000).await;
    assert!(server.stop().success(), "SIGTERM ends it with 0");
    let server = stage.start();
    stage.receiver.until(20_000).await;
    let clean = stage.verdict();
    assert_eq!((clean.double, clean.order), (0, 0), "after SIGTERM: {clean}");

    server.kill();
    let server = stage.start();
    stage.all_arrived().await;
    assert!(server.stop().success());
    stage.wecom.quiet().await;
    let verdict = stage.verdict();
    println!("30000 messages, SIGTERM and kill -9 in the middle: {verdict}");
    assert_eq!((verdict.lost, verdict.order, verdict.stray), (0, 0, 0), "{verdict}");
    // What was in hand and not yet recorded: the handler's concurrency and a few milliseconds of outcomes.
    assert!(verdict.double <= 4_000, "{verdict}");
    stage.receiver.assert_contract_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_down_loses_nothing() {
    let stage = Stage::with_accounts(2, Pace::Fast).await;
    stage.receiver.set_down(true);
    let server = stage.start();
    stage.say(2_000, Bells::Once);
    stage.receiver.until_refused(20).await;
    stage.receiver.set_down(false);
    stage.all_arrived().await;
    assert!(server.stop().success());
    let verdict = stage.verdict();
    assert!(verdict.is_clean(), "{verdict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_side_tells_of_health_readiness_and_the_metrics_of_the_contract() {
    let stage = Stage::with_accounts(1, Pace::Fast).await;
    let server = stage.start();
    stage.say(50, Bells::Once);
    stage.all_arrived().await;
    let get = async |path: &str| {
        let answer = reqwest::get(format!("http://{}{path}", server.admin)).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(get("/healthz").await.0, 200);
    assert_eq!(get("/readyz").await.0, 200);
    let (status, metrics) = get("/metrics").await;
    assert_eq!(status, 200);
    for metric in [
        r#"wecom_kf_callbacks_total{app="main",result="message"} 1"#,
        "wecom_kf_callback_duration_seconds_count 1",
        r#"wecom_kf_sync_pages_total{app="main"} "#,
        r#"wecom_kf_messages_total{app="main",type="text"} "#,
        r#"wecom_kf_sync_lag_seconds{app="main"} "#,
        r#"wecom_kf_deliveries_total{handler="bot",result="done"} 50"#,
        r#"wecom_kf_delivery_duration_seconds_count{handler="bot"} 50"#,
        r#"wecom_kf_deliveries_pending{handler="bot"} "#,
        r#"wecom_kf_dead_letters{handler="bot"} 0"#,
        r#"wecom_kf_api_requests_total{call="kf/sync_msg",errcode="0"} "#,
    ] {
        assert!(metrics.contains(metric), "{metric} is not in\n{metrics}");
    }
    assert!(server.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_is_counted() {
    let stage = Stage::with_accounts(1, Pace::Fast).await;
    stage.wecom.set_fault(Fault::NonObjectItem, Dial::Chance(1.0));
    stage.wecom.set_fault(Fault::UnknownMsgtype, Dial::Chance(1.0));
    stage.wecom.set_fault(Fault::ChangedItem, Dial::Chance(1.0));
    let server = stage.start();
    stage.say(50, Bells::Once);
    stage.all_arrived().await;
    // The odd ones come with the same page or with one of the polls that follow.
    let counted = async {
        loop {
            let metrics = reqwest::get(format!("http://{}/metrics", server.admin)).await.unwrap();
            let metrics = metrics.text().await.unwrap();
            let counts = |problem| {
                metrics.contains(&format!(
                    r#"wecom_kf_anomalies_total{{app="main",problem="{problem}"}}"#
                ))
            };
            if ["malformed", "unknown", "conflicting"].into_iter().all(counts) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), counted)
        .await
        .expect("they are counted within a minute");
    assert!(server.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_stops_at_once() {
    let stage = Stage::with_accounts(1, Pace::Fast).await;
    stage.receiver.set_stuck();
    let server = stage.start();
    stage.say(1, Bells::Once);
    stage.receiver.until_refused(1).await;
    server.signal(Signal::SIGTERM);
    server.until_logged("asked to stop");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_for_an_unknown_account_is_pulled_and_one_for_an_unknown_app_is_not_found() {
    let stage = Stage::with_accounts(1, Pace::AsShipped).await;
    let server = stage.start();
    stage.say(10, Bells::Once);
    stage.all_arrived().await;

    // The news that there is another account gets lost: its first message is the first that is heard of it.
    stage.wecom.set_fault(Fault::CallbackDropped, Dial::Next(1));
    stage.open_account("wkNobodyToldUsAboutThisOne000001");
    stage.say(10, Bells::Once);
    stage.all_arrived().await;

    let unknown = format!("http://{}/callback/nobody", server.callbacks);
    assert_eq!(reqwest::Client::new().post(unknown).send().await.unwrap().status(), 404);
    assert!(server.stop().success());
    let verdict = stage.verdict();
    assert!(verdict.is_clean(), "{verdict}");
}
