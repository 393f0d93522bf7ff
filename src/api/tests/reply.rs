//! Saying something to a customer, and who answers them.

use axum::response::IntoResponse;

use super::*;
use crate::api::outgoing::Media;
use crate::id::{ExternalUserid, MediaId, Msgid, ServicerUserid};

const SENT: &str = r#"{"errcode":0,"errmsg":"ok","msgid":"MSG_ID"}"#;

/// A customer who may not be seen outside of a request.
fn customer() -> ExternalUserid {
    ExternalUserid::from("wmcanary-customer")
}

async fn send(client: &Client, content: &Outgoing, msgid: Option<&str>) -> Result<Msgid, ApiError> {
    let msgid = msgid.map(|id| OutgoingMsgid::new(id).unwrap());
    let message = SendMsg {
        touser: &customer(),
        open_kfid: &OpenKfid::from("wk1"),
        msgid: msgid.as_ref(),
        content,
    };
    client.send_msg(&message).await
}

#[tokio::test]
async fn a_message_is_sent_as_documented() {
    let fake = fake_that_answers(SENT).await;
    let client = client(&fake.base);
    let sent = send(&client, &Outgoing::text("你好"), Some("id-1_A")).await.unwrap();
    assert_eq!(sent.as_str(), "MSG_ID");
    let media_id = MediaId::from("MEDIA");
    send(&client, &Outgoing::Image(Media { media_id }), None).await.unwrap();

    let seen = fake.seen("kf/send_msg");
    assert_eq!(seen[0].access_token(), TOKEN);
    assert_eq!(
        seen[0].json(),
        json!({
            "touser": "wmcanary-customer",
            "open_kfid": "wk1",
            "msgid": "id-1_A",
            "msgtype": "text",
            "text": { "content": "你好" },
        })
    );
    assert!(
        seen[0].body.contains("你好"),
        "raw UTF-8: WeCom has an error code for \\uXXXX"
    );
    assert_eq!(
        seen[1].json(),
        json!({
            "touser": "wmcanary-customer",
            "open_kfid": "wk1",
            "msgtype": "image",
            "image": { "media_id": "MEDIA" },
        })
    );
}

#[tokio::test]
async fn what_wecom_would_not_take_is_not_sent() {
    let fake = fake_that_answers(SENT).await;
    let client = client(&fake.base);
    let error = send(&client, &Outgoing::text(""), None).await.unwrap_err();
    assert_eq!(error.to_string(), "kf/send_msg was not called: text.content is empty");
    assert_eq!(error.class(), ErrorClass::Permanent);

    let message = SendMsgOnEvent {
        code: "",
        msgid: None,
        content: &EventMessage::text("hi"),
    };
    let error = client.send_msg_on_event(&message).await.unwrap_err();
    assert_eq!(error.to_string(), "kf/send_msg_on_event was not called: code is empty");

    let transfer = Transfer {
        open_kfid: &OpenKfid::from("wk1"),
        external_userid: &customer(),
        to: TransferTo::Human(&ServicerUserid::from("")),
    };
    let error = client.transfer(&transfer).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "kf/service_state/trans was not called: servicer_userid is empty"
    );
    let error = client
        .service_state(&OpenKfid::from(""), &customer())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "kf/service_state/get was not called: open_kfid is empty"
    );
    assert_eq!(fake.count("gettoken"), 0);
}

#[tokio::test]
async fn a_refusal_tells_its_number_and_neither_customer_nor_code() {
    let fake = fake_that_answers(
        r#"{"errcode":95001,"errmsg":"send msg count limit for wmcanary-customer with CODEcanary, hint: [1]"}"#,
    )
    .await;
    let client = client(&fake.base);
    let error = send(&client, &Outgoing::text("hi"), None).await.unwrap_err();
    assert_eq!(error.errcode(), Some(ErrCode::TOO_MANY_MESSAGES));
    assert_eq!(error.class(), ErrorClass::Permanent);
    assert!(!error.to_string().contains("wmcanary"), "{error}");

    let message = SendMsgOnEvent {
        code: "CODEcanary",
        msgid: None,
        content: &EventMessage::text("hi"),
    };
    let error = client.send_msg_on_event(&message).await.unwrap_err();
    assert!(!error.to_string().contains("CODEcanary"), "{error}");
    assert!(!format!("{message:?}").contains("CODEcanary"));

    let state = client.service_state(&OpenKfid::from("wk1"), &customer()).await;
    assert!(!state.unwrap_err().to_string().contains("wmcanary"));
    let transfer = Transfer {
        open_kfid: &OpenKfid::from("wk1"),
        external_userid: &customer(),
        to: TransferTo::Pool,
    };
    let error = client.transfer(&transfer).await.unwrap_err();
    assert!(!format!("{error} {transfer:?}").contains("wmcanary"));
}

