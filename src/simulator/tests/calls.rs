use super::*;

async fn start(clock: &ManualClock) -> (Simulator, Client) {
    let simulator = Simulator::start(settings(clock)).await.unwrap();
    let client = Client::new(&simulator).await;
    (simulator, client)
}

/// The callback token that a bell for this account would bring now.
fn callback_token(simulator: &Simulator, open_kfid: &str) -> String {
    let now = simulator.world.clock.now();
    simulator
        .world
        .wecom()
        .new_callback_token(&OpenKfid::from(open_kfid), now)
}

#[tokio::test]
async fn gettoken_wants_the_right_corporation_and_secret() {
    let (_simulator, client) = start(&ManualClock::default()).await;
    for (query, errcode) in [
        ("", 41002),
        ("corpid=&corpsecret=x", 41002),
        ("corpid=ww0123456789abcdef", 41004),
        ("corpid=wwSomebodyElse&corpsecret=simulated-secret", 40013),
        ("corpid=ww0123456789abcdef&corpsecret=wrong", 40001),
        ("corpid=ww0123456789abcdef&corpsecret=simulated%2Dsecret", 0),
    ] {
        let answer = client.get(&format!("/cgi-bin/gettoken?{query}")).await;
        assert_eq!(answer["errcode"], errcode, "{query}");
    }
}

#[tokio::test]
async fn an_access_token_is_the_same_until_it_expires() {
    let clock = ManualClock::default();
    let (_simulator, mut client) = start(&clock).await;
    let first = client.access_token.clone();
    clock.advance(Duration::from_secs(7_199));
    client.renew().await.unwrap();
    assert_eq!(client.access_token, first);
    clock.advance(Duration::from_secs(1));
    assert_eq!(client.errcode(json!({ "open_kfid": "wk1" })).await, 42001);
    client.renew().await.unwrap();
    assert_eq!(client.errcode(json!({ "open_kfid": "wk1" })).await, 0);
}

#[tokio::test]
async fn a_call_without_a_good_access_token_is_refused() {
    let (_simulator, mut client) = start(&ManualClock::default()).await;
    for (token, errcode) in [("", 41001), ("made-up", 40014)] {
        token.clone_into(&mut client.access_token);
        assert_eq!(client.errcode(json!({ "open_kfid": "wk1" })).await, errcode);
        assert_eq!(client.post("account/list", "{}").await["errcode"], errcode);
    }
    let answer = client.get("/cgi-bin/kf/sync_msg").await;
    assert_eq!(answer["errcode"], 40058, "a GET");
}

#[tokio::test]
async fn wrong_secrets_are_banned_for_an_hour() {
    let clock = ManualClock::default();
    let (simulator, client) = start(&clock).await;
    let wrong = "/cgi-bin/gettoken?corpid=ww0123456789abcdef&corpsecret=wrong";
    let right = "/cgi-bin/gettoken?corpid=ww0123456789abcdef&corpsecret=simulated-secret";
    for _ in 0..5 {
        assert_eq!(client.get(wrong).await["errcode"], 40001);
    }
    assert_eq!(client.get(wrong).await["errcode"], 45009);
    assert_eq!(
        client.get(right).await["errcode"],
        45009,
        "the right one comes too late"
    );
    assert_eq!(simulator.counts().violations.calls_while_blocked, 1);
    clock.advance(HOUR);
    assert_eq!(client.get(right).await["errcode"], 0);
}

#[tokio::test]
async fn gettoken_must_not_be_called_frequently() {
    let clock = ManualClock::default();
    let (_simulator, client) = start(&clock).await;
    let right = "/cgi-bin/gettoken?corpid=ww0123456789abcdef&corpsecret=simulated-secret";
    let mut errcodes = Vec::new();
    for _ in 0..30 {
        errcodes.push(client.get(right).await["errcode"].as_i64().unwrap());
    }
    assert_eq!(errcodes[..29], [0; 29], "one had been made before");
    assert_eq!(errcodes[29], 45009);
    clock.advance(MINUTE);
    assert_eq!(client.get(right).await["errcode"], 0);
}

