use std::sync::atomic::Ordering;

use super::script::{nothing_new, page};
use super::*;
use crate::store::Room;

/// Waits until the syncer is held back like this.
async fn until_held(syncer: &mut Running, held: Option<Held>) {
    let wait = timeout(DEADLINE, syncer.held.wait_for(|now| *now == held)).await;
    assert!(wait.is_ok(), "never came: {held:?}");
}

/// Calls for the account, and makes sure that the callback was noted and nothing asked.
async fn wake_in_vain(house: &House, syncer: &Running, script: &Script, token: &str) {
    let asked = script.asked().len();
    syncer.wake_with("wk1", token);
    until("the note", async || {
        let accounts = house.store.accounts().await.unwrap();
        accounts
            .iter()
            .any(|state| state.wake_up.as_ref().is_some_and(|wake_up| wake_up.token.is_some()))
    })
    .await;
    assert_eq!(script.asked().len(), asked, "asked although there is no room");
}

#[tokio::test]
async fn nothing_is_pulled_while_the_disk_is_nearly_full() {
    const GIB: u64 = 1 << 30;
    let (house, script) = (House::new().await, Script::new(|_, asked| nothing_new(asked)).await);
    *house.store.room.lock().unwrap() = Some(Room::new(GIB - 1, 100 * GIB));
    let mut syncer = house.run_with(&script.base_url, |change| change.marks.min_free = GIB);
    until_held(&mut syncer, Some(Held::DiskNearlyFull)).await;
    wake_in_vain(&house, &syncer, &script, "ENC1").await;

    // A little more than the mark opens nothing, or it would close again at once.
    *house.store.room.lock().unwrap() = Some(Room::new(GIB + 1, 100 * GIB));
    wake_in_vain(&house, &syncer, &script, "ENC2").await;
    *house.store.room.lock().unwrap() = Some(Room::new(2 * GIB, 100 * GIB));
    until_held(&mut syncer, None).await;
    until("the pull", async || house.store.committed().len() == 1).await;
    assert_eq!(script.asked()[0].token.as_deref(), Some("ENC2"));
    syncer.stop().await;
}

#[tokio::test]
async fn a_disk_smaller_than_the_mark_is_full_when_a_tenth_is_left() {
    let (house, script) = (House::new().await, Script::new(|_, asked| nothing_new(asked)).await);
    *house.store.room.lock().unwrap() = Some(Room::new(100, 1000));
    let mut syncer = house.run_with(&script.base_url, |change| change.marks.min_free = 1 << 30);
    syncer.wake_with("wk1", "ENC1");
    until("the pull", async || house.store.committed().len() == 1).await;
    *house.store.room.lock().unwrap() = Some(Room::new(99, 1000));
    until_held(&mut syncer, Some(Held::DiskNearlyFull)).await;
    syncer.stop().await;
}

#[tokio::test]
async fn nothing_is_pulled_while_handlers_owe_too_much() {
    let house = House::new().await;
    let script = Script::new(|_, asked| match asked.cursor.as_deref() {
        None => page(&[text("m1", 0), text("m2", 0)], "c1", 0),
        _ => nothing_new(asked),
    })
    .await;
    let syncer = house.run(&script.base_url);
    syncer.wake_with("wk1", "ENC1");
    until("two messages", async || house.store.rows() == 2).await;
    syncer.stop().await;

    let mut syncer = house.run_with(&script.base_url, |change| change.marks.max_backlog = 1);
    until_held(&mut syncer, Some(Held::Backlog)).await;
    wake_in_vain(&house, &syncer, &script, "ENC2").await;
    syncer.stop().await;
}

#[tokio::test]
async fn a_store_that_takes_no_page_is_not_brought_another_before_it_takes_writes() {
    let house = House::new().await;
    let script = Script::new(|_, asked| match asked.cursor.as_deref() {
        None => page(&[text("m1", 0)], "c1", 0),
        _ => nothing_new(asked),
    })
    .await;
    house.store.full.store(true, Ordering::SeqCst);
    let mut syncer = house.run(&script.base_url);
    for account in 0..20 {
        syncer.wake_with(&format!("wk{account}"), "ENC1");
    }
    until_held(&mut syncer, Some(Held::StoreFails)).await;
    // The first page to fail stops all but those that were on their way.
    until("an end of questions", async || {
        let asked = script.asked().len();
        sleep(Duration::from_millis(50)).await;
        script.asked().len() == asked
    })
    .await;
    let at_once = Settings::default().pulls_at_once;
    assert!(script.asked().len() <= at_once, "{} of 20", script.asked().len());

    house.store.full.store(false, Ordering::SeqCst);
    until_held(&mut syncer, None).await;
    until("every account", async || house.store.rows() == 20).await;
    syncer.stop().await;
}
