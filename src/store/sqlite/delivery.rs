//! Deliveries: what is owed, read in order, and how attempts ended.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, params};

use super::recent::Recent;
use super::row;
use crate::clock::UnixMillis;
use crate::id::HandlerName;
use crate::store::{Backlog, Finish, HandlerId, Lane, Pending, Position, Seq, Shard, URGENT_REACH, Verdict};

pub(super) fn register_handlers(conn: &Connection, names: &[HandlerName]) -> rusqlite::Result<Vec<HandlerId>> {
    let mut add = conn.prepare_cached("INSERT INTO handler (name) VALUES (?1) ON CONFLICT (name) DO NOTHING")?;
    let mut find = conn.prepare_cached("SELECT handler_id FROM handler WHERE name = ?1")?;
    let register = |name: &HandlerName| {
        add.execute([name.as_str()])?;
        find.query_row([name.as_str()], |row| row.get(0).map(HandlerId))
    };
    names.iter().map(register).collect()
}

pub(super) fn backlog(conn: &Connection) -> rusqlite::Result<Vec<Backlog>> {
    let pending = counts(
        conn,
        // In the order of the primary key, so that a million rows are counted without being sorted.
        "SELECT handler_id, count(*), min(seq) FROM delivery GROUP BY shard, handler_id",
    )?;
    let dead = counts(
        conn,
        "SELECT handler_id, count(*), min(seq) FROM dead GROUP BY handler_id",
    )?;
    let count = |counts: &BTreeMap<HandlerId, Count>, id| counts.get(&id).map_or(0, |count| count.rows);
    let mut received = conn.prepare_cached("SELECT recv_ms FROM message WHERE seq = ?1")?;
    let mut oldest = |id| {
        let first = pending.get(&id).map(|count: &Count| count.first.0);
        first
            .map(|seq| received.query_row([seq], |row| row.get(0).map(UnixMillis)))
            .transpose()
    };
    conn.prepare_cached("SELECT handler_id, name FROM handler ORDER BY handler_id")?
        .query_map([], |row| {
            let id = HandlerId(row.get(0)?);
            Ok(Backlog {
                id,
                handler: row::handler_name(row, 1)?,
                pending: count(&pending, id),
                dead: count(&dead, id),
                oldest: oldest(id)?,
            })
        })?
        .collect()
}

/// Rows of one handler.
struct Count {
    rows: u64,
    /// The first of them.
    first: Seq,
}

fn counts(conn: &Connection, sql: &str) -> rusqlite::Result<BTreeMap<HandlerId, Count>> {
    let mut sums = BTreeMap::new();
    let mut counted = conn.prepare_cached(sql)?;
    let mut rows = counted.query([])?;
    while let Some(row) = rows.next()? {
        let (count, first): (i64, Seq) = (row.get(1)?, Seq(row.get(2)?));
        let sum = sums.entry(HandlerId(row.get(0)?)).or_insert(Count { rows: 0, first });
        sum.rows += count.unsigned_abs();
        sum.first = sum.first.min(first);
    }
    Ok(sums)
}

pub(super) fn pending(
    conn: &Connection,
    handler: HandlerId,
    after: &[Position],
    limit_each: usize,
    recent: &Recent,
) -> rusqlite::Result<Vec<Pending>> {
    let mut found = Vec::new();
    for position in after {
        read(conn, handler, *position, Seq(i64::MAX), limit_each, &mut found)?;
    }
    with_letters(conn, found, recent)
}

pub(super) fn pending_urgent(
    conn: &Connection,
    handler: HandlerId,
    after: &[Position],
    limit_each: usize,
    recent: &Recent,
) -> rusqlite::Result<Vec<Pending>> {
    let mut found = Vec::new();
    for position in after {
        for seq in up_to_urgent(conn, handler, *position, limit_each)? {
            let just_before = Position {
                after: Seq(seq.0 - 1),
                ..*position
            };
            read(conn, handler, just_before, seq, 1, &mut found)?;
        }
    }
    with_letters(conn, found, recent)
}

/// A delivery without what is delivered.
struct Row {
    seq: Seq,
    lane: Lane,
    attempts: u32,
    due: UnixMillis,
    urgent: bool,
}

/// Adds up to `limit` deliveries behind `position` to what was `found`, none behind `last`.
fn read(
    conn: &Connection,
    handler: HandlerId,
    position: Position,
    last: Seq,
    limit: usize,
    found: &mut Vec<Row>,
) -> rusqlite::Result<()> {
    let mut owed = conn.prepare_cached(
        "SELECT seq, lane, attempts, due_ms, urgent FROM delivery
         WHERE shard = ?1 AND handler_id = ?2 AND seq > ?3 AND seq <= ?4
         ORDER BY seq LIMIT ?5",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = owed.query(params![
        position.shard.number(),
        handler.0,
        position.after.0,
        last.0,
        limit
    ])?;
    while let Some(row) = rows.next()? {
        found.push(Row {
            seq: Seq(row.get(0)?),
            lane: Lane::from_row(row.get(1)?),
            attempts: row.get(2)?,
            due: UnixMillis(row.get(3)?),
            urgent: row.get(4)?,
        });
    }
    Ok(())
}

