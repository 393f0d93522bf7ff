use super::script::{nothing_new, page, refused};
use super::*;

#[tokio::test]
async fn a_refused_callback_token_is_not_used_again_and_the_pull_goes_on_without() {
    let house = House::new().await;
    let script = Script::new(|_, asked| match asked.token.as_deref() {
        Some("bad") => refused(95007),
        _ => page(&[text("m1", 0)], "c1", 0),
    })
    .await;
    let syncer = house.run(&script.base_url);
    syncer.wake_with("wk1", "bad");
    until("the message", async || house.owed().await == 1).await;
    syncer.wake("wk1");
    until("another pull", async || script.asked().len() == 3).await;
    let tokens: Vec<_> = script.asked().into_iter().map(|asked| asked.token).collect();
    assert_eq!(tokens, [Some("bad".to_owned()), None, None]);
    syncer.stop().await;
}

#[tokio::test]
async fn a_token_that_comes_while_a_pull_waits_for_its_tokenless_turn_is_used_at_once() {
    let house = House::new().await;
    let script = Script::new(|_, asked| nothing_new(asked)).await;
    let syncer = house.run_out_of_turns(&script.base_url).await;
    assert_eq!(script.asked().len(), 1, "it waits");
    syncer.wake_with("wk1", "ENC1");
    until("a pull with the token", async || script.asked().len() >= 2).await;
    assert_eq!(script.asked()[1].token.as_deref(), Some("ENC1"));
    syncer.stop().await;
}

#[tokio::test]
async fn a_token_outlives_a_failure_and_need_not_wait_for_those_without() {
    let house = House::new().await;
    let script = Script::new(|number, asked| match number {
        1 => refused(-1),
        _ => nothing_new(asked),
    })
    .await;
    let syncer = house.run_with(&script.base_url, |change| change.api.tokenless_per_minute = 1);
    syncer.wake("slow");
    until("the only turn is used", async || house.store.committed().len() == 1).await;
    syncer.wake("slow");
    syncer.wake_with("wk1", "ENC1");
    until("it is asked again", async || script.asked_of("wk1").len() == 2).await;
    assert!(script.asked_of("wk1").iter().all(|asked| asked.token.is_some()));
    syncer.stop().await;
}

/// Asks for messages whose cursor `c1` is refused `times` times. Returns the cursors that were sent until the end.
async fn refusing_a_cursor(errcode: i64, times: usize) -> Vec<Option<String>> {
    let house = House::new().await;
    let script = Script::new(move |number, asked| match (number, asked.cursor.as_deref()) {
        (0, _) => page(&[text("m1", 0), text("m2", 0)], "c1", 0),
        (_, Some("c1")) if number <= times => refused(errcode),
        (_, None) => page(&[text("m1", 0), text("m2", 0), text("m3", 9_999)], "c2", 0),
        _ => page(&[text("m3", 9_999)], "c2", 0),
    })
    .await;
    let syncer = house.run(&script.base_url);
    syncer.wake_with("wk1", "ENC1");
    until("the first pull", async || house.store.committed().len() == 1).await;
    syncer.wake_with("wk1", "ENC2");
    until("the third message", async || house.store.rows() == 3).await;
    assert_eq!(house.owed().await, 3, "in the past or not: the first pull is over");
    syncer.stop().await;
    script.asked().into_iter().map(|asked| asked.cursor).collect()
}

#[tokio::test]
async fn a_cursor_that_is_refused_three_times_in_a_row_is_given_up_and_nothing_is_doubled_or_lost() {
    for errcode in [40058, 50100] {
        let c1 = || Some("c1".to_owned());
        assert_eq!(refusing_a_cursor(errcode, 3).await, [None, c1(), c1(), c1(), None]);
    }
}

#[tokio::test]
async fn a_cursor_that_is_refused_twice_is_kept() {
    let c1 = || Some("c1".to_owned());
    assert_eq!(refusing_a_cursor(40058, 2).await, [None, c1(), c1(), c1()]);
}

#[tokio::test]
async fn a_cursor_is_kept_however_often_a_pull_fails_for_another_reason() {
    let c1 = || Some("c1".to_owned());
    assert_eq!(refusing_a_cursor(-1, 4).await, [None, c1(), c1(), c1(), c1(), c1()]);
}

#[tokio::test]
async fn an_account_that_may_not_be_read_rests_alone_until_it_is_granted() {
    // The last one blames a cursor, and none was sent.
    for errcode in [48007, 95000, 60020, 40058] {
        let house = House::new().await;
        let script = Script::new(move |number, asked| match asked.open_kfid.as_str() {
            "wk1" if number == 0 => refused(errcode),
            _ => nothing_new(asked),
        })
        .await;
        let syncer = house.run(&script.base_url);
        syncer.wake_with("wk1", "ENC1");
        until("the refusal", async || script.asked().len() == 1).await;
        for n in 1..=3 {
            syncer.wake_with("wk1", "ENC2");
            syncer.wake_with("wk2", "ENC3");
            until("the others go on", async || house.store.committed().len() == n).await;
        }
        assert_eq!(script.asked_of("wk1").len(), 1, "after {errcode}");
        syncer.wake_ups.granted(OpenKfid::from("wk1"), START);
        until("its pull", async || script.asked_of("wk1").len() == 2).await;
        until("its end", async || house.store.committed().len() == 4).await;
        syncer.wake_with("wk1", "ENC4");
        until("it is heard again", async || script.asked_of("wk1").len() == 3).await;
        syncer.stop().await;
    }
}
