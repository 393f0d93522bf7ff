//! Puts the parts together: the one place that knows them all.
//!
//! ```no_run
//! use tokio_util::sync::CancellationToken;
//! use wecom_kf::app::App;
//! use wecom_kf::config::{Config, Environment};
//! use wecom_kf::handler::{Outcome, Registration, from_fn};
//! use wecom_kf::id::HandlerName;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::load("config.toml".as_ref(), &Environment::of_process())?.config;
//! let print = from_fn(|_cx, message| async move {
//!     println!("{}", message.msgid);
//!     Ok(Outcome::Done)
//! });
//! let app = App::builder(config).handler(Registration::new(HandlerName::new("print")?, print)).build().await?;
//! app.bind().await?.run(CancellationToken::new()).await;
//! # Ok(())
//! # }
//! ```

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::api::{ApiError, Client};
use crate::callback::VerifierError;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::dispatcher::{Dispatcher, DispatcherError};
#[cfg(feature = "nats")]
use crate::handler::nats::NatsError;
use crate::handler::{ForwardError, Roster};
use crate::http::{Callbacks, Gateway, Readiness, ReadyCheck, RenderMetrics, Router};
use crate::id::{AppName, HandlerName};
use crate::lease::Tender;
use crate::store::{Store, StoreError};
use crate::syncer::Syncer;
use crate::telemetry::Metrics;

mod bound;
mod builder;
mod descriptors;
mod token_shelf;
mod upkeep;

pub use bound::Bound;
#[cfg(feature = "nats")]
pub use builder::nats;
pub use builder::{Builder, client};
pub use token_shelf::token_shelf;

use upkeep::Upkeep;

/// A server that is ready to run: its store is open, its handlers are registered, no port is bound yet.
#[derive(Debug)]
pub struct App {
    server: config::Server,
    retention: Duration,
    body_retention: Option<Duration>,
    /// Also in the syncer.
    clients: Vec<(AppName, Client)>,
    callbacks: Callbacks,
    gateway: Option<(SocketAddr, Gateway)>,
    store: Arc<dyn Store>,
    roster: Arc<Roster>,
    syncer: Syncer,
    dispatcher: Dispatcher,
    /// If other processes share the store.
    tender: Option<Tender>,
    clock: Arc<dyn Clock>,
    metrics: Option<Metrics>,
}

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An application's callback keys make no verifier.
    #[error("app {app}")]
    Verifier {
        /// Application they are for.
        app: AppName,
        /// What is wrong.
        source: VerifierError,
    },
    /// An application's client for WeCom's API cannot be made.
    #[error("app {app}")]
    Client {
        /// Application it is for.
        app: AppName,
        /// What is wrong.
        source: ApiError,
    },
    /// A forward handler cannot be made.
    #[error("handler {handler}")]
    Handler {
        /// Its name.
        handler: HandlerName,
        /// What is wrong.
        source: ForwardError,
    },
    /// A handler that publishes to NATS cannot be made.
    #[cfg(feature = "nats")]
    #[error("handler {handler}")]
    Nats {
        /// Its name.
        handler: HandlerName,
        /// What is wrong.
        source: NatsError,
    },
    /// Two handlers share a name.
    #[error("handler {0}: there are two of this name, and a handler's name is its identity: rename one")]
    SharedName(HandlerName),
    /// The handlers cannot be run.
    #[error(transparent)]
    Dispatcher(#[from] DispatcherError),
    /// A port cannot be listened on.
    #[error("{key} = \"{address}\": cannot listen there; {}", mend(source))]
    Bind {
        /// Config key of the address.
        key: &'static str,
        /// Address asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A socket that was handed over cannot be listened on.
    #[error("cannot listen on the socket that was handed over")]
    HandedOver(#[source] io::Error),
}

/// What the operator can do about an address that cannot be listened on.
fn mend(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::AddrInUse => "stop the other process that does, or set another port",
        io::ErrorKind::AddrNotAvailable => "set an address that this machine has",
        io::ErrorKind::PermissionDenied => "set a port of 1024 or above, or give this user the right",
        _ => "set another address",
    }
}

impl App {
    /// Starts from a config; handlers written in Rust are added to those it names.
    pub fn builder(config: Config) -> Builder {
        Builder::new(config)
    }

    /// What answers callbacks, for [`http::serve()`](crate::http::serve()).
    pub fn callbacks(&self) -> &Callbacks {
        &self.callbacks
    }

    /// Callback routes, to be mounted in another axum application. Pair it with [`run`](Self::run).
    pub fn callback_router(&self) -> Router {
        self.callbacks.router()
    }

    /// Pulls and hands out messages until `stop`, then finishes the pages and attempts in hand. Listens nowhere: for
    /// those who mount the [callback routes](Self::callback_router) themselves.
    pub async fn run(self, stop: CancellationToken) {
        let answered = stop.clone();
        self.work(stop, answered).await;
    }

    /// Does what [`run`](Self::run) says, and writes down what callbacks say until they are all `answered`.
    async fn work(self, stop: CancellationToken, answered: CancellationToken) {
        let Self {
            store,
            roster,
            syncer,
            dispatcher,
            tender,
            clock,
            server,
            retention,
            body_retention,
            clients,
            metrics,
            ..
        } = self;
        let metrics_upkeep = async {
            if let Some(metrics) = metrics {
                stop.run_until_cancelled(metrics.upkeep()).await;
            }
        };
        let upkeep = Upkeep {
            store,
            roster,
            clock,
            clients,
            retention,
            body_retention,
        };
        let upkeep = upkeep.run(stop.clone());
        let tending = async {
            if let Some(tender) = tender {
                tender.run(stop.clone()).await;
            }
        };
        let work = async {
            tokio::join!(
                syncer.run(stop.clone(), answered),
                dispatcher.run(stop.clone()),
                tending,
                upkeep,
                metrics_upkeep
            )
        };
        let overdue = async {
            stop.cancelled().await;
            tokio::time::sleep(server.shutdown_grace).await;
        };
        tokio::select! {
            _ = work => {}
            () = overdue => tracing::warn!("stopped with work in hand: the grace period is over"),
        }
    }

    /// Ready means that the store takes writes, pulling is not held back, and nobody asked the server to stop. What it
    /// holds of a store it shares does not matter: whoever asks wants to know where to send callbacks.
    fn ready_check(&self, stop: &CancellationToken) -> ReadyCheck {
        let (store, held, stop) = (Arc::clone(&self.store), self.syncer.held(), stop.clone());
        Arc::new(move || {
            let (store, held, stop) = (Arc::clone(&store), held.clone(), stop.clone());
            Box::pin(async move {
                if stop.is_cancelled() {
                    return Readiness::NotReady {
                        reason: "draining".into(),
                    };
                }
                let held = *held.borrow();
                match (store.check().await, held) {
                    (Ok(()), None) => Readiness::Ready,
                    (Ok(()), Some(held)) => Readiness::NotReady {
                        reason: held.to_string().into(),
                    },
                    (Err(error), _) => Readiness::NotReady {
                        reason: error.to_string().into(),
                    },
                }
            })
        })
    }

    fn render_metrics(&self) -> RenderMetrics {
        match &self.metrics {
            Some(metrics) => metrics.renderer(),
            None => Arc::new(String::new),
        }
    }
}
