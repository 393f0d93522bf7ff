//! What WeCom does not allow, and what is known of it before it is asked.

use super::*;

#[tokio::test]
async fn a_message_is_answered_with_five_and_the_sixth_is_not_even_sent() {
    let (stage, msgid) = Stage::with_a_message().await;
    let cx = stage.attempt(&msgid);
    for left in (0..5).rev() {
        cx.reply("one of five").await.unwrap();
        assert_eq!(cx.budget().await.unwrap().left, left);
    }
    for refused in [
        cx.reply("six").await,
        stage.attempt_of("crm", &msgid, stage.desk()).reply("six").await,
    ] {
        assert!(
            matches!(refused, Err(ReplyError::OverBudget { needed: 1, left: 0 })),
            "{refused:?}"
        );
    }
    assert_eq!(stage.calls(Api::SendMsg), 5);

    let again = stage.attempt(&msgid);
    for _ in 0..5 {
        again.reply("one of five").await.unwrap();
    }
    assert_eq!(stage.calls(Api::SendMsg), 5, "what was said counts once");

    let next = stage.customer().writes("more").unwrap();
    stage.attempt(&next).reply("of course").await.unwrap();
    assert_eq!(stage.customer().read().len(), 6);
}

#[tokio::test]
async fn a_text_that_does_not_fit_into_what_is_left_is_not_begun() {
    let (stage, msgid) = Stage::with_a_message().await;
    let cx = stage.attempt(&msgid);
    let too_long = cx.reply("x".repeat(5 * 2048 + 1)).await;
    assert!(
        matches!(too_long, Err(ReplyError::OverBudget { needed: 6, left: 5 })),
        "{too_long:?}"
    );
    cx.reply("x".repeat(3 * 2048)).await.unwrap();
    let too_long = cx.reply("x".repeat(2 * 2048 + 1)).await;
    assert!(
        matches!(too_long, Err(ReplyError::OverBudget { needed: 3, left: 2 })),
        "{too_long:?}"
    );
    assert_eq!(stage.customer().read().len(), 3);
}

#[tokio::test]
async fn what_was_said_otherwise_counts_and_wecom_says_so() {
    let (stage, msgid) = Stage::with_a_message().await;
    let elsewhere = stage.attempt_of("crm", &msgid, stage.forgetful_desk());
    for _ in 0..4 {
        elsewhere.reply("not through this store").await.unwrap();
    }
    let cx = stage.attempt(&msgid);
    let long = cx.reply("x".repeat(2 * 2048)).await;
    assert!(
        matches!(long, Err(ReplyError::OverBudget { needed: 1, left: 0 })),
        "{long:?}"
    );
    assert_eq!(stage.customer().read().len(), 5);
}

#[tokio::test]
async fn the_window_closes_48_hours_after_the_customer_wrote() {
    let (stage, msgid) = Stage::with_a_message().await;
    let cx = stage.attempt(&msgid);
    assert_eq!(cx.budget().await.unwrap().until, Some(START.plus(48 * HOUR)));
    stage.clock.advance(48 * HOUR);
    let late = cx.reply("still there?").await;
    assert!(matches!(late, Err(ReplyError::WindowClosed)), "{late:?}");

    stage.customer().writes("yes!").unwrap();
    // What they wrote since renews it, also for what they wrote before.
    stage.attempt(&msgid).reply("good").await.unwrap();
    assert_eq!(stage.customer().read(), ["good"]);
}

#[tokio::test]
async fn nobody_comes_between_a_customer_and_a_colleague() {
    let (stage, msgid) = Stage::with_a_message().await;
    let cx = stage.attempt(&msgid);
    cx.transfer_to(TransferTo::Pool, None).await.unwrap();
    let refused = cx.reply("one more thing").await;
    assert!(
        matches!(refused, Err(ReplyError::SessionWithHuman { servicer_userid: None })),
        "{refused:?}"
    );

    stage.colleague().takes(&wm1()).unwrap();
    match cx.reply("one more thing").await {
        Err(ReplyError::SessionWithHuman {
            servicer_userid: Some(who),
        }) => assert_eq!(who.as_str(), "LiMing"),
        other => panic!("{other:?}"),
    }

    stage.colleague().ends(&wm1()).unwrap();
    let refused = cx.reply("one more thing").await;
    assert!(matches!(refused, Err(ReplyError::SessionEnded)), "{refused:?}");
    assert_eq!(stage.customer().read(), [""; 0]);
}

#[tokio::test]
async fn what_is_beyond_the_limits_is_named_and_not_sent() {
    let (stage, msgid) = Stage::with_a_message().await;
    let cx = stage.attempt(&msgid);
    let Err(error) = cx.reply("").await else {
        panic!("an empty text was said")
    };
    assert!(matches!(error, ReplyError::Invalid(_)), "{error:?}");
    let HandlerError::Reject { source } = error.into() else {
        panic!("it would be tried again")
    };
    let cause = std::error::Error::source(&*source).unwrap();
    assert_eq!(cause.to_string(), "text.content is empty");
    assert_eq!(stage.calls(Api::SendMsg), 0);
}

#[tokio::test]
async fn a_media_id_that_nobody_uploaded_is_refused_for_good() {
    let (stage, msgid) = Stage::with_a_message().await;
    let image = serde_json::json!({ "msgtype": "image", "image": { "media_id": "no-such-media" } });
    let refused = stage.attempt(&msgid).reply(Outgoing::from_json(&image).unwrap()).await;
    assert!(matches!(&refused, Err(ReplyError::Refused { .. })), "{refused:?}");
    assert!(matches!(refused.unwrap_err().into(), HandlerError::Reject { .. }));
}

#[tokio::test]
async fn without_a_customer_or_a_client_there_is_nobody_to_speak_to_or_through() {
    let stage = Stage::set().await;
    let about_a_colleague = stage.colleague().stops().unwrap();
    let nobody = stage.attempt(&about_a_colleague).reply("hello?").await;
    assert!(matches!(nobody, Err(ReplyError::NoCustomer)), "{nobody:?}");

    let msgid = stage.customer().writes("hello").unwrap();
    let elsewhere = Desk::new(Arc::new(stage.clock.clone()));
    let mute = stage.attempt_of("bot", &msgid, elsewhere);
    for refused in [mute.reply("hello").await, mute.welcome("hello").await] {
        assert!(
            matches!(&refused, Err(ReplyError::NoClient(app)) if *app == main_app()),
            "{refused:?}"
        );
    }
    assert!(mute.client().is_err());
    assert_eq!(mute.budget().await.unwrap().left, 5);
}
