//! Everything a test plays on: a simulated WeCom, a receiver, a config, and what was said.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use secrecy::ExposeSecret as _;
use tempfile::TempDir;
use wecom_kf::callback::{GeneratedKeys, KeyPair, Sealed, seal};
use wecom_kf::clock::{Clock, ScaledClock, SystemClock};
use wecom_kf::id::OpenKfid;
use wecom_kf::simulator::samples::{self, Chatter};
use wecom_kf::simulator::{Account, Bells, CallbackTarget, Draft, Limits, Settings, Simulator, Verdict};

use crate::front::Front;
use crate::post::SIGNING_SECRET;
use crate::receiver::Receiver;
use crate::server::{self, Server};

/// Customers of each account.
const CUSTOMERS: usize = 200;

/// How fast time and the server's patience run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As the server is shipped, against WeCom's own limits.
    AsShipped,
    /// WeCom's minute takes a tenth of a second, and the server waits accordingly.
    Fast,
}

pub(crate) struct Stage {
    pub(crate) wecom: Simulator,
    pub(crate) receiver: Receiver,
    accounts: Mutex<Vec<OpenKfid>>,
    /// Where a proxy stands before the server.
    front: Option<SocketAddr>,
    keys: GeneratedKeys,
    corp_id: String,
    pub(crate) config: PathBuf,
    said: AtomicUsize,
    seed: AtomicU64,
    folder: TempDir,
}

impl Stage {
    pub(crate) async fn with_accounts(count: usize, pace: Pace) -> Self {
        Self::set_up(None, count, pace).await
    }

    /// The same behind a proxy: every server that is started is called through it.
    pub(crate) async fn behind(front: &Front, count: usize, pace: Pace) -> Self {
        Self::set_up(Some(front), count, pace).await
    }

    async fn set_up(front: Option<&Front>, count: usize, pace: Pace) -> Self {
        let accounts = samples::accounts(7, count);
        let mut settings = Settings::default();
        settings.callback_authorities = front
            .as_ref()
            .map(|front| front.certificate.clone())
            .unwrap_or_default();
        settings.accounts = accounts.iter().map(|id| Account::new(id.as_str(), "客服")).collect();
        if pace == Pace::Fast {
            let system: Arc<dyn Clock> = Arc::new(SystemClock);
            settings.clock = Arc::new(ScaledClock::new(system, 600));
            let mut limits = Limits::default();
            limits.tokenless_per_minute = 1_000;
            limits.gettoken_per_minute = 1_000;
            settings.limits = limits;
            // The server lives in real time, in which these 20 seconds would be over before it has pulled.
            settings.replies.welcome_code = settings.replies.window;
        }
        let (corp_id, secret) = (settings.corp_id.to_string(), settings.secret.expose_secret().to_owned());
        let wecom = Simulator::start(settings).await.expect("the simulator starts");
        let receiver = Receiver::start().await;
        let keys = KeyPair::generate(&mut rand::rng());
        let folder = TempDir::new().expect("a folder");
        let config = folder.path().join("config.toml");
        let mut text = config_text(&wecom, &receiver, &folder, &corp_id, &secret, &keys, pace);
        if let Some(front) = front {
            text = text.replacen("127.0.0.1:0", &front.upstream.to_string(), 1);
        }
        std::fs::write(&config, text).expect("the config can be written");
        Self {
            wecom,
            receiver,
            accounts: Mutex::new(accounts),
            front: front.map(|front| front.address),
            keys,
            corp_id,
            config,
            said: AtomicUsize::new(0),
            seed: AtomicU64::new(0),
            folder,
        }
    }

    /// What starts a server on this stage's config and store.
    pub(crate) fn serve(&self) -> Command {
        server::serve(&self.config)
    }

    /// Where the store is.
    pub(crate) fn database(&self) -> PathBuf {
        database(&self.folder)
    }

    /// Adds `text` to the config.
    pub(crate) fn add_to_config(&self, text: &str) {
        let config = std::fs::read_to_string(&self.config).expect("the config can be read");
        std::fs::write(&self.config, config + text).expect("the config can be written");
    }

