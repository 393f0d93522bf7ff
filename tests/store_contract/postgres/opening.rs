//! Opening a database: its tables are made once, and what is not ours is left alone.

use std::sync::Arc;

use wecom_kf::store::{Settings, Store, StoreError, open, open_operator};

use super::bench::{PostgresBench, cluster, new_database, run, settings};
use crate::bench::{Bench, msgids, owed, register, store_messages, text};

/// What is wrong according to a store that could not be opened: one line.
fn problem(opened: Result<Arc<dyn Store>, StoreError>) -> String {
    match opened {
        Err(StoreError::Open { problem, .. }) => {
            assert!(!problem.contains('\n'), "{problem}");
            problem
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_together_make_the_tables_once() {
    let database = new_database("").await;
    let starting: Vec<_> = (0..6)
        .map(|_| {
            let settings = settings(&database);
            tokio::spawn(async move { open(&settings).await.unwrap() })
        })
        .collect();
    for store in starting {
        store.await.unwrap().check().await.unwrap();
    }
    assert_eq!(cluster().sql(&database, "SELECT count(*) FROM meta"), "1");
    assert_eq!(cluster().sql(&database, "SELECT count(*) FROM shard"), "64");
}

#[tokio::test]
async fn an_operator_makes_no_tables_and_keeps_nobody_away() {
    let database = new_database("").await;
    let refused = open_operator(&settings(&database)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Absent { .. }), "{refused:?}");
    assert_eq!(
        cluster().sql(&database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"),
        "0"
    );
    let server = open(&settings(&database)).await.unwrap();
    let operator = open_operator(&settings(&database)).await.unwrap();
    operator.check().await.unwrap();
    server.check().await.unwrap();
}

/// What the version before made.
const FIRST_TABLES: &str = include_str!("../../../src/store/migrations/postgres/0001_tables.sql");

#[tokio::test]
async fn an_older_database_is_brought_up_to_date_with_all_that_is_in_it() {
    let database = new_database("").await;
    run(&database, FIRST_TABLES).await;
    run(&database, "INSERT INTO handler (name) VALUES ('bot')").await;
    let older = problem(open_operator(&settings(&database)).await);
    assert!(
        older.contains("schema version 1") && older.contains("start the server once"),
        "{older}"
    );
    let store = open(&settings(&database)).await.unwrap();
    assert_eq!(cluster().sql(&database, "SELECT schema_version FROM meta"), "2");
    let bot = register(&store, "bot").await;
    assert_eq!(
        cluster().sql(&database, "SELECT handler_id FROM handler"),
        bot.0.to_string()
    );
    store_messages(&store, vec![text("m1", "wm1", &[bot])]).await;
    assert_eq!(msgids(&owed(&store, bot).await), ["m1"]);
}

#[tokio::test]
async fn tables_of_a_newer_version_are_refused_and_left_alone() {
    let bench = PostgresBench::default();
    drop(bench.open().await);
    run(bench.database(), "UPDATE meta SET schema_version = 99").await;
    for opened in [open(&bench.settings()).await, open_operator(&bench.settings()).await] {
        let problem = problem(opened);
        assert!(
            problem.contains("schema version 99") && problem.contains("run the newer version"),
            "{problem}"
        );
    }
    assert_eq!(cluster().sql(bench.database(), "SELECT schema_version FROM meta"), "99");
    run(
        bench.database(),
        "UPDATE meta SET schema_version = 2, lane_hash = 'crc32 % 64'",
    )
    .await;
    assert!(problem(open(&bench.settings()).await).contains("orders customers by crc32 % 64"));
    run(bench.database(), "UPDATE meta SET lane_hash = 'xxh3_64 % 64'").await;
    bench.open().await.check().await.unwrap();
}

#[tokio::test]
async fn the_database_of_another_program_is_refused_and_left_alone() {
    let database = new_database("").await;
    for theirs in [
        "CREATE TABLE meta (id int, version text)",
        "DROP TABLE meta; CREATE TABLE account (id int)",
    ] {
        run(&database, theirs).await;
        for opened in [
            open(&settings(&database)).await,
            open_operator(&settings(&database)).await,
        ] {
            let problem = problem(opened);
            assert!(
                problem.contains("another program") && problem.contains("a database of its own"),
                "{problem}"
            );
        }
        assert_eq!(
            cluster().sql(&database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"),
            "1"
        );
    }
    // Beside them, in a schema of its own, there is room.
    run(&database, "CREATE SCHEMA kf").await;
    let beside = Settings::new(format!("{}?options=-csearch_path%3Dkf", cluster().url(&database)));
    let store = open(&beside).await.unwrap();
    register(&store, "bot").await;
    assert_eq!(cluster().sql(&database, "SELECT name FROM kf.handler"), "bot");
}

#[tokio::test]
async fn what_an_extension_brings_is_nobodys() {
    let database = new_database("").await;
    run(&database, "CREATE EXTENSION pg_stat_statements").await;
    open(&settings(&database)).await.unwrap().check().await.unwrap();
}

#[tokio::test]
async fn an_encoding_that_does_not_hold_every_message_is_refused() {
    let database = new_database("ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0").await;
    let problem = problem(open(&settings(&database)).await);
    assert!(
        problem.contains("LATIN1") && problem.contains("ENCODING 'UTF8'"),
        "{problem}"
    );
}

#[tokio::test]
async fn a_way_that_leads_nowhere_is_told_with_what_to_do() {
    let database = new_database("").await;
    let at = |url: String| async move { problem(open(&Settings::new(url)).await) };
    assert!(at(cluster().url("nosuch")).await.contains("no such database"));
    let nobody = super::cluster::free_address();
    assert!(
        at(format!("postgres://postgres@{nobody}/x"))
            .await
            .contains("cannot be reached")
    );
    let encrypted = format!("{}?sslmode=require", cluster().url(&database));
    assert!(at(encrypted).await.contains("offers no TLS"));
    run("postgres", "CREATE ROLE stranger LOGIN").await;
    // Before PostgreSQL 15 anybody may.
    run(&database, "REVOKE CREATE ON SCHEMA public FROM PUBLIC").await;
    let stranger = cluster().url(&database).replace("postgres@", "stranger@");
    assert!(at(stranger).await.contains("GRANT CREATE"));
}
