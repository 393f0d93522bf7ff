use super::script::nothing_new;
use super::*;
use crate::store::{Page, PageEnds, WakeUp};

async fn pulled_at(house: &House, open_kfid: &str, at: UnixMillis) {
    let claim = house
        .store
        .claim(&key(open_kfid), Fence::FIRST, START)
        .await
        .unwrap()
        .unwrap();
    let page = Page {
        claim,
        next_cursor: Some("c1".into()),
        messages: Vec::new(),
        received: at,
        ends: PageEnds::Pull { answers: 0 },
    };
    house.store.commit_page(page).await.unwrap();
}

async fn left_unanswered(house: &House, open_kfid: &str, token: Option<&str>) {
    let wake_up = WakeUp {
        account: key(open_kfid),
        token: token.map(CallbackToken::new),
        at: START,
    };
    house.store.record_wake_ups(vec![wake_up]).await.unwrap();
}

fn names(script: &Script) -> Vec<String> {
    script.asked().into_iter().map(|asked| asked.open_kfid).collect()
}

#[tokio::test]
async fn a_start_pulls_every_known_account_though_nobody_called_the_least_recently_pulled_first() {
    let (house, script) = (House::new().await, Script::new(|_, asked| nothing_new(asked)).await);
    pulled_at(&house, "recent", UnixMillis(9)).await;
    house.know(&["never"]).await;
    pulled_at(&house, "old", UnixMillis(1)).await;
    let syncer = house.run(&script.base_url);
    until("three pulls", async || script.asked().len() == 3).await;
    assert_eq!(names(&script), ["never", "old", "recent"]);
    syncer.stop().await;
}

#[tokio::test]
async fn accounts_that_only_the_list_names_are_pulled_unless_the_application_may_not_read_them() {
    let list = json!([
        { "open_kfid": "wkNotOurs", "name": "", "manage_privilege": false },
        { "open_kfid": "wkOurs", "name": "", "manage_privilege": true },
        { "open_kfid": "wkUnsaid", "name": "" },
    ]);
    let (house, script) = (
        House::new().await,
        Script::listing(list, |_, asked| nothing_new(asked)).await,
    );
    let syncer = house.run(&script.base_url);
    until("two pulls", async || script.asked().len() == 2).await;
    assert_eq!(names(&script), ["wkOurs", "wkUnsaid"]);
    syncer.stop().await;
}

#[tokio::test]
async fn the_list_is_asked_for_once_an_interval() {
    let nothing = Script::listing(json!([]), |_, asked| nothing_new(asked));
    // It may not be read; then it would be in vain before an operator has mended that.
    let refused = Script::listing(json!(60030), |_, asked| nothing_new(asked));
    for script in [nothing.await, refused.await] {
        let house = House::new().await;
        let syncer = house.run(&script.base_url);
        for pulls in 1..=20 {
            syncer.wake("wk1");
            until("a pull", async || script.asked().len() == pulls).await;
        }
        until("the list", async || script.listed() > 0).await;
        syncer.stop().await;
        assert_eq!(script.listed(), 1);
    }
}

#[tokio::test]
async fn wake_ups_that_an_earlier_process_left_go_first_and_with_their_token() {
    let (house, script) = (House::new().await, Script::new(|_, asked| nothing_new(asked)).await);
    house.know(&["never"]).await;
    left_unanswered(&house, "tokenless", None).await;
    left_unanswered(&house, "token", Some("ENC1")).await;
    let syncer = house.run_with(&script.base_url, |change| change.sync.pulls_at_once = 1);
    until("three pulls", async || script.asked().len() == 3).await;
    let asked = script.asked();
    assert_eq!(names(&script), ["token", "tokenless", "never"]);
    assert_eq!(asked[0].token.as_deref(), Some("ENC1"));
    assert!(asked[1].token.is_none() && asked[2].token.is_none());
    until("all answered", async || {
        let accounts = house.store.accounts().await.unwrap();
        accounts.iter().all(|state| state.wake_up.is_none())
    })
    .await;
    syncer.stop().await;
}

#[tokio::test]
async fn a_token_that_an_earlier_process_left_too_long_ago_is_not_used() {
    let (house, script) = (House::new().await, Script::new(|_, asked| nothing_new(asked)).await);
    left_unanswered(&house, "wk1", Some("ENC1")).await;
    house.clock.advance(Duration::from_secs(570));
    let syncer = house.run(&script.base_url);
    until("a pull", async || script.asked().len() == 1).await;
    assert_eq!(script.asked()[0].token, None);
    syncer.stop().await;
}

#[tokio::test]
async fn a_wake_up_that_came_before_the_start_is_written_down_too() {
    let (house, script) = (House::new().await, Script::new(|_, _| None).await);
    let syncer = house.run(&script.base_url);
    // The tasks of this runtime's one thread have not begun yet.
    syncer.wake_with("wk1", "ENC1");
    until("written down", async || {
        let accounts = house.store.accounts().await.unwrap();
        accounts.first().is_some_and(|state| state.wake_up.is_some())
    })
    .await;
    syncer.stop().await;
}
