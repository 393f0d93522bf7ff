//! The disk is full, broken, or nearly full: messages wait at WeCom, callbacks are answered, and it passes by itself.

use std::fs;
use std::time::Duration;

use rusqlite::Connection;
use tokio::time::{sleep, timeout};
use wecom_kf::simulator::{Bells, Counts};

use super::disk::{Disk, Mood};
use super::{CUSTOMERS, double_rows};
use crate::server::Server;
use crate::stage::{Pace, Stage};

const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until `holds`.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "never came: {what}");
}

/// Status and body of a path of the admin side.
async fn admin(server: &Server, path: &str) -> (u16, String) {
    let answer = reqwest::get(format!("http://{}{path}", server.admin)).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn until_not_ready(server: &Server, reason: &str) {
    until(reason, async || {
        let (status, body) = admin(server, "/readyz").await;
        status == 503 && body.contains(reason)
    })
    .await;
}

async fn until_ready(server: &Server) {
    until("readiness", async || admin(server, "/readyz").await.0 == 200).await;
}

/// A gauge of the metrics, by its name and labels.
async fn gauge(server: &Server, name: &str) -> f64 {
    let (_, metrics) = admin(server, "/metrics").await;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in\n{metrics}"))
        .parse()
        .unwrap()
}

/// Everybody talks while the server cannot store anything: it answers every callback and asks WeCom next to nothing.
async fn assert_callbacks_are_answered_and_nothing_is_pulled(stage: &Stage, server: &Server, within: u64) {
    let acknowledged = || {
        let accounts = stage.accounts();
        accounts
            .iter()
            .map(|account| stage.wecom.acknowledged(account))
            .collect::<Vec<_>>()
    };
    stage.wecom.quiet().await;
    let answered = |counts: &Counts| counts.callbacks.answered.get(&200).copied().unwrap_or(0);
    let (before, cursors) = (stage.wecom.counts(), acknowledged());
    for _ in 0..50 {
        stage.say_among(CUSTOMERS, 10, Bells::Once);
        sleep(Duration::from_millis(20)).await;
    }
    stage.wecom.quiet().await;
    let after = stage.wecom.counts();
    let rung = after.callbacks.rung - before.callbacks.rung;
    assert_eq!(answered(&after) - answered(&before), rung, "callbacks went unanswered");
    assert_eq!(acknowledged(), cursors, "a cursor moved");
    let calls = after.sync_msg - before.sync_msg;
    assert!(calls <= within, "{calls} calls for nothing while {rung} callbacks came");
    assert_eq!(admin(server, "/healthz").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_or_broken_stops_pulling_and_nothing_else_and_passes() {
    let stage = Stage::with_accounts(4, Pace::Fast).await;
    let disk = Disk::under(&stage.database());
    let mut serve = disk.carry(stage.serve(), 0);
    // As shipped: nobody asks in a hot loop.
    serve
        .env("WECOM_KF_SYNC_BACKOFF_MIN", "200ms")
        .env("WECOM_KF_SYNC_BACKOFF_MAX", "1s");
    let server = stage.start_as(serve);
    for (mood, reason) in [(Mood::Full, "no space left for the store"), (Mood::Broken, "store")] {
        stage.say_among(CUSTOMERS, 1_000, Bells::Once);
        stage.receiver.until(stage.receiver.received().len() + 100).await;
        disk.turn(mood);
        until_not_ready(&server, reason).await;
        // The first page that fails is the end of it; some were on their way.
        stage.say_among(CUSTOMERS, 40, Bells::Once);
        server.until_logged("nothing is pulled: the store does not take pages");
        assert_callbacks_are_answered_and_nothing_is_pulled(&stage, &server, 8).await;
        disk.mend(mood);
        until_ready(&server).await;
        stage.all_arrived().await;
    }
    assert!(server.stop().success());
    stage.wecom.quiet().await;
    let (verdict, double_rows) = (stage.verdict(), double_rows(&stage));
    println!("disk full, then broken, under load: {verdict} double_rows={double_rows}");
    assert!(verdict.is_clean() && double_rows == 0, "{verdict}");
    stage.receiver.assert_contract_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_nearly_full_holds_pulls_back_and_tells_how_long_that_can_last() {
    const LEFT: &str = r#"wecom_kf_seconds_until_upstream_loss{app="main"}"#;
    let stage = Stage::with_accounts(2, Pace::Fast).await;
    let disk = Disk::under(&stage.database());
    disk.say_free(2 << 30);
    let server = stage.start_as(disk.carry(stage.serve(), 0));
    stage.say_among(CUSTOMERS, 100, Bells::Once);
    stage.all_arrived().await;
    until_ready(&server).await;

    disk.say_free(1 << 20);
    until_not_ready(&server, "the disk of the store is nearly full").await;
    assert_callbacks_are_answered_and_nothing_is_pulled(&stage, &server, 2).await;
    let free = gauge(&server, "wecom_kf_store_free_bytes").await;
    assert!((1_048_576.0..2_097_152.0).contains(&free), "{free}");
    let first = gauge(&server, LEFT).await;
    assert!(first <= 259_200.0, "three days are the most: {first}");
    until("a countdown", async || gauge(&server, LEFT).await <= first - 1.0).await;

    disk.say_free(2 << 30);
    until_ready(&server).await;
    stage.all_arrived().await;
    until("a new count", async || gauge(&server, LEFT).await > 259_198.0).await;
    assert!(server.stop().success());
    let verdict = stage.verdict();
    println!("disk nearly full, and room again: {verdict}");
    assert!(verdict.is_clean(), "{verdict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_is_not_written_any_more() {
    let stage = Stage::with_accounts(1, Pace::Fast).await;
    let server = stage.start();
    stage.say_among(CUSTOMERS, 500, Bells::Once);
    stage.all_arrived().await;
    assert!(server.stop().success());
    let damaged = overwrite_the_messages(&stage);

    let server = stage.start();
    stage.say_among(CUSTOMERS, 10, Bells::Once);
    until_not_ready(&server, "the store is damaged").await;
    assert_callbacks_are_answered_and_nothing_is_pulled(&stage, &server, 8).await;
    assert!(server.stop().success());
    assert!(fs::read(stage.database()).unwrap() == damaged, "it was written into");
}

/// Spoils the root of the messages, which no start looks at. Returns what the file holds then.
fn overwrite_the_messages(stage: &Stage) -> Vec<u8> {
    let store = Connection::open(stage.database()).unwrap();
    let number = |sql: &str| store.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let root = number("SELECT rootpage FROM sqlite_schema WHERE name = 'message'") - 1;
    let page = number("PRAGMA page_size");
    drop(store);
    let (from, to) = ((root * page) as usize, ((root + 1) * page) as usize);
    let mut file = fs::read(stage.database()).unwrap();
    file[from..to].fill(0x5a);
    fs::write(stage.database(), &file).unwrap();
    file
}
