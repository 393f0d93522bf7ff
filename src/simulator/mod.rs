//! A fake WeCom, faithful enough to be mistaken for the real one, and worse on demand.
//!
//! The demo, the end-to-end tests and your own development run on it: no account, no credentials, no public address.
//! It serves the calls that a client makes, rings the callback as WeCom does (sealed and signed, with its time-out and
//! repeats), keeps WeCom's rules about tokens, limits and history on a [`Clock`](crate::clock::Clock) of your choice,
//! and breaks them in every way that [`Fault`] names. Beside it runs a [`Ledger`] of the truth, which tells whether a
//! receiver lost, doubled or disordered anything.
//!
//! ```no_run
//! use wecom_kf::id::ExternalUserid;
//! use wecom_kf::simulator::{Draft, Settings, Simulator};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = Settings::default();
//! let account = settings.accounts[0].open_kfid.clone();
//! let wecom = Simulator::start(settings).await?;
//! println!("set api_base to {}", wecom.base_url());
//! wecom.say(&account, Draft::text(&ExternalUserid::from("wmAlice"), "你好"))?;
//! wecom.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Endpoints of its own
//!
//! Beside WeCom's calls it answers these, in JSON, without any authentication: it is a tool for one's own machine and
//! belongs on the loopback.
//!
//! * `POST /simulator/messages` says something. The body is an item of `sync_msg` (at least a `msgtype`), or in short
//!   `{"text": "…"}` or `{"sample": "image"}` (a name of [`samples::Sample`]), with `open_kfid` and `external_userid`
//!   if you care. Answers `{"msgid": "…"}`.
//! * `POST /simulator/conversation` says one of everything. The body is empty, or has `open_kfid` and
//!   `external_userid`. Answers `{"msgids": […]}`.
//! * `POST /simulator/enter` lets a customer open the chat: `open_kfid`, `external_userid`, `scene`, `scene_param`, all
//!   if you care. Answers `{"msgid": "…", "welcome_code": "…"}`, the code only for whoever may be welcomed.
//! * `POST /simulator/tap` lets a customer tap the entry `item` (its id or its text) of the last menu they saw that has
//!   one: `{"item": "…"}`. Answers `{"msgid": "…"}`.
//! * `POST /simulator/session` lets a colleague act in the client: `{"change": "take", "servicer_userid": "LiMing"}`, or
//!   `transfer` (with `other_servicer_userid`), `end`, `reopen`. Answers `{"msgid": "…"}`.
//! * `GET /simulator/seen?open_kfid=…&external_userid=…` answers `{"seen": […]}`: the messages that were sent to
//!   customers and accepted, in order ([`Seen`]). Either parameter may be left out, and then does not matter.
//! * `POST /simulator/failures` lets one of those fail afterwards: `{"msgid": "…", "fail_type": 4}`. Answers the msgid
//!   of the event that says so.
//! * `GET /simulator/faults` answers the [`Faults`], every dial included.
//! * `PUT /simulator/faults` replaces them:
//!   `{"dials": {"latency": 0.5, "http_5xx": {"next": 3}}, "slowness_ms": 200}`. With `"calls": ["kf/send_msg"]` they
//!   happen to that call only; `"send_fail": {"dial": {"next": 1}, "fail_type": 4}` lets replies fail that were
//!   accepted.
//! * `GET /simulator/ledger` answers the [`Counts`].
//!
//! A request that cannot be understood is answered 400 and `{"error": "…"}`.
//!
//! # Where it guesses
//!
//! WeCom leaves things unsaid: the answer to a bad cursor, the number of tokenless calls, the pause between repeats of
//! a callback. Where the documents are silent it is on the strict side, and the place says so. About replies it takes
//! these to be true:
//!
//! * A repeated msgid is answered 95033 whatever else is wrong, so that a repeat learns that it was accepted.
//! * A code that was never given, was used or is too old is answered 41050; one whose session has moved on, 95018.
//! * A session that has not reached a colleague cannot be ended by API (95016), and ends 48 hours after it began.
//! * A customer who never wrote to the account cannot be answered (95018); one who is unknown is answered 40096.
//! * Tapping a menu entry is a message of the customer; what is sent on an event does not count against the five.
//! * A field that is too long is answered 40058, unless WeCom says that it is cut.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::id::{ExternalUserid, Msgid, OpenKfid};

mod bell;
mod calls;
mod control;
mod conversation;
mod draft;
mod fault;
mod ledger;
mod limits;
mod media;
mod mint;
mod named;
mod odd;
mod page;
mod refusal;
pub mod samples;
mod server;
mod settings;
mod stream;
mod tokens;
mod wecom;
mod wire;
mod world;

