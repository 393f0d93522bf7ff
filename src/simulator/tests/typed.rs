//! Every typed call of the client, made once: whatever one side understands differently from the other shows here.

use std::collections::BTreeSet;

use super::*;
use crate::api::knowledge::{
    Attachment, Intent, IntentAnswer, IntentChange, ListGroups, ListIntents, StoredAttachment,
};
use crate::api::outgoing::{BusinessCard, CaLink, Link, Location, Media, MenuItem, Miniprogram, Msgmenu};
use crate::api::{self, EventMessage, Outgoing, OutgoingMsgid, TransferTo};
use crate::id::{MediaId, ServicerUserid};

/// A simulator, a client of it, and a customer who has entered and written.
struct Office {
    simulator: Simulator,
    clock: ManualClock,
    client: api::Client,
    open_kfid: OpenKfid,
    customer: ExternalUserid,
    welcome_code: String,
}

impl Office {
    async fn open() -> Self {
        let clock = ManualClock::default();
        let simulator = Simulator::start(settings(&clock)).await.unwrap();
        simulator.set_reply_rules(ReplyRules {
            budget: u32::MAX,
            ..ReplyRules::default()
        });
        let ours = Settings::default();
        let mut settings = api::Settings::new(ours.corp_id, ours.secret);
        settings.api_base = simulator.base_url();
        let client = api::Client::new(settings, Arc::new(clock.clone())).unwrap();
        let customer = ExternalUserid::from("wm1");
        let welcome_code = simulator
            .customer(&wk1(), &customer)
            .enters_from("shop", "order=1")
            .unwrap()
            .welcome_code;
        simulator.customer(&wk1(), &customer).writes("hello").unwrap();
        Self {
            simulator,
            clock,
            client,
            open_kfid: wk1(),
            customer,
            welcome_code: welcome_code.unwrap(),
        }
    }

    async fn upload(&self, kind: api::MediaKind, content: &'static [u8]) -> MediaId {
        let upload = api::Upload {
            kind,
            file_name: "文件.bin".to_owned(),
            content: content.into(),
        };
        self.client.upload_media(&upload).await.unwrap().media_id
    }

    async fn send(&self, content: &Outgoing, msgid: Option<&OutgoingMsgid>) -> Result<Msgid, api::ApiError> {
        let message = api::SendMsg {
            touser: &self.customer,
            open_kfid: &self.open_kfid,
            msgid,
            content,
        };
        self.client.send_msg(&message).await
    }

    async fn transfer(&self, to: TransferTo<'_>) -> Option<api::MsgCode> {
        let transfer = api::Transfer {
            open_kfid: &self.open_kfid,
            external_userid: &self.customer,
            to,
        };
        self.client.transfer(&transfer).await.unwrap()
    }

    /// Sends one of everything, and takes the last back.
    async fn talk(&self) {
        let image = self.upload(api::MediaKind::Image, b"\x89PNG\r\n\x1a\n and so on").await;
        let voice = self.upload(api::MediaKind::Voice, b"#!AMR\n\x3c").await;
        let video = self.upload(api::MediaKind::Video, b"\0\0\0\x18ftypmp42").await;
        let file = self.upload(api::MediaKind::File, b"contents").await;
        let fetched = self
            .client
            .download_media(&api::DownloadMedia::whole(&file))
            .await
            .unwrap();
        assert_eq!(fetched.file_name(), Some("文件.bin"));
        assert_eq!(fetched.bytes().await.unwrap(), b"contents");
        let media = |media_id: &MediaId| Media {
            media_id: media_id.clone(),
        };
        let everything = [
            Outgoing::text("hello"),
            Outgoing::Image(media(&image)),
            Outgoing::Voice(media(&voice)),
            Outgoing::Video(media(&video)),
            Outgoing::File(media(&file)),
            Outgoing::Link(Link {
                title: "title".to_owned(),
                desc: None,
                url: "https://example.com".to_owned(),
                thumb_media_id: image.clone(),
            }),
            Outgoing::Miniprogram(Miniprogram {
                appid: "wx3f6a9c20b14d75e8".to_owned(),
                title: None,
                thumb_media_id: image.clone(),
                pagepath: "index.html".to_owned(),
            }),
            Outgoing::Msgmenu(menu()),
            Outgoing::Location(Location {
                name: None,
                address: None,
                latitude: 30.0,
                longitude: 120.0,
            }),
            Outgoing::CaLink(CaLink {
                link_url: "https://work.weixin.qq.com/ca/cawcde0".to_owned(),
            }),
            Outgoing::BusinessCard(BusinessCard {
                userid: ServicerUserid::from("LiMing"),
            }),
        ];
        let types: Vec<_> = everything.iter().map(Outgoing::msgtype).collect();
        assert_eq!(types, Outgoing::MSGTYPES, "one of everything");
        for content in &everything {
            self.send(content, None).await.unwrap();
        }
        let saw = self.simulator.customer(&self.open_kfid, &self.customer).saw();
        assert_eq!(saw.iter().map(|seen| &*seen.msgtype).collect::<Vec<_>>(), types);

        let msgid = OutgoingMsgid::new("reply-1").unwrap();
        let sent = self.send(&everything[0], Some(&msgid)).await.unwrap();
        let again = self.send(&everything[0], Some(&msgid)).await.unwrap_err();
        assert_eq!(again.errcode().map(|code| code.0), Some(95033));
        self.client.recall_msg(&self.open_kfid, &sent).await.unwrap();
        assert!(self.simulator.seen().last().unwrap().recalled.is_some());
    }

