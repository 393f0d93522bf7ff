//! A server in this process, with handlers of our own.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wecom_kf::app::App;
use wecom_kf::config::{Config, Environment};
use wecom_kf::handler::{Context, Filter, Handler, HandlerError, Outcome, Registration};
use wecom_kf::id::HandlerName;
use wecom_kf::message::Message;
use wecom_kf::telemetry::{self, Metrics};

/// The metrics of this process, recorded from now on as `serve` does.
pub(crate) fn metrics() -> Metrics {
    static METRICS: OnceLock<Metrics> = OnceLock::new();
    METRICS
        .get_or_init(|| telemetry::init_metrics().expect("nobody else records"))
        .clone()
}

/// A server with a new store, which goes with it.
pub(crate) struct Serving {
    pub(crate) callbacks: SocketAddr,
    stop: CancellationToken,
    server: JoinHandle<()>,
    _folder: TempDir,
}

impl Serving {
    /// Starts a server on a `config`, which is given the folder for the store, and on `handlers`, each of which gets
    /// everything.
    pub(crate) async fn start(config: impl FnOnce(&TempDir) -> String, handlers: Vec<impl Handler>) -> Self {
        let folder = TempDir::new().expect("a folder");
        let config = Config::parse(&config(&folder), &Environment::default()).expect("a good config");
        let mut app = App::builder(config.config).metrics(metrics());
        for (n, handler) in handlers.into_iter().enumerate() {
            let everything = Filter {
                origins: None,
                ..Filter::default()
            };
            let name = HandlerName::new(&format!("bench{n}")).expect("a name");
            app = app.handler(Registration::new(name, handler).with_filter(everything));
        }
        let bound = app.build().await.expect("an app").bind().await.expect("free ports");
        let callbacks = bound.callback_address().expect("an address");
        let stop = CancellationToken::new();
        Self {
            callbacks,
            server: tokio::spawn(bound.run(stop.clone())),
            stop,
            _folder: folder,
        }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.server.await.expect("the server does not panic");
    }
}

/// Counts deliveries, of several handlers together, and tells when there were enough.
pub(crate) struct Count {
    handled: AtomicUsize,
    enough: usize,
    reached: Notify,
}

impl Count {
    pub(crate) fn up_to(enough: usize) -> Arc<Self> {
        Arc::new(Self {
            handled: AtomicUsize::new(0),
            enough,
            reached: Notify::new(),
        })
    }

    pub(crate) fn one_more(&self) {
        if self.handled.fetch_add(1, Ordering::Relaxed) + 1 == self.enough {
            self.reached.notify_one();
        }
    }

    /// Waits until there were enough. For one at a time.
    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }
}

/// A handler that does nothing but count.
pub(crate) struct Counting(pub(crate) Arc<Count>);

impl Handler for Counting {
    async fn handle(&self, _: &Context, _: &Message) -> Result<Outcome, HandlerError> {
        self.0.one_more();
        Ok(Outcome::Done)
    }
}
