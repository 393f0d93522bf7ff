//! Who customers are, and whom they are recommended to.

use super::*;

async fn start(clock: &ManualClock) -> (Simulator, Client) {
    let simulator = Simulator::start(settings(clock)).await.unwrap();
    let client = Client::new(&simulator).await;
    (simulator, client)
}

#[tokio::test]
async fn only_recent_customers_are_told_about() {
    let clock = ManualClock::default();
    let (simulator, mut client) = start(&clock).await;
    let [writer, visitor] = ["wm1", "wm2"].map(ExternalUserid::from);
    simulator.customer(&wk1(), &writer).writes("hello").unwrap();
    simulator
        .customer(&wk1(), &visitor)
        .enters_from("shop", "order=1")
        .unwrap();
    let ask = json!({ "external_userid_list": ["wm1", "wm2", "wm3"], "need_enter_session_context": 1 });
    let answer = client.must_post("customer/batchget", &ask).await;
    let [first, second] = answer["customer_list"].as_array().unwrap().clone().try_into().unwrap();
    assert_eq!(
        (&first["external_userid"], first.get("enter_session_context")),
        (&json!("wm1"), None)
    );
    assert_eq!(
        second["enter_session_context"],
        json!({ "scene": "shop", "scene_param": "order=1" })
    );
    assert_ne!(first["nickname"], second["nickname"]);
    assert_eq!(answer["invalid_external_userid"], json!(["wm3"]));

    let ask = json!({ "external_userid_list": ["wm2"] });
    let answer = client.must_post("customer/batchget", &ask).await;
    assert_eq!(
        answer["customer_list"][0].get("enter_session_context"),
        None,
        "nobody asked"
    );
    clock.advance(48 * HOUR);
    client.renew().await.unwrap();
    let answer = client.must_post("customer/batchget", &ask).await;
    assert_eq!(answer["invalid_external_userid"], json!(["wm2"]));
}

#[tokio::test]
async fn a_batch_has_1_to_100_customers() {
    let (_simulator, client) = start(&ManualClock::default()).await;
    for (count, errcode) in [(0, 40058), (1, 0), (100, 0), (101, 40058)] {
        let body = json!({ "external_userid_list": vec!["wm1"; count] });
        assert_eq!(client.try_post("customer/batchget", &body).await, errcode, "{count}");
    }
    let body = json!({ "external_userid_list": ["wm1"], "need_enter_session_context": 2 });
    assert_eq!(client.try_post("customer/batchget", &body).await, 40058);
}

#[tokio::test]
async fn customers_are_recommended_to_whom_the_console_names() {
    let clock = ManualClock::default();
    let (simulator, mut client) = start(&clock).await;
    let config = client.ask("customer/get_upgrade_service_config", "").await;
    let (member, chat) = (
        &config["member_range"]["userid_list"][0],
        &config["groupchat_range"]["chat_id_list"][0],
    );
    simulator
        .customer(&wk1(), &ExternalUserid::from("wm1"))
        .writes("hello")
        .unwrap();
    let upgrade = |fields: Value| {
        let mut body = json!({ "open_kfid": "wk1", "external_userid": "wm1" });
        body.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        body
    };
    let to_member = upgrade(json!({ "type": 1, "member": { "userid": member, "wording": "hi" } }));
    for (body, errcode) in [
        (to_member.clone(), 0),
        (upgrade(json!({ "type": 2, "groupchat": { "chat_id": chat } })), 0),
        (upgrade(json!({ "type": 1, "member": { "userid": "Nobody" } })), 95021),
        (
            upgrade(json!({ "type": 2, "groupchat": { "chat_id": "wrNone" } })),
            95021,
        ),
        (upgrade(json!({ "type": 1 })), 40058),
        (upgrade(json!({ "type": 3 })), 40058),
        (
            upgrade(json!({ "type": 1, "member": { "userid": member }, "external_userid": "wmNobody" })),
            40096,
        ),
    ] {
        assert_eq!(
            client.try_post("customer/upgrade_service", &body).await,
            errcode,
            "{body}"
        );
    }
    client
        .must_post("customer/cancel_upgrade_service", &upgrade(json!({})))
        .await;
    let nobody = json!({ "open_kfid": "wk1", "external_userid": "wmNobody" });
    assert_eq!(client.try_post("customer/cancel_upgrade_service", &nobody).await, 40096);
    clock.advance(48 * HOUR);
    client.renew().await.unwrap();
    assert_eq!(client.try_post("customer/upgrade_service", &to_member).await, 95031);
}

#[tokio::test]
async fn what_the_corporation_has_is_told_as_it_is_set() {
    let (simulator, client) = start(&ManualClock::default()).await;
    for is_bound in [true, false] {
        simulator.world.wecom().settings.wechat_channels_binding = is_bound;
        let answer = client.ask("get_corp_qualification", "").await;
        assert_eq!(answer["wechat_channels_binding"], is_bound);
    }
}
