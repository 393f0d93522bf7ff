use super::script::{nothing_new, page};
use super::*;

#[tokio::test]
async fn a_page_in_hand_is_committed_before_the_end() {
    let house = House::new().await;
    let script = Script::new(|_, _| page(&[text("m1", 0)], "c1", 1)).await;
    house.store.gate.forget_permits(1_000_000);
    let syncer = house.run(&script.base_url);
    syncer.wake_with("wk1", "ENC1");
    house.store.arrived.acquire().await.unwrap().forget();
    syncer.stop.cancel();
    tokio::task::yield_now().await;
    assert!(!syncer.task.is_finished());
    house.store.gate.add_permits(1);
    syncer.stop().await;
    assert_eq!(house.owed().await, 1);
    assert_eq!(house.store.committed()[0].cursor.as_deref(), Some("c1"));
}

#[tokio::test]
async fn a_stop_does_not_wait_for_an_answer() {
    let house = House::new().await;
    let script = Script::new(|_, _| None).await;
    let syncer = house.run_with(&script.base_url, |change| change.api.timeout = HOUR);
    syncer.wake_with("wk1", "ENC1");
    until("the question", async || script.asked().len() == 1).await;
    syncer.stop().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_tokenless_turn() {
    let house = House::new().await;
    let script = Script::new(|_, asked| nothing_new(asked)).await;
    let syncer = house.run_out_of_turns(&script.base_url).await;
    syncer.stop().await;
}

#[tokio::test]
async fn wake_ups_of_the_last_moment_are_written_down() {
    let house = House::new().await;
    let script = Script::new(|_, _| None).await;
    let syncer = house.run(&script.base_url);
    syncer.wake_with("wk1", "ENC1");
    syncer.stop().await;
    let accounts = house.store.accounts().await.unwrap();
    let wake_up = accounts[0].wake_up.as_ref().unwrap();
    assert_eq!(wake_up.token.as_ref().unwrap().expose(), "ENC1");
}
