//! Accounts, links to them, who receives there, and figures.

use super::*;
use crate::api::{AccountChange, DepartmentId, Reception, Receptionist, Servicers, StatisticDays};
use crate::id::{MediaId, ServicerUserid};
use crate::message::StopType;

#[tokio::test]
async fn an_account_is_added_changed_and_deleted() {
    let fake = fake_that_answers(r#"{"errcode":0,"errmsg":"ok","open_kfid":"wkAJ2GCAAAZSfhHCt7IFSvLKtMPxyJTw"}"#).await;
    let client = client(&fake.base);
    let picture = MediaId::from("294DpAog3YA5b9rTK4PjjfRfYLO0L5qpDHAJIzhhQ2jAEWjb9i661Q4lk8oFnPtmj");
    let added = client.account_add("新建的客服账号", &picture).await.unwrap();
    assert_eq!(added.as_str(), "wkAJ2GCAAAZSfhHCt7IFSvLKtMPxyJTw");
    assert_eq!(
        sent(&fake, "kf/account/add"),
        json!({ "name": "新建的客服账号", "media_id": picture })
    );

    let renamed = AccountChange {
        name: Some("客服"),
        media_id: None,
    };
    client.account_update(&wk1(), &renamed).await.unwrap();
    assert_eq!(
        sent(&fake, "kf/account/update"),
        json!({ "open_kfid": "wk1", "name": "客服" })
    );
    client.account_del(&wk1()).await.unwrap();
    assert_eq!(sent(&fake, "kf/account/del"), json!({ "open_kfid": "wk1" }));

    let long = "客".repeat(17);
    let error = client.account_add(&long, &picture).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "kf/account/add was not called: name has 17 characters, more than 16"
    );
    let error = client
        .account_update(&wk1(), &AccountChange::default())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "kf/account/update was not called: name is missing");
}

