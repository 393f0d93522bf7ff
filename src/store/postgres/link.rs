//! The way to the server: connections from a pool, each call with a deadline, and what is done when one breaks.
//!
//! Every call is one statement in one round trip, without a name and outside a transaction of its own making. So a process
//! that is stopped half way holds nothing, and a pooler may hand each call to another server connection.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_postgres::{Hook, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod};
use tokio::time::{Instant, timeout};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::connector::{Connector, STATEMENT_TIMEOUT};
use super::failure::Failure;
use crate::metric;
use crate::store::recent::Recent;

/// A call that has no answer by then has lost its connection, whatever the wire says: the server gives up before.
const DEADLINE: Duration = STATEMENT_TIMEOUT.saturating_add(Duration::from_secs(2));

/// A value, and what it is to PostgreSQL: told, so that the server need not be asked first.
pub(super) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// Asks the server.
pub(super) struct Link {
    pool: Pool,
    connector: Connector,
    recent: Arc<Mutex<Recent>>,
}

/// A connection with a call under way. Unless the answer came it is closed: nobody could tell whose answer comes next.
struct Busy(Option<Object>);

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(Object::take(connection));
        }
    }
}

impl Link {
    /// Connects when it is asked something first.
    pub(super) fn new(connector: Connector, connections: usize) -> Result<Self, deadpool_postgres::BuildError> {
        // Whether a connection still works is seen when it is used.
        let manager = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_connect(connector.config().clone(), connector.clone(), manager);
        let recent = Arc::<Mutex<Recent>>::default();
        let known = Arc::clone(&recent);
        // It may lead to a server that has taken over without the last pages, and gives their numbers to other messages.
        let forget = Hook::sync_fn(move |_, _| {
            known.lock().unwrap_or_else(PoisonError::into_inner).clear();
            Ok(())
        });
        Ok(Self {
            pool: Pool::builder(manager)
                .max_size(connections)
                .post_create(forget)
                .build()?,
            connector,
            recent,
        })
    }

    pub(super) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Messages that came in or were read lately.
    pub(super) fn letters(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for rows. Asked a second time when the connection breaks, so it must not matter how often it is done.
    pub(super) async fn ask(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Failure> {
        match self.all_once(sql, params).await {
            Err(failure) if failure.is_broken() => {
                // The others broke at the same moment, most likely.
                self.pool.retain(|_, _| false);
                self.all_once(sql, params).await
            }
            answer => answer,
        }
    }

    /// Asks for the one row there is.
    pub(super) async fn ask_one(&self, sql: &str, params: &[Param<'_>]) -> Result<Row, Failure> {
        self.ask(sql, params).await.and_then(one)
    }

    /// Changes about `rows` rows; see [`ask`](Self::ask).
    pub(super) async fn write(&self, rows: usize, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Failure> {
        let began = Instant::now();
        let answer = self.ask(sql, params).await?;
        metrics::histogram!(metric::STORE_COMMIT_SECONDS).record(began.elapsed());
        metrics::histogram!(metric::STORE_COMMIT_ROWS).record(rows as f64);
        Ok(answer)
    }

    /// Asks for the one row there is, once: what it does must not be done again.
    pub(super) async fn once(&self, sql: &str, params: &[Param<'_>]) -> Result<Row, Failure> {
        self.all_once(sql, params).await.and_then(one)
    }

    /// Asks for rows, once: what it does must not be done again. What the server undid is.
    pub(super) async fn all_once(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Failure> {
        match self.attempt(sql, params).await {
            Err(failure) if failure.is_undone() => self.attempt(sql, params).await,
            answer => answer,
        }
    }

    async fn attempt(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Failure> {
        let answer = timeout(DEADLINE, async {
            let mut busy = Busy(Some(self.connection().await?));
            let Some(connection) = &busy.0 else {
                return Ok(Vec::new());
            };
            let answer = connection.query_typed(sql, params).await.map_err(Failure::from);
            if !answer.as_ref().is_err_and(Failure::is_broken) {
                drop(busy.0.take());
            }
            answer
        });
        answer.await.unwrap_or_else(|_| {
            // A wire that swallows one call swallows the next: whoever comes now gets a connection of its own.
            self.pool.retain(|_, _| false);
            Err(Failure::Late(DEADLINE))
        })
    }

    async fn connection(&self) -> Result<Object, Failure> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => Failure::to_connect(error),
            _ => Failure::Late(DEADLINE),
        })
    }
}

fn one(rows: Vec<Row>) -> Result<Row, Failure> {
    rows.into_iter().next().ok_or_else(|| Failure::Row("no row".into()))
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("pool", &self.pool.status())
            .finish_non_exhaustive()
    }
}
