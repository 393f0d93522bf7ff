//! A simulated WeCom, and the config of a server that publishes what is said there.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::Output;
use std::sync::atomic::{AtomicU64, Ordering};

use secrecy::ExposeSecret as _;
use tempfile::TempDir;
use wecom_kf::callback::{GeneratedKeys, KeyPair};
use wecom_kf::id::OpenKfid;
use wecom_kf::simulator::samples::{self, Chatter};
use wecom_kf::simulator::{Account, Bells, CallbackTarget, Draft, Settings, Simulator, Verdict};

use crate::server::{self, Server};
use crate::shelf::Shelf;

/// Customers of each account.
const CUSTOMERS: usize = 100;

pub(crate) struct Stage {
    pub(crate) wecom: Simulator,
    accounts: Vec<OpenKfid>,
    keys: GeneratedKeys,
    corp_id: String,
    config: PathBuf,
    seed: AtomicU64,
    _folder: TempDir,
}

impl Stage {
    /// One whose server publishes to the broker at `address`, by the further keys of `handler`.
    pub(crate) async fn before(address: SocketAddr, handler: &str) -> Self {
        Self::with_servers(&format!("nats://{address}"), handler).await
    }

    /// The same, with the broker's whole address.
    pub(crate) async fn with_servers(url: &str, handler: &str) -> Self {
        let accounts = samples::accounts(7, 3);
        let mut settings = Settings::default();
        settings.accounts = accounts.iter().map(|id| Account::new(id.as_str(), "客服")).collect();
        let (corp_id, secret) = (settings.corp_id.to_string(), settings.secret.expose_secret().to_owned());
        let wecom = Simulator::start(settings).await.unwrap();
        let keys = KeyPair::generate(&mut rand::rng());
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("config.toml");
        let text = format!(
            r#"
            [server]
            listen = "127.0.0.1:0"
            admin_listen = "127.0.0.1:0"
            [log]
            level = "info,wecom_kf=debug"
            format = "json"
            [store]
            url = "sqlite://{store}"
            [[apps]]
            name = "main"
            corp_id = "{corp_id}"
            secret = "{secret}"
            api_base = "{api_base}"
            callback_keys = [{{ token = "{token}", encoding_aes_key = "{key}" }}]
            [[handlers]]
            name = "events"
            kind = "nats"
            servers = ["{url}"]
            origins = ["all"]
            retry_schedule = ["20ms", "50ms", "100ms"]
            probe_min = "20ms"
            probe_max = "100ms"
            {handler}
            "#,
            store = folder.path().join("kf.db").display(),
            api_base = wecom.base_url(),
            token = keys.token.expose_secret(),
            key = keys.encoding_aes_key.expose_secret(),
        );
        std::fs::write(&config, text).unwrap();
        Self {
            wecom,
            accounts,
            keys,
            corp_id,
            config,
            seed: AtomicU64::new(0),
            _folder: folder,
        }
    }

    /// Puts `new` where `old` stands in the config.
    pub(crate) fn change(&self, old: &str, new: &str) {
        let text = std::fs::read_to_string(&self.config).unwrap();
        assert!(text.contains(old), "no {old:?} in {text}");
        std::fs::write(&self.config, text.replacen(old, new, 1)).unwrap();
    }

    /// Starts a server, and tells WeCom where it listens.
    pub(crate) fn start(&self) -> Server {
        let server = Server::start(&self.config);
        let url = format!("http://{}/callback/main", server.callbacks);
        let GeneratedKeys {
            token,
            encoding_aes_key,
            ..
        } = &self.keys;
        let target = CallbackTarget::new(&url, token.clone(), encoding_aes_key.clone(), self.corp_id.as_str());
        self.wecom.set_callback(Some(target.unwrap()));
        server
    }

    /// What `check` prints.
    pub(crate) fn check(&self) -> Output {
        let mut command = server::binary();
        command.arg("check").arg("--config").arg(&self.config);
        command.output().unwrap()
    }

    /// Lets customers of all accounts say `count` things of all kinds each.
    pub(crate) fn say(&self, count: usize) {
        for (n, account) in self.accounts.iter().enumerate() {
            let seed = self.seed.fetch_add(1, Ordering::Relaxed);
            let customers = samples::customers(n as u64, CUSTOMERS);
            let drafts: Vec<Draft> = Chatter::new(seed, customers).take(count).collect();
            let bells = Bells::Every(NonZeroUsize::new(100).unwrap());
            self.wecom.say_many(account, drafts, bells).unwrap();
        }
    }

    /// Lets the first customer of the first account write these texts.
    pub(crate) fn write(&self, texts: impl IntoIterator<Item = String>) {
        let customer = &samples::customers(0, 1)[0];
        let drafts: Vec<_> = texts.into_iter().map(|text| Draft::text(customer, text)).collect();
        self.wecom.say_many(&self.accounts[0], drafts, Bells::Once).unwrap();
    }

    /// Waits until everything that was said is on `shelf`.
    pub(crate) async fn all_on(&self, shelf: &mut Shelf) {
        loop {
            shelf.read().await;
            match self.verdict(shelf).lost {
                0 => return,
                lost => {
                    shelf
                        .until(shelf.len().await.max(shelf.messages.len() as u64 + lost))
                        .await
                }
            }
        }
    }

    pub(crate) fn verdict(&self, shelf: &Shelf) -> Verdict {
        self.wecom.ledger().verdict(&shelf.received())
    }
}
