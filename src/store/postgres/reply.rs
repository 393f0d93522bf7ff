//! Replies: remembered when WeCom has accepted them, forgotten when nothing more can be heard of them.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::failure::Failure;
use super::link::Link;
use super::row;
use crate::clock::UnixMillis;
use crate::id::Msgid;
use crate::store::{Lane, SentReply};

pub(super) async fn record(link: &Link, reply: &SentReply) -> Result<(), Failure> {
    let sql = "
        INSERT INTO reply (lane, in_reply_to, msgid, handler_id, nth, part, sent_ms)
        VALUES ($1, $2, $3, (SELECT handler_id FROM handler WHERE name = $4), $5, $6, $7)
        ON CONFLICT (lane, in_reply_to, msgid) DO NOTHING";
    link.write(
        1,
        sql,
        &[
            (&reply.lane.to_row(), Type::INT8),
            (&reply.in_reply_to.as_str(), Type::TEXT),
            (&reply.msgid.as_str(), Type::TEXT),
            (&reply.handler.as_str(), Type::TEXT),
            (&i64::from(reply.index), Type::INT8),
            (&i64::from(reply.part), Type::INT8),
            (&reply.at.0, Type::INT8),
        ],
    )
    .await?;
    Ok(())
}

/// Columns that [`read`] reads.
macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT h.name, r.in_reply_to, r.msgid, r.nth, r.part, r.sent_ms
             FROM reply r JOIN handler h ON h.handler_id = r.handler_id
             WHERE r.lane = $1 AND ",
            $condition
        )
    };
}

pub(super) async fn to(link: &Link, lane: Lane, msgid: &Msgid) -> Result<Vec<SentReply>, Failure> {
    let sql = select!("r.in_reply_to = $2 ORDER BY r.reply_no");
    let rows = link
        .ask(sql, &[(&lane.to_row(), Type::INT8), (&msgid.as_str(), Type::TEXT)])
        .await?;
    rows.iter().map(|row| read(lane, row)).collect()
}

/// Walks through what was said to the customer: they are few, and this is asked for when a reply failed.
pub(super) async fn find(link: &Link, lane: Lane, msgid: &str) -> Result<Option<SentReply>, Failure> {
    let rows = link
        .ask(
            select!("r.msgid = $2"),
            &[(&lane.to_row(), Type::INT8), (&msgid, Type::TEXT)],
        )
        .await?;
    rows.first().map(|row| read(lane, row)).transpose()
}

fn read(lane: Lane, row: &Row) -> Result<SentReply, Failure> {
    Ok(SentReply {
        lane,
        handler: row::handler_name(row, 0)?,
        in_reply_to: row::msgid(row, 1)?,
        msgid: row::msgid(row, 2)?,
        index: row::small(row, 3)?,
        part: row::small(row, 4)?,
        at: row::millis(row, 5)?,
    })
}

/// Looks at the oldest `limit` replies only: an index on the time is not worth what it costs every insert.
pub(super) async fn prune(link: &Link, before: UnixMillis, limit: usize) -> Result<u64, Failure> {
    let sql = "
        WITH oldest AS MATERIALIZED (
            SELECT reply_no, sent_ms FROM reply ORDER BY reply_no LIMIT $2 FOR UPDATE SKIP LOCKED
        ), gone AS (
            DELETE FROM reply USING oldest WHERE reply.reply_no = oldest.reply_no AND oldest.sent_ms < $1 RETURNING 1
        )
        SELECT count(*) FROM gone";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let row = link
        .ask_one(sql, &[(&before.0, Type::INT8), (&limit, Type::INT8)])
        .await?;
    row::count(&row, 0)
}
