//! The questions and answers of WeCom's robot.

use super::*;
use crate::api::knowledge::{
    Attachment, Intent, IntentAnswer, IntentChange, ListGroups, ListIntents, StoredAttachment,
};
use crate::id::{IntentId, KnowledgeGroupId, MediaId};

fn group() -> KnowledgeGroupId {
    KnowledgeGroupId::from("GROUP_ID")
}

fn intent_id() -> IntentId {
    IntentId::from("INTENT_ID")
}

#[tokio::test]
async fn a_group_is_added_renamed_and_deleted() {
    let fake = fake_that_answers(r#"{"errcode":0,"errmsg":"ok","group_id":"GROUP_ID"}"#).await;
    let client = client(&fake.base);
    assert_eq!(client.knowledge_add_group("分组名").await.unwrap(), group());
    client.knowledge_mod_group(&group(), "新分组名").await.unwrap();
    client.knowledge_del_group(&group()).await.unwrap();
    for (call, body) in [
        ("kf/knowledge/add_group", json!({ "name": "分组名" })),
        (
            "kf/knowledge/mod_group",
            json!({ "group_id": "GROUP_ID", "name": "新分组名" }),
        ),
        ("kf/knowledge/del_group", json!({ "group_id": "GROUP_ID" })),
    ] {
        assert_eq!(fake.seen(call)[0].json(), body);
    }
    let error = client.knowledge_add_group(&"字".repeat(13)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "kf/knowledge/add_group was not called: name has 13 characters, more than 12"
    );
}

#[tokio::test]
async fn groups_are_listed_page_by_page() {
    let page = r#"{"errcode":0,"errmsg":"ok","next_cursor":"NEXT_CURSOR","has_more":1,
        "group_list":[{"group_id":"GROUP_ID","name":"分组名","is_default":1},{"group_id":"G2"}]}"#;
    let fake = fake_that_answers(page).await;
    let client = client(&fake.base);
    let page = client.knowledge_list_group(&ListGroups::default()).await.unwrap();
    assert_eq!(page.next_cursor.as_deref(), Some("NEXT_CURSOR"));
    assert_eq!((&*page.items[0].name, page.items[0].is_default), ("分组名", true));
    assert!(!page.items[1].is_default);
    let which = ListGroups {
        cursor: Some("NEXT_CURSOR"),
        limit: Some(1000),
        group_id: Some(&group()),
    };
    client.knowledge_list_group(&which).await.unwrap();
    let seen = fake.seen("kf/knowledge/list_group");
    assert_eq!(seen[0].json(), json!({}));
    assert_eq!(
        seen[1].json(),
        json!({ "cursor": "NEXT_CURSOR", "limit": 1000, "group_id": "GROUP_ID" })
    );
    for limit in [0, 1001] {
        let which = ListGroups {
            limit: Some(limit),
            ..which
        };
        let error = client.knowledge_list_group(&which).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "kf/knowledge/list_group was not called: limit must be between 1 and 1000"
        );
    }

    // A last page may have a cursor all the same.
    let fake = fake_that_answers(r#"{"errcode":0,"next_cursor":"NEXT_CURSOR","has_more":0}"#).await;
    let page = super::client(&fake.base)
        .knowledge_list_group(&ListGroups::default())
        .await
        .unwrap();
    assert_eq!((page.items.len(), page.next_cursor), (0, None));
}

fn intent() -> Intent {
    Intent {
        question: "主问题".into(),
        similar_questions: vec!["相似问题1".into(), "相似问题2".into()],
        answer: IntentAnswer {
            text: "问题的回复".into(),
            attachments: vec![
                Attachment::Image(MediaId::from("MEDIA_ID")),
                Attachment::Link {
                    title: "标题".into(),
                    desc: None,
                    url: "https://work.weixin.qq.com".into(),
                    pic_url: Some("https://a.example/p.png".into()),
                },
                Attachment::Miniprogram {
                    title: None,
                    thumb_media_id: MediaId::from("THUMB"),
                    appid: "wx1".into(),
                    pagepath: "pages/index".into(),
                },
                Attachment::Video(MediaId::from("VIDEO")),
            ],
        },
    }
}

