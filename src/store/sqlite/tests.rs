//! What can only be seen from inside: a full disk, and commands that share a transaction.

use std::fs;
use std::sync::Arc;
use std::sync::mpsc;

use rusqlite::Connection;
use serde_json::value::RawValue;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::{SqliteStore, prune};
use crate::clock::UnixMillis;
use crate::id::{AccountKey, AppName, Msgid, OpenKfid};
use crate::store::{Claim, Commit, Durability, Fence, Lane, NewMessage, Page, PageEnds, Store, StoreError};

fn open() -> (TempDir, SqliteStore) {
    let dir = TempDir::new().unwrap();
    let store = SqliteStore::open(&dir.path().join("wecom-kf.db"), Durability::Full).unwrap();
    (dir, store)
}

async fn claim(store: &SqliteStore, open_kfid: &str) -> Claim {
    let account = AccountKey::new(AppName::new("main").unwrap(), OpenKfid::from(open_kfid));
    store
        .claim(&account, Fence::FIRST, UnixMillis(0))
        .await
        .unwrap()
        .unwrap()
}

fn page_of_a_mebibyte(claim: &Claim) -> Page {
    let body = format!("\"{}\"", "x".repeat(1 << 20));
    let message = NewMessage {
        msgid: Msgid::from("m1"),
        send_time: 0,
        lane: Lane::of(&claim.account, "wm1"),
        kind: "text".into(),
        urgent: false,
        body: Arc::from(RawValue::from_string(body).unwrap()),
        decoded: None,
        owed_to: Vec::new(),
    };
    Page {
        claim: claim.clone(),
        next_cursor: Some("c1".into()),
        messages: vec![message],
        received: UnixMillis(0),
        ends: PageEnds::More,
    }
}

async fn limit_pages(store: &SqliteStore, pages: u32) {
    let pragma = format!("PRAGMA max_page_count = {pages}");
    let limited = store.writer.write(1, move |conn, _| {
        conn.query_row(&pragma, [], |row| row.get::<_, u32>(0))
    });
    limited.await.unwrap();
}

#[tokio::test]
async fn a_full_disk_is_named_and_passes() {
    let (_dir, store) = open();
    let claim = claim(&store, "wk1").await;
    limit_pages(&store, 64).await;
    let refused = store.commit_page(page_of_a_mebibyte(&claim)).await;
    assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
    store.check().await.unwrap();
    limit_pages(&store, u32::MAX - 1).await;
    let taken = store.commit_page(page_of_a_mebibyte(&claim)).await.unwrap();
    assert!(matches!(taken, Commit::Stored(_)), "{taken:?}");
}

#[tokio::test]
async fn a_command_that_fails_takes_nobody_with_it() {
    let (_dir, store) = open();
    let claims = [claim(&store, "wk1").await, claim(&store, "wk2").await];
    limit_pages(&store, 64).await;
    // The writer waits in a command of its own until the others stand in the queue behind it.
    let (go, wait) = mpsc::channel::<()>();
    let plug = store.writer.write(0, move |_, _| {
        let _ = wait.recv();
        Ok(())
    });
    let numbers = async {
        let [before, full, after] = tokio::join!(
            async { store.check().await.is_ok() },
            async { store.commit_page(page_of_a_mebibyte(&claims[0])).await.is_ok() },
            async { store.reset_cursor(claims[1].clone()).await.unwrap().is_some() },
        )
        .into();
        (before, full, after)
    };
    let (plugged, answers, ()) = tokio::join!(plug, numbers, async { drop(go) });
    plugged.unwrap();
    assert_eq!(answers, (true, false, true));
    let checks = store
        .reader
        .read(|conn| conn.query_row("SELECT checks FROM meta", [], |row| row.get::<_, i64>(0)));
    assert_eq!(checks.await.unwrap(), 1, "what is run again counts once");
}

#[tokio::test]
async fn what_pruning_freed_inside_the_file_counts_as_room() {
    let (_dir, store) = open();
    let claim = claim(&store, "wk1").await;
    store.commit_page(page_of_a_mebibyte(&claim)).await.unwrap();
    let unused = async || store.reader.read(prune::unused_bytes).await.unwrap();
    assert!(unused().await < 1 << 20);
    assert_eq!(store.prune(UnixMillis(1), 10).await.unwrap(), 1);
    // Some of it went back to the disk at once.
    assert!(unused().await > 1 << 17, "{}", unused().await);
}

#[tokio::test]
async fn the_connection_that_writes_is_set_up_to_lose_nothing() {
    let (_dir, store) = open();
    let settings = store.writer.write(1, |conn, _| {
        ["synchronous", "foreign_keys", "page_size", "auto_vacuum"]
            .into_iter()
            .map(|name| conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)))
            .collect::<rusqlite::Result<Vec<i64>>>()
    });
    const FULL: i64 = 2;
    const INCREMENTAL: i64 = 2;
    assert_eq!(settings.await.unwrap(), [FULL, 1, 8192, INCREMENTAL]);
}

#[tokio::test]
async fn the_wal_stays_short_though_somebody_always_reads() {
    let (dir, store) = open();
    let store = Arc::new(store);
    let mut reading = JoinSet::new();
    // Two wait for each thread that reads, so that neither ever pauses.
    for n in 0..4 {
        let store = Arc::clone(&store);
        reading.spawn(async move {
            loop {
                let reader = if n % 2 == 0 { &store.reader } else { &store.counter };
                reader.read(for_a_millisecond).await.unwrap();
            }
        });
    }
    for seq in 0..100 {
        write_mebibytes(&store, seq, 1).await;
    }
    reading.shutdown().await;
    assert!(wal_mebibytes(&dir) < 32);
}

#[tokio::test]
async fn the_wal_begins_anew_after_transactions_that_are_longer_than_it_should_be() {
    let (dir, store) = open();
    for seq in 0..3 {
        write_mebibytes(&store, seq, 24).await;
    }
    assert!(wal_mebibytes(&dir) < 40);
}

async fn write_mebibytes(store: &SqliteStore, seq: i64, mebibytes: usize) {
    let body = "x".repeat(mebibytes << 20);
    let write = store.writer.write(1, move |conn, _| {
        conn.execute(
            "INSERT INTO quarantine (seq, body, recv_ms) VALUES (?1, ?2, 0)",
            (seq, &body),
        )
    });
    write.await.unwrap();
}

fn wal_mebibytes(dir: &TempDir) -> u64 {
    fs::metadata(dir.path().join("wecom-kf.db-wal")).unwrap().len() >> 20
}

fn for_a_millisecond(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
         SELECT count(*) FROM meta, n",
        [],
        |row| row.get(0),
    )
}
