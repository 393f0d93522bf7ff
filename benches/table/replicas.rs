//! Messages pulled, stored and handled by servers that share a PostgreSQL, against a bare loop that inserts the same items
//! into it, and against one server with SQLite.
//!
//! The floor inserts the same rows into the same tables, a message and a delivery for each item, a page of 1,000 in one
//! statement and one commit, over one connection; nothing is pulled, decoded, handed out or deleted. The database, the
//! servers and the simulated WeCom share the machine.

use std::sync::Arc;

use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::{Duration, Instant, sleep};
use tokio_postgres::NoTls;
use wecom_kf::simulator::Ledger;

use crate::line::{Goal, Line, Pair, Unit};
use crate::messages::{CONFIG, PAGE};
use crate::postgres::Cluster;
use crate::serve::{Count, Counting, Serving};
use crate::stage::{Stage, sqlite};

const MESSAGES: usize = 100_000;
/// Enough for replicas to share.
const ACCOUNTS: usize = 8;
const ROUNDS: usize = 5;

/// Those of the store.
const TABLES: &str = include_str!("../../src/store/migrations/postgres/0001_tables.sql");
const INSERT: &str = "
    WITH item AS (
        SELECT $1 + nth - 1 AS seq, msgid, body, hashtextextended(msgid, 0) AS lane
        FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS item (msgid, body, nth)
    ), stored AS (
        INSERT INTO message (seq, account_id, send_time, msgid, lane, urgent, kind, recv_ms, body)
        SELECT seq, 1, seq / 1000, msgid, lane, false, 'text', 0, body FROM item
    )
    INSERT INTO delivery (shard, handler_id, seq, lane, urgent) SELECT (lane & 63)::smallint, 1, seq, lane, false FROM item";

pub(crate) fn measure() -> Vec<Line> {
    let runtime = Runtime::new().expect("a runtime");
    let cluster = Cluster::start();
    let stage = runtime.block_on(Stage::new(ACCOUNTS, MESSAGES));
    let ledger = stage.wecom.ledger();
    let (mut one, mut two, mut embedded) = (Vec::new(), Vec::new(), Vec::new());
    // The first round warms up.
    for round in 0..=ROUNDS {
        let floor = runtime.block_on(floor(&cluster, &ledger));
        let [alone, together] = [1, 2].map(|replicas| runtime.block_on(shared(&stage, &cluster, replicas)));
        let on_sqlite = runtime.block_on(on_sqlite(&stage));
        if round > 0 {
            one.push(Pair { floor, ours: alone });
            two.push(Pair { floor, ours: together });
            embedded.push(Pair {
                floor: on_sqlite,
                ours: alone,
            });
        }
    }
    runtime.block_on(stage.wecom.stop());
    vec![
        Line::ratio("messages over PostgreSQL", Unit::PerSecond, &one, Goal::AtLeast(0.4)),
        Line::ratio("the same with two replicas", Unit::PerSecond, &two, Goal::AtLeast(0.4)),
        Line::ratio(
            "one replica beside SQLite",
            Unit::PerSecond,
            &embedded,
            Goal::AtLeast(0.4),
        ),
    ]
}

/// Inserts what the ledger holds, and nothing more. Returns messages per second.
async fn floor(cluster: &Cluster, ledger: &Ledger) -> f64 {
    let (client, connection) = tokio_postgres::connect(&database(cluster, "floor"), NoTls)
        .await
        .expect("a connection");
    let connection = tokio::spawn(connection);
    client.batch_execute(TABLES).await.expect("the tables");
    let insert = client.prepare(INSERT).await.expect("a statement");
    let began = Instant::now();
    for (page, first) in ledger.said.chunks(PAGE).zip((1_i64..).step_by(PAGE)) {
        let msgids: Vec<&str> = page.iter().map(|item| item.msgid.as_str()).collect();
        let bodies: Vec<&str> = page.iter().map(|item| &*item.raw).collect();
        client
            .execute(&insert, &[&first, &msgids, &bodies])
            .await
            .expect("an insert");
    }
    let rate = rate(began);
    drop(client);
    connection.await.expect("no panic").expect("a clean end");
    rate
}

/// Lets `replicas` new servers share a new database, and pull and handle everything from the first bell on. All callbacks
/// go to one of them.
async fn shared(stage: &Stage, cluster: &Cluster, replicas: usize) -> f64 {
    let url = database(cluster, "shared");
    let count = Count::up_to(MESSAGES);
    let mut servers = Vec::new();
    for _ in 0..replicas {
        let counting = vec![Counting(Arc::clone(&count))];
        servers.push(Serving::start(|_| stage.config(&url, CONFIG), counting).await);
    }
    until_shared(cluster, replicas).await;
    let began = Instant::now();
    stage.ring(servers[0].callbacks);
    count.reached().await;
    let rate = rate(began);
    for server in servers {
        server.stop().await;
    }
    rate
}

/// Waits until every replica holds an equal share of the shards.
async fn until_shared(cluster: &Cluster, replicas: usize) {
    let shares = "SELECT count(*) FROM shard WHERE until > now() GROUP BY owner";
    let equal = vec![(64 / replicas).to_string(); replicas].join("\n");
    while cluster.sql("shared", shares) != equal {
        sleep(Duration::from_millis(50)).await;
    }
}

/// The address of a new database.
fn database(cluster: &Cluster, name: &str) -> String {
    cluster.sql("postgres", &format!("DROP DATABASE IF EXISTS {name}"));
    cluster.sql("postgres", &format!("CREATE DATABASE {name}"));
    cluster.url(name)
}

/// The same on a SQLite file.
async fn on_sqlite(stage: &Stage) -> f64 {
    let count = Count::up_to(MESSAGES);
    let counting = vec![Counting(Arc::clone(&count))];
    let server = Serving::start(|folder: &TempDir| stage.config(&sqlite(folder), CONFIG), counting).await;
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
