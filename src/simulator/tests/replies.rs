//! Sending: what is refused, what the customer sees, and what a lost answer leaves behind.

use super::*;
use crate::simulator::Api;

fn wm1() -> ExternalUserid {
    ExternalUserid::from("wm1")
}

/// A simulator in which the customer `wm1` has written to `wk1`.
pub(super) async fn after_a_message(clock: &ManualClock) -> (Simulator, Client) {
    let simulator = Simulator::start(settings(clock)).await.unwrap();
    let client = Client::new(&simulator).await;
    simulator.customer(&wk1(), &wm1()).writes("hello").unwrap();
    (simulator, client)
}

/// A message to `wm1`; `fields` beside account and customer, or instead of them.
pub(super) fn message(fields: Value) -> Value {
    let mut message = json!({ "touser": "wm1", "open_kfid": "wk1" });
    let Value::Object(fields) = fields else {
        panic!("{fields} is no object")
    };
    message.as_object_mut().unwrap().extend(fields);
    message
}

pub(super) fn text(content: &str) -> Value {
    message(json!({ "msgtype": "text", "text": { "content": content } }))
}

fn text_with_id(content: &str, msgid: &str) -> Value {
    let mut text = text(content);
    text["msgid"] = msgid.into();
    text
}

pub(super) async fn send(client: &Client, body: &Value) -> i64 {
    client.try_post("send_msg", body).await
}

async fn send_on_event(client: &Client, code: &str, message: Value) -> i64 {
    let mut body = message;
    body["code"] = code.into();
    client.try_post("send_msg_on_event", &body).await
}

fn event_text() -> Value {
    json!({ "msgtype": "text", "text": { "content": "welcome" } })
}

#[tokio::test]
async fn what_was_sent_is_what_the_customer_saw() {
    let (simulator, client) = after_a_message(&ManualClock::default()).await;
    let customer = simulator.customer(&wk1(), &wm1());
    let answer = client.post("send_msg", text_with_id("一", "reply_1").to_string()).await;
    assert_eq!(answer["msgid"], "reply_1");
    let answer = client.post("send_msg", text("二").to_string()).await;
    let made_up = answer["msgid"].as_str().unwrap().to_owned();
    assert!((1..=32).contains(&made_up.len()), "{made_up}");

    assert_eq!(customer.read(), ["一", "二"]);
    let saw = customer.saw();
    assert_eq!(
        (&saw[0].msgid, saw[0].occasion),
        (&Msgid::from("reply_1"), Occasion::Reply)
    );
    assert_eq!((saw[1].msgid.as_str(), &*saw[1].msgtype), (made_up.as_str(), "text"));
    assert_eq!(saw[0].send_time, START.as_secs());
    assert_eq!(simulator.ledger().seen, saw);
    assert_eq!(simulator.counts().replies, 2);
    assert_eq!(simulator.customer(&wk1(), &ExternalUserid::from("wm2")).read(), [""; 0]);
    let page = client.sync(json!({ "open_kfid": "wk1" })).await;
    assert_eq!(msgids(&page).len(), 1, "what was sent is not pulled");
}

#[tokio::test]
async fn an_address_that_is_none_is_refused() {
    let (simulator, client) = after_a_message(&ManualClock::default()).await;
    let body = json!({ "msgtype": "text", "text": { "content": "hi" } });
    for (address, errcode) in [
        (json!({ "touser": "wm1" }), 60251),
        (json!({ "touser": "wm1", "open_kfid": "wkNobody" }), 95004),
        (json!({ "touser": "wm1", "open_kfid": "nobody" }), 95000),
        (json!({ "touser": "wm1", "open_kfid": 1 }), 40058),
        (json!({ "open_kfid": "wk1" }), 40058),
        (json!({ "touser": "", "open_kfid": "wk1" }), 40058),
        (json!({ "touser": "wmNobody", "open_kfid": "wk1" }), 40096),
        (json!({ "touser": "wm1", "open_kfid": "wk2" }), 95018),
    ] {
        let mut body = body.clone();
        body.as_object_mut()
            .unwrap()
            .extend(address.as_object().unwrap().clone());
        assert_eq!(send(&client, &body).await, errcode, "{address}");
    }
    simulator.withdraw(&wk1());
    assert_eq!(send(&client, &text("hi")).await, 48007);
    assert_eq!(client.post("send_msg", "{not json").await["errcode"], 40035);
    assert_eq!(client.post("send_msg", "[]").await["errcode"], 40058);
    assert_eq!(simulator.seen(), []);
}