#[cfg(test)]
mod tests;

use bell::News;
use world::World;

pub use bell::EchoError;
pub use calls::Api;
pub use conversation::{Customer, Entry, Occasion, Seen, ServiceState, Servicer, UnknownEntry, UnknownReply};
pub use draft::{Draft, DraftError};
pub use fault::{Dial, Fault, Faults, SendFail};
pub use ledger::{Callbacks, Counts, Ledger, OddItem, Received, Said, Verdict, Violations};
pub use limits::Limits;
pub use media::MediaKind;
pub use named::UnknownName;
pub use settings::{Account, BellRules, CallbackTarget, ReplyRules, Settings, TargetError, UpgradeRange};
pub use wecom::UnknownAccount;

/// How long connections may take to end when the simulator stops.
const GRACE: Duration = Duration::from_secs(1);

/// When the bell is rung for many items.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Bells {
    /// Not at all: somebody has to look.
    Silent,
    /// Once, after the last one.
    Once,
    /// After every so many, and after the last one.
    Every(NonZeroUsize),
}

/// A running fake WeCom. Stops when it is dropped.
pub struct Simulator {
    world: Arc<World>,
    address: SocketAddr,
    /// Accepts connections; ends by itself once the world is told to stop.
    server: JoinHandle<()>,
}

impl Simulator {
    /// Starts to listen, and to serve.
    ///
    /// # Errors
    ///
    /// When the address cannot be listened on, or no HTTP client can be made for the callbacks.
    pub async fn start(settings: Settings) -> io::Result<Self> {
        let listener = TcpListener::bind(settings.listen).await?;
        let address = listener.local_addr()?;
        let authorities = reqwest::Certificate::from_pem_bundle(settings.callback_authorities.as_bytes());
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_merge(authorities.map_err(io::Error::other)?)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(io::Error::other)?;
        let world = Arc::new(World::new(settings, client, Handle::current()));
        let router = server::router(world.clone()).merge(control::router(world.clone()));
        let stop = world.stop.clone();
        let server = tokio::spawn(async move {
            let serving = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
            let overdue = async {
                stop.cancelled().await;
                tokio::time::sleep(GRACE).await;
            };
            tokio::select! {
                _ = serving => {}
                () = overdue => {}
            }
        });
        Ok(Self { world, address, server })
    }

    /// What to put where a client expects `https://qyapi.weixin.qq.com`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends callbacks to `target` from now on, or none.
    pub fn set_callback(&self, target: Option<CallbackTarget>) {
        self.world.wecom().settings.callback = target;
    }

    /// Lets something happen on an account, and rings.
    ///
    /// # Errors
    ///
    /// [`UnknownAccount`] when the account does not exist.
    pub fn say(&self, open_kfid: &OpenKfid, draft: Draft) -> Result<Msgid, UnknownAccount> {
        self.world.say(open_kfid, draft)
    }

    /// Lets much happen on an account.
    ///
    /// # Errors
    ///
    /// [`UnknownAccount`] when the account does not exist.
    pub fn say_many(
        &self,
        open_kfid: &OpenKfid,
        drafts: impl IntoIterator<Item = Draft>,
        bells: Bells,
    ) -> Result<Vec<Msgid>, UnknownAccount> {
        let mut msgids = Vec::new();
        let mut unrung = 0;
        for draft in drafts {
            let now = self.world.clock.now();
            msgids.push(self.world.wecom().say(open_kfid, draft, now)?);
            unrung += 1;
            if matches!(bells, Bells::Every(count) if unrung == count.get()) {
                self.ring(open_kfid);
                unrung = 0;
            }
        }
        if unrung > 0 && bells != Bells::Silent {
            self.ring(open_kfid);
        }
        Ok(msgids)
    }

    /// Lets `customer` live through one of everything ([`samples::conversation`]), ringing each time.
    ///
    /// # Errors
    ///
    /// [`UnknownAccount`] when the account does not exist.
    pub fn converse(&self, open_kfid: &OpenKfid, customer: &ExternalUserid) -> Result<Vec<Msgid>, UnknownAccount> {
        self.world.converse(open_kfid, customer)
    }

    /// Rings for an account, whether it has news or not.
    pub fn ring(&self, open_kfid: &OpenKfid) {
        self.world.ring(&News::Messages(open_kfid));
    }

    /// Sends a callback that has nothing to do with customer service, like those of [`samples::OTHER_EVENTS`].
    pub fn ring_other(&self, event: &str) {
        self.world.ring(&News::Other(event));
    }