#[tokio::test]
async fn an_acceptance_that_does_not_name_the_message_is_none() {
    let fake = fake_that_answers(r#"{"errcode":0,"errmsg":"ok"}"#).await;
    let error = send(&client(&fake.base), &Outgoing::text("hi"), None)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ApiError::Unreadable {
                call: Call::SendMsg,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn an_event_is_answered_as_documented() {
    let fake = fake_that_answers(SENT).await;
    let msgid = OutgoingMsgid::new("welcome1").unwrap();
    let message = SendMsgOnEvent {
        code: "CODE",
        msgid: Some(&msgid),
        content: &EventMessage::text("欢迎咨询"),
    };
    let sent = client(&fake.base).send_msg_on_event(&message).await.unwrap();
    assert_eq!(sent.as_str(), "MSG_ID");
    assert_eq!(
        fake.seen("kf/send_msg_on_event")[0].json(),
        json!({ "code": "CODE", "msgid": "welcome1", "msgtype": "text", "text": { "content": "欢迎咨询" } })
    );
}

#[test]
fn an_outgoing_msgid_is_short_and_plain() {
    for good in ["a", "0-9_Z", &"x".repeat(32)] {
        assert_eq!(good.parse::<OutgoingMsgid>().unwrap().as_str(), good);
    }
    for bad in ["", "a b", "a.b", "客", &"x".repeat(33)] {
        assert_eq!(
            OutgoingMsgid::new(bad).unwrap_err().to_string(),
            "msgid must be 1 to 32 characters of 0-9, a-z, A-Z, '_' and '-'"
        );
    }
}

#[tokio::test]
async fn a_session_says_who_answers() {
    for (answer, state, servicer) in [
        (r#"{"errcode":0,"service_state":0}"#, ServiceState::Unhandled, None),
        (
            r#"{"errcode":0,"errmsg":"ok","service_state":3,"servicer_userid":"zhangsan"}"#,
            ServiceState::Human,
            Some("zhangsan"),
        ),
        (
            r#"{"errcode":0,"service_state":1,"servicer_userid":""}"#,
            ServiceState::Assistant,
            None,
        ),
        (r#"{"errcode":0,"service_state":9}"#, ServiceState::Other(9), None),
    ] {
        let fake = fake_that_answers(answer).await;
        let session = client(&fake.base)
            .service_state(&OpenKfid::from("wk1"), &customer())
            .await
            .unwrap();
        assert_eq!(session.state, state);
        assert_eq!(session.servicer_userid, servicer.map(ServicerUserid::from));
        assert_eq!(
            fake.seen("kf/service_state/get")[0].json(),
            json!({ "open_kfid": "wk1", "external_userid": "wmcanary-customer" })
        );
    }
    assert!(ServiceState::Unhandled.may_send() && ServiceState::Assistant.may_send());
    assert!(!ServiceState::Pool.may_send() && !ServiceState::Human.may_send() && !ServiceState::Ended.may_send());
}

#[tokio::test]
async fn a_transfer_names_the_state_and_brings_a_code_or_none() {
    let zhangsan = ServicerUserid::from("zhangsan");
    for (to, sent) in [
        (TransferTo::Assistant, json!({ "service_state": 1 })),
        (TransferTo::Pool, json!({ "service_state": 2 })),
        (
            TransferTo::Human(&zhangsan),
            json!({ "service_state": 3, "servicer_userid": "zhangsan" }),
        ),
        (TransferTo::Ended, json!({ "service_state": 4 })),
    ] {
        let fake = fake_that_answers(r#"{"errcode":0,"errmsg":"ok","msg_code":"MSG_CODE"}"#).await;
        let transfer = Transfer {
            open_kfid: &OpenKfid::from("wk1"),
            external_userid: &customer(),
            to,
        };
        let code = client(&fake.base).transfer(&transfer).await.unwrap().unwrap();
        assert_eq!(code.expose(), "MSG_CODE");
        assert!(!format!("{code:?}").contains("MSG_CODE"));
        let mut expected = json!({ "open_kfid": "wk1", "external_userid": "wmcanary-customer" });
        expected
            .as_object_mut()
            .unwrap()
            .extend(sent.as_object().unwrap().clone());
        assert_eq!(fake.seen("kf/service_state/trans")[0].json(), expected);
    }
    for answer in [r#"{"errcode":0}"#, r#"{"errcode":0,"msg_code":""}"#] {
        let fake = fake_that_answers(answer).await;
        let transfer = Transfer {
            open_kfid: &OpenKfid::from("wk1"),
            external_userid: &customer(),
            to: TransferTo::Ended,
        };
        assert_eq!(client(&fake.base).transfer(&transfer).await.unwrap(), None);
    }
}

#[tokio::test]
async fn pulls_that_hang_do_not_hold_up_a_reply() {
    let fake = Fake::start(|seen: Seen| match seen.call.as_str() {
        "gettoken" => grant(TOKEN),
        "kf/sync_msg" => in_pieces(&["{"], Then::Hang).into_response(),
        _ => SENT.into_response(),
    })
    .await;
    let client = client(&fake.base);
    let mut pulls = JoinSet::new();
    for _ in 0..Settings::CONCURRENCY * 2 {
        let client = client.clone();
        pulls.spawn(async move { pull(&client).await.map(drop) });
    }
    while fake.count("kf/sync_msg") < Settings::CONCURRENCY {
        tokio::task::yield_now().await;
    }
    send(&client, &Outgoing::text("hi"), None).await.unwrap();
}
