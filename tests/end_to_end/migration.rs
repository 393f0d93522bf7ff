//! A server that moves from SQLite to PostgreSQL in the middle of its work.

use std::process::Output;

use wecom_kf::simulator::Bells;

use crate::cluster::Cluster;
use crate::server::binary;
use crate::stage::{Pace, Stage};

fn migrate(stage: &Stage, to: &str) -> Output {
    let from = format!("sqlite://{}", stage.database().display());
    let mut command = binary();
    command.args(["migrate-store", "--from", &from, "--to", to]);
    command.output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_moves_house_loses_nothing_and_hands_out_nothing_twice() {
    let cluster = Cluster::start();
    cluster.sql("postgres", "CREATE DATABASE kf TEMPLATE template0");
    let url = cluster.url("kf");
    let stage = Stage::with_accounts(4, Pace::Fast).await;
    let server = stage.start();
    stage.say(3_000, Bells::Once);
    stage.all_arrived().await;
    // From here on deliveries fail and stay owed, some with attempts used up.
    stage.receiver.set_down(true);
    stage.say(2_000, Bells::Once);
    stage.receiver.until_refused(100).await;
    stage.wecom.quiet().await;

    let refused = migrate(&stage, &url);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("another process serves from it"), "{said}");
    assert!(server.stop().success());
    stage.say(500, Bells::Silent);

    let moved = migrate(&stage, &url);
    let (told, said) = (
        String::from_utf8(moved.stdout).unwrap(),
        String::from_utf8(moved.stderr).unwrap(),
    );
    assert!(moved.status.success(), "{said}");
    print!("{told}");
    assert!(told.contains("store.url"), "{told}");

    let database = stage.database();
    stage.change(&format!("sqlite://{}", database.display()), &url);
    stage.receiver.set_down(false);
    let server = stage.start();
    stage.all_arrived().await;
    assert!(server.stop().success());
    stage.wecom.quiet().await;
    let verdict = stage.verdict();
    println!("{verdict}");
    assert!(verdict.is_clean(), "{verdict}");
    assert_eq!(stage.wecom.counts().said, 5_500);
    stage.receiver.assert_contract_kept();

    let again = migrate(&stage, &url);
    let said = String::from_utf8(again.stderr).unwrap();
    assert_eq!(again.status.code(), Some(1), "{said}");
    assert!(said.contains("not empty") && said.contains("rows of message"), "{said}");
}