    /// Welcomes, and hands the session over until it ends, with a word at each step.
    async fn hand_over(&self) {
        let liming = ServicerUserid::from("LiMing");
        let session = self
            .client
            .service_state(&self.open_kfid, &self.customer)
            .await
            .unwrap();
        assert!(session.state.may_send());
        let pooled = self.transfer(TransferTo::Pool).await.unwrap();
        self.send_on_event(pooled.expose(), &EventMessage::text("wait")).await;
        let assigned = self.transfer(TransferTo::Human(&liming)).await.unwrap();
        self.send_on_event(assigned.expose(), &EventMessage::text("here is Li Ming"))
            .await;
        let session = self
            .client
            .service_state(&self.open_kfid, &self.customer)
            .await
            .unwrap();
        assert_eq!(session.servicer_userid, Some(liming));
        let ended = self.transfer(TransferTo::Ended).await.unwrap();
        self.send_on_event(ended.expose(), &EventMessage::Msgmenu(menu())).await;
        let occasions = self.simulator.seen();
        let occasions: Vec<_> = occasions.iter().rev().take(4).map(|seen| seen.occasion).collect();
        assert_eq!(
            occasions,
            [Occasion::Ended, Occasion::Assigned, Occasion::Pooled, Occasion::Welcome]
        );
    }

    async fn send_on_event(&self, code: &str, content: &EventMessage) {
        let message = api::SendMsgOnEvent {
            code,
            msgid: None,
            content,
        };
        self.client.send_msg_on_event(&message).await.unwrap();
    }

    async fn manage(&self) {
        let client = &self.client;
        let picture = self.upload(api::MediaKind::Image, b"\x89PNG\r\n\x1a\n and so on").await;
        let made = client.account_add("new", &picture).await.unwrap();
        let change = api::AccountChange {
            name: Some("newer"),
            media_id: Some(&picture),
        };
        client.account_update(&made, &change).await.unwrap();
        let accounts = client.account_list().await.unwrap();
        assert_eq!(
            &*accounts.iter().find(|account| account.open_kfid == made).unwrap().name,
            "newer"
        );
        client.account_del(&made).await.unwrap();
        assert_eq!(client.account_list().await.unwrap().len(), accounts.len() - 1);

        let way = client.add_contact_way(&self.open_kfid, Some("shop")).await.unwrap();
        let link = way.with_scene_param("订单=1&2").unwrap();
        assert!(
            self.simulator
                .customer(&self.open_kfid, &self.customer)
                .follows(&link)
                .unwrap()
                .is_some()
        );

        let people = [ServicerUserid::from("SunTao"), ServicerUserid::from("Nobody")];
        let team = api::Servicers {
            open_kfid: &self.open_kfid,
            userid_list: &people,
            department_id_list: &[api::DepartmentId(2)],
        };
        let codes = |results: Vec<api::ServicerResult>| results.iter().map(|result| result.code.0).collect::<Vec<_>>();
        assert_eq!(codes(client.servicer_add(&team).await.unwrap()), [0, 60111, 0]);
        assert_eq!(client.servicer_list(&self.open_kfid).await.unwrap().len(), 5);
        assert_eq!(codes(client.servicer_del(&team).await.unwrap()), [0, 0, 0]);
        assert_eq!(client.servicer_list(&self.open_kfid).await.unwrap().len(), 3);
    }

