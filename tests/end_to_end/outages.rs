//! WeCom down, silent, limiting and refusing; endpoints that are down; handlers that block.
//!
//! Where each trouble of the pull is tried; a fault is one of the simulator's, tried alone and with all others in the
//! [root](super) of these tests:
//!
//! | trouble | tried by |
//! |---|---|
//! | killed before, in or after a commit; disk full or failing | crash tests beside this module |
//! | two pullers on one account | `syncer::tests::trouble::two_syncers…`, `store_contract::pages` |
//! | the same msgid again, also with another body | faults `DuplicateItem`, `ChangedItem`; `store_contract::pages` |
//! | an empty page with more behind it | fault `EmptyPage`, `syncer::tests::pages::empty_pages…` |
//! | a cursor that does not move, or is empty | faults `RepeatedCursor`, `EmptyNextCursor`; `syncer::tests::pages` |
//! | a cursor refused | fault `CursorRefused`, `syncer::tests::refusals::a_cursor…` |
//! | a callback token expired or refused | fault `CallbackTokenRefused`, `syncer::tests::refusals`; simulator's own limit |
//! | an access token expired or revoked | fault `AccessTokenRevoked`, `api::tests::a_revoked_token…` |
//! | `gettoken` failing or limited | faults `GettokenFails`, `GettokenLimited`; `api::access_token::tests` |
//! | 45009, 45033, -1 | here; faults `RateLimited`, `ConcurrencyLimited`, `Busy`; `api::governor` |
//! | an account or an application that an operator must mend | here, `syncer::tests::refusals::an_account…` |
//! | refused, silent, slow, cut short, no JSON, wrong length | here; faults `Latency` to `WrongContentLength` |
//! | items malformed, unknown, null or huge | faults `NonObjectItem` to `HugeFields`, `tests/messages` |
//! | a page too large | fault `HugePage`, `syncer::tests::trouble::pages_that_are_too_large…` |
//! | a million messages waiting, and fair turns over accounts | `load` beside this module, `syncer::tests::fairness` |
//! | the first start on a live account | `syncer::tests::pages::the_first_pull…` |

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use wecom_kf::app::App;
use wecom_kf::config::{Config, Environment};
use wecom_kf::handler::{Filter, Outcome, Registration, from_fn};
use wecom_kf::id::HandlerName;
use wecom_kf::simulator::{Bells, Dial, Fault, Faults};

use crate::server::Server;
use crate::stage::{Pace, Stage};
use crate::wire::{Mood, Wire};

/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Rings after every so many messages.
fn every(count: usize) -> Bells {
    Bells::Every(count.try_into().unwrap())
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "never came: {what}");
}

/// What `/metrics` of `server` says now.
pub(crate) async fn metrics(server: &Server) -> String {
    let answer = reqwest::get(format!("http://{}/metrics", server.admin)).await;
    answer.unwrap().text().await.unwrap()
}

async fn until_metric(server: &Server, line: &str) {
    until(line, async || metrics(server).await.lines().any(|said| said == line)).await;
}

