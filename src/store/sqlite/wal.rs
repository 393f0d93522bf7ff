//! Moves the WAL into the file before it grows long.
//!
//! The checkpoint that SQLite makes by itself waits for nobody. While readers come and go without a pause it never finds
//! the moment to begin the WAL anew: with a million messages coming in it grew to gigabytes, and the next start had to
//! read them all. So the writer makes the checkpoint, and waits for those who read, which is never for long.

use rusqlite::Connection;

/// Length of the WAL, in pages of the database, that is worth a checkpoint: 16 MiB. A start reads that in a moment, and
/// pages that change often are moved once for many changes.
const LONG: i64 = 2_000;

/// The WAL, as the one connection that writes sees it.
#[derive(Debug)]
pub(super) struct Wal {
    /// Length at which the next checkpoint is made.
    due_at: i64,
}

impl Wal {
    pub(super) fn new() -> Self {
        Self { due_at: LONG }
    }

    /// Makes a checkpoint if one is due, between two transactions.
    ///
    /// What stands in its way, be it a full disk or somebody who reads for seconds, puts it off until the WAL has grown by
    /// as much again: nothing is lost meanwhile, and nobody waits for every commit.
    pub(super) fn keep_short(&mut self, conn: &Connection) {
        let long = length(conn).is_ok_and(|length| length >= self.due_at);
        if long {
            self.due_at = match checkpoint(conn) {
                Ok(Progress::Done) => LONG,
                Ok(Progress::Hindered { length }) => length + LONG,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "cannot move the WAL into the database, will try again");
                    self.due_at + LONG
                }
            };
        }
    }
}

/// How far a checkpoint got.
enum Progress {
    Done,
    /// Somebody still reads what it would have overwritten.
    Hindered {
        length: i64,
    },
}

/// Pages in the WAL.
fn length(conn: &Connection) -> rusqlite::Result<i64> {
    conn.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?
        .query_row([], |row| row.get(1))
}

fn checkpoint(conn: &Connection) -> rusqlite::Result<Progress> {
    conn.prepare_cached("PRAGMA wal_checkpoint(RESTART)")?
        .query_row([], |row| {
            let (hindered, length) = (row.get(0)?, row.get(1)?);
            Ok(if hindered {
                Progress::Hindered { length }
            } else {
                Progress::Done
            })
        })
}
