//! Every call against the fake WeCom, which was written from the same documents by other hands.

use super::*;
use crate::api::knowledge::{Attachment, Intent, IntentAnswer, IntentChange, ListGroups, ListIntents};
use crate::api::outgoing::{Media, MenuItem, Msgmenu};
use crate::api::{
    AccountChange, DepartmentId, DownloadMedia, EnterSession, MediaKind, Receptionist, Servicers, StatisticDays,
    UpgradeService, UpgradeTo, Upload,
};
use crate::clock::{ManualClock, UnixMillis};
use crate::id::{ExternalUserid, MediaId, ServicerUserid};
use crate::simulator::{self, Account, Simulator};

/// Some morning in China.
const NOW: u64 = 1_785_571_200;
const DAY: u64 = 24 * 60 * 60;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and so on";

fn wk1() -> OpenKfid {
    OpenKfid::from("wk1")
}

fn wm1() -> ExternalUserid {
    ExternalUserid::from("wm1")
}

/// A fake WeCom in which `wm1` has written to `wk1`, and a client of it.
async fn start() -> (Simulator, Client) {
    let clock = ManualClock::default();
    clock.set(UnixMillis::from_secs(NOW));
    let simulated = simulator::Settings {
        clock: Arc::new(clock),
        accounts: vec![Account::new("wk1", "one")],
        ..simulator::Settings::default()
    };
    let (corp_id, secret) = (simulated.corp_id.clone(), simulated.secret.clone());
    let simulator = Simulator::start(simulated).await.unwrap();
    simulator.customer(&wk1(), &wm1()).writes("hello").unwrap();
    let mut settings = Settings::new(corp_id, secret);
    settings.api_base = simulator.base_url();
    let client = Client::new(settings, Arc::new(SystemClock)).unwrap();
    (simulator, client)
}

async fn upload(client: &Client, kind: MediaKind, content: impl Into<Vec<u8>>) -> MediaId {
    let upload = Upload {
        kind,
        file_name: "发票 1.png".to_owned(),
        content: content.into().into(),
    };
    client.upload_media(&upload).await.unwrap().media_id
}

#[tokio::test]
async fn what_is_sent_is_seen_once() {
    let (simulator, client) = start().await;
    let picture = upload(&client, MediaKind::Image, PNG).await;
    let menu = Msgmenu {
        head_content: Some("?".into()),
        list: vec![
            MenuItem::Click {
                id: Some("101".into()),
                content: "yes".into(),
            },
            MenuItem::Text {
                content: "or".into(),
                no_newline: Some(true),
            },
        ],
        tail_content: None,
    };
    let contents = [
        Outgoing::text("你好"),
        Outgoing::Image(Media { media_id: picture }),
        Outgoing::Msgmenu(menu),
    ];
    for (number, content) in contents.iter().enumerate() {
        let msgid = OutgoingMsgid::new(&format!("reply-{number}")).unwrap();
        let message = SendMsg {
            touser: &wm1(),
            open_kfid: &wk1(),
            msgid: Some(&msgid),
            content,
        };
        assert_eq!(client.send_msg(&message).await.unwrap().as_str(), msgid.as_str());
        let again = client.send_msg(&message).await.unwrap_err();
        assert_eq!(again.errcode(), Some(ErrCode::DUPLICATE_MSGID));
    }
    assert_eq!(simulator.customer(&wk1(), &wm1()).saw().len(), 3);
    client.recall_msg(&wk1(), &"reply-0".into()).await.unwrap();
}

