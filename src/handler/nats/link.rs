//! The connection: made when it is needed, shared by all attempts, made anew after it was lost.
//!
//! The client could find its way back by itself, and would then send what was said into the void meanwhile: messages
//! that were tried again long since, some perhaps by another replica, in the order of back then. So what belongs to a
//! connection ends with it. Attempts that wait for an answer learn at once that none will come, nothing is left in a
//! queue, and the next attempt makes the next connection, at the pace at which the dispatcher tries a handler that cannot
//! be reached.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::rustls::ClientConfig;
use async_nats::{
    Client, ConnectError, ConnectOptions, Event, Message, Request, RequestErrorKind, ServerAddr, ServerError,
};
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::Failure;
use super::credentials::Credentials;

/// Scheme of servers that are spoken to over TLS and not otherwise.
const TLS: &str = "tls";

/// Where the servers are, and how they are spoken to.
pub(super) struct Link {
    servers: Vec<ServerAddr>,
    credentials: Credentials,
    tls: ClientConfig,
    requires_tls: bool,
    /// Longest time until a server has let us in.
    patience: Duration,
    current: Mutex<Arc<Attempted>>,
}

/// A connection that is being made, was made, or could not be: once, for everybody who waits for it.
type Attempted = OnceCell<Result<Arc<Connection>, Arc<ConnectFailure>>>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectFailure {
    #[error(transparent)]
    Refused(ConnectError),
    #[error("no server has let us in within {0:?}")]
    Slow(Duration),
}

/// One connection, until it is lost.
pub(super) struct Connection {
    client: Client,
    news: Arc<News>,
    /// It is left by whoever comes next.
    given_up: AtomicBool,
}

/// What is heard of a connection beside the answers to requests.
#[derive(Default)]
struct News {
    lost: CancellationToken,
    /// Last complaint of the server, for example about permissions. It names no request, and gives no other answer.
    complaint: Mutex<Option<Box<str>>>,
}

impl Link {
    /// Speaks to any of `servers`, whose certificates, if they have any, are verified by `tls`. Connects to none yet.
    pub(super) fn new(
        servers: Vec<ServerAddr>,
        credentials: Credentials,
        tls: ClientConfig,
        patience: Duration,
    ) -> Self {
        Self {
            requires_tls: servers.iter().any(|server| server.scheme() == TLS),
            servers,
            credentials,
            tls,
            patience,
            current: Mutex::default(),
        }
    }

    /// The connection that there is, or else a new one. Waits no longer than half of an attempt's time.
    pub(super) async fn connection(&self) -> Result<Arc<Connection>, Failure> {
        let attempted = self.attempted();
        let made = attempted.get_or_init(|| self.connect()).await;
        made.clone().map_err(Failure::NoConnection)
    }

    /// What is under way or of use; else a place for the next.
    fn attempted(&self) -> Arc<Attempted> {
        let mut current = lock(&self.current);
        let is_over = match current.get() {
            None => false,
            Some(Ok(connection)) => connection.is_over(),
            Some(Err(_)) => true,
        };
        if is_over {
            *current = Arc::default();
        }
        Arc::clone(&current)
    }

    async fn connect(&self) -> Result<Arc<Connection>, Arc<ConnectFailure>> {
        let news = Arc::<News>::default();
        let connecting = self.options(&news).connect(self.servers.as_slice());
        let made = match timeout(self.patience, connecting).await {
            Ok(Ok(client)) => Ok(Connection {
                client,
                news,
                given_up: AtomicBool::new(false),
            }),
            Ok(Err(error)) => Err(ConnectFailure::Refused(error)),
            Err(_) => Err(ConnectFailure::Slow(self.patience)),
        };
        if let Err(error) = &made {
            let error = error as &dyn std::error::Error;
            tracing::warn!(servers = %self, error, "cannot connect to NATS");
        }
        made.map(Arc::new).map_err(Arc::new)
    }

    fn options(&self, news: &Arc<News>) -> ConnectOptions {
        let news = Arc::clone(news);
        let options = ConnectOptions::new()
            .name("wecom-kf")
            .connection_timeout(self.patience)
            .require_tls(self.requires_tls)
            .tls_client_config(self.tls.clone())
            // Those that a server names itself are not looked at: they may be spoken to in plain.
            .ignore_discovered_servers()
            // The fewest there can be: one, at once.
            .max_reconnects(1)
            .event_callback(move |event| {
                news.take(&event);
                std::future::ready(())
            });
        self.credentials.add_to(options)
    }
}

/// Its servers.
impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> = self.servers.iter().map(ServerAddr::as_url_str).collect();
        f.write_str(&servers.join(", "))
    }
}

impl Connection {
    /// Sends `request` on `subject`, and waits for what is answered; until the connection is lost, or the request's own
    /// time is over.
    pub(super) async fn ask(&self, subject: String, request: Request) -> Result<Message, Failure> {
        let asked = tokio::select! {
            biased;
            asked = self.client.send_request(subject, request) => asked,
            () = self.news.lost.cancelled() => return Err(Failure::Lost),
        };
        asked.map_err(|error| match error.kind() {
            RequestErrorKind::MaxPayloadExceeded => Failure::TooLarge(error),
            RequestErrorKind::NoResponders => Failure::NoStream,
            RequestErrorKind::TimedOut => {
                // It may be dead without our knowing: a machine that lost its power closes nothing.
                self.given_up.store(true, Ordering::Relaxed);
                Failure::NoAnswer(self.news.complaint())
            }
            _ => Failure::Lost,
        })
    }

    fn is_over(&self) -> bool {
        self.news.lost.is_cancelled() || self.given_up.load(Ordering::Relaxed)
    }
}

impl News {
    fn take(&self, event: &Event) {
        match event {
            Event::Disconnected | Event::Closed => self.lost.cancel(),
            Event::ServerError(ServerError::Other(complaint)) => {
                *lock(&self.complaint) = Some(complaint.as_str().into());
            }
            _ => {}
        }
    }

    fn complaint(&self) -> Option<Box<str>> {
        lock(&self.complaint).clone()
    }
}

/// Nothing that is locked here is left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The servers at `urls`: at least one, by `nats://` or all by `tls://`, without credentials.
pub(super) fn servers(urls: &[Url]) -> Option<Vec<ServerAddr>> {
    let scheme = urls.first()?.scheme();
    let is_good = |url: &Url| {
        matches!(scheme, "nats" | TLS)
            && url.scheme() == scheme
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
    };
    let address = |url: &Url| ServerAddr::from_url(url.clone()).ok().filter(|_| is_good(url));
    urls.iter().map(address).collect()
}