#[tokio::test]
async fn success_is_what_says_so() {
    let fake = fake_that_answers(r#"{"status":"ok"}"#).await;
    let error = client(&fake.base).account_del(&wk1()).await.unwrap_err();
    assert!(matches!(error, ApiError::Unreadable { .. }), "{error}");
}

#[tokio::test]
async fn a_link_takes_a_parameter_only_if_it_has_a_scene() {
    let url = r#"{"errcode":0,"errmsg":"ok","url":"https://work.weixin.qq.com/kf/kfcbf8f8d07ac7215f?enc_scene=ENCGFSDF567DF"}"#;
    let fake = fake_that_answers(url).await;
    let with_scene = client(&fake.base).add_contact_way(&wk1(), Some("12345")).await.unwrap();
    assert_eq!(
        sent(&fake, "kf/add_contact_way"),
        json!({ "open_kfid": "wk1", "scene": "12345" })
    );
    let link = with_scene.url();
    assert_eq!(
        link,
        "https://work.weixin.qq.com/kf/kfcbf8f8d07ac7215f?enc_scene=ENCGFSDF567DF"
    );
    assert_eq!(
        with_scene.with_scene_param("a=b&商品 1").unwrap(),
        format!("{link}&scene_param=a%3Db%26%E5%95%86%E5%93%81%201")
    );
    let refusal = |value: &str| with_scene.with_scene_param(value).unwrap_err().to_string();
    assert_eq!(refusal(""), "scene_param is empty");
    assert_eq!(refusal(&"客".repeat(43)), "scene_param has 129 bytes, more than 128");

    let fake = fake_that_answers(r#"{"errcode":0,"url":"https://work.weixin.qq.com/kf/kfc1"}"#).await;
    let client = client(&fake.base);
    let plain = client.add_contact_way(&wk1(), None).await.unwrap();
    assert_eq!(sent(&fake, "kf/add_contact_way"), json!({ "open_kfid": "wk1" }));
    assert_eq!(
        plain.with_scene_param("x").unwrap_err().to_string(),
        "scene_param needs a link that was made with a scene"
    );
    for (scene, complaint) in [
        ("", "scene is empty"),
        (&*"x".repeat(33), "scene has 33 bytes, more than 32"),
        ("a b", "scene must consist of 0-9, a-z, A-Z, '_' and '-'"),
    ] {
        let error = client.add_contact_way(&wk1(), Some(scene)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("kf/add_contact_way was not called: {complaint}")
        );
    }
}

#[tokio::test]
async fn each_receptionist_has_a_result_of_its_own() {
    let results = r#"{"errcode":0,"errmsg":"ok","result_list":[
        {"userid":"zhangsan","errcode":0,"errmsg":"success"},
        {"userid":"lisi","errcode":0,"errmsg":"ignored"},
        {"userid":"wangwu","errcode":60030,"errmsg":"out of range"},
        {"department_id":2,"errcode":0,"errmsg":"success"}]}"#;
    let fake = fake_that_answers(results).await;
    let client = client(&fake.base);
    let users = ["zhangsan", "lisi", "wangwu"].map(ServicerUserid::from);
    let servicers = Servicers {
        open_kfid: &wk1(),
        userid_list: &users,
        department_id_list: &[DepartmentId(2)],
    };
    let results = client.servicer_add(&servicers).await.unwrap();
    let codes: Vec<_> = results.iter().map(|result| result.code.0).collect();
    assert_eq!(codes, [0, 0, 60030, 0]);
    assert_eq!(&*results[1].errmsg, "ignored");
    assert_eq!(results[2].receptionist, Receptionist::User("wangwu".into()));
    assert_eq!(results[3].receptionist, Receptionist::Department(DepartmentId(2)));
    assert_eq!(
        sent(&fake, "kf/servicer/add"),
        json!({
            "open_kfid": "wk1",
            "userid_list": ["zhangsan", "lisi", "wangwu"],
            "department_id_list": [2],
        })
    );

    let departments: Vec<_> = (0..21).map(DepartmentId).collect();
    let many = Servicers {
        userid_list: &[],
        department_id_list: &departments,
        ..servicers
    };
    let error = client.servicer_add(&many).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "kf/servicer/add was not called: department_id_list has 21 items, more than 20"
    );
    client.servicer_del(&many).await.unwrap();
    let sent = sent(&fake, "kf/servicer/del");
    assert_eq!(sent["department_id_list"].as_array().unwrap().len(), 21);
    assert_eq!(sent.get("userid_list"), None);

    let nobody = Servicers {
        department_id_list: &[],
        ..many
    };
    let error = client.servicer_del(&nobody).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "kf/servicer/del was not called: userid_list is empty"
    );
}

#[tokio::test]
async fn receptionists_are_listed_with_numbers_of_the_lists_own() {
    let list = r#"{"errcode":0,"errmsg":"ok","servicer_list":[
        {"userid":"zhangsan","status":0},
        {"userid":"lisi","status":1,"stop_type":1},
        {"department_id":2},
        {"department_id":"3"}]}"#;
    let fake = fake_that_answers(list).await;
    let servicers = client(&fake.base).servicer_list(&wk1()).await.unwrap();
    let told: Vec<_> = servicers
        .iter()
        .map(|servicer| (servicer.status, servicer.stop_type))
        .collect();
    assert_eq!(
        told,
        [
            (Some(Reception::Receiving), None),
            (Some(Reception::Stopped), Some(StopType::Suspended)),
            (None, None),
            (None, None),
        ]
    );
    assert_eq!(servicers[3].receptionist, Receptionist::Department(DepartmentId(3)));
    let seen = &fake.seen("kf/servicer/list")[0];
    assert_eq!((seen.query["open_kfid"].as_str(), seen.body.as_str()), ("wk1", ""));
    assert_eq!(seen.access_token(), TOKEN);
}