#[tokio::test]
async fn a_newcomer_is_welcomed_and_handed_over() {
    let (simulator, client) = start().await;
    let newcomer = ExternalUserid::from("wm2");
    let code = simulator
        .customer(&wk1(), &newcomer)
        .enters()
        .unwrap()
        .welcome_code
        .unwrap();
    let welcome = SendMsgOnEvent {
        code: &code,
        msgid: None,
        content: &EventMessage::text("welcome"),
    };
    client.send_msg_on_event(&welcome).await.unwrap();
    assert!(
        client
            .send_msg_on_event(&welcome)
            .await
            .unwrap_err()
            .errcode()
            .is_some()
    );

    let state = async || client.service_state(&wk1(), &wm1()).await.unwrap();
    assert!(state().await.state.may_send());
    let liming = ServicerUserid::from("LiMing");
    let servicers = Servicers {
        open_kfid: &wk1(),
        userid_list: std::slice::from_ref(&liming),
        department_id_list: &[],
    };
    client.servicer_add(&servicers).await.unwrap();
    let customer = wm1();
    let account = wk1();
    let hand_to = |to| Transfer {
        open_kfid: &account,
        external_userid: &customer,
        to,
    };
    let code = client
        .transfer(&hand_to(TransferTo::Human(&liming)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (state().await.state, state().await.servicer_userid),
        (ServiceState::Human, Some(liming.clone()))
    );
    let notice = SendMsgOnEvent {
        code: code.expose(),
        msgid: None,
        content: &EventMessage::text("a colleague takes over"),
    };
    client.send_msg_on_event(&notice).await.unwrap();
    client.transfer(&hand_to(TransferTo::Ended)).await.unwrap().unwrap();
    assert_eq!(state().await.state, ServiceState::Ended);
    let error = client.transfer(&hand_to(TransferTo::Pool)).await.unwrap_err();
    assert_eq!(error.errcode(), Some(ErrCode::SESSION_ENDED));
}

#[tokio::test]
async fn files_come_back_as_they_went() {
    let (simulator, client) = start().await;
    let media_id = upload(&client, MediaKind::Image, PNG).await;
    let download = client.download_media(&DownloadMedia::whole(&media_id)).await.unwrap();
    assert_eq!(download.file_name(), Some("发票 1.png"));
    assert_eq!(download.content_type(), Some("image/png"));
    assert_eq!(download.bytes().await.unwrap(), PNG);

    let large: Vec<u8> = (0..25_000_001_u32).map(|at| (at % 251) as u8).collect();
    let media_id = simulator.keep_media(simulator::MediaKind::File, "large", large.clone());
    let download = client.download_media(&DownloadMedia::whole(&media_id)).await.unwrap();
    assert_eq!(download.length(), Some(25_000_001));
    assert!(download.bytes().await.unwrap() == large);

    let unknown = MediaId::from("none");
    let error = client
        .download_media(&DownloadMedia::whole(&unknown))
        .await
        .unwrap_err();
    assert_eq!(error.errcode(), Some(ErrCode::INVALID_MEDIA_ID));
}

#[tokio::test]
async fn accounts_come_and_go_and_links_bring_their_parameter() {
    let (simulator, client) = start().await;
    let picture = upload(&client, MediaKind::Image, PNG).await;
    let account = client.account_add("第二个", &picture).await.unwrap();
    let renamed = AccountChange {
        name: Some("改名"),
        media_id: None,
    };
    client.account_update(&account, &renamed).await.unwrap();
    let names: Vec<_> = client
        .account_list()
        .await
        .unwrap()
        .into_iter()
        .map(|a| a.name)
        .collect();
    assert!(names.contains(&"改名".into()), "{names:?}");
    client.account_del(&account).await.unwrap();
    assert_eq!(client.account_list().await.unwrap().len(), 1);

    let link = client.add_contact_way(&wk1(), Some("shop-1")).await.unwrap();
    let link = link.with_scene_param("order=42&商品").unwrap();
    let visitor = ExternalUserid::from("wm3");
    assert!(simulator.customer(&wk1(), &visitor).follows(&link).unwrap().is_some());
    let asked = [wm1(), visitor, ExternalUserid::from("wmNobody")];
    let customers = client.customer_batchget(&asked, EnterSession::Include).await.unwrap();
    let context = customers.known[1].enter_session_context.as_ref().unwrap();
    assert_eq!(context.scene.as_deref(), Some("shop-1"));
    assert_eq!(context.scene_param.as_deref(), Some("order=42&商品"));
    assert_eq!(customers.invalid, ["wmNobody".into()]);
}

#[tokio::test]
async fn receptionists_are_added_listed_and_removed() {
    let (_simulator, client) = start().await;
    let users = ["LiMing", "Nobody"].map(ServicerUserid::from);
    let servicers = Servicers {
        open_kfid: &wk1(),
        userid_list: &users,
        department_id_list: &[DepartmentId(2)],
    };
    let results = client.servicer_add(&servicers).await.unwrap();
    assert_eq!(results.len(), 3);
    assert_eq!(results[0].code, ErrCode::OK);
    assert_ne!(results[1].code, ErrCode::OK, "Nobody works for the corporation");
    let listed = client.servicer_list(&wk1()).await.unwrap();
    assert!(
        listed
            .iter()
            .any(|servicer| servicer.receptionist == Receptionist::User(users[0].clone()))
    );
    let results = client.servicer_del(&servicers).await.unwrap();
    assert_eq!(results[0].code, ErrCode::OK);
}

#[tokio::test]
async fn customers_are_passed_on_and_days_are_counted() {
    let (_simulator, client) = start().await;
    assert_eq!(
        client.corp_qualification().await.unwrap().wechat_channels_binding,
        Some(true)
    );
    let config = client.upgrade_service_config().await.unwrap();
    assert_eq!(config.department_id_list, [DepartmentId(2)]);
    for to in [
        UpgradeTo::Member(&config.userid_list[0]),
        UpgradeTo::Groupchat(&config.chat_id_list[0]),
    ] {
        let offer = UpgradeService {
            open_kfid: &wk1(),
            external_userid: &wm1(),
            to,
            wording: Some("hi"),
        };
        client.upgrade_service(&offer).await.unwrap();
    }
    client.cancel_upgrade_service(&wk1(), &wm1()).await.unwrap();

    let days = StatisticDays {
        open_kfid: &wk1(),
        start_time: NOW - 3 * DAY,
        end_time: NOW - DAY,
    };
    assert_eq!(client.corp_statistic(&days).await.unwrap().len(), 3);
    let liming = ServicerUserid::from("LiMing");
    assert_eq!(client.servicer_statistic(&days, Some(&liming)).await.unwrap().len(), 3);
}

#[tokio::test]
async fn questions_are_kept_in_groups() {
    let (_simulator, client) = start().await;
    let group = client.knowledge_add_group("常见问题").await.unwrap();
    client.knowledge_mod_group(&group, "问题").await.unwrap();
    let groups = client.knowledge_list_group(&ListGroups::default()).await.unwrap();
    assert!(
        groups
            .items
            .iter()
            .any(|entry| entry.group_id == group && &*entry.name == "问题")
    );

    let picture = upload(&client, MediaKind::Image, PNG).await;
    let intent = Intent {
        question: "如何退款".into(),
        similar_questions: vec!["退款".into()],
        answer: IntentAnswer {
            text: "请联系售后".into(),
            attachments: vec![Attachment::Image(picture)],
        },
    };
    let intent_id = client.knowledge_add_intent(&group, &intent).await.unwrap();
    let again = client.knowledge_add_intent(&group, &intent).await.unwrap_err();
    assert_eq!(again.errcode(), Some(ErrCode::DUPLICATE_QUESTION));
    let change = IntentChange {
        question: Some("怎么退款"),
        ..IntentChange::default()
    };
    client.knowledge_mod_intent(&intent_id, &change).await.unwrap();
    let which = ListIntents {
        group_id: Some(&group),
        ..ListIntents::default()
    };
    let page = client.knowledge_list_intent(&which).await.unwrap();
    assert_eq!(page.items.len(), 1);
    assert_eq!(&*page.items[0].question, "怎么退款");
    assert_eq!(page.items[0].similar_questions, ["退款".into()]);
    assert_eq!(page.items[0].answers[0].attachments.len(), 1);
    client.knowledge_del_intent(&intent_id).await.unwrap();
    client.knowledge_del_group(&group).await.unwrap();
}
