//! Moving house: everything in an SQLite store, carried into an empty PostgreSQL one.
//!
//! It all goes in one transaction, in batches, so that the target has everything or nothing and no more than a few
//! batches are in memory. Before the commit each table is read back and compared with what left: as many rows, and the
//! same in them. The source is locked meanwhile, and only read.

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::postgres::Arrival;
use super::sqlite::Departure;
use super::{Settings, StoreError};

mod table;

pub(super) use table::{Batch, Counters, Kind, TABLES, Table, Tally, Value};

/// Batches that may wait to be written.
const WAITING: usize = 1;

/// Why nothing was moved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MoveError {
    /// One of the two cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It goes from SQLite to PostgreSQL and nowhere else.
    #[error("a store moves from sqlite:// to postgres://, and no other way")]
    Way,
    /// There is something in the target already.
    #[error("the target is not empty: it has {found}; name a new database or schema, or empty this one")]
    Occupied {
        /// What.
        found: String,
    },
    /// What arrived is not what left.
    #[error("table {table} did not arrive as it left ({left} rows left, {arrived} arrived): nothing was moved")]
    Altered {
        /// Which table.
        table: &'static str,
        /// Rows that were read.
        left: u64,
        /// Rows that can be read now.
        arrived: u64,
    },
}

/// How many rows of a table were moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Moved {
    /// Name of the table.
    pub table: &'static str,
    /// Its rows.
    pub rows: u64,
}

/// Moves everything `from` one store `to` another, which must be empty; its tables are made if there are none. Returns
/// what was moved, once that is durable and found to be the same. Whatever fails, the source stays as it is and the
/// target empty.
///
/// A NUL character, which PostgreSQL cannot keep, arrives as U+FFFD. JSON writes it as `\u0000`, so it is in no message.
///
/// # Errors
///
/// [`MoveError`] says what to do about it.
pub async fn move_all(from: &Settings, to: &Settings) -> Result<Vec<Moved>, MoveError> {
    if from.is_postgres() || !to.is_postgres() {
        return Err(MoveError::Way);
    }
    let departure = depart(from).await?;
    let arrival = Arrival::at(to).await.map_err(|problem| to.refused(problem))?;
    let found = arrival.occupants().await?;
    if !found.is_empty() {
        let found = found.join(", ");
        return Err(MoveError::Occupied { found });
    }
    let (batches, mut arriving) = mpsc::channel::<Batch>(WAITING);
    let reading = spawn_blocking(move || departure.read(|batch| batches.blocking_send(batch).is_ok()));
    let mut left = vec![Tally::default(); TABLES.len()];
    while let Some(batch) = arriving.recv().await {
        let place = TABLES.iter().position(|table| table == batch.table);
        if let Some(tally) = place.and_then(|place| left.get_mut(place)) {
            batch.rows.iter().for_each(|row| tally.add(row));
        }
        arrival.write(&batch).await?;
    }
    let counters = reading.await.map_err(|_| StoreError::Closed)??;
    arrival.settle(counters).await?;
    let mut moved = Vec::new();
    for (table, left) in TABLES.iter().zip(left) {
        let arrived = arrival.tally(table).await?;
        if arrived != left {
            return Err(MoveError::Altered {
                table: table.name,
                left: left.rows,
                arrived: arrived.rows,
            });
        }
        moved.push(Moved {
            table: table.name,
            rows: left.rows,
        });
    }
    arrival.commit().await?;
    Ok(moved)
}

async fn depart(from: &Settings) -> Result<Departure, StoreError> {
    let path = from.path().map_err(|problem| from.refused(problem))?.to_owned();
    let opened = spawn_blocking(move || Departure::from(&path)).await;
    let opened = opened.map_err(|_| StoreError::Closed)?;
    opened.map_err(|problem| from.refused(problem))
}
