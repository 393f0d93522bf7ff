use super::script::{nothing_new, page, refused};
use super::wake::{hello, simulator};
use super::watched::Trouble;
use super::*;
use crate::id::ExternalUserid;
use crate::metric::tests::Metrics;
use crate::simulator::{Bells, Draft};

#[tokio::test]
async fn after_45009_nothing_is_asked_for_a_while() {
    let metrics = Metrics::new();
    let _recorder = metrics::set_default_local_recorder(&metrics.recorder);
    let house = House::new().await;
    let script = Script::new(|number, asked| match number {
        0 => refused(45009),
        _ => nothing_new(asked),
    })
    .await;
    let syncer = house.run(&script.base_url);
    syncer.wake_with("wk1", "ENC1");
    until("the pull", async || house.store.committed().len() == 1).await;
    let asked = script.asked();
    assert_eq!(asked.len(), 2);
    assert!(asked[1].at - asked[0].at >= Duration::from_millis(100));
    // By WeCom, and then by our own client for as long as it rests.
    let failed = |times| format!(r#"wecom_kf_sync_failures_total{{app="main",class="retry_long"}} {times}"#);
    assert!((1..=3).any(|times| metrics.say(&failed(times))));
    syncer.stop().await;
}

#[tokio::test]
async fn an_account_whose_pull_failed_rests_before_the_next() {
    let house = House::new().await;
    let script = Script::new(|number, asked| match number {
        0 => refused(-1),
        _ => nothing_new(asked),
    })
    .await;
    let wait = Duration::from_millis(500);
    let syncer = house.run_with(&script.base_url, |change| {
        change.sync.backoff = Backoff::new(wait, wait)
    });
    syncer.wake_with("wk1", "ENC1");
    until("the pull", async || house.store.committed().len() == 1).await;
    let asked = script.asked();
    assert!(asked[1].at - asked[0].at >= wait / 10);
    syncer.stop().await;
}

#[tokio::test]
async fn five_failures_in_a_row_halve_the_page_and_success_doubles_it_again() {
    let house = House::new().await;
    let script = Script::new(|number, asked| match number {
        0..10 => Some("<html>".to_owned()),
        _ => nothing_new(asked),
    })
    .await;
    let syncer = house.run(&script.base_url);
    syncer.wake_with("wk1", "ENC1");
    for pulls in 1..=4 {
        until("a pull", async || house.store.committed().len() == pulls).await;
        syncer.wake_with("wk1", "ENC1");
    }
    let limits: Vec<_> = script.asked().into_iter().map(|asked| asked.limit).collect();
    assert_eq!(limits[..5], [1000; 5]);
    assert_eq!(limits[5..10], [500; 5]);
    assert_eq!(limits[10..13], [250, 500, 1000]);
    syncer.stop().await;
}

#[tokio::test]
async fn pages_that_are_too_large_are_asked_for_in_smaller_pieces() {
    let house = House::new().await;
    let wecom = simulator(&house, &["wk1"]).await;
    let long = || Draft::text(&ExternalUserid::from("wm1"), "x".repeat(1000));
    let drafts = (0..200).map(|_| long());
    wecom.say_many(&OpenKfid::from("wk1"), drafts, Bells::Silent).unwrap();
    let syncer = house.run_with(&wecom.base_url(), |change| change.api.max_response_bytes = 40_000);
    until("all messages", async || house.store.rows() >= 200).await;
    assert_eq!((house.store.rows(), house.owed().await), (200, 200));
    syncer.stop().await;
}

#[tokio::test]
async fn a_page_that_could_not_be_committed_is_pulled_again() {
    for trouble in [Trouble::Full, Trouble::AnswerLost, Trouble::Superseded] {
        let house = House::new().await;
        house.store.troubles.lock().unwrap().extend([trouble, trouble]);
        let script = Script::new(|_, asked| match asked.cursor.as_deref() {
            None => page(&[text("m1", 0)], "c1", 1),
            Some("c1") => page(&[text("m2", 0)], "c2", 1),
            _ => page(&[text("m3", 0)], "c3", 0),
        })
        .await;
        let syncer = house.run(&script.base_url);
        syncer.wake_with("wk1", "ENC1");
        until("the last page", async || {
            let last = house.store.committed().pop();
            last.is_some_and(|page| page.cursor.as_deref() == Some("c3"))
        })
        .await;
        assert_eq!((house.store.rows(), house.owed().await), (3, 3), "{trouble:?}");
        assert!(house.store.troubles.lock().unwrap().is_empty());
        syncer.stop().await;
    }
}

#[tokio::test]
async fn two_syncers_on_one_store_take_the_account_from_each_other_and_double_nothing() {
    let house = House::new().await;
    let wecom = simulator(&house, &["wk1"]).await;
    let wk1 = OpenKfid::from("wk1");
    let small = |change: &mut Change| change.sync.page_limit = 5;
    let (one, other) = (
        house.run_with(&wecom.base_url(), small),
        house.run_with(&wecom.base_url(), small),
    );
    let mut said = 0;
    until("a quarrel", async || {
        wecom.say_many(&wk1, (0..10).map(|_| hello()), Bells::Silent).unwrap();
        said += 10;
        one.wake("wk1");
        other.wake("wk1");
        house.store.committed().iter().filter(|page| page.superseded).count() >= 3
    })
    .await;
    until("all messages", async || house.owed().await == said).await;
    one.stop().await;
    other.stop().await;
    assert_eq!((house.store.rows() as u64, house.owed().await), (said, said));
}
