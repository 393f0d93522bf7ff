//! What customers of a simulated WeCom see.

use std::sync::Arc;

use serde_json::value::RawValue;
use tempfile::TempDir;

use super::*;
use crate::api::{self, Client};
use crate::clock::{ManualClock, UnixMillis};
use crate::handler::{Attempt, Desk, Registration};
use crate::id::{AccountKey, AppName, ExternalUserid, HandlerName, Msgid, OpenKfid, ServicerUserid};
use crate::simulator::{self, Account, Api, Customer, Dial, Fault, Faults, Occasion, Servicer, Simulator};
use crate::store::{self, Store};

/// Noon in China.
const START: UnixMillis = UnixMillis(1_785_556_800_000);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// A shop, its customer, and a memory of what was said.
struct Stage {
    settings: Settings,
    wecom: Simulator,
    clock: ManualClock,
    client: Client,
    store: Arc<dyn Store>,
    _folder: TempDir,
}

impl Stage {
    async fn of(settings: Settings) -> Self {
        let clock = ManualClock::new(START);
        let simulated = simulator::Settings {
            clock: Arc::new(clock.clone()),
            accounts: vec![Account::new("wk1", "one")],
            ..simulator::Settings::default()
        };
        let mut to_wecom = api::Settings::new(simulated.corp_id.clone(), simulated.secret.clone());
        let wecom = Simulator::start(simulated).await.unwrap();
        to_wecom.api_base = wecom.base_url();
        let client = Client::new(to_wecom, Arc::new(clock.clone())).unwrap();
        client.ensure_access_token().await.unwrap();
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}", folder.path().join("kf.db").display());
        let store = store::open(&store::Settings::new(url)).await.unwrap();
        store
            .register_handlers(&[HandlerName::new("hello").unwrap()])
            .await
            .unwrap();
        Self {
            settings,
            wecom,
            clock,
            client,
            store,
            _folder: folder,
        }
    }

    fn customer(&self) -> Customer<'_> {
        self.wecom.customer(&OpenKfid::from("wk1"), &wm1())
    }

    fn colleague(&self) -> Servicer<'_> {
        self.wecom
            .servicer(&OpenKfid::from("wk1"), &ServicerUserid::from("LiMing"))
    }

    /// A desk as it is after a crash that the store knows nothing of.
    fn forgetful_desk(&self) -> Desk {
        Desk::new(Arc::new(self.clock.clone())).with_client(AppName::new("main").unwrap(), self.client.clone())
    }

    /// Attempts `msgid` at `desk`.
    async fn attempt_at(&self, desk: Desk, msgid: &Msgid) -> Attempt {
        let ledger = self.wecom.ledger();
        let said = ledger.said.iter().find(|said| said.msgid == *msgid).unwrap();
        let raw = RawValue::from_string(said.raw.to_string()).unwrap();
        let message = Message::decode(raw.into(), &OpenKfid::from("wk1"));
        let account = Arc::new(AccountKey::new(AppName::new("main").unwrap(), OpenKfid::from("wk1")));
        let handler = Registration::new(
            HandlerName::new("hello").unwrap(),
            AutoReply::new(self.settings.clone()),
        );
        handler.at_desk(Arc::new(desk)).attempt(&account, &message, 1).await
    }

    async fn attempt(&self, msgid: &Msgid) -> Attempt {
        let desk = self.forgetful_desk().with_store(Arc::clone(&self.store));
        self.attempt_at(desk, msgid).await
    }

    /// The customer writes `text`, and it is attempted.
    async fn hears(&self, text: &str) -> Attempt {
        let msgid = self.customer().writes(text).unwrap();
        self.attempt(&msgid).await
    }

    /// The last words that the customer saw, and on which occasion.
    fn last(&self) -> (Occasion, String) {
        let saw = self.customer().saw();
        let last = saw.last().expect("something was said");
        (last.occasion, last.text.clone().unwrap())
    }

    fn calls(&self, api: Api) -> u64 {
        self.wecom.counts().calls.get(&api).copied().unwrap_or(0)
    }
}

fn wm1() -> ExternalUserid {
    ExternalUserid::from("wm1")
}