/// Blocks the threads that come to it until it is dropped.
#[derive(Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn passage(&self) -> impl Fn() + Send + Sync + 'static {
        let gate = Arc::clone(&self.0);
        move || drop(gate.1.wait_while(gate.0.lock().unwrap(), |open| !*open).unwrap())
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_blocks_its_threads_delays_neither_answers_nor_other_handlers_nor_the_end() {
    let stage = Stage::with_accounts(2, Pace::Fast).await;
    let hasty = Environment::from_iter([("WECOM_KF_SERVER_SHUTDOWN_GRACE", "1s")]);
    let config = Config::load(&stage.config, &hasty).unwrap().config;
    let (gate, blocked) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
    let blocks = from_fn({
        let (pass, blocked) = (gate.passage(), Arc::clone(&blocked));
        move |_, _| {
            blocked.fetch_add(1, Ordering::SeqCst);
            pass();
            async { Ok(Outcome::Done) }
        }
    });
    let everything = Filter {
        origins: None,
        ..Filter::default()
    };
    let blocks = Registration::new(HandlerName::new("blocks").unwrap(), blocks).with_filter(everything);
    let app = App::builder(config).handler(blocks).build().await.unwrap();
    let server = app.bind().await.unwrap();
    stage.ring_at(server.callback_address().unwrap());
    let stop = CancellationToken::new();
    let server = tokio::spawn(server.run(stop.clone()));

    stage.say(1_000, every(10));
    until("32 blocked threads", async || blocked.load(Ordering::SeqCst) == 32).await;
    stage.say(1_000, every(10));
    stage.all_arrived().await;
    stage.wecom.quiet().await;
    let callbacks = stage.wecom.counts().callbacks;
    assert_eq!((callbacks.rung, callbacks.given_up), (200, 0), "{callbacks:?}");
    stop.cancel();
    let ended = timeout(PATIENCE, server).await;
    ended.expect("ends though its threads are blocked").unwrap();
    assert_eq!(blocked.load(Ordering::SeqCst), 32);
    let verdict = stage.verdict();
    assert!(verdict.is_clean(), "{verdict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wecom_that_hangs_up_or_falls_silent_for_long_costs_time_and_no_message() {
    for mood in [Mood::Closes, Mood::Silent] {
        let stage = Stage::with_accounts(3, Pace::Fast).await;
        let wire = Wire::to(stage.wecom_address()).await;
        stage.change(&stage.wecom.base_url(), &wire.url);
        stage.change("corp_id", "api_timeout = \"100ms\"\ncorp_id");
        let server = stage.start();
        stage.say(600, every(20));
        stage.receiver.until(100).await;

        wire.set(mood);
        stage.say(600, every(20));
        wire.until_failed(40).await;
        // Bells were answered all the while.
        stage.wecom.quiet().await;
        let callbacks = stage.wecom.counts().callbacks;
        assert_eq!((callbacks.rung, callbacks.given_up), (60, 0), "{callbacks:?}");

        wire.set(Mood::Carries);
        stage.all_arrived().await;
        assert!(server.stop().success());
        let verdict = stage.verdict();
        println!("WeCom {mood:?}: {verdict}");
        // An answer that was cut off may have come from a pull that overlaps with its repetition.
        assert_eq!(
            (verdict.lost, verdict.double, verdict.order, verdict.stray),
            (0, 0, 0, 0),
            "{verdict}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_45009_wecom_is_not_asked_again_before_its_minute_is_over() {
    let stage = Stage::with_accounts(1, Pace::Fast).await;
    stage.wecom.set_fault(Fault::RateLimited, Dial::Chance(0.1));
    let server = stage.start();
    stage.say(4_000, every(100));
    stage.all_arrived().await;
    until("a block", async || stage.wecom.counts().refused.contains_key(&45009)).await;
    assert!(server.stop().success());
    let (counts, verdict) = (stage.wecom.counts(), stage.verdict());
    println!("45009 {} times: {verdict}", counts.refused[&45009]);
    assert_eq!(counts.violations.calls_while_blocked, 0);
    assert!(verdict.is_clean(), "{verdict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_may_not_be_read_and_an_app_with_a_wrong_secret_hold_up_nobody() {
    let stage = Stage::with_accounts(3, Pace::Fast).await;
    stage.add_app_with_a_wrong_secret("other");
    let shut = stage.accounts()[0].clone();
    stage.wecom.set_faults(Faults::default().refusing(shut.clone(), 60020));
    let server = stage.start();
    stage.say(300, every(10));
    stage.receiver.until(200).await;
    until_metric(&server, r#"wecom_kf_accounts_paused{app="main"} 1"#).await;
    assert!(
        stage
            .receiver
            .received()
            .iter()
            .all(|received| received.open_kfid != shut)
    );
    // The secret is not tried again and again, which would have the address banned.
    let wrong = stage.wecom.counts().refused.get(&40001).copied();
    assert_eq!(wrong, Some(1));

    stage.wecom.set_faults(Faults::default());
    stage.all_arrived().await;
    until_metric(&server, r#"wecom_kf_accounts_paused{app="main"} 0"#).await;
    assert!(server.stop().success());
    let verdict = stage.verdict();
    assert!(verdict.is_clean(), "{verdict}");
}
