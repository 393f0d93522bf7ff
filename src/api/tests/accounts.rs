//! Accounts, links to them, who receives there, their customers and figures.

use super::*;
use crate::api::{
    AccountChange, DepartmentId, EnterSession, Gender, Reception, Receptionist, Servicers, StatisticDays,
    UpgradeService, UpgradeTo,
};
use crate::id::{ChatId, ExternalUserid, MediaId, ServicerUserid};
use crate::message::StopType;

const DONE: &str = r#"{"errcode":0,"errmsg":"ok"}"#;

/// What was sent to `call`, and that it was sent once.
fn sent(fake: &Fake, call: &str) -> Value {
    assert_eq!(fake.count(call), 1, "{call}");
    fake.seen(call)[0].json()
}

fn wk1() -> OpenKfid {
    OpenKfid::from("wk1")
}

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
async fn customers_are_told_apart_from_those_who_are_not_known() {
    let answer = r#"{"errcode":0,"errmsg":"ok",
        "customer_list":[{
            "external_userid":"wmxxxxxxxxxxxxxxxxxxxx","nickname":"张三","avatar":"http://xxxxx","gender":1,
            "unionid":"oxasdaosaosdasdasdasd",
            "enter_session_context":{"scene":"123","scene_param":"abc",
                "wechat_channels":{"nickname":"微信视频号名称","scene":1}}},
            {"external_userid":"wmy"}],
        "invalid_external_userid":["zhangsan"]}"#;
    let fake = fake_that_answers(answer).await;
    let client = client(&fake.base);
    let asked = ["wmxxxxxxxxxxxxxxxxxxxx", "wmy", "zhangsan"].map(ExternalUserid::from);
    let customers = client.customer_batchget(&asked, EnterSession::Include).await.unwrap();
    assert_eq!(
        sent(&fake, "kf/customer/batchget"),
        json!({ "external_userid_list": asked, "need_enter_session_context": 1 })
    );
    let known = &customers.known[0];
    assert_eq!(
        (known.nickname.as_deref(), known.gender),
        (Some("张三"), Some(Gender::Male))
    );
    let context = known.enter_session_context.as_ref().unwrap();
    assert_eq!(
        (context.scene.as_deref(), context.scene_param.as_deref()),
        (Some("123"), Some("abc"))
    );
    let channels = context.wechat_channels.as_ref().unwrap();
    assert_eq!(channels.nickname.as_deref(), Some("微信视频号名称"));
    assert_eq!(customers.known[1].nickname, None);
    assert_eq!(customers.invalid, ["zhangsan".into()]);
    assert!(!format!("{customers:?}").contains("张三"));

    let many: Vec<_> = (0..101)
        .map(|number| ExternalUserid::new(format!("wm{number}")))
        .collect();
    let refusal = client.customer_batchget(&many, EnterSession::Omit).await.unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "kf/customer/batchget was not called: external_userid_list has 101 items, more than 100"
    );
}

#[tokio::test]
async fn a_customer_is_passed_on_to_a_person_or_a_group() {
    let config = r#"{"errcode":0,"errmsg":"ok",
        "member_range":{"userid_list":["zhangsan","lisi"],"department_id_list":[2,3]},
        "groupchat_range":{"chat_id_list":["wraaaaaaaaaaaaaaaa"]}}"#;
    let fake = fake_that_answers(config).await;
    let client = client(&fake.base);
    let config = client.upgrade_service_config().await.unwrap();
    assert_eq!(config.userid_list, ["zhangsan".into(), "lisi".into()]);
    assert_eq!(config.department_id_list, [DepartmentId(2), DepartmentId(3)]);
    assert_eq!(config.chat_id_list, ["wraaaaaaaaaaaaaaaa".into()]);
    assert_eq!(fake.seen("kf/customer/get_upgrade_service_config")[0].body, "");

    let (customer, zhangsan, chat) = (
        ExternalUserid::from("wm1"),
        ServicerUserid::from("zhangsan"),
        ChatId::from("wr1"),
    );
    let offer = UpgradeService {
        open_kfid: &wk1(),
        external_userid: &customer,
        to: UpgradeTo::Member(&zhangsan),
        wording: Some("你好，我是你的专属服务专员zhangsan"),
    };
    client.upgrade_service(&offer).await.unwrap();
    let to_chat = UpgradeService {
        to: UpgradeTo::Groupchat(&chat),
        wording: None,
        ..offer
    };
    client.upgrade_service(&to_chat).await.unwrap();
    let seen = fake.seen("kf/customer/upgrade_service");
    assert_eq!(
        seen[0].json(),
        json!({
            "open_kfid": "wk1",
            "external_userid": "wm1",
            "type": 1,
            "member": { "userid": "zhangsan", "wording": "你好，我是你的专属服务专员zhangsan" },
        })
    );
    assert_eq!(
        seen[1].json(),
        json!({ "open_kfid": "wk1", "external_userid": "wm1", "type": 2, "groupchat": { "chat_id": "wr1" } })
    );
    client.cancel_upgrade_service(&wk1(), &customer).await.unwrap();
    assert_eq!(
        sent(&fake, "kf/customer/cancel_upgrade_service"),
        json!({ "open_kfid": "wk1", "external_userid": "wm1" })
    );
    assert!(!format!("{offer:?}").contains("专员"));

    let older = fake_that_answers(r#"{"errcode":0,"member_range":{"department_list":[4]}}"#).await;
    let config = super::client(&older.base).upgrade_service_config().await.unwrap();
    assert_eq!(config.department_id_list, [DepartmentId(4)]);
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

#[tokio::test]
async fn no_refusal_names_a_customer() {
    let fake = fake_that_answers(r#"{"errcode":40096,"errmsg":"invalid external_userid wmcanary"}"#).await;
    let client = client(&fake.base);
    let customer = ExternalUserid::from("wmcanary");
    let offer = UpgradeService {
        open_kfid: &wk1(),
        external_userid: &customer,
        to: UpgradeTo::Groupchat(&ChatId::from("wr1")),
        wording: None,
    };
    for error in [
        client.upgrade_service(&offer).await.unwrap_err(),
        client.cancel_upgrade_service(&wk1(), &customer).await.unwrap_err(),
        client
            .customer_batchget(std::slice::from_ref(&customer), EnterSession::Omit)
            .await
            .unwrap_err(),
    ] {
        assert_eq!(error.errcode(), Some(ErrCode::INVALID_EXTERNAL_USERID));
        assert_keeps_secrets(&error);
    }
}