#[tokio::test]
async fn whoever_comes_is_welcomed_once_and_a_tap_is_answered() {
    let stage = Stage::of(shop()).await;
    let entry = stage.customer().enters().unwrap();
    assert_eq!(stage.attempt(&entry.msgid).await, Attempt::Done);
    assert_eq!(stage.attempt(&entry.msgid).await, Attempt::Done, "the repeat is known");
    assert_eq!(
        stage.last(),
        (Occasion::Welcome, "Welcome!\nPrices\nA person".to_owned())
    );

    let tap = stage.customer().taps("price").unwrap();
    assert_eq!(stage.attempt(&tap).await, Attempt::Done);
    assert_eq!(stage.last(), (Occasion::Reply, "25 yuan.".to_owned()));

    let again = stage.customer().enters().unwrap();
    assert_eq!(stage.attempt(&again.msgid).await, Attempt::Skip, "there is no code");
    assert_eq!(stage.customer().saw().len(), 2);
}

#[tokio::test]
async fn an_old_entry_is_skipped() {
    let stage = Stage::of(shop()).await;
    let entry = stage.customer().enters().unwrap();
    stage.clock.advance(MINUTE);
    assert_eq!(stage.attempt(&entry.msgid).await, Attempt::Skip);
    assert_eq!(stage.calls(Api::SendMsgOnEvent), 0);
}

#[tokio::test]
async fn what_is_said_once_in_a_while_is_not_repeated_before_its_time() {
    let stage = Stage::of(shop()).await;
    let seen = || stage.customer().saw().len();
    // Ten minutes before a window of ten ends, whatever the hour.
    stage.clock.advance(9 * MINUTE);
    let first = stage.customer().writes("blah").unwrap();
    assert_eq!(stage.attempt(&first).await, Attempt::Done);
    assert_eq!(stage.last(), (Occasion::Reply, "Pardon?\nPrices".to_owned()));
    assert_eq!(
        stage.attempt(&first).await,
        Attempt::Done,
        "said already, in answer to this"
    );
    for minutes in [0, 1, 8] {
        stage.clock.advance(minutes * MINUTE);
        assert_eq!(stage.hears("blah blah").await, Attempt::Skip, "{minutes} minutes later");
    }
    assert_eq!(seen(), 1);
    stage.clock.advance(MINUTE);
    assert_eq!(stage.hears("blah").await, Attempt::Done, "ten minutes later");
    assert_eq!(seen(), 2);
    assert_eq!(stage.hears("price").await, Attempt::Done, "rules are not held back");
    assert_eq!(stage.hears("price").await, Attempt::Done);
    assert_eq!(seen(), 4);
    assert_eq!(stage.calls(Api::SendMsg), 4, "what is held back is not tried");
}

#[tokio::test]
async fn another_customer_gets_a_notice_of_their_own() {
    let stage = Stage::of(shop()).await;
    assert_eq!(stage.hears("blah").await, Attempt::Done);
    let other = stage
        .wecom
        .customer(&OpenKfid::from("wk1"), &ExternalUserid::from("wm2"));
    let msgid = other.writes("blah").unwrap();
    assert_eq!(stage.attempt(&msgid).await, Attempt::Done);
    assert_eq!(other.read(), ["Pardon?\nPrices"]);
}

#[tokio::test]
async fn a_crash_between_the_answer_and_its_record_lets_nothing_be_said_twice() {
    let stage = Stage::of(shop()).await;
    for text in ["price", "blah", "human"] {
        let msgid = stage.customer().writes(text).unwrap();
        let first = stage.attempt_at(stage.forgetful_desk(), &msgid).await;
        assert_eq!(first, Attempt::Done, "{text}");
        let saw = stage.customer().saw().len();
        // Whoever is with a colleague by then is left alone.
        let expected = if text == "human" { Attempt::Skip } else { Attempt::Done };
        assert_eq!(stage.attempt(&msgid).await, expected, "{text}");
        assert_eq!(stage.customer().saw().len(), saw, "{text}");
    }
}

#[tokio::test]
async fn a_notice_that_only_wecom_remembers_is_not_repeated_within_its_window() {
    let stage = Stage::of(shop()).await;
    for text in ["blah", "blah blah"] {
        let msgid = stage.customer().writes(text).unwrap();
        stage.attempt_at(stage.forgetful_desk(), &msgid).await;
    }
    assert_eq!(stage.customer().saw().len(), 1);
}

