//! Hands every stored message to every handler it is owed to.
//!
//! Each handler has a `runner` of its own, so that none waits for another. A runner reads owed deliveries from the
//! store into `lanes`, one lane per customer, tries the first of each, and records how it ended. It never sees the
//! syncer: a committed page rings the store's bell, and the bell only says where to look.
//!
//! Where several processes share a store, each hands out the shards it holds, and begins an attempt only under a title
//! that stands. What waits in the lanes of a shard that is lost is dropped; what runs goes on, and what comes of it is
//! recorded as far as the store accepts it.
//!
//! A million owed deliveries cost disk, not memory: a runner holds a bounded window of them and reads on as it drains.
//!
//! A `crew` makes the attempts, on threads of the handler's own, unless it promised never to block.

use std::fmt;
use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::handler::Roster;
use crate::id::HandlerName;
use crate::lease::Leases;
use crate::store::Store;

mod breaker;
mod crew;
mod lanes;
mod runner;
mod shards;
#[cfg(test)]
mod tests;

use runner::Runner;

/// How much is held in memory, and for how long a stop waits.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Deliveries of one handler held in memory; a quarter more while it fails for everybody.
    pub window: usize,
    /// Bytes of message bodies of one handler held in memory; likewise.
    pub window_bytes: usize,
    /// Deliveries of one customer and handler held in memory.
    pub per_customer: usize,
    /// How long a stop waits for attempts that are running.
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            window: 10_000,
            window_bytes: 16 << 20,
            per_customer: 100,
            grace: Duration::from_secs(20),
        }
    }
}

/// Why messages cannot be handed out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DispatcherError {
    /// The system gives a handler no threads, or its threads no way to wait.
    #[error("cannot start threads for handler {handler}; raise the limits on processes and open files")]
    Threads {
        /// Handler that needs them.
        handler: HandlerName,
        /// What the system says.
        source: io::Error,
    },
}

/// Hands messages to every handler of a roster.
pub struct Dispatcher {
    runners: Vec<Runner>,
}

impl Dispatcher {
    /// Gives each handler of `roster` what it needs to [`run`](Self::run). It will hand out what `leases` hold.
    ///
    /// # Errors
    ///
    /// [`DispatcherError::Threads`].
    pub fn new(
        store: &Arc<dyn Store>,
        roster: &Roster,
        leases: &Leases,
        clock: &Arc<dyn Clock>,
        settings: &Settings,
    ) -> Result<Self, DispatcherError> {
        let runner = |member| Runner::new(Arc::clone(store), member, leases, Arc::clone(clock), settings);
        let runners = roster.members().iter().cloned().map(runner);
        Ok(Self {
            runners: runners.collect::<Result<_, _>>()?,
        })
    }

    /// Runs every handler until `stop`, then waits for the attempts in hand and records how they ended.
    ///
    /// What is still running when the grace is over is broken off; its message is handed out again after the next start.
    /// A thread that is blocked cannot be interrupted and is not waited for.
    ///
    /// # Panics
    ///
    /// If a runner does. Handlers' panics are contained.
    pub async fn run(self, stop: CancellationToken) {
        let mut runners = JoinSet::new();
        for runner in self.runners {
            runners.spawn(runner.run(stop.clone()));
        }
        while let Some(ended) = runners.join_next().await {
            // A server that silently hands nothing out is worse than one that dies and is started again.
            if let Err(error) = ended
                && let Ok(panic) = error.try_into_panic()
            {
                resume_unwind(panic);
            }
        }
    }
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher")
            .field("handlers", &self.runners.len())
            .finish()
    }
}
