//! A backlog as it stands after a long outage.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use wecom_kf::simulator::Bells;

use crate::outages::metrics;
use crate::server::Server;
use crate::stage::{Pace, Stage};

/// Messages waiting, unless `WECOM_KF_LOAD_MESSAGES` says another number: a million take some five minutes.
const MESSAGES: usize = 100_000;
/// Most memory the server may ever have in use.
const MOST_BYTES: u64 = 128 << 20;
/// A start that takes longer has read its whole backlog first.
const PROMPT: Duration = Duration::from_secs(10);
/// Time for every ten thousand messages.
const PATIENCE: Duration = Duration::from_secs(120);

#[expect(
    clippy::disallowed_methods,
    reason = "it is for whoever runs the test, not a setting of the server"
)]
fn messages() -> usize {
    match std::env::var("WECOM_KF_LOAD_MESSAGES") {
        Ok(number) => number.parse().expect("WECOM_KF_LOAD_MESSAGES is a number"),
        Err(_) => MESSAGES,
    }
}

/// Messages stored since the server started.
async fn stored(server: &Server) -> usize {
    let metrics = metrics(server).await;
    let counts = metrics
        .lines()
        .filter(|line| line.starts_with("wecom_kf_messages_total"));
    let counts = counts.map(|line| line.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap());
    counts.sum()
}

/// Most memory the server ever had in use.
fn peak_memory_bytes(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse::<u64>().ok()).expect("a number") << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_costs_disk_not_memory_and_is_handed_out_from_the_first_moments_of_a_start() {
    let count = messages();
    let stage = Stage::with_accounts(5, Pace::AsShipped).await;
    // Said while there is no server, and pulled while nobody takes it.
    stage.receiver.set_down(true);
    stage.say(count, Bells::Silent);
    let server = stage.start();
    stage.accounts().iter().for_each(|account| stage.wecom.ring(account));
    for part in (10_000..count).step_by(10_000).chain([count]) {
        let pulled = async {
            while stored(&server).await < part {
                sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(timeout(PATIENCE, pulled).await.is_ok(), "{part} were never pulled");
    }
    let pulling = peak_memory_bytes(&server);
    assert!(server.stop().success());

    stage.receiver.set_down(false);
    let began = Instant::now();
    let server = stage.start();
    stage.receiver.until(1).await;
    let first = began.elapsed();
    for part in (10_000..count).step_by(10_000) {
        stage.receiver.until(part).await;
    }
    stage.all_arrived().await;
    let took = began.elapsed();
    let draining = peak_memory_bytes(&server);
    assert!(server.stop().success());
    stage.wecom.quiet().await;

    let verdict = stage.verdict();
    println!(
        "{count} waiting: first delivery {first:.1?} after the start, all in {took:.0?}; most memory {} MiB pulling, {} MiB \
         draining: {verdict}",
        pulling >> 20,
        draining >> 20,
    );
    assert!(verdict.is_clean(), "{verdict}");
    stage.receiver.assert_contract_kept();
    assert!(pulling.max(draining) <= MOST_BYTES);
    assert!(first <= PROMPT);
}
