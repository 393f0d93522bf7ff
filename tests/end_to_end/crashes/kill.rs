//! `kill -9` at random moments, under load, while WeCom fails too.

use std::num::NonZeroUsize;
use std::process::Stdio;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::SmallRng;
use tokio::time::{sleep, timeout};
use wecom_kf::simulator::{Bells, Dial, Fault, Faults};

use super::{BOUND, CUSTOMERS, Lives, all_faults, dice, double_rows, rounds};
use crate::stage::{Pace, Stage};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_any_moment_loses_nothing_and_stores_nothing_twice() {
    let (rounds, (mut dice, seed)) = (rounds(100), dice());
    let stage = Stage::with_accounts(4, Pace::Fast).await;
    stage.wecom.set_faults(all_faults());
    let mut lives = Lives::default();
    for _ in 0..rounds {
        if dice.random_ratio(1, 10) {
            die_while_starting(&stage, &mut dice).await;
            lives.ended(&stage.receiver).await;
        }
        let server = stage.start();
        for _ in 0..2 {
            let bells = Bells::Every(NonZeroUsize::new(dice.random_range(1..40)).unwrap());
            stage.say_among(CUSTOMERS, dice.random_range(50..200), bells);
            sleep(Duration::from_millis(dice.random_range(0..100))).await;
        }
        server.kill();
        lives.ended(&stage.receiver).await;
    }
    // What the last lives were called for must be found though nobody calls again.
    stage
        .wecom
        .set_faults(Faults::only(Fault::CallbackDropped, Dial::Chance(1.0)));
    let server = stage.start();
    stage.all_arrived().await;
    assert!(server.stop().success());
    stage.wecom.quiet().await;

    let (verdict, received) = (stage.verdict(), stage.receiver.received());
    let (toll, double_rows) = (lives.toll(&received), double_rows(&stage));
    println!(
        "{rounds} kill -9 rounds, {} messages, seed {seed}: lost={} double_rows={double_rows} order={} overlap={} \
         dup_deliveries={} (worst {}) bound={BOUND} a kill",
        stage.wecom.counts().said,
        verdict.lost,
        verdict.order,
        verdict.overlap,
        toll.repeated,
        toll.worst,
    );
    assert_eq!(
        (verdict.lost, double_rows, verdict.order, verdict.overlap, verdict.stray),
        (0, 0, 0, 0, 0)
    );
    assert_eq!(toll.within_a_life, 0, "came twice though nothing had happened");
    assert!(toll.worst <= BOUND, "one kill repeated {}", toll.worst);
    stage.receiver.assert_contract_kept();
}

/// Starts a server and kills it before it serves.
async fn die_while_starting(stage: &Stage, dice: &mut SmallRng) {
    let mut child = stage.serve().stderr(Stdio::null()).spawn().unwrap();
    sleep(Duration::from_millis(dice.random_range(0..60))).await;
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_answered_just_before_a_crash_is_not_forgotten() {
    let (rounds, (mut dice, seed)) = (rounds(20), dice());
    let stage = Stage::with_accounts(2, Pace::Fast).await;
    for round in 0..rounds {
        // Nothing but the start itself may find what the callback was about.
        let mut serve = stage.serve();
        serve.env("WECOM_KF_SYNC_POLL_INTERVAL", "1h");
        stage.wecom.set_faults(Faults::default());
        let server = stage.start_as(serve);
        stage.all_arrived().await;
        let answered = || stage.wecom.counts().callbacks.answered.get(&200).copied().unwrap_or(0);
        let before = answered();
        // Pulls take a while, so that the end comes before, amid or after them.
        stage.wecom.set_faults(slow());
        stage.say_among(CUSTOMERS, 10, Bells::Once);
        let two_answers = async {
            while answered() < before + 2 {
                sleep(Duration::from_micros(200)).await;
            }
        };
        assert!(timeout(PATIENCE, two_answers).await.is_ok(), "no answer, round {round}");
        sleep(Duration::from_micros(dice.random_range(0..20_000))).await;
        server.kill();
    }
    stage
        .wecom
        .set_faults(Faults::only(Fault::CallbackDropped, Dial::Chance(1.0)));
    let server = stage.start();
    stage.all_arrived().await;
    assert!(server.stop().success());
    let verdict = stage.verdict();
    println!("{rounds} kills between a callback's answer and its pull, seed {seed}: {verdict}");
    assert_eq!((verdict.lost, verdict.order, verdict.stray), (0, 0, 0), "{verdict}");
}

fn slow() -> Faults {
    let mut faults = Faults::only(Fault::Latency, Dial::Chance(1.0));
    faults.slowness = Duration::from_millis(20);
    faults
}