#[tokio::test]
async fn a_question_is_added_changed_and_deleted() {
    let fake = fake_that_answers(r#"{"errcode":0,"errmsg":"ok","intent_id":"INTENT_ID"}"#).await;
    let client = client(&fake.base);
    assert_eq!(
        client.knowledge_add_intent(&group(), &intent()).await.unwrap(),
        intent_id()
    );
    assert_eq!(
        fake.seen("kf/knowledge/add_intent")[0].json(),
        json!({
            "group_id": "GROUP_ID",
            "question": { "text": { "content": "主问题" } },
            "similar_questions": { "items": [
                { "text": { "content": "相似问题1" } },
                { "text": { "content": "相似问题2" } },
            ] },
            "answers": [{
                "text": { "content": "问题的回复" },
                "attachments": [
                    { "msgtype": "image", "image": { "media_id": "MEDIA_ID" } },
                    { "msgtype": "link", "link": {
                        "title": "标题",
                        "url": "https://work.weixin.qq.com",
                        "pic_url": "https://a.example/p.png",
                    } },
                    { "msgtype": "miniprogram", "miniprogram": {
                        "thumb_media_id": "THUMB",
                        "appid": "wx1",
                        "pagepath": "pages/index",
                    } },
                    { "msgtype": "video", "video": { "media_id": "VIDEO" } },
                ],
            }],
        })
    );

    let change = IntentChange {
        similar_questions: Some(&[]),
        ..IntentChange::default()
    };
    client.knowledge_mod_intent(&intent_id(), &change).await.unwrap();
    assert_eq!(
        fake.seen("kf/knowledge/mod_intent")[0].json(),
        json!({ "intent_id": "INTENT_ID", "similar_questions": { "items": [] } })
    );
    client.knowledge_del_intent(&intent_id()).await.unwrap();
    assert_eq!(
        fake.seen("kf/knowledge/del_intent")[0].json(),
        json!({ "intent_id": "INTENT_ID" })
    );
}

type Spoil = fn(&mut Intent);

#[tokio::test]
async fn a_question_is_held_to_its_limits() {
    let fake = fake_that_answers(DONE).await;
    let client = client(&fake.base);
    let cases: [(Spoil, &str); 7] = [
        (|intent| intent.question.clear(), "question.text.content is empty"),
        (
            |intent| intent.question = "问".repeat(201),
            "question.text.content has 201 characters, more than 200",
        ),
        (
            |intent| intent.similar_questions = vec!["问".into(); 101],
            "similar_questions.items has 101 items, more than 100",
        ),
        (
            |intent| intent.similar_questions[1] = "问".repeat(201),
            "similar_questions.items[1].text.content has 201 characters, more than 200",
        ),
        (
            |intent| intent.answer.text = "答".repeat(501),
            "answers[0].text.content has 501 characters, more than 500",
        ),
        (
            |intent| intent.answer.attachments.push(Attachment::Image(MediaId::from("M"))),
            "answers[0].attachments has 5 items, more than 4",
        ),
        (
            |intent| intent.answer.attachments[0] = Attachment::Image(MediaId::from("")),
            "answers[0].attachments[0].image.media_id is empty",
        ),
    ];
    for (spoil, complaint) in cases {
        let mut intent = intent();
        spoil(&mut intent);
        let error = client.knowledge_add_intent(&group(), &intent).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("kf/knowledge/add_intent was not called: {complaint}")
        );
    }
    assert_eq!(fake.count("gettoken"), 0);
}

#[tokio::test]
async fn questions_are_read_whether_their_answers_stand_inside_or_beside() {
    let similar = r#""similar_questions":{"items":[{"text":{"content":"相似问题1"}}]}"#;
    let answers = r#""answers":[{"text":{"content":"问题的回复"},"attachments":[
        {"msgtype":"image","image":{"name":"图片.jpg"}},
        {"msgtype":"video","video":{"name":"视频.mp4"}},
        {"msgtype":"link","link":{"title":"标题","url":"https://a.example"}},
        {"msgtype":"miniprogram","miniprogram":{"title":"小程序","appid":"wx1","pagepath":"p"}},
        {"msgtype":"novelty","novelty":{}}]}]"#;
    for question in [
        format!(r#""question":{{"text":{{"content":"主问题"}},{similar},{answers}}}"#),
        format!(r#""question":{{"text":{{"content":"主问题"}}}},{similar},{answers}"#),
    ] {
        let body = format!(
            r#"{{"errcode":0,"next_cursor":"","has_more":0,
                "intent_list":[{{"group_id":"GROUP_ID","intent_id":"INTENT_ID",{question}}}]}}"#
        );
        let fake = fake_that_answers(body.leak()).await;
        let which = ListIntents {
            group_id: Some(&group()),
            intent_id: Some(&intent_id()),
            ..ListIntents::default()
        };
        let page = client(&fake.base).knowledge_list_intent(&which).await.unwrap();
        assert_eq!(
            fake.seen("kf/knowledge/list_intent")[0].json(),
            json!({ "group_id": "GROUP_ID", "intent_id": "INTENT_ID" })
        );
        let intent = &page.items[0];
        assert_eq!((&intent.group_id, &intent.intent_id), (&group(), &intent_id()));
        assert_eq!(&*intent.question, "主问题");
        assert_eq!(intent.similar_questions, ["相似问题1".into()]);
        assert_eq!(&*intent.answers[0].text, "问题的回复");
        assert_eq!(
            intent.answers[0].attachments,
            [
                StoredAttachment::Image("图片.jpg".into()),
                StoredAttachment::Video("视频.mp4".into()),
                StoredAttachment::Link {
                    title: "标题".into(),
                    desc: None,
                    url: "https://a.example".into(),
                    pic_url: None,
                },
                StoredAttachment::Miniprogram {
                    title: Some("小程序".into()),
                    appid: "wx1".into(),
                    pagepath: "p".into(),
                },
                StoredAttachment::Other("novelty".into()),
            ]
        );
    }
}