#[tokio::test]
async fn a_msgid_must_be_short_plain_and_new() {
    let (simulator, client) = after_a_message(&ManualClock::default()).await;
    for (msgid, errcode) in [
        ("", 40058),
        ("with space", 40058),
        ("号", 40058),
        ("123456789012345678901234567890123", 40058),
        ("12345678901234567890123456789012", 0),
        ("a-B_3", 0),
        ("a-B_3", 95033),
    ] {
        assert_eq!(send(&client, &text_with_id("hi", msgid)).await, errcode, "{msgid:?}");
    }
    assert_eq!(simulator.counts().violations.empty_strings, 1);
    assert_eq!(simulator.seen().len(), 2);
    simulator
        .customer(&OpenKfid::from("wk2"), &wm1())
        .writes("hello")
        .unwrap();
    let mut elsewhere = text_with_id("hi", "a-B_3");
    elsewhere["open_kfid"] = "wk2".into();
    assert_eq!(send(&client, &elsewhere).await, 0, "an id is taken on one account only");
}

#[tokio::test]
async fn five_messages_may_be_sent_until_the_customer_writes_again() {
    let (simulator, client) = after_a_message(&ManualClock::default()).await;
    let customer = simulator.customer(&wk1(), &wm1());
    for n in 0..5 {
        assert_eq!(send(&client, &text_with_id("hi", &n.to_string())).await, 0);
    }
    assert_eq!(send(&client, &text("once too often")).await, 95001);
    assert_eq!(
        send(&client, &text_with_id("hi", "4")).await,
        95033,
        "a repeat learns that it was accepted"
    );
    customer.enters().unwrap();
    assert_eq!(send(&client, &text("hi")).await, 95001, "entering is no message");
    customer.writes("are you there?").unwrap();
    assert_eq!(send(&client, &text("yes")).await, 0);
    assert_eq!(customer.saw().len(), 6);
}

#[tokio::test]
async fn after_48_hours_of_silence_nothing_may_be_sent() {
    let clock = ManualClock::default();
    let (simulator, mut client) = after_a_message(&clock).await;
    clock.advance(48 * HOUR - Duration::from_millis(1));
    client.renew().await.unwrap();
    assert_eq!(send(&client, &text("just in time")).await, 0);
    clock.advance(Duration::from_millis(1));
    assert_eq!(send(&client, &text("too late")).await, 95002);
    simulator.customer(&wk1(), &wm1()).writes("hello again").unwrap();
    assert_eq!(send(&client, &text("hello")).await, 0);
}

#[tokio::test]
async fn whoever_only_entered_cannot_be_answered() {
    let simulator = Simulator::start(settings(&ManualClock::default())).await.unwrap();
    let client = Client::new(&simulator).await;
    simulator.customer(&wk1(), &wm1()).enters().unwrap();
    assert_eq!(send(&client, &text("hi")).await, 95018);
}

#[tokio::test]
async fn a_welcome_code_is_good_for_one_message_within_20_seconds() {
    let clock = ManualClock::default();
    let simulator = Simulator::start(settings(&clock)).await.unwrap();
    let client = Client::new(&simulator).await;
    let customer = simulator.customer(&wk1(), &wm1());
    let code = customer.enters().unwrap().welcome_code.unwrap();
    let page = client.sync(json!({ "open_kfid": "wk1" })).await;
    assert_eq!(page["msg_list"][0]["event"]["welcome_code"], *code);

    assert_eq!(send_on_event(&client, "made up", event_text()).await, 41050);
    assert_eq!(send_on_event(&client, "", event_text()).await, 40058);
    clock.advance(Duration::from_secs(20));
    let mut welcome = event_text();
    welcome["msgid"] = "w1".into();
    assert_eq!(send_on_event(&client, &code, welcome.clone()).await, 0);
    assert_eq!(
        send_on_event(&client, &code, welcome).await,
        95033,
        "a repeat learns that it was accepted"
    );
    assert_eq!(send_on_event(&client, &code, event_text()).await, 41050, "used");
    assert_eq!(customer.saw()[0].occasion, Occasion::Welcome);

    let other = simulator.customer(&wk1(), &ExternalUserid::from("wm2"));
    let code = other.enters().unwrap().welcome_code.unwrap();
    clock.advance(Duration::from_secs(20) + Duration::from_millis(1));
    assert_eq!(send_on_event(&client, &code, event_text()).await, 41050, "late");
    assert_eq!(other.saw(), []);
}

