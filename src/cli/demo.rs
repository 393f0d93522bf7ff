//! `wecom-kf demo`: the whole way of a message, on loopback, without credentials.

use std::collections::BTreeSet;
use std::io::{Write as _, stdout};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wecom_kf::app::App;
use wecom_kf::callback::{GeneratedKeys, KeyPair};
use wecom_kf::clock::{Clock as _, SystemClock};
use wecom_kf::config::{Config, Environment};
use wecom_kf::handler::{Filter, Outcome, Registration, from_fn};
use wecom_kf::id::{ExternalUserid, HandlerName};
use wecom_kf::message::{Message, Origin};
use wecom_kf::simulator::{CallbackTarget, Received, Settings, Simulator, samples};

/// Columns of a line that show what a message says.
const SHOWN_CHARS: usize = 88;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// How long to wait for the last message.
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = humantime::parse_duration)]
    patience: Duration,
}

/// What the handler got.
#[derive(Default)]
struct Book {
    received: Mutex<Vec<Received>>,
    kinds: Mutex<BTreeSet<String>>,
    changed: Notify,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(play(options))
}

async fn play(options: &Options) -> anyhow::Result<ExitCode> {
    let folder = Folder::new()?;
    let settings = Settings::default();
    let (corp_id, secret) = (settings.corp_id.clone(), settings.secret.clone());
    let account = super::first_account(&settings)?;
    let wecom = Simulator::start(settings)
        .await
        .context("cannot start the simulated WeCom")?;
    writeln!(stdout(), "simulated WeCom on {}", wecom.base_url())?;

    let keys = KeyPair::generate(&mut rand::rng());
    let config = config(&wecom, &folder, corp_id.as_str(), secret.expose_secret(), &keys);
    let config = Config::parse(&config, &Environment::default())
        .context("the demo's own config")?
        .config;
    let book = Arc::<Book>::default();
    let server = App::builder(config)
        .handler(handler(&book)?)
        .build()
        .await?
        .bind()
        .await?;
    let url = format!("http://{}/callback/main", server.callback_address()?);
    writeln!(stdout(), "wecom-kf on {url}")?;
    wecom.set_callback(Some(CallbackTarget::new(
        &url,
        keys.token,
        keys.encoding_aes_key,
        corp_id.as_str(),
    )?));
    let stop = CancellationToken::new();
    let server = tokio::spawn(server.run(stop.clone()));

    let took = wecom
        .verify_url()
        .await
        .context("WeCom would not have accepted the callback URL")?;
    writeln!(stdout(), "callback URL verified in {took:.1?}\n")?;

    let began = SystemClock.now();
    let customer = ExternalUserid::from("wmDemoCustomer000000000000000001");
    let said = wecom.converse(&account, &customer)?.len();
    wecom.ring_other(samples::OTHER_EVENTS[0]);
    let arrived = tokio::time::timeout(options.patience, book.until(said)).await;
    let took = SystemClock.now().since(began);
    stop.cancel();
    server.await.context("the server died")?;
    wecom.quiet().await;

    let ledger = wecom.ledger();
    let received = book.received();
    let verdict = ledger.verdict(&received);
    writeln!(
        stdout(),
        "\n{} of {said} messages and events of {} types, through {} encrypted callbacks, in {took:.1?}: {verdict}",
        received.len(),
        book.kinds.lock().unwrap_or_else(PoisonError::into_inner).len(),
        ledger.counts.callbacks.sent,
    )?;
    wecom.stop().await;
    if arrived.is_ok() && verdict.is_clean() {
        return Ok(ExitCode::SUCCESS);
    }
    for missing in ledger
        .said
        .iter()
        .filter(|said| !received.iter().any(|got| got.msgid == said.msgid))
    {
        writeln!(stdout(), "missing: {} {}", missing.kind, missing.msgid)?;
    }
    Ok(ExitCode::FAILURE)
}

fn config(wecom: &Simulator, folder: &Folder, corp_id: &str, secret: &str, keys: &GeneratedKeys) -> String {
    format!(
        r#"
        [server]
        listen = "127.0.0.1:0"
        admin_listen = "127.0.0.1:0"
        [store]
        url = "sqlite://{store}"
        [[apps]]
        name = "main"
        corp_id = "{corp_id}"
        secret = "{secret}"
        api_base = "{api_base}"
        callback_keys = [{{ token = "{token}", encoding_aes_key = "{encoding_aes_key}" }}]
        "#,
        store = folder.0.join("demo.db").display(),
        api_base = wecom.base_url(),
        token = keys.token.expose_secret(),
        encoding_aes_key = keys.encoding_aes_key.expose_secret(),
    )
}

fn handler(book: &Arc<Book>) -> anyhow::Result<Registration> {
    let book = Arc::clone(book);
    let print = from_fn(move |_, message| {
        // The message was handled whether anybody reads of it or not.
        let _ = writeln!(stdout(), "{}", line(&message));
        book.note(&message);
        async { Ok(Outcome::Done) }
    });
    let everything = Filter {
        origins: None,
        ..Filter::default()
    };
    Ok(Registration::new(HandlerName::new("demo")?, print).with_filter(everything))
}

/// Type, sender and content of a message, in one line.
fn line(message: &Message) -> String {
    let kind = message.kind().unwrap_or("malformed");
    let from = match message.origin {
        Origin::Customer => "customer",
        Origin::Event => "event",
        Origin::Servicer => "colleague",
        _ => "unknown",
    };
    let item = serde_json::to_value(message).unwrap_or_default();
    let msgtype = item["msgtype"].as_str().unwrap_or_default();
    let mut content = item.get(msgtype).map(ToString::to_string).unwrap_or_default();
    if let Some((cut, _)) = content.char_indices().nth(SHOWN_CHARS) {
        content.truncate(cut);
        content.push('…');
    }
    format!("{kind:<38} {from:<10} {content}")
}

impl Book {
    fn note(&self, message: &Message) {
        self.kinds
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(message.kind().unwrap_or_default().to_owned());
        self.received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Received {
                open_kfid: message.open_kfid.clone(),
                msgid: message.msgid.clone(),
                external_userid: message.external_userid.clone(),
            });
        self.changed.notify_one();
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn until(&self, count: usize) {
        while self.received().len() < count {
            self.changed.notified().await;
        }
    }
}

/// A folder of its own under the system's temporary one, gone when it is dropped.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let name = format!("wecom-kf-demo-{:016x}", rand::random::<u64>());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind is in the system's temporary folder; there is nothing better to do about it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
