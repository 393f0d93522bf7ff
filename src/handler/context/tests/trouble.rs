//! WeCom is busy, out of reach or out of patience, and what becomes of the message then.

use super::*;

/// What `?` makes of it.
fn fate(result: Result<Sent, ReplyError>) -> HandlerError {
    result.expect_err("nothing was to be said").into()
}

#[tokio::test]
async fn passing_trouble_is_waited_out_and_heard_once() {
    for fault in [
        Fault::Busy,
        Fault::ConcurrencyLimited,
        Fault::CallLost,
        Fault::Http5xx,
        Fault::ResetBeforeBody,
        Fault::ResetInBody,
        Fault::TruncatedJson,
        Fault::Html,
        Fault::AccessTokenRevoked,
    ] {
        let (stage, msgid) = Stage::with_a_message().await;
        stage.fails(Api::SendMsg, fault, 2);
        stage.attempt(&msgid).reply("hello").await.unwrap();
        assert_eq!(stage.customer().read(), ["hello"], "{fault}");
        assert_eq!(stage.wecom.faults().dials[&fault], Dial::Next(0), "{fault}");
    }
}

#[tokio::test]
async fn a_welcome_whose_answer_was_lost_has_been_said() {
    let stage = Stage::set().await;
    let entered = stage.customer().enters().unwrap().msgid;
    stage.fails(Api::SendMsgOnEvent, Fault::ResetBeforeBody, 1);
    stage.attempt(&entered).welcome("您好").await.unwrap();
    assert_eq!(stage.customer().read(), ["您好"]);
}

#[tokio::test]
async fn trouble_that_stays_is_nobodys_fault_and_the_next_attempt_speaks_once() {
    let (stage, msgid) = Stage::with_a_message().await;
    // Every one of these calls takes effect: only the answers are lost.
    stage.fails(Api::SendMsg, Fault::ResetBeforeBody, 3);
    let lost = fate(stage.attempt(&msgid).reply("hello").await);
    assert!(
        matches!(lost, HandlerError::Unavailable { after: None, .. }),
        "{lost:?}"
    );
    stage.attempt(&msgid).reply("hello").await.unwrap();
    assert_eq!(stage.customer().read(), ["hello"]);
}

#[tokio::test]
async fn a_rate_limit_is_waited_for_as_long_as_it_lasts() {
    let (stage, msgid) = Stage::with_a_message().await;
    stage.fails(Api::SendMsg, Fault::RateLimited, 1);
    let cx = stage.attempt(&msgid);
    assert!(matches!(
        fate(cx.reply("hello").await),
        HandlerError::Unavailable { .. }
    ));
    match fate(cx.reply("hello").await) {
        HandlerError::Unavailable { after: Some(after), .. } => assert!(after > Duration::from_secs(50), "{after:?}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(stage.wecom.counts().violations.calls_while_blocked, 0);
}

#[tokio::test]
async fn what_only_an_operator_can_change_buries_nothing() {
    let (stage, msgid) = Stage::with_a_message().await;
    stage.wecom.withdraw(&wk1());
    let refused = fate(stage.attempt(&msgid).reply("hello").await);
    assert!(matches!(refused, HandlerError::Unavailable { .. }), "{refused:?}");
}

#[tokio::test]
async fn nothing_is_repeated_beyond_the_deadline() {
    let (stage, msgid) = Stage::with_a_message().await;
    stage.fails(Api::SendMsg, Fault::Busy, 1);
    let no_time = Context::new(
        Arc::new(HandlerName::new("bot").unwrap()),
        AccountKey::new(main_app(), wk1()).into(),
        &stage.message(&msgid),
        1,
        Instant::now(),
        Some(Arc::new(stage.desk())),
    );
    let busy = no_time.reply("hello").await;
    assert!(matches!(busy, Err(ReplyError::Unavailable { .. })), "{busy:?}");
    assert_eq!(stage.calls(Api::SendMsg), 1);
}

#[tokio::test]
async fn a_store_that_cannot_be_asked_or_told_keeps_the_message() {
    let (stage, msgid) = Stage::with_a_message().await;
    // Not registered there: the store refuses to remember what it says.
    let stranger = stage.attempt_of("stranger", &msgid, stage.desk());
    let forgotten = fate(stranger.reply("hello").await);
    assert!(matches!(forgotten, HandlerError::Unavailable { .. }), "{forgotten:?}");
    assert!(matches!(
        fate(stranger.reply("more").await),
        HandlerError::Unavailable { .. }
    ));
}

#[test]
fn an_error_of_the_api_knows_what_it_means_and_any_other_is_tried_again() {
    let invalid = api::ApiError::Setting {
        name: "timeout",
        problem: "must be at least 1",
    };
    assert!(matches!(invalid.into(), HandlerError::Unavailable { .. }));
    let unknown = std::io::Error::other("no idea");
    assert!(matches!(unknown.into(), HandlerError::Retry { after: None, .. }));
    assert!(matches!(ReplyError::WindowClosed.into(), HandlerError::Reject { .. }));
}
