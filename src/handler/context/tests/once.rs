//! However often a handler is tried, its customer hears it once.

use super::*;

fn ids(stage: &Stage) -> Vec<String> {
    let saw = stage.customer().saw();
    saw.iter().map(|seen| seen.msgid.to_string()).collect()
}

fn strings(ids: &[OutgoingMsgid]) -> Vec<String> {
    ids.iter().map(OutgoingMsgid::to_string).collect()
}

#[tokio::test]
async fn a_reply_reaches_the_customer_under_its_computed_id() {
    let (stage, msgid) = Stage::with_a_message().await;
    let cx = stage.attempt(&msgid);
    let first = cx.reply("一").await.unwrap();
    let second = cx.reply(Outgoing::text("二")).await.unwrap();
    assert_eq!(stage.customer().read(), ["一", "二"]);
    assert_eq!((first.index, second.index), (0, 1));
    let account = AccountKey::new(main_app(), wk1());
    let computed = [0, 1].map(|index| id::reply_id(cx.handler(), &account, &msgid, index, 0));
    assert_eq!(ids(&stage), strings(&computed));
    assert_eq!([&first.msgids[0], &second.msgids[0]], [&computed[0], &computed[1]]);
}

#[tokio::test]
async fn a_later_attempt_says_nothing_again_and_does_not_even_ask() {
    let (stage, msgid) = Stage::with_a_message().await;
    let sent = stage.attempt(&msgid).reply("hello").await.unwrap();
    let again = stage.attempt(&msgid);
    assert_eq!(again.reply("hello").await.unwrap(), sent);
    assert_eq!(stage.calls(Api::SendMsg), 1);
    again.reply("something new").await.unwrap();
    assert_eq!(stage.customer().read(), ["hello", "something new"]);
}

#[tokio::test]
async fn what_the_store_does_not_remember_wecom_does() {
    let (stage, msgid) = Stage::with_a_message().await;
    let sent = stage
        .attempt_of("bot", &msgid, stage.forgetful_desk())
        .reply("hello")
        .await
        .unwrap();
    // As after a crash between WeCom's answer and the store's.
    let again = stage.attempt(&msgid);
    assert_eq!(again.reply("hello").await.unwrap(), sent);
    assert_eq!(stage.wecom.counts().refused.get(&95033), Some(&1));
    assert_eq!(stage.customer().read(), ["hello"]);
    let remembered = stage
        .store
        .replies_to(again.lane(&stage.message(&msgid)), &msgid)
        .await
        .unwrap();
    assert_eq!(remembered.len(), 1, "it is remembered from then on");
}

#[tokio::test]
async fn another_text_in_a_place_that_is_taken_is_not_said() {
    let (stage, msgid) = Stage::with_a_message().await;
    stage.attempt(&msgid).reply("yes").await.unwrap();
    let again = stage.attempt(&msgid);
    again.reply("no, after all").await.unwrap();
    again.reply("anything else?").await.unwrap();
    assert_eq!(stage.customer().read(), ["yes", "anything else?"]);
}

#[tokio::test]
async fn a_long_text_is_one_place_of_several_messages_and_goes_on_where_it_broke_off() {
    let (stage, msgid) = Stage::with_a_message().await;
    let long = "客".repeat(1500);
    let broken_off = stage.attempt_of("bot", &msgid, stage.forgetful_desk());
    for (part, content) in (0..2).zip(Outgoing::texts(&long)) {
        let message = api::SendMsg {
            touser: &wm1(),
            open_kfid: &wk1(),
            msgid: Some(&broken_off.reply_id(0, part)),
            content: &content,
        };
        stage.client.send_msg(&message).await.unwrap();
    }

    let cx = stage.attempt(&msgid);
    let sent = cx.reply(long.clone()).await.unwrap();
    assert_eq!((sent.index, sent.msgids.len()), (0, 3));
    assert_eq!(stage.customer().read().concat(), long);
    assert_eq!(cx.reply("next").await.unwrap().index, 1);

    let again = stage.attempt(&msgid);
    again.reply("short this time").await.unwrap();
    again.reply("next").await.unwrap();
    assert_eq!(
        stage.customer().read().len(),
        4,
        "a place is a place, however many messages it took"
    );
}

#[tokio::test]
async fn places_are_taken_by_calling_and_words_go_out_in_the_order_of_awaiting() {
    let (stage, msgid) = Stage::with_a_message().await;
    let cx = stage.attempt(&msgid);
    let (first, second) = (cx.reply("first"), cx.reply("second"));
    let (second, first) = tokio::join!(second, first);
    assert_eq!((first.unwrap().index, second.unwrap().index), (0, 1));
    assert_eq!(stage.customer().read(), ["second", "first"]);

    let again = stage.attempt(&msgid);
    let clone = again.clone();
    let (first, second) = tokio::join!(again.reply("first"), clone.reply("second"));
    assert_eq!((first.unwrap().index, second.unwrap().index), (0, 1));
    assert_eq!(stage.customer().read(), ["second", "first"]);
}

#[tokio::test]
async fn two_handlers_each_have_their_say() {
    let (stage, msgid) = Stage::with_a_message().await;
    for handler in ["bot", "crm", "bot", "crm"] {
        let cx = stage.attempt_of(handler, &msgid, stage.desk());
        cx.reply(format!("I am {handler}")).await.unwrap();
    }
    assert_eq!(stage.customer().read(), ["I am bot", "I am crm"]);
}
