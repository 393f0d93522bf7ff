//! Messages pulled, stored and handled, against a bare rusqlite loop that inserts the same items.
//!
//! The floor is what nobody can do without: one row per item in a table with a unique msgid, one FULL transaction per
//! page of 1,000; no decoding, no deliveries, no HTTP. Its file is tuned like the store's. Ours pulls the same items over
//! loopback HTTP from the simulated WeCom, which runs in this process too, so that its work counts against us.

use std::iter::repeat_with;
use std::sync::Arc;

use rusqlite::{Connection, params};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use wecom_kf::simulator::Ledger;

use crate::line::{Goal, Line, Pair, Unit};
use crate::serve::{Count, Counting, Serving};
use crate::stage::{Stage, sqlite};

const MESSAGES: usize = 100_000;
const ACCOUNTS: usize = 4;
pub(crate) const PAGE: usize = 1_000;
const ROUNDS: usize = 7;

/// Everything counts as news, however long ago it was said.
pub(crate) const CONFIG: &str = r#"
    [sync]
    first_sync_window = "72h"
"#;

pub(crate) fn measure() -> Vec<Line> {
    let runtime = Runtime::new().expect("a runtime");
    let stage = runtime.block_on(Stage::new(ACCOUNTS, MESSAGES));
    let ledger = stage.wecom.ledger();
    let (mut one, mut three) = (Vec::new(), Vec::new());
    // The first round warms up.
    for round in 0..=ROUNDS {
        let ours_with_one = runtime.block_on(ours(&stage, 1));
        let floor = floor(&ledger);
        let ours_with_three = runtime.block_on(ours(&stage, 3));
        if round > 0 {
            one.push(Pair {
                floor,
                ours: ours_with_one,
            });
            three.push(Pair {
                floor,
                ours: ours_with_three,
            });
        }
    }
    runtime.block_on(stage.wecom.stop());
    vec![
        Line::ratio(
            "messages pulled, stored, handled",
            Unit::PerSecond,
            &one,
            Goal::AtLeast(0.5),
        ),
        Line::ratio(
            "the same with three handlers",
            Unit::PerSecond,
            &three,
            Goal::AtLeast(0.35),
        ),
    ]
}

/// Inserts what the ledger holds, and nothing more. Returns messages per second.
fn floor(ledger: &Ledger) -> f64 {
    let folder = TempDir::new().expect("a folder");
    let mut db = Connection::open(folder.path().join("floor.db")).expect("a database");
    db.execute_batch(
        "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -65536;
         CREATE TABLE item (msgid TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;",
    )
    .expect("a table");
    let began = Instant::now();
    for page in ledger.said.chunks(PAGE) {
        let transaction = db.transaction().expect("a transaction");
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO item VALUES (?1, ?2)")
                .expect("a statement");
            for item in page {
                let item = params![item.msgid.as_str(), &*item.raw];
                insert.execute(item).expect("an insert");
            }
        }
        transaction.commit().expect("a commit");
    }
    rate(began)
}

/// Lets a new server pull and handle everything, from the first bell on. Returns messages per second.
async fn ours(stage: &Stage, handlers: usize) -> f64 {
    let count = Count::up_to(MESSAGES * handlers);
    let counting = repeat_with(|| Counting(Arc::clone(&count))).take(handlers);
    let server = Serving::start(|folder| stage.config(&sqlite(folder), CONFIG), counting.collect()).await;
    let began = Instant::now();
    stage.ring(server.callbacks);
    count.reached().await;
    let rate = rate(began);
    server.stop().await;
    rate
}

fn rate(began: Instant) -> f64 {
    MESSAGES as f64 / began.elapsed().as_secs_f64()
}
