//! What endpoints answer, said to the customers of a simulated WeCom, or not.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::hostile::{raw_endpoint, read_request};
use super::*;
use crate::api;
use crate::handler::Desk;
use crate::id::{ExternalUserid, Msgid, ServicerUserid};
use crate::simulator::{self, Account, Api, Customer, Dial, Fault, Faults, MediaKind, Occasion, Servicer, Simulator};

mod bad;

/// A customer of one account, and an endpoint's forwarder that may speak to them.
struct Stage {
    wecom: Simulator,
    client: api::Client,
    desk: Arc<Desk>,
}

fn wk1() -> OpenKfid {
    OpenKfid::from("wk1")
}

impl Stage {
    async fn set() -> Self {
        let simulated = simulator::Settings {
            clock: clock(),
            accounts: vec![Account::new("wk1", "one")],
            ..simulator::Settings::default()
        };
        let mut settings = api::Settings::new(simulated.corp_id.clone(), simulated.secret.clone());
        let wecom = Simulator::start(simulated).await.unwrap();
        settings.api_base = wecom.base_url();
        let client = api::Client::new(settings, clock()).unwrap();
        let desk = Desk::new(clock()).with_client(AppName::new("main").unwrap(), client.clone());
        let desk = Arc::new(desk);
        Self { wecom, client, desk }
    }

    fn customer(&self) -> Customer<'_> {
        self.wecom.customer(&wk1(), &ExternalUserid::from("wm1"))
    }

    fn colleague(&self) -> Servicer<'_> {
        self.wecom.servicer(&wk1(), &ServicerUserid::from("LiMing"))
    }

    /// Forwards `msgid` to `url`, and does what it answers.
    async fn forward(&self, msgid: &Msgid, url: &str) -> Attempt {
        self.forward_within(Duration::from_secs(60), msgid, url).await
    }

    async fn forward_within(&self, timeout: Duration, msgid: &Msgid, url: &str) -> Attempt {
        let ledger = self.wecom.ledger();
        let said = ledger.said.iter().find(|said| said.msgid == *msgid).unwrap();
        let raw = RawValue::from_string(said.raw.to_string()).unwrap();
        let message = Message::decode(raw.into(), &wk1());
        let forwarder = forwarder(url, timeout).at_desk(Arc::clone(&self.desk));
        let account = Arc::new(AccountKey::new(AppName::new("main").unwrap(), wk1()));
        forwarder.attempt(&account, &message, 1).await
    }

    /// Forwards `msgid` to an endpoint that answers `body`.
    async fn answered(&self, msgid: &Msgid, body: impl ToString) -> Attempt {
        let endpoint = answering("application/json", body.to_string()).await;
        self.forward(msgid, &endpoint.url).await
    }

    /// How often anything was sent or asked, successful or not.
    fn calls(&self) -> u64 {
        self.wecom.counts().calls.values().sum()
    }
}

async fn answering(content_type: &'static str, body: impl Into<Bytes>) -> Endpoint {
    let body: Bytes = body.into();
    Endpoint::that_answers(move || {
        let answer = Answer::builder().header("content-type", content_type);
        answer.body(Body::from(body.clone())).unwrap()
    })
    .await
}

fn text(content: &str) -> Value {
    json!({ "msgtype": "text", "text": { "content": content } })
}

fn replies(replies: &[Value]) -> Value {
    json!({ "replies": replies })
}

