//! Replies: remembered when WeCom has accepted them, forgotten when nothing more can be heard of them.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::row;
use crate::clock::UnixMillis;
use crate::id::Msgid;
use crate::store::{Lane, SentReply};

pub(super) fn record(conn: &Connection, reply: &SentReply) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO reply (lane, in_reply_to, msgid, handler_id, nth, part, sent_ms)
         VALUES (?1, ?2, ?3, (SELECT handler_id FROM handler WHERE name = ?4), ?5, ?6, ?7)
         ON CONFLICT (lane, in_reply_to, msgid) DO NOTHING",
    )?
    .execute(params![
        reply.lane.to_row(),
        reply.in_reply_to.as_str(),
        reply.msgid.as_str(),
        reply.handler.as_str(),
        reply.index,
        reply.part,
        reply.at.0,
    ])?;
    Ok(())
}

/// Columns that [`read`] reads, behind the name of the handler.
macro_rules! select {
    ($($condition:literal),+) => {
        concat!(
            "SELECT h.name, r.in_reply_to, r.msgid, r.nth, r.part, r.sent_ms
             FROM reply r CROSS JOIN handler h ON h.handler_id = r.handler_id
             WHERE r.lane = ?1 AND ",
            $($condition),+
        )
    };
}

pub(super) fn to(conn: &Connection, lane: Lane, msgid: &Msgid) -> rusqlite::Result<Vec<SentReply>> {
    conn.prepare_cached(select!("r.in_reply_to = ?2", " ORDER BY r.reply_no"))?
        .query_map(params![lane.to_row(), msgid.as_str()], |row| read(lane, row))?
        .collect()
}

/// Walks through what was said to the customer: they are few, and this is asked for when a reply failed.
pub(super) fn find(conn: &Connection, lane: Lane, msgid: &str) -> rusqlite::Result<Option<SentReply>> {
    conn.prepare_cached(select!("r.msgid = ?2"))?
        .query_row(params![lane.to_row(), msgid], |row| read(lane, row))
        .optional()
}

fn read(lane: Lane, row: &Row<'_>) -> rusqlite::Result<SentReply> {
    Ok(SentReply {
        lane,
        handler: row::handler_name(row, 0)?,
        in_reply_to: row::msgid(row, 1)?,
        msgid: row::msgid(row, 2)?,
        index: row.get(3)?,
        part: row.get(4)?,
        at: UnixMillis(row.get(5)?),
    })
}

/// Looks at the oldest `limit` replies only: an index on the time is not worth what it costs every insert.
pub(super) fn prune(conn: &Connection, before: UnixMillis, limit: usize) -> rusqlite::Result<u64> {
    let forgotten = conn
        .prepare_cached(
            "DELETE FROM reply WHERE sent_ms < ?1
             AND reply_no IN (SELECT reply_no FROM reply ORDER BY reply_no LIMIT ?2)",
        )?
        .execute(params![before.0, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    Ok(forgotten as u64)
}