#[tokio::test]
async fn a_wrong_request_is_refused() {
    let (simulator, client) = start(&ManualClock::default()).await;
    let other = client.sync(json!({ "open_kfid": "wk2" })).await["next_cursor"].clone();
    let token = callback_token(&simulator, "wk1");
    for (mut body, errcode) in [
        (json!({}), 60251),
        (json!({ "open_kfid": "" }), 40058),
        (json!({ "open_kfid": 1 }), 40058),
        (json!({ "open_kfid": "wkNobody" }), 95004),
        (json!({ "open_kfid": "nobody" }), 95000),
        (json!({ "open_kfid": "wk1", "limit": 0 }), 40058),
        (json!({ "open_kfid": "wk1", "limit": 1001 }), 40058),
        (json!({ "open_kfid": "wk1", "limit": "9" }), 40058),
        (json!({ "open_kfid": "wk1", "voice_format": 2 }), 40058),
        (json!({ "open_kfid": "wk1", "cursor": "" }), 40058),
        (json!({ "open_kfid": "wk1", "cursor": "made up" }), 40058),
        (json!({ "open_kfid": "wk1", "cursor": "x".repeat(65) }), 40058),
        (json!({ "open_kfid": "wk1", "cursor": other }), 40058),
        (json!({ "open_kfid": "wk1", "limit": 1000, "voice_format": 1 }), 0),
    ] {
        body["token"] = token.clone().into();
        assert_eq!(client.errcode(body.clone()).await, errcode, "{body}");
    }
    assert_eq!(client.post("sync_msg", "{not json").await["errcode"], 40035);
    assert_eq!(client.errcode(json!({ "open_kfid": "wk1", "token": "" })).await, 40058);
    assert_eq!(simulator.counts().violations.empty_strings, 2, "of cursor and token");
}

#[tokio::test]
async fn a_refusal_carries_a_hint_and_is_counted() {
    let (simulator, client) = start(&ManualClock::default()).await;
    let answer = client.sync(json!({ "open_kfid": "wkNobody" })).await;
    let errmsg = answer["errmsg"].as_str().unwrap();
    assert!(
        errmsg.contains(", hint: [1785571200_") && errmsg.contains("devtool/query?e=95004"),
        "{errmsg}"
    );
    assert_eq!(simulator.counts().refused, [(95004, 1)].into());
}

#[tokio::test]
async fn a_callback_token_is_good_for_its_account_and_ten_minutes() {
    let clock = ManualClock::default();
    let (simulator, client) = start(&clock).await;
    let token = callback_token(&simulator, "wk1");
    assert_eq!(client.errcode(json!({ "open_kfid": "wk1", "token": token })).await, 0);
    assert_eq!(
        client.errcode(json!({ "open_kfid": "wk2", "token": token })).await,
        95007,
        "another account"
    );
    assert_eq!(
        client
            .errcode(json!({ "open_kfid": "wk1", "token": "ENCmadeup" }))
            .await,
        95007
    );
    assert_eq!(
        client
            .errcode(json!({ "open_kfid": "wk1", "token": "x".repeat(129) }))
            .await,
        40058
    );
    clock.advance(10 * MINUTE);
    assert_eq!(client.errcode(json!({ "open_kfid": "wk1", "token": token })).await, 0);
    assert_eq!(simulator.counts().violations.stale_tokens, 0);
    clock.advance(Duration::from_millis(1));
    assert_eq!(
        client.errcode(json!({ "open_kfid": "wk1", "token": token })).await,
        95007
    );
    assert_eq!(simulator.counts().violations.stale_tokens, 1);
}

#[tokio::test]
async fn more_than_ten_tokenless_pulls_in_a_minute_block_for_a_minute() {
    let clock = ManualClock::default();
    let (simulator, client) = start(&clock).await;
    let token = callback_token(&simulator, "wk1");
    for n in 0..10 {
        let (body, errcode) = match n % 2 {
            0 => (json!({ "open_kfid": "wk1" }), 0),
            _ => (json!({ "open_kfid": "wk1", "token": "ENCwrong" }), 95007),
        };
        assert_eq!(client.errcode(body).await, errcode);
    }
    assert_eq!(
        client.errcode(json!({ "open_kfid": "wk1", "token": token })).await,
        0,
        "one with a token is free"
    );
    assert_eq!(client.errcode(json!({ "open_kfid": "wk1" })).await, 45009);
    assert_eq!(simulator.counts().violations.calls_while_blocked, 0);
    assert_eq!(
        client.errcode(json!({ "open_kfid": "wk1", "token": token })).await,
        45009,
        "all of them are blocked"
    );
    assert_eq!(simulator.counts().violations.calls_while_blocked, 1);
    assert_eq!(simulator.counts().tokenless, 11);
    clock.advance(MINUTE);
    assert_eq!(client.errcode(json!({ "open_kfid": "wk1" })).await, 0);
}

