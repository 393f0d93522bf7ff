//! Settings: one file, overlaid by the environment, checked whole before anything starts.
//!
//! A wrong config must stop the server before a port opens, and must say what to mend. So reading goes in two steps:
//! what the operator wrote (`raw`: every key optional, unknown keys refused) becomes what the server runs with
//! ([`Config`]: parsed, nothing optional that cannot be absent), and everything that is wrong on the way is collected
//! and told at once, each with the path of its key.
//!
//! No other module reads files or the environment for settings. `config.example.toml` shows every key.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::api::Call;
use crate::callback::KeyPair;
use crate::handler::{Filter, Policy};
use crate::http::GatewayKey;
use crate::id::{AppName, CorpId, HandlerName};
use crate::store::Durability;
use crate::telemetry;

mod app;
mod auto_reply;
mod ca;
mod credentials;
mod display;
mod environment;
mod filter;
mod findings;
mod forward;
mod gateway;
mod handler;
mod nats;
mod raw;
mod read;
mod secret;
mod section;
mod server;
mod size;
mod store;
mod sync;

#[cfg(test)]
mod tests;

pub use ca::Ca;
pub use credentials::StoreCredentials;
pub use environment::Environment;
pub use findings::{ConfigError, Problem};
pub use forward::Forward;
pub use handler::HandlerKind;
#[cfg(feature = "nats")]
pub use nats::Nats;

use findings::Findings;
use secret::Exposure;

/// What the server runs with. Its `Display` is the whole of it as TOML, defaults included and secrets as `***`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where to listen, and how long to take leave.
    pub server: Server,
    /// What is logged, and in which form.
    pub log: telemetry::Settings,
    /// Where messages are kept, and for how long.
    pub store: Store,
    /// Applications, at least one, each with a name of its own.
    pub apps: Vec<App>,
    /// How messages are pulled.
    pub sync: Sync,
    /// Handlers, each with a name of its own. None at all is legal: messages are stored and wait.
    pub handlers: Vec<Handler>,
    /// Where programs that must not learn an access token reach WeCom's API; nowhere if `None`.
    pub gateway: Option<Gateway>,
}

/// Section `[server]`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Server {
    /// Address for callbacks.
    pub listen: SocketAddr,
    /// Address for health, metrics and administration.
    pub admin_listen: SocketAddr,
    /// Connections served at once on `listen`, if the process may open as many files.
    pub max_connections: u16,
    /// Time from the request to stop until the process ends, whatever is still running.
    pub shutdown_grace: Duration,
}

/// Section `[store]`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Store {
    /// Which store, and where: `sqlite://` and a path, relative to the working directory unless it begins with `/`; or
    /// `postgres://user@host/database`, without a password.
    pub url: String,
    /// Password for a database.
    pub password: Option<SecretString>,
    /// Who vouches for a database server; the authorities of this machine if `None`.
    pub ca: Option<Ca>,
    /// Connections to a database at once, beside one that listens. At least 2.
    pub connections: usize,
    /// How long a process that shares the store keeps what it holds without a word: 3 s to 10 min.
    pub lease: Duration,
    /// Age at which handled messages are deleted. At least 96 h: WeCom repeats its history for three days, and what
    /// was forgotten would be taken for new.
    pub retention: Duration,
    /// Age at which handled messages lose what was said in them and by whom; `None` keeps it as long as the message.
    pub body_retention: Option<Duration>,
    /// What a power cut may undo.
    pub durability: Durability,
    /// Bytes to keep free on its disk; a tenth of the disk, if that is less. With fewer nothing is pulled.
    pub min_free: u64,
    /// Deliveries owed, of all handlers together, above which nothing is pulled. At least 1.
    pub max_backlog: u64,
}

