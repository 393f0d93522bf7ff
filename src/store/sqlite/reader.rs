//! Reading: a thread with a connection that cannot write.

use std::sync::PoisonError;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::damage::Damage;
use super::failure::Failure;
use super::wal::Reading;
use super::worker::Worker;
use crate::store::StoreError;

/// How many reads may wait.
const QUEUE: usize = 64;

/// Runs reads one after another, each on one snapshot of the store.
#[derive(Debug)]
pub(super) struct Reader {
    worker: Worker<Read>,
    damage: Damage,
}

type Read = Box<dyn FnOnce(&Connection) + Send>;

impl Reader {
    /// Starts a thread `name` that reads through `conn`, holds `reading` meanwhile, and notes `damage` that it comes across.
    pub(super) fn start(name: &str, conn: Connection, damage: Damage, reading: Reading) -> std::io::Result<Self> {
        let worker = Worker::start(name, QUEUE, move |mut reads: mpsc::Receiver<Read>| {
            while let Some(read) = reads.blocking_recv() {
                let _reading = reading.read().unwrap_or_else(PoisonError::into_inner);
                read(&conn);
            }
        })?;
        Ok(Self { worker, damage })
    }

    /// Runs `read` and returns what it found.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let damage = self.damage.clone();
        let job = move |conn: &Connection| {
            let found = on_one_snapshot(conn, read).map_err(Failure::from);
            if let Err(failure) = &found {
                damage.note(failure);
            }
            // Nobody waits any more: the caller gave up.
            let _ = reply.send(found);
        };
        self.worker.hand(Box::new(job)).await?;
        Ok(answer.await.map_err(|_| StoreError::Closed)??)
    }
}

fn on_one_snapshot<T>(conn: &Connection, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let snapshot = conn.unchecked_transaction()?;
    let found = read(&snapshot)?;
    snapshot.commit()?;
    Ok(found)
}