fn with_letters(conn: &Connection, found: Vec<Row>, recent: &Recent) -> rusqlite::Result<Vec<Pending>> {
    let seqs: Vec<_> = found.iter().map(|row| row.seq).collect();
    let letters = recent.letters(conn, &seqs)?;
    let pending = found.into_iter().zip(letters).map(|(row, letter)| Pending {
        seq: row.seq,
        lane: row.lane,
        attempts: row.attempts,
        due: row.due,
        urgent: row.urgent,
        letter,
    });
    Ok(pending.collect())
}

/// What has to be read behind `position` so that up to `limit` customers come to their last urgent delivery.
fn up_to_urgent(conn: &Connection, handler: HandlerId, position: Position, limit: usize) -> rusqlite::Result<Vec<Seq>> {
    let mut lanes = HashMap::new();
    let mut last = position.after.0;
    let mut urgent = conn.prepare_cached(
        // Left to itself, SQLite would rather walk through the whole shard.
        "SELECT seq, lane FROM delivery INDEXED BY delivery_urgent
         WHERE shard = ?1 AND handler_id = ?2 AND seq > ?3 AND urgent = 1 ORDER BY seq",
    )?;
    let mut rows = urgent.query(params![position.shard.number(), handler.0, position.after.0])?;
    while let Some(row) = rows.next()? {
        let lane: i64 = row.get(1)?;
        if lanes.len() == limit && !lanes.contains_key(&lane) {
            break;
        }
        last = row.get(0)?;
        lanes.insert(lane, Owed { last, seqs: Vec::new() });
    }
    if lanes.is_empty() {
        return Ok(Vec::new());
    }
    // One pass over the shard for all of them: customers have no index of their own, which every insert would pay for.
    let mut behind = conn.prepare_cached(
        "SELECT seq, lane FROM delivery
         WHERE shard = ?1 AND handler_id = ?2 AND seq > ?3 AND seq <= ?4 ORDER BY seq",
    )?;
    let mut rows = behind.query(params![position.shard.number(), handler.0, position.after.0, last])?;
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        if let Some(owed) = lanes.get_mut(&row.get(1)?)
            && seq <= owed.last
            && owed.seqs.len() <= URGENT_REACH
        {
            owed.seqs.push(Seq(seq));
        }
    }
    let within_reach = lanes.into_values().filter(|owed| owed.seqs.len() <= URGENT_REACH);
    let mut seqs: Vec<Seq> = within_reach.flat_map(|owed| owed.seqs).collect();
    seqs.sort_unstable();
    Ok(seqs)
}

/// What one customer is owed up to their last urgent delivery.
struct Owed {
    last: i64,
    seqs: Vec<Seq>,
}

pub(super) fn finish(conn: &Connection, finished: &[Finish]) -> rusqlite::Result<()> {
    let mut take = conn.prepare_cached("DELETE FROM delivery WHERE shard = ?1 AND handler_id = ?2 AND seq = ?3")?;
    let mut put_off = conn.prepare_cached(
        "UPDATE delivery SET attempts = ?4, due_ms = ?5 WHERE shard = ?1 AND handler_id = ?2 AND seq = ?3",
    )?;
    let mut bury = conn
        .prepare_cached("INSERT INTO dead (handler_id, seq, attempts, died_ms, reason) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for Finish {
        handler,
        shard,
        seq,
        verdict,
        ..
    } in finished
    {
        match verdict {
            Verdict::Done => {
                take.execute(params![shard.number(), handler.0, seq.0])?;
            }
            Verdict::Retry { attempts, due } => {
                put_off.execute(params![shard.number(), handler.0, seq.0, attempts, due.0])?;
            }
            Verdict::Dead { attempts, at, reason } => {
                if take.execute(params![shard.number(), handler.0, seq.0])? == 1 {
                    bury.execute(params![handler.0, seq.0, attempts, at.0, reason])?;
                }
            }
        }
    }
    Ok(())
}

pub(super) fn forget_owed(conn: &Connection, handler: &HandlerName, limit: usize) -> rusqlite::Result<u64> {
    let mut forget = conn.prepare_cached(
        "DELETE FROM delivery
         WHERE shard = ?1 AND handler_id = (SELECT handler_id FROM handler WHERE name = ?2) AND seq IN (
             SELECT d.seq FROM delivery d CROSS JOIN handler h ON h.name = ?2
             WHERE d.shard = ?1 AND d.handler_id = h.handler_id ORDER BY d.seq LIMIT ?3
         )",
    )?;
    let mut forgotten = 0;
    for shard in Shard::all() {
        let left = i64::try_from(limit - forgotten).unwrap_or(i64::MAX);
        forgotten += forget.execute(params![shard.number(), handler.as_str(), left])?;
    }
    Ok(forgotten as u64)
}