#[tokio::test]
async fn only_a_stranger_is_welcomed() {
    let clock = ManualClock::default();
    let simulator = Simulator::start(settings(&clock)).await.unwrap();
    let client = Client::new(&simulator).await;
    let customer = simulator.customer(&wk1(), &wm1());
    let code = customer
        .enters_from("homepage", "order=1")
        .unwrap()
        .welcome_code
        .unwrap();
    assert!(
        customer.enters().unwrap().welcome_code.is_some(),
        "nobody has welcomed them yet"
    );
    assert_eq!(send_on_event(&client, &code, event_text()).await, 0);
    assert_eq!(customer.enters().unwrap().welcome_code, None);
    clock.advance(48 * HOUR);
    assert!(customer.enters().unwrap().welcome_code.is_some());
    customer.writes("hello").unwrap();
    clock.advance(48 * HOUR);
    assert_eq!(customer.enters().unwrap().welcome_code, None, "they wrote");
}

#[tokio::test]
async fn a_message_on_an_event_is_a_text_or_a_short_menu() {
    let simulator = Simulator::start(settings(&ManualClock::default())).await.unwrap();
    let client = Client::new(&simulator).await;
    let code = simulator
        .customer(&wk1(), &wm1())
        .enters()
        .unwrap()
        .welcome_code
        .unwrap();
    let menu = |count| {
        let entry = json!({ "type": "text", "text": { "content": "line" } });
        json!({ "msgtype": "msgmenu", "msgmenu": { "list": vec![entry; count] } })
    };
    let location = json!({ "msgtype": "location", "location": { "latitude": 1, "longitude": 2 } });
    assert_eq!(send_on_event(&client, &code, location).await, 40008);
    assert_eq!(send_on_event(&client, &code, menu(11)).await, 95008);
    let empty = json!({ "msgtype": "text", "text": { "content": "" } });
    assert_eq!(send_on_event(&client, &code, empty).await, 44004);
    assert_eq!(
        send_on_event(&client, &code, menu(10)).await,
        0,
        "no refusal used the code up"
    );
}

#[tokio::test]
async fn a_tap_on_a_menu_is_a_message_of_the_customer() {
    let (simulator, client) = after_a_message(&ManualClock::default()).await;
    let customer = simulator.customer(&wk1(), &wm1());
    let menu = message(json!({ "msgtype": "msgmenu", "msgmenu": {
        "head_content": "Solved?",
        "list": [
            { "type": "click", "click": { "id": "yes", "content": "Yes!" } },
            { "type": "click", "click": { "content": "No." } },
        ],
        "tail_content": "Thank you" } }));
    for _ in 0..5 {
        assert_eq!(send(&client, &menu).await, 0);
    }
    assert_eq!(customer.read()[0], "Solved?\nYes!\nNo.\nThank you");
    customer.taps("yes").unwrap();
    customer.taps("No.").unwrap();
    let error = customer.taps("perhaps").unwrap_err();
    assert_eq!(error.to_string(), "the customer sees no menu entry \"perhaps\"");
    let page = client.sync(json!({ "open_kfid": "wk1" })).await;
    assert_eq!(
        page["msg_list"][1]["text"],
        json!({ "content": "Yes!", "menu_id": "yes" })
    );
    assert_eq!(page["msg_list"][2]["text"], json!({ "content": "No." }));
    assert_eq!(send(&client, &menu).await, 0, "the budget is new");
}