    async fn know_customers(&self) {
        let client = &self.client;
        let ids = [self.customer.clone(), ExternalUserid::from("wmNobody")];
        let customers = client
            .customer_batchget(&ids, api::EnterSession::Include)
            .await
            .unwrap();
        assert_eq!(customers.known.len(), 1);
        let context = customers.known[0].enter_session_context.as_ref().unwrap();
        assert_eq!(context.scene_param.as_deref(), Some("订单=1&2"), "the last entry");
        assert_eq!(customers.invalid, ids[1..]);

        let config = client.upgrade_service_config().await.unwrap();
        let offer = api::UpgradeService {
            open_kfid: &self.open_kfid,
            external_userid: &self.customer,
            to: api::UpgradeTo::Member(&config.userid_list[0]),
            wording: Some("hello"),
        };
        client.upgrade_service(&offer).await.unwrap();
        let to = api::UpgradeTo::Groupchat(&config.chat_id_list[0]);
        client
            .upgrade_service(&api::UpgradeService { to, ..offer })
            .await
            .unwrap();
        client
            .cancel_upgrade_service(&self.open_kfid, &self.customer)
            .await
            .unwrap();
        let qualification = client.corp_qualification().await.unwrap();
        assert_eq!(qualification.wechat_channels_binding, Some(true));
    }

    async fn prepare_answers(&self) {
        let client = &self.client;
        let picture = self.upload(api::MediaKind::Image, b"\x89PNG\r\n\x1a\n and so on").await;
        let group = client.knowledge_add_group("one").await.unwrap();
        client.knowledge_mod_group(&group, "uno").await.unwrap();
        let groups = client.knowledge_list_group(&ListGroups::default()).await.unwrap();
        assert_eq!(
            groups.items.iter().map(|group| &*group.name).collect::<Vec<_>>(),
            ["默认分组", "uno"]
        );
        let mut intent = Intent {
            question: "why?".to_owned(),
            similar_questions: vec!["how come?".to_owned()],
            answer: IntentAnswer {
                text: "so".to_owned(),
                attachments: vec![Attachment::Image(picture)],
            },
        };
        let id = client.knowledge_add_intent(&group, &intent).await.unwrap();
        intent.question = "what for?".to_owned();
        let change = IntentChange {
            question: Some(&intent.question),
            ..IntentChange::default()
        };
        client.knowledge_mod_intent(&id, &change).await.unwrap();
        let intents = client.knowledge_list_intent(&ListIntents::default()).await.unwrap();
        let [stored] = intents.items.as_slice() else {
            panic!("{intents:?}")
        };
        assert_eq!(
            (&*stored.question, &*stored.similar_questions[0]),
            ("what for?", "how come?")
        );
        assert_eq!(
            stored.answers[0].attachments,
            [StoredAttachment::Image("文件.bin".into())]
        );
        client.knowledge_del_intent(&id).await.unwrap();
        client.knowledge_del_group(&group).await.unwrap();
        assert_eq!(
            client
                .knowledge_list_group(&ListGroups::default())
                .await
                .unwrap()
                .items
                .len(),
            1
        );
    }

    async fn count(&self) {
        self.clock.advance(24 * HOUR);
        let today = START.as_secs();
        let days = api::StatisticDays {
            open_kfid: &self.open_kfid,
            start_time: today,
            end_time: today,
        };
        let [day] = self.client.corp_statistic(&days).await.unwrap().try_into().unwrap();
        assert_eq!(day.statistic.unwrap().customer_msg_cnt, 1);
        let [day] = self
            .client
            .servicer_statistic(&days, None)
            .await
            .unwrap()
            .try_into()
            .unwrap();
        assert_eq!(day.statistic, None, "no colleague did anything in the client");
    }
}

fn menu() -> Msgmenu {
    Msgmenu {
        head_content: Some("Solved?".to_owned()),
        list: vec![
            MenuItem::Click {
                id: Some("yes".to_owned()),
                content: "Yes".to_owned(),
            },
            MenuItem::Text {
                content: "line".to_owned(),
                no_newline: Some(true),
            },
        ],
        tail_content: None,
    }
}

fn everything_on(open_kfid: &OpenKfid) -> api::SyncMsg<'_> {
    api::SyncMsg {
        open_kfid,
        cursor: None,
        token: None,
        limit: 1_000,
    }
}

#[tokio::test]
async fn every_typed_call_is_understood() {
    let office = Office::open().await;
    let page = office.client.sync_msg(&everything_on(&office.open_kfid)).await.unwrap();
    assert_eq!(page.items.len(), 2);
    office.talk().await;
    office
        .send_on_event(&office.welcome_code, &EventMessage::text("welcome"))
        .await;
    office.hand_over().await;
    office.manage().await;
    office.know_customers().await;
    office.prepare_answers().await;
    office.count().await;
    let called = office.simulator.counts().calls;
    let called: BTreeSet<_> = called.keys().chain([&Api::Gettoken]).collect();
    assert_eq!(called, Api::ALL.iter().collect(), "every call was made");
    assert_eq!(office.simulator.counts().violations, Violations::default());
}
