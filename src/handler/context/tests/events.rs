//! What events permit, handing over, and replies that fail afterwards.

use super::*;
use crate::message::{Content, FailType};
use crate::simulator::MediaKind;

#[tokio::test]
async fn whoever_enters_is_welcomed_once() {
    let stage = Stage::set().await;
    let entered = stage.customer().enters().unwrap().msgid;
    let sent = stage.attempt(&entered).welcome("您好").await.unwrap();
    assert_eq!(stage.attempt(&entered).welcome("您好").await.unwrap(), sent);
    assert_eq!(stage.customer().read(), ["您好"]);
    assert_eq!(stage.calls(Api::SendMsgOnEvent), 1);
}

#[tokio::test]
async fn a_welcome_that_the_store_forgot_is_not_repeated() {
    let stage = Stage::set().await;
    let entered = stage.customer().enters().unwrap().msgid;
    let forgetful = stage.attempt_of("bot", &entered, stage.forgetful_desk());
    forgetful.welcome("您好").await.unwrap();
    stage.attempt(&entered).welcome("您好").await.unwrap();
    assert_eq!(stage.customer().read(), ["您好"]);
}

#[tokio::test]
async fn a_welcome_comes_within_20_seconds_or_is_not_even_sent() {
    let stage = Stage::set().await;
    let (entered, heard) = (stage.customer().enters().unwrap().msgid, Duration::from_millis(21_001));
    let early = stage.other_customer().enters().unwrap().msgid;
    stage.attempt(&early).welcome("您好").await.unwrap();
    stage.clock.advance(heard);
    let late = stage.attempt(&entered).welcome("您好").await;
    assert!(matches!(late, Err(ReplyError::CodeExpired)), "{late:?}");
    assert_eq!(stage.calls(Api::SendMsgOnEvent), 1);
    // One that was said in time is not late when its handler is tried again.
    stage.attempt(&early).welcome("您好").await.unwrap();
}

#[tokio::test]
async fn a_code_that_another_handler_used_is_of_no_use() {
    let stage = Stage::set().await;
    let entered = stage.customer().enters().unwrap().msgid;
    stage.attempt(&entered).welcome("您好").await.unwrap();
    let second = stage.attempt_of("crm", &entered, stage.desk()).welcome("hello").await;
    assert!(matches!(second, Err(ReplyError::CodeExpired)), "{second:?}");
    assert_eq!(stage.customer().read(), ["您好"]);
}

#[tokio::test]
async fn what_permits_no_welcome_says_so() {
    let (stage, msgid) = Stage::with_a_message().await;
    let entered = stage.customer().enters().unwrap();
    assert_eq!(entered.welcome_code, None, "they have written before");
    for msgid in [msgid, entered.msgid] {
        let refused = stage.attempt(&msgid).welcome("您好").await;
        assert!(matches!(refused, Err(ReplyError::NoCode)), "{refused:?}");
    }
}

#[tokio::test]
async fn a_colleague_who_takes_or_ends_a_session_lets_one_word_be_said() {
    let (stage, msgid) = Stage::with_a_message().await;
    stage.attempt(&msgid).transfer_to(TransferTo::Pool, None).await.unwrap();
    let taken = stage.colleague().takes(&wm1()).unwrap();
    stage.attempt(&taken).welcome("李明为您服务").await.unwrap();
    let ended = stage.colleague().ends(&wm1()).unwrap();
    stage.attempt(&ended).welcome("再见").await.unwrap();
    assert_eq!(stage.customer().read(), ["李明为您服务", "再见"]);
}

#[tokio::test]
async fn a_session_is_handed_over_with_a_word_and_ended_with_another() {
    let (stage, msgid) = Stage::with_a_message().await;
    let liming = ServicerUserid::from("LiMing");
    let cx = stage.attempt(&msgid);
    cx.reply("one moment").await.unwrap();
    let notice = cx
        .transfer_to(TransferTo::Pool, Some("please wait".into()))
        .await
        .unwrap();
    assert_eq!(notice.unwrap().index, 1);
    cx.transfer_to(TransferTo::Human(&liming), Some("here is LiMing".into()))
        .await
        .unwrap();
    let session = cx.session().await.unwrap();
    assert_eq!(session.servicer_userid, Some(liming));
    cx.end(Some("goodbye".into())).await.unwrap();
    assert_eq!(
        stage.customer().read(),
        ["one moment", "please wait", "here is LiMing", "goodbye"]
    );
}

