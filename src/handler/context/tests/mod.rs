//! Contexts that speak to a simulated WeCom, and what its customers saw.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tempfile::TempDir;
use tokio::time::Instant;

use super::*;
use crate::api;
use crate::clock::{ManualClock, UnixMillis};
use crate::handler::HandlerError;
use crate::id::{AppName, ExternalUserid, OpenKfid, ServicerUserid};
use crate::message::Message;
use crate::simulator::{self, Account, Api, Customer, Dial, Fault, Faults, Servicer, Simulator};
use crate::store::{self, Store};

mod events;
mod once;
mod refusals;
mod trouble;

/// When every test begins.
const START: UnixMillis = UnixMillis(1_785_571_200_000);
const HOUR: Duration = Duration::from_hours(1);

/// A customer of one account, whom handlers of one app may answer.
struct Stage {
    wecom: Simulator,
    clock: ManualClock,
    client: api::Client,
    store: Arc<dyn Store>,
    _folder: TempDir,
}

fn wk1() -> OpenKfid {
    OpenKfid::from("wk1")
}

fn wm1() -> ExternalUserid {
    ExternalUserid::from("wm1")
}

fn main_app() -> AppName {
    AppName::new("main").unwrap()
}

impl Stage {
    async fn set() -> Self {
        let clock = ManualClock::new(START);
        let simulated = simulator::Settings {
            clock: Arc::new(clock.clone()),
            accounts: vec![Account::new("wk1", "one")],
            ..simulator::Settings::default()
        };
        let mut settings = api::Settings::new(simulated.corp_id.clone(), simulated.secret.clone());
        let wecom = Simulator::start(simulated).await.unwrap();
        settings.api_base = wecom.base_url();
        let client = api::Client::new(settings, Arc::new(clock.clone())).unwrap();
        client.ensure_access_token().await.unwrap();
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}", folder.path().join("kf.db").display());
        let store = store::open(&store::Settings::new(url)).await.unwrap();
        let names = ["bot", "crm"].map(|name| HandlerName::new(name).unwrap());
        store.register_handlers(&names).await.unwrap();
        Self {
            wecom,
            clock,
            client,
            store,
            _folder: folder,
        }
    }

    /// One on which the customer has written. Returns what.
    async fn with_a_message() -> (Self, Msgid) {
        let stage = Self::set().await;
        let msgid = stage.customer().writes("hello").unwrap();
        (stage, msgid)
    }

    fn customer(&self) -> Customer<'_> {
        self.wecom.customer(&wk1(), &wm1())
    }

    /// Another customer of the same account.
    fn other_customer(&self) -> Customer<'_> {
        self.wecom.customer(&wk1(), &ExternalUserid::from("wm2"))
    }

    fn colleague(&self) -> Servicer<'_> {
        self.wecom.servicer(&wk1(), &ServicerUserid::from("LiMing"))
    }

    fn message(&self, msgid: &Msgid) -> Message {
        let ledger = self.wecom.ledger();
        let said = ledger.said.iter().find(|said| said.msgid == *msgid).unwrap();
        let raw = RawValue::from_string(said.raw.to_string()).unwrap();
        Message::decode(raw.into(), &wk1())
    }

    /// An attempt of the handler `name` at `msgid`, at this desk.
    fn attempt_of(&self, name: &str, msgid: &Msgid, desk: Desk) -> Context {
        Context::new(
            Arc::new(HandlerName::new(name).unwrap()),
            AccountKey::new(main_app(), wk1()).into(),
            &self.message(msgid),
            1,
            Instant::now() + Duration::from_secs(60),
            Some(Arc::new(desk)),
        )
    }

    /// A desk that remembers nothing.
    fn forgetful_desk(&self) -> Desk {
        Desk::new(Arc::new(self.clock.clone())).with_client(main_app(), self.client.clone())
    }

    fn desk(&self) -> Desk {
        self.forgetful_desk().with_store(Arc::clone(&self.store))
    }

    /// An attempt of `bot` at `msgid`.
    fn attempt(&self, msgid: &Msgid) -> Context {
        self.attempt_of("bot", msgid, self.desk())
    }

    /// How often `api` was called.
    fn calls(&self, api: Api) -> u64 {
        self.wecom.counts().calls.get(&api).copied().unwrap_or(0)
    }

    /// Lets `fault` happen to `api` the next `times`.
    fn fails(&self, api: Api, fault: Fault, times: u32) {
        self.wecom.set_faults(Faults::only(fault, Dial::Next(times)).on(api));
    }
}
