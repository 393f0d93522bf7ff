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

#[tokio::test]
async fn a_customer_acts_and_sees_as_told() {
    let simulator = start().await;
    let client = Client::new(&simulator).await;
    let somebody = json!({ "external_userid": "wm1", "open_kfid": "wk2", "scene": "shop", "scene_param": "a=b" });
    let (status, entry) = post(&simulator, "enter", somebody).await;
    assert_eq!(status, 200, "{entry}");
    let page = client.sync(json!({ "open_kfid": "wk2" })).await;
    let event = &page["msg_list"][0]["event"];
    assert_eq!(
        (&event["welcome_code"], &event["scene"]),
        (&entry["welcome_code"], &json!("shop"))
    );

    let menu = json!({ "code": entry["welcome_code"], "msgid": "m1", "msgtype": "msgmenu", "msgmenu": {
        "head_content": "Hello", "list": [{ "type": "click", "click": { "id": "i", "content": "c" } }] } });
    client.must_post("send_msg_on_event", &menu).await;
    let tap = json!({ "external_userid": "wm1", "open_kfid": "wk2", "item": "i" });
    let (status, tapped) = post(&simulator, "tap", tap.clone()).await;
    assert_eq!(
        (status, &tapped["msgid"]),
        (200, &json!(simulator.ledger().said[1].msgid))
    );
    let mut wrong = tap;
    wrong["item"] = "j".into();
    let (status, answer) = post(&simulator, "tap", wrong).await;
    assert_eq!(
        (status, &answer["error"]),
        (400, &json!("the customer sees no menu entry \"j\""))
    );

    let (_, seen) = ask(&simulator, reqwest::Method::GET, "seen", Value::Null).await;
    let first = &seen["seen"][0];
    assert_eq!(
        (&first["text"], &first["occasion"]),
        (&json!("Hello\nc"), &json!("welcome"))
    );
    for (filter, count) in [
        ("?open_kfid=wk2&external_userid=wm1", 1),
        ("?open_kfid=wk1", 0),
        ("?external_userid=wm2", 0),
    ] {
        let (_, seen) = ask(&simulator, reqwest::Method::GET, &format!("seen{filter}"), Value::Null).await;
        assert_eq!(seen["seen"].as_array().unwrap().len(), count, "{filter}");
    }
}

#[tokio::test]
async fn a_reply_fails_and_a_colleague_acts_as_told() {
    let simulator = start().await;
    let client = Client::new(&simulator).await;
    simulator.say(&wk1(), hello()).unwrap();
    let reply = json!({ "touser": "wm1", "open_kfid": "wk1", "msgid": "m1", "msgtype": "text",
                        "text": { "content": "hi" } });
    client.must_post("send_msg", &reply).await;
    let (status, _) = post(&simulator, "failures", json!({ "msgid": "m1", "fail_type": 4 })).await;
    assert_eq!((status, simulator.seen()[0].fail_type), (200, Some(4)));
    let (status, answer) = post(&simulator, "failures", json!({ "msgid": "m2", "fail_type": 4 })).await;
    assert_eq!(
        (status, &answer["error"]),
        (400, &json!("no message m2 was sent on account wk1"))
    );

    for (change, state) in [("take", 3), ("transfer", 3), ("end", 4), ("reopen", 3)] {
        let body = json!({ "external_userid": "wm1", "change": change, "servicer_userid": "LiMing",
                           "other_servicer_userid": "WangFang" });
        let (status, answer) = post(&simulator, "session", body).await;
        assert_eq!(status, 200, "{answer}");
        let session = json!({ "open_kfid": "wk1", "external_userid": "wm1" });
        let session = client.must_post("service_state/get", &session).await;
        assert_eq!(session["service_state"], state, "{change}");
    }
    let body = json!({ "change": "fire", "servicer_userid": "LiMing" });
    let (status, answer) = post(&simulator, "session", body).await;
    assert_eq!(status, 400);
    assert!(answer["error"].as_str().unwrap().contains("fire"), "{answer}");
}
