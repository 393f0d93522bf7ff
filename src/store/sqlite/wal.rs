//! Moves the WAL into the file before it grows long.
//!
//! SQLite begins the WAL anew only when everything in it has been moved and nobody reads from it, and its own checkpoint
//! takes no care that this ever happens. While readers come and go without a pause it does not: with a million messages
//! coming in the WAL grew to gigabytes, which the next start had to read. So the writer makes the checkpoint itself, and
//! keeps our readers out for the few milliseconds that it takes. Other processes that read are not waited for.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::Connection;

use crate::metric;

/// Length of the WAL, in pages of the database, that is worth a checkpoint: 16 MiB. A start reads that in a moment, and
/// pages that change often are moved once for many changes.
const LONG: i64 = 2_000;

/// Read-locked by whoever reads from the store in this process.
pub(super) type Reading = Arc<RwLock<()>>;

/// The WAL, as the one connection that writes sees it.
#[derive(Debug)]
pub(super) struct Wal {
    /// Where it is. `None` for a database that is in no file.
    file: Option<PathBuf>,
    reading: Reading,
    /// Length at which the next checkpoint is made.
    due_at: i64,
}

impl Wal {
    pub(super) fn new(conn: &Connection, reading: Reading) -> Self {
        Self {
            file: conn.path().map(|path| format!("{path}-wal").into()),
            reading,
            due_at: LONG,
        }
    }

    /// Makes a checkpoint if one is due. To be called between two transactions.
    ///
    /// What stands in its way, be it a full disk or another process that reads, puts it off until the WAL has grown by as
    /// much again: nothing is lost meanwhile.
    pub(super) fn keep_short(&mut self, conn: &Connection) {
        let long = length(conn).is_ok_and(|length| length >= self.due_at);
        if long {
            // Who waits to write goes before those who want to read later, so that this comes to its turn.
            let _alone = self.reading.write().unwrap_or_else(PoisonError::into_inner);
            self.due_at = match checkpoint(conn) {
                Ok(0) => LONG,
                Ok(left) => left + LONG,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "cannot move the WAL into the database, will try again");
                    self.due_at + LONG
                }
            };
        }
        // Only a write changes its size.
        if let Some(Ok(file)) = self.file.as_ref().map(fs::metadata) {
            metrics::gauge!(metric::STORE_WAL_BYTES).set(file.len() as f64);
        }
    }
}

/// Pages in the WAL.
fn length(conn: &Connection) -> rusqlite::Result<i64> {
    conn.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?
        .query_row([], |row| row.get(1))
}

/// Returns how many pages the WAL goes on with: none if it begins anew.
fn checkpoint(conn: &Connection) -> rusqlite::Result<i64> {
    conn.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?
        .query_row([], |row| {
            let (length, moved): (i64, i64) = (row.get(1)?, row.get(2)?);
            Ok(if moved == length { 0 } else { length })
        })
}
