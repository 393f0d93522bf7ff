//! Customers: who they are, and whom they are passed on to.

use super::*;
use crate::api::{DepartmentId, EnterSession, Gender, UpgradeService, UpgradeTo};
use crate::id::{ChatId, ExternalUserid, ServicerUserid};

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
