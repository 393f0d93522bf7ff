//! Who does what, and how one tells from outside.

use tokio::time::Instant;
use wecom_kf::simulator::{Bells, Draft, samples};

use crate::receiver::Manners;
use crate::stage::{LEASE, REPLICAS, Scene, Stage};
use crate::witness::{self, Deed, Thing};

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_at_any_replica_is_pulled_by_the_owner() {
    let scene = Scene {
        // Nothing but the callback can be what brings a message.
        poll_interval: "1h",
        ..Scene::PLAIN
    };
    let mut stage = Stage::set(scene, REPLICAS).await;
    stage.start_all().await;
    let database = stage.database().await;
    stage
        .until("every account is pulled", async |_| {
            let pulled = "SELECT count(*) FROM account WHERE pulled_ms IS NOT NULL";
            witness::number(&database, pulled).await == REPLICAS as u64
        })
        .await;
    let customer = &samples::customers(1, 1)[0];
    for account in &stage.accounts {
        let thing = Thing::Account(account.clone());
        for replica in &stage.replicas {
            let owner = stage.tenures().await.holder(&thing, stage.origin.elapsed());
            let said = Instant::now();
            stage.ring_at(replica.server().callbacks);
            stage
                .wecom
                .say_many(account, [Draft::text(customer, "在吗")], Bells::Once)
                .unwrap();
            stage.all_arrived().await;
            let took = said.elapsed();
            let log = witness::seen(&database, &stage.origin).await;
            let mut commits = log
                .iter()
                .filter(|entry| entry.thing == thing && entry.deed == Deed::Committed);
            let by = commits.next_back().and_then(|commit| commit.who);
            println!(
                "called at {}, pulled by {} and handed out after {took:.0?}",
                replica.life,
                by.unwrap()
            );
            assert_eq!(by, owner, "who pulls is who holds the lease");
        }
    }
    stage.verdict().await.assert_flawless();
}

#[tokio::test(flavor = "multi_thread")]
async fn readyz_tells_a_replica_that_drains_from_one_that_serves_and_one_that_is_gone() {
    let scene = Scene {
        manners: Manners::outlasting(LEASE),
        ..Scene::PLAIN
    };
    let mut stage = Stage::set(scene, 1).await;
    stage.start_all().await;
    stage.all_ready().await;
    // Every replica has something in hand that takes a while.
    stage.receiver.set_manners(Manners {
        slow: 1.0,
        ..scene.manners
    });
    let drafts = samples::customers(1, 60)
        .into_iter()
        .map(|customer| Draft::text(&customer, "在吗"));
    stage.wecom.say_many(&stage.accounts[0], drafts, Bells::Once).unwrap();
    stage
        .until("every replica has something in hand", async |stage: &Stage| {
            let attempts = stage.receiver.book.attempts();
            let mut lives = stage.replicas.iter().map(|replica| replica.life);
            lives.all(|life| attempts.iter().any(|attempt| attempt.life == life))
        })
        .await;

    stage.replicas[0].ask_to_end();
    stage
        .until("it says that it stops", async |stage: &Stage| {
            stage.readiness(&stage.replicas[0]).await == (503, "draining".to_owned())
        })
        .await;
    for other in &stage.replicas[1..] {
        assert_eq!(stage.readiness(other).await.0, 200);
    }
    stage.receiver.set_manners(scene.manners);
    stage.replicas[0].ended();
    stage.launch(0);
    stage.all_share().await;

    let admin = stage.replicas[1].server().admin;
    stage.strike_down(1);
    let answer = reqwest::get(format!("http://{admin}/readyz")).await;
    assert!(answer.is_err_and(|error| error.is_connect()));
    stage.all_ready().await;
    stage.all_arrived().await;
    stage.verdict().await.assert_flawless();
}
