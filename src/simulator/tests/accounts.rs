//! Accounts, links to them, and who serves them.

use super::*;

async fn start() -> (Simulator, Client) {
    let simulator = Simulator::start(settings(&ManualClock::default())).await.unwrap();
    let client = Client::new(&simulator).await;
    (simulator, client)
}

async fn listed(client: &Client) -> Vec<Value> {
    let list = client.must_post("account/list", &json!({})).await;
    list["account_list"].as_array().unwrap().clone()
}

#[tokio::test]
async fn an_account_can_be_made_changed_and_deleted() {
    let (simulator, client) = start().await;
    let picture = simulator.keep_media(MediaKind::Image, "a.png", "content");
    let other = simulator.keep_media(MediaKind::Image, "b.png", "content");
    let made = client
        .must_post("account/add", &json!({ "name": "三号", "media_id": picture }))
        .await;
    let open_kfid = made["open_kfid"].as_str().unwrap();
    let [_, _, third] = listed(&client).await.try_into().unwrap();
    assert_eq!(
        (&third["open_kfid"], &third["name"]),
        (&made["open_kfid"], &json!("三号"))
    );

    client
        .must_post("account/update", &json!({ "open_kfid": open_kfid, "name": "新" }))
        .await;
    client
        .must_post("account/update", &json!({ "open_kfid": open_kfid, "media_id": other }))
        .await;
    let changed = listed(&client).await.remove(2);
    assert_eq!(changed["name"], "新");
    assert_ne!(changed["avatar"], third["avatar"]);

    simulator.say(&OpenKfid::from(open_kfid), hello()).unwrap();
    assert_eq!(msgids(&client.sync(json!({ "open_kfid": open_kfid })).await).len(), 1);
    client
        .must_post("account/del", &json!({ "open_kfid": open_kfid }))
        .await;
    assert_eq!(listed(&client).await.len(), 2);
    assert_eq!(client.errcode(json!({ "open_kfid": open_kfid })).await, 95004);
}

#[tokio::test]
async fn an_account_must_have_a_name_and_a_picture() {
    let (simulator, client) = start().await;
    let picture = simulator.keep_media(MediaKind::Image, "a.png", "content");
    let file = simulator.keep_media(MediaKind::File, "a.txt", "content");
    for (body, errcode) in [
        (json!({ "media_id": picture }), 95006),
        (json!({ "name": "", "media_id": picture }), 95006),
        (json!({ "name": "字".repeat(17), "media_id": picture }), 95006),
        (json!({ "name": "字".repeat(16), "media_id": picture }), 0),
        (json!({ "name": "n" }), 41006),
        (json!({ "name": "n", "media_id": "made up" }), 40007),
        (json!({ "name": "n", "media_id": file }), 40004),
    ] {
        assert_eq!(client.try_post("account/add", &body).await, errcode, "{body}");
    }
    let rename = json!({ "open_kfid": "wk1", "name": "" });
    assert_eq!(client.try_post("account/update", &rename).await, 95006);
    assert_eq!(
        client
            .try_post("account/update", &json!({ "open_kfid": "wkNobody" }))
            .await,
        95004
    );
}

#[tokio::test]
async fn the_last_account_cannot_be_deleted() {
    let (_simulator, client) = start().await;
    client.must_post("account/del", &json!({ "open_kfid": "wk1" })).await;
    assert_eq!(
        client.try_post("account/del", &json!({ "open_kfid": "wk1" })).await,
        95004
    );
    assert_eq!(
        client.try_post("account/del", &json!({ "open_kfid": "wk2" })).await,
        95005
    );
}

