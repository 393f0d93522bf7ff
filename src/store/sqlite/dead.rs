//! Dead letters: deliveries that were given up, kept until somebody decides.

use rusqlite::{Connection, params};

use super::row;
use crate::clock::UnixMillis;
use crate::id::HandlerName;
use crate::store::{DeadLetter, DeadSelect, Lane, Seq, ShardSet};

/// Whether a row of `dead` is meant, by the handler's name `?1` and the sequence number `?2`; NULL means any.
macro_rules! selected {
    () => {
        "(?1 IS NULL OR dead.handler_id = (SELECT handler_id FROM handler WHERE name = ?1))
         AND (?2 IS NULL OR dead.seq = ?2)"
    };
}

fn named(select: &DeadSelect) -> (Option<&str>, Option<i64>) {
    (
        select.handler.as_ref().map(HandlerName::as_str),
        select.seq.map(|seq| seq.0),
    )
}

pub(super) fn list(conn: &Connection, select: &DeadSelect, limit: usize) -> rusqlite::Result<Vec<DeadLetter>> {
    let (handler, seq) = named(select);
    conn.prepare_cached(concat!(
        "SELECT h.name, dead.seq, a.app, a.open_kfid, m.msgid, m.kind, dead.attempts, dead.died_ms, dead.reason, m.body
         FROM dead
         CROSS JOIN message m ON m.seq = dead.seq
         CROSS JOIN account a ON a.account_id = m.account_id
         CROSS JOIN handler h ON h.handler_id = dead.handler_id
         WHERE ",
        selected!(),
        " ORDER BY dead.died_ms, dead.seq LIMIT ?3"
    ))?
    .query_map(params![handler, seq, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
        Ok(DeadLetter {
            handler: row::handler_name(row, 0)?,
            seq: Seq(row.get(1)?),
            account: row::account(row, 2)?,
            msgid: row::msgid(row, 4)?,
            kind: row.get(5)?,
            attempts: row.get(6)?,
            at: UnixMillis(row.get(7)?),
            reason: row.get(8)?,
            body: row::body(row, 9)?,
        })
    })?
    .collect()
}

pub(super) fn replay(
    conn: &Connection,
    select: &DeadSelect,
    now: UnixMillis,
    news: &mut ShardSet,
) -> rusqlite::Result<u64> {
    let (handler, seq) = named(select);
    let mut owe = conn.prepare_cached(concat!(
        "INSERT INTO delivery (handler_id, seq, lane, urgent, due_ms)
         SELECT dead.handler_id, dead.seq, m.lane, m.urgent, ?3
         FROM dead CROSS JOIN message m ON m.seq = dead.seq
         WHERE ",
        selected!(),
        " RETURNING lane"
    ))?;
    let mut owed = owe.query(params![handler, seq, now.0])?;
    while let Some(row) = owed.next()? {
        news.insert(Lane::from_row(row.get(0)?).shard());
    }
    let replayed = forget(conn, select)?;
    if replayed > 0 {
        conn.prepare_cached("UPDATE meta SET replays = replays + 1")?
            .execute([])?;
    }
    Ok(replayed)
}

pub(super) fn forget(conn: &Connection, select: &DeadSelect) -> rusqlite::Result<u64> {
    let dropped = conn
        .prepare_cached(concat!("DELETE FROM dead WHERE ", selected!()))?
        .execute(named(select))?;
    Ok(dropped as u64)
}

pub(super) fn replays(conn: &Connection) -> rusqlite::Result<u64> {
    conn.prepare_cached("SELECT replays FROM meta")?
        .query_row([], |row| row.get(0).map(i64::cast_unsigned))
}