fn reason(attempt: &Attempt) -> &str {
    match attempt {
        Attempt::Retry { reason, .. } | Attempt::Unavailable { reason, .. } | Attempt::Reject { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn replies_are_sent_in_order_and_a_long_text_as_several() {
    let stage = Stage::set().await;
    let msgid = stage.customer().writes("hello").unwrap();
    let menu = json!({ "msgtype": "msgmenu", "msgmenu": { "head_content": "选一个", "list": [] } });
    let long = "客".repeat(1000);
    let attempt = stage.answered(&msgid, replies(&[text("一"), text(&long), menu])).await;
    assert_eq!(attempt, Attempt::Done);
    let read = stage.customer().read();
    assert_eq!(read.len(), 4, "{read:?}");
    assert_eq!((&*read[0], read[1..3].concat(), &*read[3]), ("一", long, "选一个"));
}

#[tokio::test]
async fn an_attempt_that_is_repeated_says_nothing_twice_and_what_was_said_stays() {
    let stage = Stage::set().await;
    let msgid = stage.customer().writes("hello").unwrap();
    let attempt = stage.answered(&msgid, replies(&[text("one")])).await;
    assert_eq!(attempt, Attempt::Done);
    for _ in 0..2 {
        let attempt = stage.answered(&msgid, replies(&[text("another"), text("two")])).await;
        assert_eq!(attempt, Attempt::Done);
    }
    assert_eq!(stage.customer().read(), ["one", "two"]);
}

#[tokio::test]
async fn an_answer_that_wecom_cannot_take_now_is_tried_again() {
    let stage = Stage::set().await;
    let msgid = stage.customer().writes("hello").unwrap();
    let busy = Faults::only(Fault::Busy, Dial::Chance(1.0)).on(Api::SendMsg);
    stage.wecom.set_faults(busy);
    let attempt = stage.answered(&msgid, replies(&[text("one"), text("two")])).await;
    assert!(
        matches!(&attempt, Attempt::Unavailable { reason, .. } if reason.contains("replies[0]")),
        "{attempt:?}"
    );
    assert!(stage.customer().read().is_empty());
    stage.wecom.set_faults(Faults::default());
    let attempt = stage.answered(&msgid, replies(&[text("one"), text("two")])).await;
    assert_eq!(attempt, Attempt::Done);
    assert_eq!(stage.customer().read(), ["one", "two"]);
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_not_heard_and_asked_for_again() {
    let stage = Stage::set().await;
    let msgid = stage.customer().writes("hello").unwrap();
    let asked = Arc::<AtomicUsize>::default();
    let address = raw_endpoint({
        let asked = Arc::clone(&asked);
        move |mut stream| {
            let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                read_request(&mut stream).await;
                if first {
                    // Never hears that nobody waits any more.
                    std::future::pending::<()>().await;
                }
                let body = replies(&[text("late")]).to_string();
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
                let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await;
            }
        }
    })
    .await;
    let url = format!("http://{address}/");
    let attempt = stage.forward_within(Duration::from_millis(300), &msgid, &url).await;
    assert!(reason(&attempt).contains("not done"), "{attempt:?}");
    assert_eq!(stage.forward(&msgid, &url).await, Attempt::Done);
    assert_eq!(stage.customer().read(), ["late"]);
}

#[tokio::test]
async fn what_says_nothing_completes_the_message_as_ever() {
    let stage = Stage::set().await;
    let msgid = stage.customer().writes("hello").unwrap();
    let said = replies(&[text("hello")]).to_string();
    for (content_type, body) in [
        ("application/json", ""),
        ("application/json", " \n"),
        ("application/json", "null"),
        ("application/json; charset=utf-8", "{}"),
        ("application/json", "\"ok\""),
        ("application/json", "true"),
        ("application/json", "[1, 2]"),
        ("application/json", r#"{"status":"ok","reply":[{}]}"#),
        ("application/json", r#"{"replies":null,"transfer":null,"end":null}"#),
        ("application/json", r#"{"replies":[],"end":false}"#),
        ("text/plain", "ok"),
        ("text/html; charset=utf-8", "ok"),
        ("text/html", "<b>ok</b>"),
        ("application/octet-stream", "{"),
        ("text/plain", &said),
        ("application/jsonp", &said),
        ("", &said),
    ] {
        let endpoint = answering(content_type.to_owned().leak(), body.to_owned()).await;
        let attempt = stage.forward(&msgid, &endpoint.url).await;
        assert_eq!(attempt, Attempt::Done, "{content_type}: {body}");
    }
    assert_eq!(stage.calls(), 0, "nobody was asked for anything");
}

#[tokio::test]
async fn json_goes_by_several_names() {
    for content_type in [
        "application/json",
        "Application/JSON ; charset=UTF-8",
        "text/json",
        "application/x+json",
    ] {
        let stage = Stage::set().await;
        let msgid = stage.customer().writes("hello").unwrap();
        let endpoint = answering(content_type, replies(&[text("hi")]).to_string()).await;
        assert_eq!(
            stage.forward(&msgid, &endpoint.url).await,
            Attempt::Done,
            "{content_type}"
        );
        assert_eq!(stage.customer().read(), ["hi"], "{content_type}");
    }
}

#[tokio::test]
async fn who_enters_is_welcomed_with_one_text_or_menu() {
    let stage = Stage::set().await;
    let entry = stage.customer().enters().unwrap();
    let image = json!({ "msgtype": "image", "image": { "media_id": "m" } });
    for (body, expected) in [
        (
            replies(&[text("one"), text("two")]),
            "replies has 2 items, and an event is answered with one",
        ),
        (replies(&[image]), "replies[0].msgtype \"image\" cannot answer an event"),
        (
            replies(&[text(&"x".repeat(2049))]),
            "replies[0].text.content has 2049 bytes, more than 2048",
        ),
    ] {
        let attempt = stage.answered(&entry.msgid, body).await;
        assert!(reason(&attempt).contains(expected), "{attempt:?}");
    }
    for welcome in ["welcome", "welcome again"] {
        let attempt = stage.answered(&entry.msgid, replies(&[text(welcome)])).await;
        assert_eq!(attempt, Attempt::Done);
    }
    let saw = stage.customer().saw();
    assert_eq!(
        (saw.len(), saw[0].occasion, saw[0].text.as_deref()),
        (1, Occasion::Welcome, Some("welcome"))
    );
}

#[tokio::test]
async fn who_cannot_be_answered_is_not_and_the_error_says_why() {
    let stage = Stage::set().await;
    stage.customer().writes("hello").unwrap();
    let returns = stage.customer().enters().unwrap();
    assert_eq!(returns.welcome_code, None);
    let typed = stage.colleague().writes(&ExternalUserid::from("wm1"), "您好").unwrap();
    let status = stage.colleague().starts().unwrap();
    for (msgid, expected) in [
        (
            returns.msgid,
            "cannot carry out replies[0] of the endpoint's answer: the message brought no code",
        ),
        (typed, "what a colleague said cannot be answered"),
        (status, "the message concerns no customer"),
    ] {
        let attempt = stage.answered(&msgid, replies(&[text("hi")])).await;
        assert!(
            matches!(&attempt, Attempt::Reject { reason } if reason.contains(expected)),
            "{attempt:?}"
        );
    }
    assert!(stage.customer().read().is_empty());
}

#[tokio::test]
async fn a_session_is_handed_over_after_the_last_word_and_then_the_endpoint_is_not_heard() {
    let stage = Stage::set().await;
    stage.colleague().starts().unwrap();
    let asks = stage.customer().writes("人工").unwrap();
    let mut answer = replies(&[text("请稍候")]);
    answer["transfer"] = json!({ "service_state": 3, "servicer_userid": "LiMing" });
    assert_eq!(stage.answered(&asks, &answer).await, Attempt::Done);
    let goes_on = stage.customer().writes("还在吗").unwrap();
    let attempt = stage.answered(&goes_on, replies(&[text("还在")])).await;
    assert_eq!(attempt, Attempt::Skip);
    assert_eq!(stage.customer().read(), ["请稍候"]);

    // Only a session that somebody has can be ended.
    assert_eq!(stage.answered(&goes_on, json!({ "end": true })).await, Attempt::Done);
    let customer = ExternalUserid::from("wm1");
    let session = stage.client.service_state(&wk1(), &customer).await.unwrap();
    assert_eq!(session.state, api::ServiceState::Ended);
}

#[tokio::test]
async fn what_wecom_will_never_take_is_a_dead_letter_at_once() {
    let stage = Stage::set().await;
    let msgid = stage.customer().writes("hello").unwrap();
    let voice = stage
        .wecom
        .keep_media(MediaKind::Voice, "voice.amr", "#!AMR\n……".as_bytes().to_vec());
    let image = json!({ "msgtype": "image", "image": { "media_id": voice } });
    let nobody = json!({ "transfer": { "service_state": 3, "servicer_userid": "nobody" } });
    for (body, field, code) in [
        (replies(&[image]), "replies[0]", "40004"),
        (nobody, "transfer", "95014"),
    ] {
        let attempt = stage.answered(&msgid, body).await;
        assert!(
            matches!(&attempt, Attempt::Reject { reason } if reason.contains(&format!("cannot carry out {field} ")) && reason.contains(code)),
            "{attempt:?}"
        );
    }
    assert!(stage.customer().read().is_empty());
}