    /// Where the config is.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    /// Callback token and EncodingAESKey.
    pub(crate) fn callback_keys(&self) -> [&str; 2] {
        [
            self.keys.token.expose_secret(),
            self.keys.encoding_aes_key.expose_secret(),
        ]
    }

    /// Starts a server on this stage's config and store, and tells WeCom where it listens.
    pub(crate) fn start(&self) -> Server {
        self.announced(Server::start(&self.config))
    }

    /// Starts a server by `command`, which is like that of [`serve`](Self::serve), and tells WeCom where it listens.
    pub(crate) fn start_as(&self, command: Command) -> Server {
        self.announced(Server::launch(command))
    }

    /// Starts a server whose callbacks come in on `socket`, which is handed over as systemd does.
    pub(crate) fn start_on(&self, socket: &TcpListener) -> Server {
        let socket = socket.try_clone().expect("a socket can have two handles");
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(r#"exec 3<&0 < /dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$0" serve --config "$1""#)
            .arg(env!("CARGO_BIN_EXE_wecom-kf"))
            .arg(&self.config)
            .env_clear()
            .stdin(OwnedFd::from(socket));
        self.announced(Server::launch(command))
    }

    fn announced(&self, server: Server) -> Server {
        self.ring_at(server.callbacks);
        server
    }

    /// Tells WeCom that a server on this stage's config listens at `callbacks`.
    pub(crate) fn ring_at(&self, callbacks: SocketAddr) {
        let url = match &self.front {
            Some(front) => format!("https://{front}/callback/main"),
            None => format!("http://{callbacks}/callback/main"),
        };
        let GeneratedKeys {
            token,
            encoding_aes_key,
            ..
        } = &self.keys;
        let target = CallbackTarget::new(&url, token.clone(), encoding_aes_key.clone(), self.corp_id.as_str());
        self.wecom.set_callback(Some(target.expect("a good target")));
    }

    /// Puts `new` where `old` stands in the config, the first time it does.
    pub(crate) fn change(&self, old: &str, new: &str) {
        let text = std::fs::read_to_string(&self.config).expect("the config can be read");
        assert!(text.contains(old), "no {old:?} in {text}");
        std::fs::write(&self.config, text.replacen(old, new, 1)).expect("the config can be written");
    }

    /// Adds an application of the same corporation whose secret WeCom does not know.
    pub(crate) fn add_app_with_a_wrong_secret(&self, name: &str) {
        let (corp_id, api_base) = (&self.corp_id, self.wecom.base_url());
        let [token, key] = [&self.keys.token, &self.keys.encoding_aes_key].map(|key| key.expose_secret());
        let app = format!(
            r#"
        [[apps]]
        name = "{name}"
        corp_id = "{corp_id}"
        secret = "of-another-app"
        api_base = "{api_base}"
        callback_keys = [{{ token = "{token}", encoding_aes_key = "{key}" }}]
        [[handlers]]"#
        );
        self.change("[[handlers]]", app.trim_start());
    }

    /// Where WeCom listens.
    pub(crate) fn wecom_address(&self) -> SocketAddr {
        let url = self.wecom.base_url();
        let address = url.strip_prefix("http://").and_then(|address| address.parse().ok());
        address.expect("an address")
    }

    /// Accounts that customers talk to.
    pub(crate) fn accounts(&self) -> Vec<OpenKfid> {
        self.accounts.lock().unwrap().clone()
    }

    /// A genuine callback that the first account has news.
    pub(crate) fn callback(&self) -> Sealed {
        let GeneratedKeys {
            token,
            encoding_aes_key,
            ..
        } = &self.keys;
        let pair = KeyPair::new(token.clone(), encoding_aes_key.clone()).expect("good keys");
        let open_kfid = &self.accounts.lock().unwrap()[0];
        let news = format!("<xml><Event>kf_msg_or_event</Event><OpenKfId>{open_kfid}</OpenKfId></xml>");
        let now = SystemClock.now().as_secs();
        seal(&pair, &self.corp_id, news.as_bytes(), now, "n0nce", [7; 16])
    }

    /// Lets customers of all accounts say `count` things of all kinds.
    pub(crate) fn say(&self, count: usize, bells: Bells) {
        self.say_among(CUSTOMERS, count, bells);
    }

    /// Lets `customers` of each account, the same ones every time, say `count` things in all.
    pub(crate) fn say_among(&self, customers: usize, count: usize, bells: Bells) {
        let accounts = self.accounts.lock().unwrap();
        for (n, account) in accounts.iter().enumerate() {
            let seed = self.seed.fetch_add(1, Ordering::Relaxed);
            let share = count / accounts.len() + usize::from(n < count % accounts.len());
            let drafts: Vec<Draft> = Chatter::new(seed, samples::customers(n as u64, customers))
                .take(share)
                .collect();
            self.wecom.say_many(account, drafts, bells).expect("the account exists");
        }
        self.said.fetch_add(count, Ordering::Relaxed);
    }

    /// Another account, from now on among those that talk.
    pub(crate) fn open_account(&self, open_kfid: &str) {
        self.wecom.grant(Account::new(open_kfid, "新客服"));
        self.accounts.lock().unwrap().push(OpenKfid::from(open_kfid));
    }

    /// Waits until everything that was said has arrived, whatever else came with it.
    pub(crate) async fn all_arrived(&self) {
        let mut enough = self.said.load(Ordering::Relaxed);
        loop {
            self.receiver.until(enough).await;
            let received = self.receiver.received();
            match self.wecom.ledger().verdict(&received).lost {
                0 => return,
                // Something else was among what came: so many more are needed at least.
                lost => enough = received.len() + usize::try_from(lost).expect("a small number"),
            }
        }
    }

    /// A callback as WeCom would seal it for this stage's server.
    pub(crate) fn seal(&self, message: &[u8], random16: [u8; 16]) -> Sealed {
        let GeneratedKeys {
            token,
            encoding_aes_key,
            ..
        } = &self.keys;
        let pair = KeyPair::new(token.clone(), encoding_aes_key.clone()).expect("good keys");
        seal(
            &pair,
            &self.corp_id,
            message,
            SystemClock.now().as_secs(),
            "nonce",
            random16,
        )
    }

    pub(crate) fn verdict(&self) -> Verdict {
        self.wecom.ledger().verdict(&self.receiver.received())
    }
}

fn database(folder: &TempDir) -> PathBuf {
    folder.path().join("kf.db")
}

fn config_text(
    wecom: &Simulator,
    receiver: &Receiver,
    folder: &TempDir,
    corp_id: &str,
    secret: &str,
    keys: &GeneratedKeys,
    pace: Pace,
) -> String {
    let (sync, handler) = match pace {
        Pace::AsShipped => ("", ""),
        Pace::Fast => (
            r#"
            [sync]
            poll_interval = "500ms"
            page_limit = 100
            calls_per_second = 10000
            calls_burst = 10000
            tokenless_per_minute = 10000
            backoff_min = "5ms"
            backoff_max = "100ms"
            rate_limit_pause = "110ms"
            operator_pause = "200ms"
            "#,
            r#"
            retry_schedule = ["20ms", "50ms", "100ms"]
            probe_min = "20ms"
            probe_max = "100ms"
            "#,
        ),
    };
    format!(
        r#"
        [server]
        listen = "127.0.0.1:0"
        admin_listen = "127.0.0.1:0"
        [log]
        format = "json"
        [store]
        url = "sqlite://{store}"
        {sync}
        [[apps]]
        name = "main"
        corp_id = "{corp_id}"
        secret = "{secret}"
        api_base = "{api_base}"
        callback_keys = [{{ token = "{token}", encoding_aes_key = "{encoding_aes_key}" }}]
        [[handlers]]
        name = "bot"
        kind = "forward"
        url = "{url}"
        signing_secret = "{SIGNING_SECRET}"
        origins = ["all"]
        {handler}
        "#,
        store = database(folder).display(),
        api_base = wecom.base_url(),
        token = keys.token.expose_secret(),
        encoding_aes_key = keys.encoding_aes_key.expose_secret(),
        url = receiver.url,
    )
}
