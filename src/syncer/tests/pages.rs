use super::script::{nothing_new, page};
use super::*;
use std::sync::Mutex;
use tokio::time::Instant;

#[tokio::test]
async fn the_first_pull_stores_what_is_older_than_the_window_without_owing_it() {
    let (house, script) = (
        House::new().await,
        Script::new(|_, asked| match asked.cursor.as_deref() {
            None => page(&[text("m1", 7200), text("m2", 3600)], "c1", 1),
            Some("c1") => page(&[text("m3", 301), text("m4", 300)], "c2", 0),
            // After the first pull, age does not matter.
            Some("c2") => page(&[text("m5", 100_000)], "c3", 0),
            _ => nothing_new(asked),
        })
        .await,
    );
    let syncer = house.run(&script.base_url);
    syncer.wake_with("wk1", "ENC1");
    until("the first pull", async || house.store.rows() == 4).await;
    assert_eq!(house.owed().await, 1);
    until("its end", async || house.store.committed().len() == 2).await;
    syncer.wake_with("wk1", "ENC2");
    until("the second pull", async || house.store.rows() == 5).await;
    assert_eq!(house.owed().await, 2);
    syncer.stop().await;
}

#[tokio::test]
async fn a_restart_in_the_middle_of_the_first_pull_does_not_move_the_window() {
    let house = House::new().await;
    let script = Script::new(|_, asked| match asked.cursor.as_deref() {
        None => page(&[text("m1", 7200)], "c1", 1),
        _ => None,
    })
    .await;
    let syncer = house.run(&script.base_url);
    syncer.wake_with("wk1", "ENC1");
    until("the second page is asked for", async || script.asked().len() == 2).await;
    syncer.stop().await;

    house.clock.advance(2 * HOUR);
    let script = Script::new(|_, asked| match asked.cursor.as_deref() {
        Some("c1") => page(&[text("m2", 301), text("m3", 299)], "c2", 0),
        _ => nothing_new(asked),
    })
    .await;
    let syncer = house.run(&script.base_url);
    until("the second page", async || house.store.rows() == 3).await;
    assert_eq!(house.owed().await, 1, "m3 was young when the first pull began");
    syncer.stop().await;
}

#[tokio::test]
async fn empty_pages_that_move_the_cursor_are_passed_over() {
    let house = House::new().await;
    let script = Script::new(|number, _| match number {
        0..15 => page(&[], &format!("c{number}"), 1),
        _ => page(&[text("m1", 0)], "end", 0),
    })
    .await;
    let syncer = house.run(&script.base_url);
    syncer.wake_with("wk1", "ENC1");
    until("the message behind them", async || house.owed().await == 1).await;
    syncer.stop().await;
}

#[tokio::test]
async fn an_empty_page_that_does_not_move_ends_the_pull_and_is_asked_for_again_later() {
    let house = House::new().await;
    let script = Script::new(|number, _| match number {
        0 => page(&[], "c1", 1),
        1..6 => page(&[], "c1", 1),
        _ => page(&[text("m1", 0)], "c2", 0),
    })
    .await;
    let syncer = house.run(&script.base_url);
    syncer.wake_with("wk1", "ENC1");
    until("the message behind it", async || house.store.rows() == 1).await;
    let committed: Vec<_> = house.store.committed().into_iter().map(|page| page.cursor).collect();
    assert_eq!(
        committed,
        [Some("c1".into()), Some("c2".into())],
        "nothing else to commit"
    );
    syncer.stop().await;
}

#[tokio::test]
async fn an_empty_next_cursor_never_overwrites_a_cursor_and_nothing_is_stored_twice() {
    let house = House::new().await;
    let script = Script::new(|number, _| match number {
        0 => page(&[text("m1", 0)], "c1", 1),
        1..4 => page(&[text("m2", 0)], "", 1),
        _ => page(&[text("m2", 0), text("m3", 0)], "c2", 0),
    })
    .await;
    let syncer = house.run(&script.base_url);
    syncer.wake_with("wk1", "ENC1");
    until("all messages", async || {
        house
            .store
            .committed()
            .last()
            .is_some_and(|page| page.cursor.as_deref() == Some("c2"))
    })
    .await;
    assert_eq!((house.store.rows(), house.owed().await), (3, 3));
    let cursors: Vec<_> = script.asked().into_iter().map(|asked| asked.cursor).collect();
    assert!(
        cursors[1..].iter().all(|cursor| cursor.as_deref() == Some("c1")),
        "{cursors:?}"
    );
    syncer.stop().await;
}

#[tokio::test]
async fn a_page_that_comes_again_for_ever_is_asked_for_ever_more_slowly() {
    let house = House::new().await;
    let script = Script::new(|_, _| page(&[text("m1", 0)], "c1", 1)).await;
    let start = Instant::now();
    let syncer = house.run_with(&script.base_url, |change| {
        change.sync.backoff = Backoff::new(Duration::from_millis(1), HOUR);
    });
    syncer.wake_with("wk1", "ENC1");
    // Three pages a pull; each wait is at least a tenth of twice the one before: 102.3 ms after ten.
    until("the eleventh pull", async || script.asked().len() > 31).await;
    assert!(start.elapsed() >= Duration::from_millis(102), "{:?}", start.elapsed());
    syncer.stop().await;
}

#[tokio::test]
async fn items_that_are_no_messages_are_rows_like_any_other() {
    let house = House::new().await;
    let mut without_id = text("", 0);
    without_id.as_object_mut().unwrap().remove("msgid");
    let items = Mutex::new(vec![
        json!(1),
        json!(null),
        json!("x"),
        json!([]),
        without_id,
        text("m1", 0),
    ]);
    let script = Script::new(move |number, asked| match number {
        0 => nothing_new(asked),
        _ => page(&items.lock().unwrap(), "c1", 0),
    })
    .await;
    let syncer = house.run(&script.base_url);
    syncer.wake_with("wk1", "ENC1");
    until("the first pull", async || house.store.committed().len() == 1).await;
    for pull in 2..4 {
        syncer.wake_with("wk1", "ENC2");
        until("another pull", async || house.store.committed().len() == pull).await;
    }
    assert_eq!(house.store.rows(), 6, "and when they come again, they are known");
    assert_eq!(house.owed().await, 2, "whoever names a type is owed");
    syncer.stop().await;
}
