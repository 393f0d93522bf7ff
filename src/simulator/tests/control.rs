use super::*;

/// Asks the simulator itself.
async fn ask(simulator: &Simulator, method: reqwest::Method, path: &str, body: Value) -> (u16, Value) {
    let url = format!("{}/simulator/{path}", simulator.base_url());
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let response = reqwest::Client::new()
        .request(method, url)
        .body(body)
        .send()
        .await
        .unwrap();
    let status = response.status().as_u16();
    (
        status,
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap(),
    )
}

async fn post(simulator: &Simulator, path: &str, body: Value) -> (u16, Value) {
    ask(simulator, reqwest::Method::POST, path, body).await
}

async fn start() -> Simulator {
    Simulator::start(settings(&ManualClock::default())).await.unwrap()
}

#[tokio::test]
async fn a_message_can_be_said_in_short_or_in_full() {
    let simulator = start().await;
    for (body, open_kfid, external_userid, kind) in [
        (
            json!({ "text": "hi" }),
            "wk1",
            "wmSimulatedCustomer000000000001",
            "text",
        ),
        (
            json!({ "text": "hi", "open_kfid": "wk2", "external_userid": "wm1" }),
            "wk2",
            "wm1",
            "text",
        ),
        (
            json!({ "sample": "image", "external_userid": "wm1" }),
            "wk1",
            "wm1",
            "image",
        ),
        (
            json!({ "msgtype": "text", "open_kfid": "wk2", "external_userid": "wm1", "text": { "content": "hi" } }),
            "wk2",
            "wm1",
            "text",
        ),
        (
            json!({ "msgtype": "event", "event": {
                "event_type": "enter_session", "open_kfid": "wk2", "external_userid": "wm1" } }),
            "wk2",
            "wm1",
            "event.enter_session",
        ),
    ] {
        let (status, answer) = post(&simulator, "messages", body.clone()).await;
        assert_eq!(status, 200, "{body}: {answer}");
        let ledger = simulator.ledger();
        let said = ledger.said.last().unwrap();
        assert_eq!(answer, json!({ "msgid": said.msgid }));
        assert_eq!((said.open_kfid.as_str(), &*said.kind), (open_kfid, kind), "{body}");
        assert_eq!(
            said.external_userid,
            Some(ExternalUserid::from(external_userid)),
            "{body}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_said_is_explained() {
    let simulator = start().await;
    for (body, reason) in [
        (Value::Null, "wrong json"),
        (json!({}), "must have a msgtype, a text or a sample"),
        (
            json!({ "text": "hi", "open_kfid": "wkNobody" }),
            "wkNobody does not exist",
        ),
        (json!({ "texd": "hi" }), "texd"),
        (json!({ "sample": "smell" }), "smell"),
        (json!({ "msgtype": "event" }), "event_type"),
    ] {
        let (status, answer) = post(&simulator, "messages", body.clone()).await;
        assert_eq!(status, 400, "{body}");
        assert!(answer["error"].as_str().unwrap().contains(reason), "{body}: {answer}");
    }
    assert_eq!(simulator.counts().said, 0);
}

#[tokio::test]
async fn a_conversation_shows_one_of_everything() {
    let simulator = start().await;
    let (status, answer) = post(&simulator, "conversation", Value::Null).await;
    assert_eq!(
        (status, answer["msgids"].as_array().unwrap().len()),
        (200, samples::Sample::ALL.len())
    );
    let (status, _) = post(
        &simulator,
        "conversation",
        json!({ "open_kfid": "wk2", "external_userid": "wm1" }),
    )
    .await;
    assert_eq!(status, 200);
    let ledger = simulator.ledger();
    let on_second = ledger.said.iter().filter(|said| said.open_kfid.as_str() == "wk2");
    assert_eq!(on_second.count(), samples::Sample::ALL.len());
}

#[tokio::test]
async fn faults_are_shown_and_replaced() {
    let simulator = start().await;
    let (_, shown) = ask(&simulator, reqwest::Method::GET, "faults", Value::Null).await;
    assert_eq!(shown["dials"].as_object().unwrap().len(), Fault::ALL.len());
    let wanted = json!({ "dials": { "html": { "next": 2 } }, "slowness_ms": 7 });
    let (status, shown) = ask(&simulator, reqwest::Method::PUT, "faults", wanted).await;
    assert_eq!((status, &shown["dials"]["html"]), (200, &json!({ "next": 2 })));
    assert_eq!(simulator.faults().dials.get(&Fault::Html), Some(&Dial::Next(2)));
    assert_eq!(simulator.faults().slowness, Duration::from_millis(7));
    let (status, answer) = ask(
        &simulator,
        reqwest::Method::PUT,
        "faults",
        json!({ "dials": { "rain": 1 } }),
    )
    .await;
    assert_eq!(status, 400);
    assert!(answer["error"].as_str().unwrap().contains("rain"));
    assert_eq!(
        simulator.faults().slowness,
        Duration::from_millis(7),
        "a refused change changes nothing"
    );
}

#[tokio::test]
async fn the_ledger_is_shown_in_numbers() {
    let simulator = start().await;
    simulator.set_fault(Fault::Busy, Dial::Next(1));
    simulator.say(&wk1(), hello()).unwrap();
    let client = Client::new(&simulator).await;
    client.sync(json!({ "open_kfid": "wk1" })).await;
    let (status, ledger) = ask(&simulator, reqwest::Method::GET, "ledger", Value::Null).await;
    assert_eq!(status, 200);
    assert_eq!(
        (&ledger["said"], &ledger["sync_msg"], &ledger["gettoken"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(
        (&ledger["refused"], &ledger["faults"]),
        (&json!({ "-1": 1 }), &json!({ "busy": 1 }))
    );
}
