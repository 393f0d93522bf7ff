//! Accounts: claims, first pulls, wake-ups.

use std::sync::Arc;
use std::time::Duration;

use wecom_kf::id::CallbackToken;
use wecom_kf::store::{AccountState, Fence, FirstPull, Store, WakeUp};

use crate::bench::{Bench, NOW, account, assert_superseded, commit, last_page, owed, page, register, text};

async fn wake(store: &Arc<dyn Store>, open_kfid: &str, token: Option<&str>) -> u64 {
    let wake_up = WakeUp {
        account: account(open_kfid),
        token: token.map(CallbackToken::new),
        at: NOW,
    };
    store.record_wake_ups(vec![wake_up]).await.unwrap()[0]
}

async fn state(store: &Arc<dyn Store>, open_kfid: &str) -> AccountState {
    let accounts = store.accounts().await.unwrap();
    accounts
        .into_iter()
        .find(|state| state.account == account(open_kfid))
        .expect("account is known")
}

pub(crate) async fn the_first_pull_lasts_until_one_reaches_the_end(bench: &impl Bench) {
    let store = bench.open().await;
    let claim = store.claim(&account("wk1"), Fence::FIRST, NOW).await.unwrap().unwrap();
    let first_pull = Some(FirstPull { began: NOW });
    assert_eq!(claim.first_pull, first_pull);
    let claim = commit(&store, page(&claim, "c1", vec![])).await.claim;
    assert_eq!(claim.first_pull, first_pull);
    assert_eq!(state(&store, "wk1").await.pulled_at, None);
    drop(store);

    let store = bench.open().await;
    let later = NOW.plus(Duration::from_secs(3600));
    let claim = store
        .claim(&account("wk1"), Fence::FIRST, later)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(claim.first_pull, first_pull, "begins anew after a restart");
    let claim = commit(&store, last_page(&claim, "c2", 0)).await.claim;
    assert_eq!(claim.first_pull, None);
    assert_eq!(state(&store, "wk1").await.pulled_at, Some(NOW));
    assert_eq!(
        store
            .claim(&account("wk1"), Fence::FIRST, later)
            .await
            .unwrap()
            .unwrap()
            .first_pull,
        None
    );
}

pub(crate) async fn a_wake_up_does_not_begin_the_first_pull(bench: &impl Bench) {
    let store = bench.open().await;
    wake(&store, "wk1", None).await;
    let later = NOW.plus(Duration::from_secs(3600));
    let claim = store
        .claim(&account("wk1"), Fence::FIRST, later)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(claim.first_pull, Some(FirstPull { began: later }));
}

pub(crate) async fn wake_ups_are_numbered_one_by_one_per_account(bench: &impl Bench) {
    let store = bench.open().await;
    store.claim(&account("wk2"), Fence::FIRST, NOW).await.unwrap().unwrap();
    let wake_up = |open_kfid: &str| WakeUp {
        account: account(open_kfid),
        token: None,
        at: NOW,
    };
    let numbers = store
        .record_wake_ups(vec![wake_up("wk1"), wake_up("wk2"), wake_up("wk1")])
        .await
        .unwrap();
    assert_eq!(numbers, [1, 1, 2]);
    drop(store);
    assert_eq!(wake(&bench.open().await, "wk1", None).await, 3);
}

pub(crate) async fn a_wake_up_outlives_the_process_until_it_is_answered(bench: &impl Bench) {
    let store = bench.open().await;
    wake(&store, "wk1", Some("ENC1")).await;
    wake(&store, "wk1", Some("ENC2")).await;
    drop(store);

    let store = bench.open().await;
    let wake_up = state(&store, "wk1").await.wake_up.expect("is unanswered");
    assert_eq!(wake_up.number, 2);
    assert_eq!(wake_up.at, NOW);
    assert_eq!(wake_up.token.expect("brought one").expose(), "ENC2");
    let claim = store.claim(&account("wk1"), Fence::FIRST, NOW).await.unwrap().unwrap();
    let claim = commit(&store, page(&claim, "c1", vec![])).await.claim;
    assert!(state(&store, "wk1").await.wake_up.is_some(), "more pages follow");
    commit(&store, last_page(&claim, "c2", 2)).await;
    assert!(state(&store, "wk1").await.wake_up.is_none());
    assert!(state(&bench.killed().open().await, "wk1").await.wake_up.is_none());
}

pub(crate) async fn a_pull_answers_only_wake_ups_known_when_it_began(bench: &impl Bench) {
    let store = bench.open().await;
    let known = wake(&store, "wk1", Some("ENC1")).await;
    let claim = store.claim(&account("wk1"), Fence::FIRST, NOW).await.unwrap().unwrap();
    let during = wake(&store, "wk1", Some("ENC2")).await;
    let claim = commit(&store, last_page(&claim, "c1", known)).await.claim;
    let wake_up = state(&store, "wk1").await.wake_up.expect("came too late");
    assert_eq!(wake_up.number, during);
    assert_eq!(wake_up.token.expect("brought one").expose(), "ENC2");

    let claim = commit(&store, last_page(&claim, "c2", during)).await.claim;
    commit(&store, last_page(&claim, "c3", 0)).await;
    assert!(state(&store, "wk1").await.wake_up.is_none(), "an answer was taken back");
    // A wake-up without a token must not be given the one before it.
    wake(&store, "wk1", None).await;
    let wake_up = state(&store, "wk1").await.wake_up.expect("is unanswered");
    assert!(wake_up.token.is_none());
}

pub(crate) async fn a_reset_cursor_starts_over_without_a_new_first_pull(bench: &impl Bench) {
    let store = bench.open().await;
    let claim = store.claim(&account("wk1"), Fence::FIRST, NOW).await.unwrap().unwrap();
    let claim = commit(&store, last_page(&claim, "c1", 0)).await.claim;
    let reset = store.reset_cursor(claim.clone()).await.unwrap().expect("is current");
    assert_eq!((reset.cursor.as_deref(), reset.first_pull), (None, None));
    assert_superseded(&store, page(&claim, "c2", vec![])).await;
    let stored = commit(&store, page(&reset, "again", vec![])).await;
    assert_eq!(stored.claim.first_pull, None);
    let claim = bench
        .killed()
        .open()
        .await
        .claim(&account("wk1"), Fence::FIRST, NOW)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((claim.cursor.as_deref(), claim.first_pull), (Some("again"), None));
}

pub(crate) async fn a_reset_under_an_old_claim_changes_nothing(bench: &impl Bench) {
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    let first = store.claim(&account("wk1"), Fence::FIRST, NOW).await.unwrap().unwrap();
    let claim = commit(&store, page(&first, "c1", vec![])).await.claim;
    assert!(store.reset_cursor(first).await.unwrap().is_none(), "cursor has moved");
    let newer = store.claim(&account("wk1"), Fence::FIRST, NOW).await.unwrap().unwrap();
    assert!(store.reset_cursor(claim).await.unwrap().is_none(), "claimed by another");
    assert_eq!(newer.cursor.as_deref(), Some("c1"));
    commit(&store, page(&newer, "c2", vec![text("m1", "wm1", &[bot])])).await;
    assert_eq!(owed(&store, bot).await.len(), 1);
}

pub(crate) async fn a_store_that_takes_writes_passes_its_check(bench: &impl Bench) {
    let store = bench.open().await;
    store.check().await.unwrap();
    store.check().await.unwrap();
}
