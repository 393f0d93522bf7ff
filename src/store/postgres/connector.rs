//! How a connection is made: where, as whom, how it is protected, and what it is told at its start.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::Connect;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, Error, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::warn;

use crate::store::Durability;

/// After this the server gives a statement up.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// After this it gives up waiting for a lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);

/// After this it ends a session that holds a transaction open and says nothing. Ours never should.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// For each address of the server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A peer that acknowledges nothing for this long is gone.
const SILENCE: Duration = Duration::from_secs(10);

/// A connection that is made, and what drives it.
pub(super) type Driven = (
    Client,
    Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>,
);

/// Makes connections.
#[derive(Clone)]
pub(super) struct Connector(Arc<Inner>);

struct Inner {
    /// With the limits of a session.
    limited: Config,
    /// Without: a pooler refuses what it would have to keep for each client.
    plain: Config,
    tls: MakeRustlsConnect,
    /// Whether limits were refused.
    refused: AtomicBool,
}

impl Connector {
    pub(super) fn new(mut plain: Config, tls: MakeRustlsConnect, durability: Durability) -> Self {
        plain
            .application_name("wecom-kf")
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(SILENCE)
            .keepalives_idle(SILENCE)
            .keepalives_interval(SILENCE / 5)
            .keepalives_retries(3);
        // Nothing that is asked here is worth compiling, whatever the planner expects of a table it has not looked at yet.
        let mut options = format!(
            "-c jit=off -c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout={}",
            STATEMENT_TIMEOUT.as_millis(),
            LOCK_TIMEOUT.as_millis(),
            IDLE_TIMEOUT.as_millis(),
        );
        if durability == Durability::Relaxed {
            options.push_str(" -c synchronous_commit=off");
        }
        // What the operator wrote comes last, and counts.
        if let Some(own) = plain.get_options() {
            options = format!("{options} {own}");
        }
        let mut limited = plain.clone();
        limited.options(options);
        Self(Arc::new(Inner {
            limited,
            plain,
            tls,
            refused: AtomicBool::new(false),
        }))
    }

    /// Where to, and as whom.
    pub(super) fn config(&self) -> &Config {
        &self.0.plain
    }

    pub(super) async fn connect(&self) -> Result<Driven, Error> {
        let Inner {
            limited,
            plain,
            tls,
            refused,
        } = &*self.0;
        if !refused.load(Ordering::Relaxed) {
            match limited.connect(tls.clone()).await {
                Err(error) if error.code() == Some(&SqlState::PROTOCOL_VIOLATION) => {}
                connected => return connected,
            }
        }
        let connected = plain.connect(tls.clone()).await?;
        if !refused.swap(true, Ordering::Relaxed) {
            warn!(
                "what answers in the place of PostgreSQL takes no options, as pgbouncer does not: statement_timeout, \
                 lock_timeout, idle_in_transaction_session_timeout and a relaxed durability are left to its own settings"
            );
        }
        Ok(connected)
    }
}

impl Connect for Connector {
    fn connect(
        &self,
        _config: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + '_>> {
        Box::pin(async {
            let (client, connection) = Self::connect(self).await?;
            let driver = tokio::spawn(async {
                // Whoever asks next is told.
                let _ = connection.await;
            });
            Ok((client, driver))
        })
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}
