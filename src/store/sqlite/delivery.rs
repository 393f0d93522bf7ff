//! Deliveries: what is owed, read in order, and how attempts ended.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, params};

use super::recent::Recent;
use super::row;
use crate::clock::UnixMillis;
use crate::id::HandlerName;
use crate::store::{Backlog, Finish, HandlerId, Lane, Pending, Position, Seq, Shard, ShardSet, URGENT_REACH, Verdict};

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
        "SELECT handler_id, count(*), min(seq) FROM delivery GROUP BY handler_id",
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
    conn.prepare_cached(sql)?
        .query_map([], |row| {
            let (rows, first) = (row.get::<_, i64>(1)?.unsigned_abs(), Seq(row.get(2)?));
            Ok((HandlerId(row.get(0)?), Count { rows, first }))
        })?
        .collect()
}

pub(super) fn pending(
    conn: &Connection,
    handler: HandlerId,
    after: &[Position],
    limit_each: usize,
    recent: &Recent,
) -> rusqlite::Result<Vec<Pending>> {
    let mut wanted = Wanted::behind(after, limit_each);
    let mut owed = conn.prepare_cached(
        "SELECT seq, lane, attempts, due_ms, urgent FROM delivery WHERE handler_id = ?1 AND seq > ?2 ORDER BY seq",
    )?;
    let mut found = Vec::new();
    while let Some(begin) = wanted.begin() {
        let mut rows = owed.query([handler.0, begin.0])?;
        // Onward from there, and with a leap where nobody wants what comes next.
        loop {
            let Some(row) = rows.next()? else {
                return with_letters(conn, handler, found, recent);
            };
            let (seq, lane) = (Seq(row.get(0)?), Lane::from_row(row.get(1)?));
            if !wanted.take(seq, lane.shard()) {
                continue;
            }
            found.push(Row::of(row)?);
            if wanted.is_over(lane.shard()) && wanted.begin().is_none_or(|begin| begin > seq) {
                break;
            }
        }
    }
    with_letters(conn, handler, found, recent)
}

pub(super) fn pending_urgent(
    conn: &Connection,
    handler: HandlerId,
    after: &[Position],
    limit_each: usize,
    recent: &Recent,
) -> rusqlite::Result<Vec<Pending>> {
    let mut owed = owed_to_urgent(conn, handler, after, limit_each)?;
    let shards: ShardSet = owed.keys().map(|lane| lane.shard()).collect();
    let begin = after.iter().filter(|position| shards.contains(position.shard));
    let (Some(begin), Some(last)) = (
        begin.map(|position| position.after).min(),
        owed.values().map(|owed| owed.last).max(),
    ) else {
        return Ok(Vec::new());
    };
    // One pass for all of them: customers have no index of their own, which every insert would pay for.
    let mut behind = conn.prepare_cached(
        "SELECT seq, lane, attempts, due_ms, urgent FROM delivery
         WHERE handler_id = ?1 AND seq > ?2 AND seq <= ?3 ORDER BY seq",
    )?;
    let mut rows = behind.query([handler.0, begin.0, last.0])?;
    while let Some(row) = rows.next()? {
        let seq = Seq(row.get(0)?);
        if let Some(owed) = owed.get_mut(&Lane::from_row(row.get(1)?))
            && owed.after < seq
            && seq <= owed.last
            && owed.rows.len() <= URGENT_REACH
        {
            owed.rows.push(Row::of(row)?);
        }
    }
    let within_reach = owed.into_values().filter(|owed| owed.rows.len() <= URGENT_REACH);
    let mut found: Vec<_> = within_reach.flat_map(|owed| owed.rows).collect();
    found.sort_unstable_by_key(|row| row.seq);
    with_letters(conn, handler, found, recent)
}

/// What is still wanted of each shard while all of them are read in one pass.
struct Wanted {
    after: [Seq; Shard::COUNT as usize],
    left: [usize; Shard::COUNT as usize],
}

impl Wanted {
    fn behind(positions: &[Position], limit_each: usize) -> Self {
        let mut wanted = Self {
            after: [Seq::default(); Shard::COUNT as usize],
            left: [0; Shard::COUNT as usize],
        };
        for Position { shard, after } in positions {
            let place = usize::from(shard.number());
            (wanted.after[place], wanted.left[place]) = (*after, limit_each);
        }
        wanted
    }

    /// Behind which the next that is wanted may come; `None` when there is enough of every shard.
    fn begin(&self) -> Option<Seq> {
        let open = self.after.iter().zip(self.left).filter(|(_, left)| *left > 0);
        open.map(|(after, _)| *after).min()
    }

