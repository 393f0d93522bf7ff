//! The knowledge base.

use super::*;

async fn start() -> (Simulator, Client) {
    let simulator = Simulator::start(settings(&ManualClock::default())).await.unwrap();
    let client = Client::new(&simulator).await;
    (simulator, client)
}

fn question(group: &Value, asked: &str) -> Value {
    json!({
        "group_id": group, "question": { "text": { "content": asked } },
        "answers": [{ "text": { "content": "so" } }]
    })
}

async fn group(client: &Client, name: &str) -> Value {
    let answer = client.must_post("knowledge/add_group", &json!({ "name": name })).await;
    answer["group_id"].clone()
}

#[tokio::test]
async fn groups_are_made_named_listed_and_deleted() {
    let (_simulator, client) = start().await;
    let (first, second) = (group(&client, "one").await, group(&client, "two").await);
    client
        .must_post("knowledge/mod_group", &json!({ "group_id": first, "name": "uno" }))
        .await;
    let page = client.must_post("knowledge/list_group", &json!({ "limit": 2 })).await;
    let names: Vec<_> = page["group_list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| &group["name"])
        .collect();
    assert_eq!(names, ["默认分组", "uno"]);
    assert_eq!(page["has_more"], 1);
    let rest = json!({ "cursor": page["next_cursor"] });
    let rest = client.must_post("knowledge/list_group", &rest).await;
    assert_eq!(
        (&rest["group_list"][0]["group_id"], &rest["has_more"]),
        (&second, &json!(0))
    );

    let default = &page["group_list"][0];
    assert_eq!(default["is_default"], 1);
    client
        .must_post("knowledge/add_intent", &question(&second, "why?"))
        .await;
    client
        .must_post("knowledge/del_group", &json!({ "group_id": second }))
        .await;
    let left = client.must_post("knowledge/list_intent", &json!({})).await;
    assert_eq!(left["intent_list"], json!([]), "what is in a group goes with it");
    for (api, body, errcode) in [
        ("del_group", json!({ "group_id": second }), 40058),
        ("del_group", json!({ "group_id": default["group_id"] }), 40058),
        (
            "mod_group",
            json!({ "group_id": default["group_id"], "name": "n" }),
            40058,
        ),
        ("mod_group", json!({ "group_id": first, "name": "" }), 40058),
        ("add_group", json!({ "name": "字".repeat(13) }), 40058),
        ("add_group", json!({ "name": "字".repeat(12) }), 0),
        ("list_group", json!({ "limit": 1001 }), 40058),
        ("list_group", json!({ "cursor": "made up" }), 50100),
    ] {
        assert_eq!(
            client.try_post(&format!("knowledge/{api}"), &body).await,
            errcode,
            "{api} {body}"
        );
    }
}

#[tokio::test]
async fn questions_are_made_changed_listed_and_deleted() {
    let (_simulator, client) = start().await;
    let (one, two) = (group(&client, "one").await, group(&client, "two").await);
    let mut asked = question(&one, "why?");
    asked["similar_questions"] = json!({ "items": [{ "text": { "content": "how come?" } }] });
    let intent = client.must_post("knowledge/add_intent", &asked).await["intent_id"].clone();
    client.must_post("knowledge/add_intent", &question(&two, "when?")).await;
    for taken in ["why?", "how come?"] {
        assert_eq!(
            client.try_post("knowledge/add_intent", &question(&two, taken)).await,
            511_020,
            "{taken}"
        );
    }
    let change = json!({ "intent_id": intent, "question": { "text": { "content": "what for?" } } });
    client.must_post("knowledge/mod_intent", &change).await;
    let page = client
        .must_post("knowledge/list_intent", &json!({ "group_id": one }))
        .await;
    let [listed] = page["intent_list"].as_array().unwrap().clone().try_into().unwrap();
    assert_eq!(listed["question"]["text"]["content"], "what for?");
    assert_eq!(
        listed["similar_questions"], asked["similar_questions"],
        "what was not given stays"
    );
    client.must_post("knowledge/add_intent", &question(&two, "why?")).await;
    let change = json!({ "intent_id": intent, "question": { "text": { "content": "when?" } } });
    assert_eq!(client.try_post("knowledge/mod_intent", &change).await, 511_020);
    client
        .must_post("knowledge/del_intent", &json!({ "intent_id": intent }))
        .await;
    assert_eq!(
        client
            .try_post("knowledge/del_intent", &json!({ "intent_id": intent }))
            .await,
        40058
    );
    let page = client
        .must_post("knowledge/list_intent", &json!({ "intent_id": intent }))
        .await;
    assert_eq!(page["intent_list"], json!([]));
}

#[tokio::test]
async fn a_question_has_limits() {
    let (simulator, client) = start().await;
    let group = group(&client, "one").await;
    let content = |length: usize| json!({ "text": { "content": "字".repeat(length) } });
    let image = simulator.keep_media(MediaKind::Image, "a.png", "content");
    let picture = |media_id: Value| json!({ "msgtype": "image", "image": { "media_id": media_id } });
    let answer = |attachments: Vec<Value>| json!([{ "text": { "content": "so" }, "attachments": attachments }]);
    let similar = |count: usize| json!({ "items": vec![content(1); count] });
    for (field, value, errcode) in [
        ("group_id", json!("none"), 40058),
        ("question", content(201), 40058),
        ("question", json!({}), 40058),
        ("similar_questions", similar(101), 40058),
        ("answers", json!([]), 40058),
        ("answers", json!([content(1), content(1)]), 40058),
        ("answers", json!([content(501)]), 40058),
        ("answers", answer(vec![picture(json!(image)); 5]), 40058),
        ("answers", answer(vec![picture(json!("made up"))]), 40007),
        (
            "answers",
            answer(vec![json!({ "msgtype": "smell", "smell": {} })]),
            40008,
        ),
        (
            "answers",
            answer(vec![json!({ "msgtype": "video", "video": { "media_id": image } })]),
            40004,
        ),
        (
            "answers",
            answer(vec![json!({ "msgtype": "link", "link": { "title": "t" } })]),
            40058,
        ),
        ("answers", answer(vec![picture(json!(image)); 4]), 0),
    ] {
        let mut body = question(&group, "why?");
        body[field] = value;
        assert_eq!(
            client.try_post("knowledge/add_intent", &body).await,
            errcode,
            "{field} {}",
            body[field]
        );
    }
    let page = client.must_post("knowledge/list_intent", &json!({})).await;
    let attachment = &page["intent_list"][0]["answers"][0]["attachments"][0];
    assert_eq!(
        attachment,
        &json!({ "msgtype": "image", "image": { "name": "a.png" } }),
        "listed by its name"
    );
}