#[tokio::test]
async fn in_the_night_nobody_is_fetched_and_the_customer_hears_when_to_come_back() {
    let stage = Stage::of(shop_with_hours()).await;
    stage.clock.advance(8 * HOUR);
    for (text, expected) in [
        ("hello?", Attempt::Done),
        ("anybody there?", Attempt::Skip),
        ("human", Attempt::Done),
        ("human!", Attempt::Done),
        ("price", Attempt::Done),
    ] {
        assert_eq!(stage.hears(text).await, expected, "{text}");
    }
    let closed = "Back at nine.";
    assert_eq!(stage.customer().read(), [closed, closed, closed, "25 yuan."]);
    assert_eq!(stage.calls(Api::ServiceStateTrans), 0);
    // In the morning somebody is there again.
    stage.clock.advance(14 * HOUR);
    assert_eq!(stage.hears("human").await, Attempt::Done);
    assert_eq!(stage.last(), (Occasion::Pooled, "One moment.".to_owned()));
}

#[tokio::test]
async fn a_person_is_fetched_from_the_pool_and_then_the_handler_is_silent() {
    let stage = Stage::of(shop()).await;
    assert_eq!(stage.hears("human").await, Attempt::Done);
    assert_eq!(stage.last(), (Occasion::Pooled, "One moment.".to_owned()));
    for text in ["price", "blah", "human"] {
        assert_eq!(stage.hears(text).await, Attempt::Skip, "in the pool: {text}");
    }
    stage.colleague().takes(&wm1()).unwrap();
    for text in ["price", "blah", "human"] {
        assert_eq!(stage.hears(text).await, Attempt::Skip, "with a colleague: {text}");
    }
    assert_eq!(stage.customer().saw().len(), 1);
    stage.colleague().ends(&wm1()).unwrap();
    assert_eq!(stage.hears("price").await, Attempt::Done, "in a new session");
    assert_eq!(stage.last(), (Occasion::Reply, "25 yuan.".to_owned()));
}

/// A shop that hands over to one colleague.
async fn stage_with_a_colleague() -> Stage {
    let mut settings = shop();
    settings.hand_over.servicer_userid = Some(ServicerUserid::from("WangFang"));
    Stage::of(settings).await
}

#[tokio::test]
async fn a_named_colleague_gets_the_session() {
    let stage = stage_with_a_colleague().await;
    assert_eq!(stage.hears("human").await, Attempt::Done);
    assert_eq!(stage.last(), (Occasion::Assigned, "One moment.".to_owned()));
    let session = stage
        .client
        .service_state(&OpenKfid::from("wk1"), &wm1())
        .await
        .unwrap();
    assert_eq!(session.servicer_userid, Some(ServicerUserid::from("WangFang")));
}

#[tokio::test]
async fn a_colleague_who_has_the_session_keeps_it() {
    let stage = stage_with_a_colleague().await;
    stage.customer().writes("hello").unwrap();
    stage.colleague().takes(&wm1()).unwrap();
    assert_eq!(stage.hears("human").await, Attempt::Skip);
    let session = stage
        .client
        .service_state(&OpenKfid::from("wk1"), &wm1())
        .await
        .unwrap();
    assert_eq!(session.servicer_userid, Some(ServicerUserid::from("LiMing")));
}

#[tokio::test]
async fn where_the_colleague_receives_nobody_the_session_goes_to_the_pool() {
    let stage = stage_with_a_colleague().await;
    let absent = stage
        .wecom
        .servicer(&OpenKfid::from("wk1"), &ServicerUserid::from("WangFang"));
    absent.stops().unwrap();
    assert_eq!(stage.hears("human").await, Attempt::Done);
    assert_eq!(stage.last(), (Occasion::Pooled, "One moment.".to_owned()));
}

#[tokio::test]
async fn what_wecom_takes_no_more_is_skipped_and_not_buried() {
    let stage = Stage::of(shop()).await;
    let old = stage.customer().writes("price").unwrap();
    stage.clock.advance(49 * HOUR);
    assert_eq!(stage.attempt(&old).await, Attempt::Skip, "48 hours are over");
    assert_eq!(stage.customer().saw().len(), 0);
}

#[tokio::test]
async fn an_outage_is_not_taken_for_a_refusal() {
    let stage = Stage::of(shop()).await;
    stage.wecom.set_faults(Faults::only(Fault::Http5xx, Dial::Chance(1.0)));
    let msgid = stage.customer().writes("price").unwrap();
    let failed = stage.attempt(&msgid).await;
    assert!(matches!(failed, Attempt::Unavailable { .. }), "{failed:?}");
    stage.wecom.set_faults(Faults::default());
    assert_eq!(stage.attempt(&msgid).await, Attempt::Done);
    assert_eq!(stage.customer().read(), ["25 yuan."]);
}