#[tokio::test]
async fn a_session_that_has_come_to_where_it_should_is_left_there() {
    let (stage, msgid) = Stage::with_a_message().await;
    let hand_over = async || {
        let notice = Some("please wait".into());
        stage.attempt(&msgid).transfer_to(TransferTo::Pool, notice).await
    };
    let sent = hand_over().await.unwrap();
    assert_eq!(hand_over().await.unwrap(), sent);
    stage.colleague().takes(&wm1()).unwrap();
    assert_eq!(
        hand_over().await.unwrap(),
        sent,
        "somebody has taken it out of the pool since"
    );
    for _ in 0..2 {
        stage.attempt(&msgid).end(None).await.unwrap();
    }
    assert_eq!(stage.customer().read(), ["please wait"]);

    let gone = hand_over().await;
    assert!(matches!(gone, Err(ReplyError::SessionEnded)), "{gone:?}");
}

#[tokio::test]
async fn a_hand_over_whose_answer_was_lost_has_happened() {
    let (stage, msgid) = Stage::with_a_message().await;
    stage.fails(Api::ServiceStateTrans, Fault::ResetBeforeBody, 1);
    let cx = stage.attempt(&msgid);
    cx.transfer_to(TransferTo::Pool, Some("please wait".into()))
        .await
        .unwrap();
    assert_eq!(cx.session().await.unwrap().state, api::ServiceState::Pool);
    assert_eq!(stage.customer().read(), [""; 0], "the code was lost with the answer");
}

#[tokio::test]
async fn a_failure_finds_its_way_back_to_the_reply() {
    let (stage, msgid) = Stage::with_a_message().await;
    let cx = stage.attempt(&msgid);
    cx.reply("short").await.unwrap();
    let long = cx.reply("客".repeat(1500)).await.unwrap();
    stage.clock.advance(HOUR);
    let lost = Msgid::from(long.msgids[2].as_str());
    let event = stage.wecom.fail_reply(&wk1(), &lost, 13).unwrap();

    let failed = stage.attempt(&event).failed_reply().await.unwrap().unwrap();
    let expected = FailedReply {
        in_reply_to: msgid.clone(),
        index: 1,
        part: 2,
        accepted: START,
        reason: FailType::SecurityRestriction,
    };
    assert_eq!(failed, expected);
    let other = stage.attempt_of("crm", &event, stage.desk());
    assert_eq!(other.failed_reply().await.unwrap(), None, "it was not theirs");
    assert_eq!(cx.failed_reply().await.unwrap(), None, "a text tells of no failure");
}

#[tokio::test]
async fn a_failure_of_what_nobody_remembers_is_nobodys() {
    let (stage, msgid) = Stage::with_a_message().await;
    let forgetful = stage.attempt_of("bot", &msgid, stage.forgetful_desk());
    let sent = forgetful.reply("hello").await.unwrap();
    let lost = Msgid::from(sent.msgids[0].as_str());
    let event = stage.wecom.fail_reply(&wk1(), &lost, 10).unwrap();
    assert_eq!(stage.attempt(&event).failed_reply().await.unwrap(), None);
    let mute = stage.attempt_of("bot", &event, stage.forgetful_desk());
    assert_eq!(mute.failed_reply().await.unwrap(), None);
}

#[tokio::test]
async fn a_file_of_the_customers_can_be_fetched_for_three_days() {
    let stage = Stage::set().await;
    let content = "%PDF-1.7 and so on".as_bytes();
    let msgid = stage
        .customer()
        .sends(MediaKind::File, "合同.pdf", content.to_vec())
        .unwrap();
    let Content::File(file) = stage.message(&msgid).content else {
        panic!("a file was sent")
    };
    let cx = stage.attempt(&msgid);
    stage.fails(Api::MediaGet, Fault::Busy, 1);
    let download = cx.media(&file.media_id).await.unwrap();
    assert!(download.content_type().is_some());
    assert_eq!(download.file_name(), Some("合同.pdf"));
    assert_eq!(download.bytes().await.unwrap(), content);

    stage.clock.advance(73 * HOUR);
    let gone = cx.media(&file.media_id).await;
    assert!(matches!(gone, Err(ReplyError::Refused { .. })), "{gone:?}");
}
