//! The tables, and how an older file gets them.
//!
//! Migrations only go forward, each in a transaction of its own. A file written by a newer version is refused: nobody
//! can know what its rows mean.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::file::Problem;
use crate::store::Durability;

/// The `n`-th entry takes a file from version `n` to `n + 1`.
const MIGRATIONS: [&str; 3] = [
    include_str!("../migrations/sqlite/0001_tables.sql"),
    include_str!("../migrations/sqlite/0002_replies.sql"),
    include_str!("../migrations/sqlite/0003_deliveries_in_order.sql"),
];

/// Version of the tables that this build works with.
const VERSION: i64 = MIGRATIONS.len() as i64;

/// Marks our files in their header: `wekf`.
const APPLICATION_ID: i32 = i32::from_be_bytes(*b"wekf");

/// What [`Lane`](crate::store::Lane) and [`Shard`](crate::store::Shard) compute; stored rows depend on it.
const LANE_HASH: &str = "xxh3_64 % 64";

/// Creates the tables in a new file, and brings an older one up to date.
pub(super) fn bring_up_to_date(conn: &Connection) -> Result<(), Problem> {
    let found = version(conn)?;
    if found == 0 {
        // Both are fixed by the first page that is written.
        conn.execute_batch("PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL;")?;
    }
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(Problem::NoWal);
    }
    for (done, migration) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration)?;
        transaction.execute("UPDATE meta SET schema_version = ?1", [done])?;
        transaction.commit()?;
    }
    require_lane_hash(conn)
}

/// Refuses a file whose tables are not those of this build.
pub(super) fn require_current(conn: &Connection) -> Result<(), Problem> {
    match version(conn)? {
        VERSION => require_lane_hash(conn),
        found => Err(Problem::Older { found, known: VERSION }),
    }
}

/// Version of the tables in the file: 0 if there are none, never above [`VERSION`].
fn version(conn: &Connection) -> Result<i64, Problem> {
    let application: i32 = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match application {
        0 if tables == 0 => Ok(0),
        APPLICATION_ID => match conn.query_row("SELECT schema_version FROM meta", [], |row| row.get(0))? {
            found if found > VERSION => Err(Problem::Newer { found, known: VERSION }),
            found => Ok(found),
        },
        _ => Err(Problem::Foreign),
    }
}

fn require_lane_hash(conn: &Connection) -> Result<(), Problem> {
    match conn.query_row("SELECT lane_hash FROM meta", [], |row| row.get::<_, String>(0))? {
        hash if hash == LANE_HASH => Ok(()),
        hash => Err(Problem::OtherLanes(hash)),
    }
}

/// Sets how the connection that writes works; nothing of it is kept in the file.
pub(super) fn tune(conn: &Connection, durability: Durability) -> rusqlite::Result<()> {
    // FULL flushes the WAL with every commit, NORMAL before it is moved into the file.
    let synchronous = match durability {
        Durability::Full => "FULL",
        Durability::Relaxed => "NORMAL",
    };
    conn.pragma_update(None, "synchronous", synchronous)?;
    // The writer makes its own checkpoints (see `wal`); the WAL is cut back to 64 MiB should a long read have made it grow.
    // Rows come and go at the edges of their trees, for which 16 MiB of cache are plenty. What is deleted is overwritten
    // with zeros where that costs no further write: bodies that are blanked go from the disk, not only from sight.
    conn.execute_batch(
        "PRAGMA foreign_keys = ON;
         PRAGMA secure_delete = FAST;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = 67108864;
         PRAGMA cache_size = -16384;",
    )
}