    /// Whether `seq` of `shard` is wanted. It is then taken.
    fn take(&mut self, seq: Seq, shard: Shard) -> bool {
        let place = usize::from(shard.number());
        let is_wanted = self.left[place] > 0 && self.after[place] < seq;
        self.left[place] -= usize::from(is_wanted);
        is_wanted
    }

    /// Whether there is enough of `shard`.
    fn is_over(&self, shard: Shard) -> bool {
        self.left[usize::from(shard.number())] == 0
    }
}

/// A delivery without what is delivered.
struct Row {
    seq: Seq,
    lane: Lane,
    attempts: u32,
    due: UnixMillis,
    urgent: bool,
}

impl Row {
    /// Of the columns `seq`, `lane`, `attempts`, `due_ms`, and `urgent`.
    fn of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: Seq(row.get(0)?),
            lane: Lane::from_row(row.get(1)?),
            attempts: row.get(2)?,
            due: UnixMillis(row.get(3)?),
            urgent: row.get(4)?,
        })
    }
}

fn with_letters(
    conn: &Connection,
    handler: HandlerId,
    found: Vec<Row>,
    recent: &Recent,
) -> rusqlite::Result<Vec<Pending>> {
    let seqs: Vec<_> = found.iter().map(|row| row.seq).collect();
    let letters = recent.letters(conn, handler, &seqs)?;
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

/// Customers, up to `limit_each` of each shard, who are owed something urgent behind the positions.
fn owed_to_urgent(
    conn: &Connection,
    handler: HandlerId,
    after: &[Position],
    limit_each: usize,
) -> rusqlite::Result<HashMap<Lane, Owed>> {
    let mut owed = HashMap::<Lane, Owed>::new();
    let mut wanted = Wanted::behind(after, limit_each);
    let mut asked: ShardSet = after.iter().map(|position| position.shard).collect();
    let mut urgent = conn.prepare_cached(
        // Left to itself, SQLite would rather walk through everything.
        "SELECT seq, lane FROM delivery INDEXED BY delivery_urgent
         WHERE handler_id = ?1 AND seq > ?2 AND urgent = 1 ORDER BY seq",
    )?;
    let begin = wanted.begin().unwrap_or_default();
    let mut rows = urgent.query([handler.0, begin.0])?;
    while !asked.is_empty()
        && let Some(row) = rows.next()?
    {
        let (seq, lane) = (Seq(row.get(0)?), Lane::from_row(row.get(1)?));
        let shard = lane.shard();
        let after = wanted.after[usize::from(shard.number())];
        if !asked.contains(shard) || seq <= after {
            continue;
        }
        if let Some(owed) = owed.get_mut(&lane) {
            owed.last = seq;
        } else if wanted.take(seq, shard) {
            let (last, rows) = (seq, Vec::new());
            owed.insert(lane, Owed { after, last, rows });
        } else {
            // The first customer too many: what follows in this shard is for another time.
            asked.remove(shard);
        }
    }
    Ok(owed)
}

/// What one customer is owed behind a position, up to their last urgent delivery.
struct Owed {
    after: Seq,
    last: Seq,
    rows: Vec<Row>,
}

pub(super) fn finish(conn: &Connection, finished: &[Finish]) -> rusqlite::Result<()> {
    let mut take = conn.prepare_cached("DELETE FROM delivery WHERE handler_id = ?1 AND seq = ?2")?;
    let mut put_off =
        conn.prepare_cached("UPDATE delivery SET attempts = ?3, due_ms = ?4 WHERE handler_id = ?1 AND seq = ?2")?;
    let mut bury = conn
        .prepare_cached("INSERT INTO dead (handler_id, seq, attempts, died_ms, reason) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for Finish {
        handler, seq, verdict, ..
    } in finished
    {
        match verdict {
            Verdict::Done => {
                take.execute([handler.0, seq.0])?;
            }
            Verdict::Retry { attempts, due } => {
                put_off.execute(params![handler.0, seq.0, attempts, due.0])?;
            }
            Verdict::Dead { attempts, at, reason } => {
                if take.execute([handler.0, seq.0])? == 1 {
                    bury.execute(params![handler.0, seq.0, attempts, at.0, reason])?;
                }
            }
        }
    }
    Ok(())
}

pub(super) fn forget_owed(conn: &Connection, handler: &HandlerName, limit: usize) -> rusqlite::Result<u64> {
    let forgotten = conn
        .prepare_cached(
            "DELETE FROM delivery
             WHERE handler_id = (SELECT handler_id FROM handler WHERE name = ?1) AND seq IN (
                 SELECT d.seq FROM delivery d CROSS JOIN handler h ON h.name = ?1
                 WHERE d.handler_id = h.handler_id ORDER BY d.seq LIMIT ?2
             )",
        )?
        .execute(params![handler.as_str(), i64::try_from(limit).unwrap_or(i64::MAX)])?;
    Ok(forgotten as u64)
}