#[tokio::test]
async fn a_reply_can_fail_after_it_was_accepted() {
    let (simulator, client) = after_a_message(&ManualClock::default()).await;
    let customer = simulator.customer(&wk1(), &wm1());
    simulator.set_faults(Faults::default().failing_replies(Dial::Next(1), 13));
    assert_eq!(send(&client, &text_with_id("lost", "m1")).await, 0);
    assert_eq!(send(&client, &text_with_id("found", "m2")).await, 0);
    simulator.fail_reply(&wk1(), &Msgid::from("m2"), 10).unwrap();
    assert_eq!(customer.read(), [""; 0]);
    let failed: Vec<_> = simulator.seen().iter().map(|seen| seen.fail_type).collect();
    assert_eq!(failed, [Some(13), Some(10)]);
    let page = client.sync(json!({ "open_kfid": "wk1" })).await;
    for (place, msgid, fail_type) in [(1, "m1", 13), (2, "m2", 10)] {
        let event = json!({ "event_type": "msg_send_fail", "open_kfid": "wk1", "external_userid": "wm1",
                            "fail_msgid": msgid, "fail_type": fail_type });
        assert_eq!(page["msg_list"][place]["event"], event);
    }
    let error = simulator.fail_reply(&wk1(), &Msgid::from("m3"), 1).unwrap_err();
    assert_eq!(error.to_string(), "no message m3 was sent on account wk1");
}

#[tokio::test]
async fn a_message_can_be_taken_back_for_two_minutes() {
    let clock = ManualClock::default();
    let (simulator, client) = after_a_message(&clock).await;
    assert_eq!(send(&client, &text_with_id("oops", "m1")).await, 0);
    assert_eq!(send(&client, &text_with_id("stays", "m2")).await, 0);
    let recall = |msgid| json!({ "open_kfid": "wk1", "msgid": msgid });
    clock.advance(2 * MINUTE);
    assert_eq!(client.try_post("recall_msg", &recall("m1")).await, 0);
    clock.advance(Duration::from_secs(1));
    assert_eq!(client.try_post("recall_msg", &recall("m2")).await, 95029);
    assert_eq!(client.try_post("recall_msg", &recall("m3")).await, 95028);
    let recalled: Vec<_> = simulator.seen().iter().map(|seen| seen.recalled.is_some()).collect();
    assert_eq!(recalled, [true, false]);
}

#[tokio::test]
async fn a_call_that_is_lost_has_no_effect_and_one_whose_answer_is_lost_has() {
    for (fault, saw) in [
        (Fault::CallLost, 0),
        (Fault::ResetBeforeBody, 1),
        (Fault::Html, 1),
        (Fault::Http5xx, 1),
    ] {
        let (simulator, client) = after_a_message(&ManualClock::default()).await;
        simulator.set_faults(Faults::only(fault, Dial::Next(1)));
        let body = text_with_id("hi", "m1");
        let answer = client.send("send_msg", body.to_string()).await;
        let is_lost = matches!(fault, Fault::CallLost | Fault::ResetBeforeBody);
        assert_eq!(answer.is_err(), is_lost, "{fault}");
        assert_eq!(simulator.seen().len(), saw, "{fault}");
        let repeated = if saw == 0 { 0 } else { 95033 };
        assert_eq!(send(&client, &body).await, repeated, "{fault}");
        assert_eq!(simulator.seen().len(), 1, "{fault}");
    }
}

#[tokio::test]
async fn a_refusal_by_fault_keeps_the_message_from_the_customer() {
    for (fault, errcode) in [
        (Fault::Busy, -1),
        (Fault::RateLimited, 45009),
        (Fault::ConcurrencyLimited, 45033),
    ] {
        let (simulator, client) = after_a_message(&ManualClock::default()).await;
        simulator.set_faults(Faults::only(fault, Dial::Next(1)));
        assert_eq!(send(&client, &text("hi")).await, errcode);
        assert_eq!(simulator.seen(), []);
    }
    let (simulator, client) = after_a_message(&ManualClock::default()).await;
    simulator.set_faults(Faults::only(Fault::AccessTokenRevoked, Dial::Next(1)));
    assert!(matches!(send(&client, &text("hi")).await, 40014 | 42001));
}

#[tokio::test]
async fn faults_can_be_kept_to_some_calls() {
    let (simulator, client) = after_a_message(&ManualClock::default()).await;
    simulator.set_faults(Faults::only(Fault::Busy, Dial::Chance(1.0)).on(Api::SendMsg));
    assert_eq!(client.errcode(json!({ "open_kfid": "wk1" })).await, 0);
    assert_eq!(send(&client, &text("hi")).await, -1);
    simulator.set_faults(Faults::only(Fault::Html, Dial::Chance(1.0)).on(Api::SyncMsg));
    assert_eq!(send(&client, &text("hi")).await, 0);
    assert_eq!(simulator.counts().calls[&Api::SendMsg], 2);
}