/// One entry of `[[apps]]`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct App {
    /// Last part of the callback path.
    pub name: AppName,
    /// Corporation it belongs to.
    pub corp_id: CorpId,
    /// Its secret, for `gettoken`.
    pub secret: SecretString,
    /// Where WeCom's API is. `https`, unless it is this machine.
    pub api_base: Url,
    /// Key pairs that callbacks may be sealed with, at least one.
    pub callback_keys: Vec<KeyPair>,
    /// Receivers that a callback may name, at least one. The empty one only if the operator said so.
    pub receive_ids: Vec<CorpId>,
    /// How far a callback's timestamp may lie from our clock; `None` does not look.
    pub max_clock_skew: Option<Duration>,
    /// Calls to WeCom under way at once, at least 1.
    pub api_concurrency: usize,
    /// Longest a call to WeCom may take.
    pub api_timeout: Duration,
}

/// Section `[sync]`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sync {
    /// How often every known account is pulled without being notified.
    pub poll_interval: Duration,
    /// Age up to which messages found by an account's first pull are handed out.
    pub first_sync_window: Duration,
    /// Messages a page may have, 1–1000.
    pub page_limit: u16,
    /// `sync_msg` calls per second and app, sustained. At least 1.
    pub calls_per_second: u32,
    /// `sync_msg` calls of an app that may come at once after a quiet time. At least 1.
    pub calls_burst: u32,
    /// Pulls without a callback's token per minute and app. At least 1.
    pub tokenless_per_minute: u32,
    /// Bound of the wait after a first failure; doubles with each further one.
    pub backoff_min: Duration,
    /// Bound at which it stops doubling. Not under `backoff_min`.
    pub backoff_max: Duration,
    /// How long a call rests once WeCom says that it comes too often (45009).
    pub rate_limit_pause: Duration,
    /// How long an account rests after an error that only an operator can mend.
    pub operator_pause: Duration,
}

/// One entry of `[[handlers]]`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Handler {
    /// Its durable identity.
    pub name: HandlerName,
    /// What it does with a message.
    pub kind: HandlerKind,
    /// Which messages it is handed.
    pub filter: Filter,
    /// How patiently it is tried.
    pub policy: Policy,
}

/// Section `[gateway]`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Gateway {
    /// Address of its listener.
    pub listen: SocketAddr,
    /// Keys that open it, at least one.
    pub keys: Vec<GatewayKey>,
    /// Applications it leads to, all of them named in `[[apps]]`.
    pub apps: Vec<AppName>,
    /// Calls it passes on, at least one.
    pub calls: Vec<Call>,
    /// Longest a request may take, the transfer of a file included.
    pub request_timeout: Duration,
}

/// A config that can be run with, and what its operator should hear all the same.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// One line each: legal, but probably not what was meant.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads the file at `path`, the variables of `environment` that overlay it, and the secrets it points to.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Read`] if there is no such file, and as [`Config::parse`].
    pub fn load(path: &Path, environment: &Environment) -> Result<Loaded, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        let mut findings = Findings::default();
        let config = read::config(&text, environment, &mut findings)?;
        match Exposure::of(path) {
            Exposure::Writable => findings.warn(format!(
                "every user of this machine may change {}, and so where secrets are sent: chmod 600 it",
                path.display()
            )),
            Exposure::Readable if findings.has_inline_secret() => findings.warn(format!(
                "{} holds secrets and every user of this machine may read it: chmod 600 it, or point to the secrets \
                 with {{ file = \"…\" }} or {{ env = \"…\" }}",
                path.display()
            )),
            Exposure::Readable | Exposure::None => {}
        }
        findings.conclude(config)
    }

    /// Reads a config from `text`, as [`Config::load`] does with that of a file.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Syntax`] if it is no TOML; [`ConfigError::Wrong`] with every problem there is if it is no config.
    pub fn parse(text: &str, environment: &Environment) -> Result<Loaded, ConfigError> {
        let mut findings = Findings::default();
        let config = read::config(text, environment, &mut findings)?;
        findings.conclude(config)
    }
}