    /// Hands an account to the application, creating it if there is none, and tells so (`kf_account_auth_change`).
    pub fn grant(&self, account: Account) {
        self.world.wecom().grant(account.clone());
        self.world.ring(&News::Accounts {
            added: &[account],
            removed: &[],
        });
    }

    /// Takes an account away from the application, and tells so. From now on pulling it is answered 48007.
    pub fn withdraw(&self, open_kfid: &OpenKfid) {
        self.world.wecom().withdraw(open_kfid);
        self.world.ring(&News::Accounts {
            added: &[],
            removed: std::slice::from_ref(open_kfid),
        });
    }

    /// Checks the callback's URL as WeCom does when it is saved in the console. Returns how long the answer took.
    ///
    /// # Errors
    ///
    /// [`EchoError`] tells what WeCom would not have liked.
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/90930>
    pub async fn verify_url(&self) -> Result<Duration, EchoError> {
        self.world.verify_url().await
    }

    /// Replaces all faults.
    pub fn set_faults(&self, faults: Faults) {
        self.world.wecom().faults = faults;
    }

    /// The faults as they are set now; a dial at [`Dial::Next`] shows what is left.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.world.wecom().faults.clone()
    }

    /// Turns one dial.
    pub fn set_fault(&self, fault: Fault, dial: Dial) {
        self.world.wecom().faults.dials.insert(fault, dial);
    }

    /// Lets a reply that was accepted fail, as if WeCom found out later, and tells so (`msg_send_fail`).
    ///
    /// # Errors
    ///
    /// [`UnknownReply`] when no such reply was accepted.
    pub fn fail_reply(&self, open_kfid: &OpenKfid, msgid: &Msgid, fail_type: u32) -> Result<Msgid, UnknownReply> {
        self.world.fail_reply(open_kfid, msgid, fail_type)
    }

    /// Changes what may be sent to customers, and how long.
    pub fn set_reply_rules(&self, rules: ReplyRules) {
        self.world.wecom().settings.replies = rules;
    }

    /// Every message to a customer that was accepted, in order.
    #[must_use]
    pub fn seen(&self) -> Vec<Arc<Seen>> {
        self.world.wecom().replies.all().to_vec()
    }

    /// The truth up to now.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.world.wecom().ledger()
    }

    /// The numbers of the ledger alone, without its items.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.world.wecom().counts.clone()
    }

    /// How many items of an account the client has shown to have, by asking for what follows them. Whatever happens to
    /// it, it must not ask for less than that again.
    #[must_use]
    pub fn acknowledged(&self, open_kfid: &OpenKfid) -> u64 {
        self.world.wecom().acknowledged.get(open_kfid).copied().unwrap_or(0)
    }

    /// How many items of an account lie before `cursor`; `None` if this simulator did not make it for that account.
    #[must_use]
    pub fn place(&self, open_kfid: &OpenKfid, cursor: &str) -> Option<u64> {
        self.world.wecom().place(open_kfid, cursor)
    }

    /// Waits until every callback has been answered or given up.
    pub async fn quiet(&self) {
        self.world.bells.wait().await;
    }

    /// Stops serving and calling, and waits until both have ended.
    pub async fn stop(mut self) {
        self.world.stop.cancel();
        // It ends within its own grace; a panic in it has been reported where it happened.
        let _ = timeout(2 * GRACE, &mut self.server).await;
        self.world.bells.wait().await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.world.stop.cancel();
    }
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl World {
    fn say(self: &Arc<Self>, open_kfid: &OpenKfid, draft: Draft) -> Result<Msgid, UnknownAccount> {
        let now = self.clock.now();
        let msgid = self.wecom().say(open_kfid, draft, now)?;
        self.ring(&News::Messages(open_kfid));
        Ok(msgid)
    }

    fn fail_reply(
        self: &Arc<Self>,
        open_kfid: &OpenKfid,
        msgid: &Msgid,
        fail_type: u32,
    ) -> Result<Msgid, UnknownReply> {
        let now = self.clock.now();
        let event = self.wecom().fail_reply(open_kfid, msgid, fail_type, now)?;
        self.ring(&News::Messages(open_kfid));
        Ok(event)
    }

    fn converse(
        self: &Arc<Self>,
        open_kfid: &OpenKfid,
        customer: &ExternalUserid,
    ) -> Result<Vec<Msgid>, UnknownAccount> {
        let mut rng = SmallRng::seed_from_u64(self.wecom().rng.random());
        let script = samples::conversation(customer, &mut rng);
        script.into_iter().map(|draft| self.say(open_kfid, draft)).collect()
    }
}
