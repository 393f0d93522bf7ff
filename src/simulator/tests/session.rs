//! Who has a session, and who may be given it.

use super::replies::{after_a_message, send, text};
use super::*;
use crate::id::ServicerUserid;

fn wm1() -> ExternalUserid {
    ExternalUserid::from("wm1")
}

fn liming(simulator: &Simulator) -> Servicer<'_> {
    simulator.servicer(&wk1(), &ServicerUserid::from("LiMing"))
}

async fn state(client: &Client) -> Value {
    let body = json!({ "open_kfid": "wk1", "external_userid": "wm1" });
    let answer = client.post("service_state/get", body.to_string()).await;
    answer["service_state"].clone()
}

async fn transfer(client: &Client, state: u8) -> Value {
    let mut body = json!({ "open_kfid": "wk1", "external_userid": "wm1", "service_state": state });
    if state == 3 {
        body["servicer_userid"] = "LiMing".into();
    }
    client.post("service_state/trans", body.to_string()).await
}

async fn on_event(client: &Client, code: &Value, msgtype: &str) -> i64 {
    let body = json!({ "code": code, "msgtype": msgtype, "text": { "content": "hi" },
                       "msgmenu": { "head_content": "hi" } });
    client.post("send_msg_on_event", body.to_string()).await["errcode"]
        .as_i64()
        .unwrap()
}

/// A session in `state`, which it came to by the shortest way.
async fn session_in(state: u8) -> (Simulator, Client) {
    let (simulator, client) = after_a_message(&ManualClock::default()).await;
    let way: &[u8] = match state {
        0 => &[],
        4 => &[3, 4],
        _ => &[state],
    };
    for step in way {
        assert_eq!(transfer(&client, *step).await["errcode"], 0);
    }
    (simulator, client)
}

#[tokio::test]
async fn a_session_goes_only_where_the_documents_let_it() {
    for from in 0..=4 {
        for to in 0..=4 {
            let (_simulator, client) = session_in(from).await;
            let expected = match (from, to) {
                (4, _) => 95013,
                (0, 1..=3) | (1, 2 | 3) | (2, 3) | (3, 3 | 4) => 0,
                _ => 95016,
            };
            assert_eq!(transfer(&client, to).await["errcode"], expected, "{from} to {to}");
            assert_eq!(state(&client).await, if expected == 0 { to } else { from });
        }
    }
}

#[tokio::test]
async fn only_an_unanswered_session_and_a_programs_own_can_be_answered() {
    for (from, errcode) in [(0, 0), (1, 0), (2, 95018), (3, 95018), (4, 95018)] {
        let (_simulator, client) = session_in(from).await;
        assert_eq!(send(&client, &text("hi")).await, errcode, "{from}");
        assert_eq!(
            state(&client).await,
            if from == 0 { 1 } else { from },
            "{from}: an answer takes the session"
        );
    }
}

#[tokio::test]
async fn what_a_request_about_a_session_must_say() {
    let (simulator, client) = session_in(0).await;
    for (fields, errcode) in [
        (json!({ "external_userid": "wm1", "service_state": 1 }), 60251),
        (json!({ "open_kfid": "wk1", "service_state": 1 }), 40058),
        (
            json!({ "open_kfid": "wk1", "external_userid": "wmNobody", "service_state": 1 }),
            40096,
        ),
        (json!({ "open_kfid": "wk1", "external_userid": "wm1" }), 40058),
        (
            json!({ "open_kfid": "wk1", "external_userid": "wm1", "service_state": 5 }),
            40058,
        ),
        (
            json!({ "open_kfid": "wk1", "external_userid": "wm1", "service_state": 3 }),
            40058,
        ),
        (
            json!({ "open_kfid": "wk1", "external_userid": "wm1", "service_state": 3, "servicer_userid": "Nobody" }),
            95014,
        ),
    ] {
        let answer = client.post("service_state/trans", fields.to_string()).await;
        assert_eq!(answer["errcode"], errcode, "{fields}");
    }
    liming(&simulator).stops().unwrap();
    assert_eq!(transfer(&client, 3).await["errcode"], 95019);
    liming(&simulator).starts().unwrap();
    assert_eq!(transfer(&client, 3).await["errcode"], 0);
    let body = json!({ "open_kfid": "wk1", "external_userid": "wm1" });
    let answer = client.post("service_state/get", body.to_string()).await;
    assert_eq!(answer["servicer_userid"], "LiMing");
}

