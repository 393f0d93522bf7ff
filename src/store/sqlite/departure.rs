//! Everything in the file, read for a store that takes its place.

use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::failure::Failure;
use super::file::{self, Lock, OPERATOR_PATIENCE, Problem};
use super::schema;
use crate::store::StoreError;
use crate::store::moving::{Batch, Counters, TABLES, Table, Value};

/// Rows of one batch, at most.
const BATCH_ROWS: usize = 2_000;
/// Bytes of text after which a batch ends.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// A file from which nobody serves and into which nobody writes.
///
/// Fields are dropped in order: the connection goes before the lock.
#[derive(Debug)]
pub(in crate::store) struct Departure {
    conn: Connection,
    /// Keeps servers away.
    _lock: Lock,
}

impl Departure {
    /// Opens the file at `path`, which must be there and of this version.
    pub(in crate::store) fn from(path: &Path) -> Result<Self, Problem> {
        let path = file::find(path)?;
        let lock = file::lock(&path)?;
        let conn = file::connect_to_write(&path, OPERATOR_PATIENCE)?;
        schema::require_current(&conn)?;
        // Keeps operators' commands from changing what was read already. It is never committed.
        conn.execute_batch("BEGIN IMMEDIATE")?;
        Ok(Self { conn, _lock: lock })
    }

    /// Hands every row to `take`, until that says that it wants no more.
    pub(in crate::store) fn read(&self, mut take: impl FnMut(Batch) -> bool) -> Result<Counters, StoreError> {
        let mut read = || {
            for table in TABLES {
                if !self.read_table(table, &mut take)? {
                    break;
                }
            }
            let counters = "SELECT max(last_seq, coalesce((SELECT max(seq) FROM message), 0)), replays FROM meta";
            self.conn.query_row(counters, [], |row| {
                Ok(Counters {
                    last_seq: row.get(0)?,
                    replays: row.get(1)?,
                })
            })
        };
        Ok(read().map_err(Failure::from)?)
    }

    fn read_table(&self, table: &'static Table, take: &mut impl FnMut(Batch) -> bool) -> rusqlite::Result<bool> {
        let key: Vec<_> = (1..=table.key).map(|place| place.to_string()).collect();
        let columns = table.columns(|name, _| name.to_owned());
        let sql = format!("SELECT {columns} FROM {} ORDER BY {}", table.name, key.join(", "));
        let mut select = self.conn.prepare(&sql)?;
        let mut found = select.query([])?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(row) = found.next()? {
            let row = values(table, row)?;
            bytes += row.iter().map(text_bytes).sum::<usize>();
            rows.push(row);
            if rows.len() == BATCH_ROWS || bytes >= BATCH_BYTES {
                bytes = 0;
                let rows = std::mem::take(&mut rows);
                if !take(Batch { table, rows }) {
                    return Ok(false);
                }
            }
        }
        Ok(rows.is_empty() || take(Batch { table, rows }))
    }
}

fn values(table: &Table, row: &Row<'_>) -> rusqlite::Result<Vec<Value>> {
    (0..table.columns.len())
        .map(|column| {
            Ok(match row.get_ref(column)? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(number) => Value::Number(number),
                text => Value::Text(text.as_str()?.replace('\0', "\u{FFFD}")),
            })
        })
        .collect()
}

fn text_bytes(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Null | Value::Number(_) => 0,
    }
}