#[tokio::test]
async fn the_budget_of_a_minute_is_kept() {
    let clock = ManualClock::default();
    let mut settings = settings(&clock);
    settings.limits.per_minute = 3;
    let simulator = Simulator::start(settings).await.unwrap();
    let client = Client::new(&simulator).await;
    let token = callback_token(&simulator, "wk1");
    let mut errcodes = Vec::new();
    for _ in 0..4 {
        errcodes.push(client.errcode(json!({ "open_kfid": "wk1", "token": token })).await);
    }
    assert_eq!(errcodes, [0, 0, 0, 45009]);
    assert_eq!(
        client.post("account/list", "{}").await["errcode"],
        0,
        "another API has a budget of its own"
    );
    clock.advance(MINUTE);
    assert_eq!(client.errcode(json!({ "open_kfid": "wk1", "token": token })).await, 0);
}

#[tokio::test]
async fn accounts_are_listed_granted_and_withdrawn() {
    let (simulator, client) = start(&ManualClock::default()).await;
    simulator.grant(Account::new("wk3", "three"));
    let list = async |body: Value| -> Vec<String> {
        let answer = client.post("account/list", body.to_string()).await;
        let accounts = answer["account_list"].as_array().unwrap();
        accounts
            .iter()
            .map(|account| account["open_kfid"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(list(json!({})).await, ["wk1", "wk2", "wk3"]);
    assert_eq!(list(json!({ "offset": 1, "limit": 1 })).await, ["wk2"]);
    assert!(list(json!({ "offset": 3 })).await.is_empty());
    assert_eq!(client.post("account/list", r#"{"limit":101}"#).await["errcode"], 40058);

    simulator.say(&OpenKfid::from("wk3"), hello()).unwrap();
    simulator.withdraw(&OpenKfid::from("wk3"));
    simulator.set_faults(Faults::default());
    assert_eq!(list(json!({})).await, ["wk1", "wk2"]);
    assert_eq!(client.errcode(json!({ "open_kfid": "wk3" })).await, 48007);
    simulator.grant(Account::new("wk3", "three"));
    assert_eq!(
        msgids(&client.sync(json!({ "open_kfid": "wk3" })).await).len(),
        1,
        "what was said is still there"
    );
}

#[tokio::test]
async fn one_account_can_be_refused_while_others_work() {
    let (simulator, client) = start(&ManualClock::default()).await;
    simulator.set_faults(Faults::default().refusing(wk1(), 95000));
    assert_eq!(client.errcode(json!({ "open_kfid": "wk1" })).await, 95000);
    assert_eq!(client.errcode(json!({ "open_kfid": "wk2" })).await, 0);
}

#[tokio::test]
async fn pulls_of_one_account_at_the_same_time_are_noticed() {
    let (simulator, client) = start(&ManualClock::default()).await;
    let mut faults = Faults::only(Fault::Latency, Dial::Chance(1.0));
    faults.slowness = Duration::from_millis(400);
    simulator.set_faults(faults);
    let pull = |open_kfid: &str| client.sync(json!({ "open_kfid": open_kfid }));
    tokio::join!(pull("wk1"), pull("wk2"));
    assert_eq!(simulator.counts().overlap, 0, "of different accounts");
    pull("wk1").await;
    assert_eq!(simulator.counts().overlap, 0, "one after the other");
    let under_way = simulator.world.clone();
    let first = server::PullUnderWay::new(under_way, wk1());
    pull("wk1").await;
    assert_eq!(simulator.counts().overlap, 1);
    drop(first);
    pull("wk1").await;
    assert_eq!(simulator.counts().overlap, 1);
}
