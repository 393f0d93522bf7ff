//! A simulated WeCom with something to say, and the config of a server that listens to it.

use std::net::SocketAddr;
use std::path::Path;

use secrecy::ExposeSecret as _;
use tempfile::TempDir;
use wecom_kf::callback::{GeneratedKeys, KeyPair, Sealed, seal};
use wecom_kf::clock::{Clock as _, SystemClock};
use wecom_kf::id::{CorpId, OpenKfid};
use wecom_kf::simulator::samples::{self, Chatter};
use wecom_kf::simulator::{Account, Bells, CallbackTarget, Settings, Simulator};

/// Customers of one account.
const CUSTOMERS: usize = 500;

pub(crate) struct Stage {
    pub(crate) wecom: Simulator,
    pub(crate) accounts: Vec<OpenKfid>,
    pub(crate) corp_id: CorpId,
    pub(crate) secret: String,
    keys: GeneratedKeys,
}

impl Stage {
    /// `messages` in all wait on `accounts`, the same in every run.
    pub(crate) async fn new(accounts: usize, messages: usize) -> Self {
        let accounts = samples::accounts(1, accounts);
        let mut settings = Settings::default();
        settings.accounts = accounts.iter().map(|id| Account::new(id.as_str(), "bench")).collect();
        // Each round is a new server, which asks for a token of its own; and a bare loop has no callback's token.
        settings.limits.gettoken_per_minute = 10_000;
        settings.limits.tokenless_per_minute = 10_000;
        let (corp_id, secret) = (settings.corp_id.clone(), settings.secret.expose_secret().to_owned());
        let wecom = Simulator::start(settings).await.expect("the simulator starts");
        let stage = Self {
            wecom,
            corp_id,
            secret,
            keys: KeyPair::generate(&mut rand::rng()),
            accounts,
        };
        let share = messages / stage.accounts.len();
        for (seed, account) in (0..).zip(&stage.accounts) {
            let drafts = Chatter::new(seed, samples::customers(seed, CUSTOMERS)).take(share);
            let said = stage.wecom.say_many(account, drafts, Bells::Silent);
            said.expect("the account exists");
        }
        stage
    }

    /// The config of a server whose store is at `store`, with `more` behind it: handlers, for example.
    pub(crate) fn config(&self, store: &str, more: &str) -> String {
        format!(
            r#"
            [server]
            listen = "127.0.0.1:0"
            admin_listen = "127.0.0.1:0"
            [log]
            format = "json"
            [store]
            url = "{store}"
            [[apps]]
            name = "main"
            corp_id = "{corp_id}"
            secret = "{secret}"
            api_base = "{api_base}"
            callback_keys = [{{ token = "{token}", encoding_aes_key = "{encoding_aes_key}" }}]
            {more}
            "#,
            corp_id = self.corp_id,
            secret = self.secret,
            api_base = self.wecom.base_url(),
            token = self.keys.token.expose_secret(),
            encoding_aes_key = self.keys.encoding_aes_key.expose_secret(),
        )
    }

    /// Tells the server at `callbacks` that every account has news.
    pub(crate) fn ring(&self, callbacks: SocketAddr) {
        let url = format!("http://{callbacks}/callback/main");
        let (token, encoding_aes_key) = (self.keys.token.clone(), self.keys.encoding_aes_key.clone());
        let target = CallbackTarget::new(&url, token, encoding_aes_key, self.corp_id.as_str());
        self.wecom.set_callback(Some(target.expect("a target")));
        self.accounts.iter().for_each(|account| self.wecom.ring(account));
    }

    /// A callback that says `account` has news, as WeCom would seal it.
    pub(crate) fn seal(&self, account: &OpenKfid, token: &str, nonce: u64) -> Sealed {
        let now = SystemClock.now().as_secs();
        let event = format!(
            "<xml><ToUserName><![CDATA[{}]]></ToUserName><CreateTime>{now}</CreateTime>\
             <MsgType><![CDATA[event]]></MsgType><Event><![CDATA[kf_msg_or_event]]></Event>\
             <Token><![CDATA[{token}]]></Token><OpenKfId><![CDATA[{account}]]></OpenKfId></xml>",
            self.corp_id
        );
        let receiveid = self.corp_id.as_str();
        seal(
            &self.pair(),
            receiveid,
            event.as_bytes(),
            now,
            &nonce.to_string(),
            rand::random(),
        )
    }

    /// What the console and the server both know.
    pub(crate) fn pair(&self) -> KeyPair {
        let (token, encoding_aes_key) = (self.keys.token.clone(), self.keys.encoding_aes_key.clone());
        KeyPair::new(token, encoding_aes_key).expect("fresh keys are good")
    }
}

/// The address of a store in `folder`.
pub(crate) fn sqlite(folder: &TempDir) -> String {
    format!("sqlite://{}", database(folder).display())
}

/// The store's file in `folder`.
pub(crate) fn database(folder: &TempDir) -> std::path::PathBuf {
    Path::new(folder.path()).join("kf.db")
}
