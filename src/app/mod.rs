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
use std::net::{self, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::{ApiError, Client};
use crate::callback::VerifierError;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::dispatcher::{Dispatcher, DispatcherError};
#[cfg(feature = "nats")]
use crate::handler::nats::NatsError;
use crate::handler::{ForwardError, Roster};
use crate::http::{self, Callbacks, Gateway, Limits, Readiness, ReadyCheck, RenderMetrics, Router};
use crate::id::{AppName, HandlerName};
use crate::lease::Tender;
use crate::store::{Store, StoreError};
use crate::syncer::Syncer;
use crate::telemetry::Metrics;

mod builder;
mod descriptors;
mod token_shelf;
mod upkeep;

#[cfg(feature = "nats")]
pub use builder::nats;
pub use builder::{Builder, client};
pub use token_shelf::token_shelf;

use upkeep::Upkeep;

/// Connections served at once on the admin side: scrapers, probes and an operator.
const ADMIN_CONNECTIONS: usize = 256;
/// Connections served at once on the gateway: programs of our own, with a few calls at a time each.
const GATEWAY_CONNECTIONS: usize = 256;
/// Connections that may wait to be accepted, if the system lets them (`net.core.somaxconn`). What comes in a burst beyond
/// them comes again after a second at the earliest.
const BACKLOG: u32 = 4096;
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

/// A server whose ports are bound.
#[derive(Debug)]
pub struct Bound {
    app: App,
    callbacks: TcpListener,
    admin: TcpListener,
    gateway: Option<TcpListener>,
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

    /// What answers callbacks, for [`http::serve()`].
    pub fn callbacks(&self) -> &Callbacks {
        &self.callbacks
    }

    /// Callback routes, to be mounted in another axum application. Pair it with [`run`](Self::run).
    pub fn callback_router(&self) -> Router {
        self.callbacks.router()
    }

    /// Binds the addresses of the config.
    ///
    /// # Errors
    ///
    /// [`AppError::Bind`], naming the config key.
    pub async fn bind(self) -> Result<Bound, AppError> {
        let callbacks = listen("server.listen", self.server.listen)?;
        self.bind_admin(callbacks)
    }

    /// Binds the admin address of the config, and takes callbacks on `callbacks` instead of the address of the config.
    /// Whoever holds that socket open as well, as systemd does, lets callers wait in its queue while the server restarts.
    ///
    /// # Errors
    ///
    /// [`AppError::HandedOver`] and [`AppError::Bind`].
    pub async fn bind_to(self, callbacks: net::TcpListener) -> Result<Bound, AppError> {
        callbacks.set_nonblocking(true).map_err(AppError::HandedOver)?;
        let callbacks = TcpListener::from_std(callbacks).map_err(AppError::HandedOver)?;
        self.bind_admin(callbacks)
    }

    fn bind_admin(self, callbacks: TcpListener) -> Result<Bound, AppError> {
        let admin = listen("server.admin_listen", self.server.admin_listen)?;
        let gateway = self
            .gateway
            .as_ref()
            .map(|(address, _)| listen("gateway.listen", *address));
        Ok(Bound {
            callbacks,
            admin,
            gateway: gateway.transpose()?,
            app: self,
        })
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

impl Bound {
    /// Where callbacks are listened for: the port that was picked, if the config says 0.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn callback_address(&self) -> io::Result<SocketAddr> {
        self.callbacks.local_addr()
    }

    /// Where health and metrics are served.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn admin_address(&self) -> io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// Where the gateway is served, if it is.
    #[must_use]
    pub fn gateway_address(&self) -> Option<SocketAddr> {
        self.gateway.as_ref()?.local_addr().ok()
    }

    /// Serves until `stop`; then takes no more callbacks, finishes the pages and attempts in hand, and returns within
    /// the grace period of the config.
    pub async fn run(self, stop: CancellationToken) {
        let Self {
            app,
            callbacks,
            admin,
            gateway,
        } = self;
        if let (Ok(callbacks), Ok(admin)) = (callbacks.local_addr(), admin.local_addr()) {
            let gateway = gateway.as_ref().and_then(|gateway| gateway.local_addr().ok());
            tracing::info!(%callbacks, %admin, gateway = gateway.map(tracing::field::display), "listening");
        }
        let grace = app.server.shutdown_grace;
        let limits = Limits {
            max_connections: descriptors::affordable_connections(app.server.max_connections.into()),
            drain_timeout: grace,
            ..Limits::default()
        };
        let admin_limits = Limits {
            max_connections: ADMIN_CONNECTIONS,
            ..Limits::default()
        };
        // The admin side goes last, when this is dropped: whoever watches a stop sees it to its end.
        let mut admin_side = JoinSet::new();
        let admin_router = http::admin_router(app.ready_check(&stop), app.render_metrics());
        admin_side.spawn(http::serve(admin, admin_router, admin_limits, CancellationToken::new()));
        let answered = CancellationToken::new();
        let callbacks = {
            let (service, stop, answered) = (app.callbacks.service(), stop.clone(), answered.clone());
            async move {
                http::serve(callbacks, service, limits, stop).await;
                answered.cancel();
            }
        };
        let gateway = serve_gateway(
            gateway,
            app.gateway.as_ref().map(|(_, gateway)| gateway.clone()),
            grace,
            stop.clone(),
        );
        tokio::join!(callbacks, gateway, app.work(stop, answered));
        tracing::info!("stopped");
    }
}

/// Serves the gateway, if there is one, until `stop`; then for no longer than `grace`, whatever is being transferred.
async fn serve_gateway(
    listener: Option<TcpListener>,
    gateway: Option<Gateway>,
    grace: Duration,
    stop: CancellationToken,
) {
    let (Some(listener), Some(gateway)) = (listener, gateway) else {
        return;
    };
    let limits = gateway.limits(GATEWAY_CONNECTIONS);
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        () = http::serve(listener, gateway.service(), limits, stop.clone()) => {}
        () = overdue => tracing::warn!("stopped with calls to the gateway in hand: the grace period is over"),
    }
}

fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, AppError> {
    bind(address).map_err(|source| AppError::Bind { key, address, source })
}

/// As tokio's own `bind` does, but with a longer queue.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