#[tokio::test]
async fn a_link_brings_customers_with_its_scene_unless_it_was_changed() {
    let (simulator, client) = start().await;
    let customer = ExternalUserid::from("wm1");
    let customer = simulator.customer(&wk1(), &customer);
    let link = |scene: Value| json!({ "open_kfid": "wk1", "scene": scene });
    let answer = client.must_post("add_contact_way", &link("shop-1".into())).await;
    let url = answer["url"].as_str().unwrap();
    assert!(customer.follows(url).unwrap().unwrap().welcome_code.is_some());
    customer
        .follows(&format!("{url}&scene_param=order%3D42%26x"))
        .unwrap()
        .unwrap();
    let page = client.sync(json!({ "open_kfid": "wk1" })).await;
    let event = &page["msg_list"][1]["event"];
    assert_eq!(
        (&event["scene"], &event["scene_param"]),
        (&json!("shop-1"), &json!("order=42&x"))
    );

    let plain = client
        .must_post("add_contact_way", &json!({ "open_kfid": "wk1" }))
        .await;
    let plain = plain["url"].as_str().unwrap();
    let elsewhere = client
        .must_post("add_contact_way", &json!({ "open_kfid": "wk2" }))
        .await;
    for changed in [
        format!("{url}x"),
        format!("{url}&scene_param=a&b=c"),
        format!("{url}&scene_param={}", "x".repeat(129)),
        format!("{plain}&scene_param=a"),
        elsewhere["url"].as_str().unwrap().to_owned(),
    ] {
        assert_eq!(customer.follows(&changed).unwrap(), None, "{changed}");
    }
    assert!(customer.follows(plain).unwrap().is_some());
    assert_eq!(
        client.try_post("add_contact_way", &link("with space".into())).await,
        40058
    );
    assert_eq!(
        client.try_post("add_contact_way", &link("x".repeat(33).into())).await,
        40058
    );
}

#[tokio::test]
async fn each_entry_of_a_team_has_a_result_of_its_own() {
    let (_simulator, client) = start().await;
    let team = json!({ "open_kfid": "wk1", "userid_list": ["ChenJie", "LiMing", "Nobody"], "department_id_list": [2] });
    let added = client.must_post("servicer/add", &team).await;
    let expected = json!([
        { "userid": "ChenJie", "errcode": 0, "errmsg": "success" },
        { "userid": "LiMing", "errcode": 0, "errmsg": "ignored" },
        { "userid": "Nobody", "errcode": 60111, "errmsg": "invalid string value" },
        { "department_id": 2, "errcode": 0, "errmsg": "success" },
    ]);
    assert_eq!(added["result_list"], expected);
    let removed = json!({ "open_kfid": "wk1", "userid_list": ["LiMing", "SunTao"], "department_id_list": [2] });
    let removed = client.must_post("servicer/del", &removed).await;
    let outcomes = removed["result_list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["errmsg"].clone());
    assert_eq!(outcomes.collect::<Vec<_>>(), ["success", "ignored", "success"]);
    let list = client.ask("servicer/list", "open_kfid=wk1").await;
    let people: Vec<_> = list["servicer_list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| &entry["userid"])
        .collect();
    assert_eq!(people, ["ChenJie", "WangFang", "ZhaoLei"]);
}

#[tokio::test]
async fn the_list_of_a_team_tells_who_receives() {
    let (simulator, client) = start().await;
    simulator
        .servicer(&wk1(), &crate::id::ServicerUserid::from("WangFang"))
        .stops()
        .unwrap();
    let list = client.ask("servicer/list", "open_kfid=wk1").await;
    let expected = json!([
        { "userid": "LiMing", "status": 0 },
        { "userid": "WangFang", "status": 1, "stop_type": 0 },
        { "userid": "ZhaoLei", "status": 0 },
    ]);
    assert_eq!(list["servicer_list"], expected);
    assert_eq!(client.ask("servicer/list", "").await["errcode"], 60251);
    assert_eq!(client.try_post("servicer/list", &json!({})).await, 40058, "a POST");
}

#[tokio::test]
async fn a_team_has_limits() {
    let (simulator, client) = start().await;
    let people: Vec<_> = (0..2_000).map(|n| format!("u{n}")).collect();
    let ids = people.iter().map(|id| crate::id::ServicerUserid::from(id.as_str()));
    simulator.world.wecom().settings.employees = ids.collect();
    let team = |people: &[String], departments: Vec<u64>| json!({ "open_kfid": "wk1", "userid_list": people, "department_id_list": departments });
    for (team, errcode) in [
        (team(&[], vec![]), 40058),
        (team(&people[..101], vec![]), 40058),
        (team(&[], (1..22).collect()), 40058),
        (team(&[], (1..21).collect()), 0),
        (team(&[], vec![21]), 95020),
    ] {
        assert_eq!(client.try_post("servicer/add", &team).await, errcode);
    }
    for hundred in people[..1_900].chunks(100) {
        client.must_post("servicer/add", &team(hundred, vec![])).await;
    }
    assert_eq!(
        client
            .try_post("servicer/add", &team(&people[1_900..1_998], vec![]))
            .await,
        95020,
        "three were there"
    );
    assert_eq!(
        client
            .try_post("servicer/add", &team(&people[1_900..1_997], vec![]))
            .await,
        0
    );
}