#[tokio::test]
async fn a_qualification_is_yes_no_or_unknown() {
    for (answer, binding) in [
        (
            r#"{"errcode":0,"errmsg":"ok","wechat_channels_binding":true}"#,
            Some(true),
        ),
        (r#"{"errcode":0,"wechat_channels_binding":false}"#, Some(false)),
        (DONE, None),
    ] {
        let fake = fake_that_answers(answer).await;
        let qualification = client(&fake.base).corp_qualification().await.unwrap();
        assert_eq!(qualification.wechat_channels_binding, binding);
        assert_eq!(fake.seen("kf/get_corp_qualification")[0].body, "");
    }
}

#[tokio::test]
async fn figures_come_by_day_and_may_be_missing() {
    let corp = r#"{"errcode":0,"errmsg":"ok","statistic_list":[
        {"stat_time":1645545600,"statistic":{"session_cnt":2,"customer_cnt":1,"customer_msg_cnt":6,
            "upgrade_service_customer_cnt":0,"ai_session_reply_cnt":1,"ai_transfer_rate":1,"ai_knowledge_hit_rate":0.5,
            "msg_rejected_customer_cnt":1}},
        {"stat_time":1645632000}]}"#;
    let fake = fake_that_answers(corp).await;
    let days = StatisticDays {
        open_kfid: &wk1(),
        start_time: 1_645_545_600,
        end_time: 1_645_632_000,
    };
    let figures = client(&fake.base).corp_statistic(&days).await.unwrap();
    let first = figures[0].statistic.as_ref().unwrap();
    assert_eq!(
        (
            first.session_cnt,
            first.customer_msg_cnt,
            first.msg_rejected_customer_cnt
        ),
        (2, 6, 1)
    );
    assert_eq!(
        (first.ai_transfer_rate, first.ai_knowledge_hit_rate),
        (Some(1.0), Some(0.5))
    );
    assert_eq!((figures[1].stat_time, &figures[1].statistic), (1_645_632_000, &None));
    let expected = json!({ "open_kfid": "wk1", "start_time": 1_645_545_600, "end_time": 1_645_632_000 });
    assert_eq!(sent(&fake, "kf/get_corp_statistic"), expected);

    let servicer = r#"{"errcode":0,"statistic_list":[{"stat_date":1645545600,"statistic":{
        "session_cnt":"1","reply_rate":0.75,"first_reply_average_sec":17,"satisfaction_investgate_cnt":null,
        "upgrade_service_groupchat_customer_cnt":3}}]}"#;
    let fake = fake_that_answers(servicer).await;
    let client = client(&fake.base);
    let zhangsan = ServicerUserid::from("zhangsan");
    let figures = client.servicer_statistic(&days, Some(&zhangsan)).await.unwrap();
    let first = figures[0].statistic.as_ref().unwrap();
    assert_eq!((first.session_cnt, first.satisfaction_investgate_cnt), (1, 0));
    assert_eq!(
        (first.reply_rate, first.first_reply_average_sec),
        (Some(0.75), Some(17.0))
    );
    assert_eq!(
        (first.satisfied_rate, first.upgrade_service_groupchat_customer_cnt),
        (None, 3)
    );
    assert_eq!(sent(&fake, "kf/get_servicer_statistic")["servicer_userid"], "zhangsan");

    for (start_time, end_time, complaint) in [
        (2, 1, "end_time lies before start_time"),
        (0, 31 * 86_400 + 1, "end_time lies more than 31 days after start_time"),
    ] {
        let days = StatisticDays {
            start_time,
            end_time,
            ..days
        };
        let error = client.corp_statistic(&days).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("kf/get_corp_statistic was not called: {complaint}")
        );
    }
}

#[tokio::test]
async fn a_message_is_taken_back_by_its_id() {
    let fake = fake_that_answers(DONE).await;
    client(&fake.base).recall_msg(&wk1(), &"MSG_ID".into()).await.unwrap();
    assert_eq!(
        sent(&fake, "kf/recall_msg"),
        json!({ "open_kfid": "wk1", "msgid": "MSG_ID" })
    );
}