#[tokio::test]
async fn the_first_step_into_a_state_brings_a_code_for_one_text() {
    let (simulator, client) = session_in(0).await;
    let pooled = transfer(&client, 2).await["msg_code"].clone();
    assert_eq!(on_event(&client, &pooled, "msgmenu").await, 40008, "a text only");
    assert_eq!(on_event(&client, &pooled, "text").await, 0);
    let assigned = transfer(&client, 3).await["msg_code"].clone();
    assert_eq!(transfer(&client, 3).await.get("msg_code"), None);
    assert_eq!(on_event(&client, &assigned, "text").await, 0);
    let ended = transfer(&client, 4).await["msg_code"].clone();
    assert_eq!(on_event(&client, &ended, "msgmenu").await, 0);
    assert_eq!(on_event(&client, &ended, "text").await, 41050, "once");
    let occasions: Vec<_> = simulator.seen().iter().map(|seen| seen.occasion).collect();
    assert_eq!(occasions, [Occasion::Pooled, Occasion::Assigned, Occasion::Ended]);
}

#[tokio::test]
async fn a_code_is_worth_nothing_once_the_session_has_moved_on() {
    let (simulator, client) = session_in(0).await;
    let pooled = transfer(&client, 2).await["msg_code"].clone();
    let assigned = transfer(&client, 3).await["msg_code"].clone();
    assert_eq!(on_event(&client, &pooled, "text").await, 95018);
    let ended = transfer(&client, 4).await["msg_code"].clone();
    assert_eq!(on_event(&client, &assigned, "text").await, 95018);
    simulator.customer(&wk1(), &wm1()).writes("one more thing").unwrap();
    assert_eq!(on_event(&client, &ended, "text").await, 95018);
}

#[tokio::test]
async fn codes_live_as_long_as_the_documents_say() {
    let clock = ManualClock::default();
    let (_simulator, mut client) = after_a_message(&clock).await;
    let pooled = transfer(&client, 2).await["msg_code"].clone();
    clock.advance(48 * HOUR - MINUTE);
    client.renew().await.unwrap();
    assert_eq!(on_event(&client, &pooled, "text").await, 0);
    assert_eq!(transfer(&client, 3).await["errcode"], 0);
    let ended = transfer(&client, 4).await["msg_code"].clone();
    clock.advance(Duration::from_millis(20_001));
    assert_eq!(on_event(&client, &ended, "text").await, 41050);
}

#[tokio::test]
async fn a_session_ends_by_itself_and_a_message_begins_another() {
    let clock = ManualClock::default();
    let (simulator, mut client) = after_a_message(&clock).await;
    let customer = simulator.customer(&wk1(), &wm1());
    clock.advance(47 * HOUR);
    customer.writes("still there?").unwrap();
    clock.advance(HOUR);
    client.renew().await.unwrap();
    assert_eq!(state(&client).await, 4);
    assert_eq!(send(&client, &text("late")).await, 95018);
    customer.writes("hello?").unwrap();
    assert_eq!(state(&client).await, 0);
    assert_eq!(send(&client, &text("hello")).await, 0);
}

#[tokio::test]
async fn what_colleagues_do_in_the_client_is_told_and_felt() {
    let (simulator, client) = session_in(2).await;
    let (liming, wangfang) = (liming(&simulator), ServicerUserid::from("WangFang"));
    let mut states = Vec::new();
    liming.takes(&wm1()).unwrap();
    states.push(state(&client).await);
    liming.transfers(&wm1(), &wangfang).unwrap();
    liming.ends(&wm1()).unwrap();
    states.push(state(&client).await);
    liming.reopens(&wm1()).unwrap();
    states.push(state(&client).await);
    assert_eq!(states, [3, 4, 3]);
    let page = client.sync(json!({ "open_kfid": "wk1" })).await;
    let events = &page["msg_list"].as_array().unwrap()[1..];
    let told: Vec<_> = events.iter().map(|item| &item["event"]).collect();
    assert_eq!(
        told.iter().map(|event| &event["change_type"]).collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
    assert_eq!(
        (&told[1]["old_servicer_userid"], &told[1]["new_servicer_userid"]),
        (&json!("LiMing"), &json!("WangFang"))
    );
    assert_eq!(
        on_event(&client, &told[2]["msg_code"], "text").await,
        95018,
        "it was opened again"
    );

    liming.ends(&wm1()).unwrap();
    liming.writes(&wm1(), "one more thing").unwrap();
    assert_eq!(state(&client).await, 3, "a colleague who writes has the session");
}
