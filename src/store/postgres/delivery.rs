//! Deliveries: what is owed, read in order, and how attempts ended.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::failure::Failure;
use super::link::{Link, Param};
use super::row::{self, get};
use crate::id::HandlerName;
use crate::store::{Backlog, Finish, HandlerId, Lane, Letter, Pending, Position, Seq, URGENT_REACH, Verdict};

pub(super) async fn register_handlers(link: &Link, names: &[HandlerName]) -> Result<Vec<HandlerId>, Failure> {
    let names: Vec<_> = names.iter().map(HandlerName::as_str).collect();
    let params = [(&names as _, Type::TEXT_ARRAY)];
    // In order, so that replicas that start together do not wait for each other in a ring. What another has just added
    // is seen by the next statement only.
    let add = "
        INSERT INTO handler (name) SELECT DISTINCT name FROM unnest($1::text[]) AS name ORDER BY name
        ON CONFLICT (name) DO NOTHING";
    link.write(names.len(), add, &params).await?;
    let find = "
        SELECT handler_id FROM unnest($1::text[]) WITH ORDINALITY AS named (name, nth) JOIN handler USING (name)
        ORDER BY nth";
    let rows = link.ask(find, &params).await?;
    rows.iter().map(|row| get(row, 0).map(HandlerId)).collect()
}

pub(super) async fn backlog(link: &Link) -> Result<Vec<Backlog>, Failure> {
    let sql = "
        SELECT h.handler_id, h.name, coalesce(owed.count, 0), coalesce(buried.count, 0), m.recv_ms
        FROM handler h
        LEFT JOIN (SELECT handler_id, count(*), min(seq) AS first FROM delivery GROUP BY handler_id) owed
            ON owed.handler_id = h.handler_id
        LEFT JOIN (SELECT handler_id, count(*) FROM dead GROUP BY handler_id) buried
            ON buried.handler_id = h.handler_id
        LEFT JOIN message m ON m.seq = owed.first
        ORDER BY h.handler_id";
    let rows = link.ask(sql, &[]).await?;
    let backlog = |row| {
        Ok(Backlog {
            id: HandlerId(get(row, 0)?),
            handler: row::handler_name(row, 1)?,
            pending: row::count(row, 2)?,
            dead: row::count(row, 3)?,
            oldest: get::<Option<i64>>(row, 4)?.map(crate::clock::UnixMillis),
        })
    };
    rows.iter().map(backlog).collect()
}

/// A statement that reads deliveries `d` of the handler `$1` behind the positions in `$2` and `$3`, which [`read`] then
/// makes.
macro_rules! select_pending {
    ($with:literal, $from:literal) => {
        concat!(
            "WITH position AS MATERIALIZED (
                 SELECT * FROM unnest($2::smallint[], $3::bigint[]) WITH ORDINALITY AS p (shard, after, nth)
             ) ",
            $with,
            " SELECT d.seq, d.lane, d.attempts, d.due_ms, d.urgent FROM ",
            $from,
            " ORDER BY d.nth, d.seq"
        )
    };
}

pub(super) async fn pending(
    link: &Link,
    handler: HandlerId,
    after: &[Position],
    limit_each: usize,
) -> Result<Vec<Pending>, Failure> {
    let sql = select_pending!(
        "",
        "(
             SELECT position.nth, owed.* FROM position CROSS JOIN LATERAL (
                 SELECT * FROM delivery
                 WHERE delivery.shard = position.shard AND delivery.handler_id = $1 AND delivery.seq > position.after
                 ORDER BY delivery.seq LIMIT $4
             ) AS owed
         ) AS d"
    );
    read(link, sql, handler, after, limit_each, None).await
}

pub(super) async fn pending_urgent(
    link: &Link,
    handler: HandlerId,
    after: &[Position],
    limit_each: usize,
) -> Result<Vec<Pending>, Failure> {
    let sql = select_pending!(
        ", urgent AS MATERIALIZED (
             SELECT nth, position.shard, after, lane, seq
             FROM position JOIN delivery ON delivery.shard = position.shard AND delivery.handler_id = $1
                 AND delivery.seq > position.after AND urgent
         ), customer AS (
             SELECT nth, lane, min(seq) AS first, row_number() OVER (PARTITION BY nth ORDER BY min(seq)) AS place
             FROM urgent GROUP BY nth, lane
         ), chosen AS MATERIALIZED (
             -- No further than to the first customer who is not among them.
             SELECT urgent.nth, urgent.shard, urgent.after, urgent.lane, max(urgent.seq) AS last
             FROM urgent JOIN customer USING (nth, lane)
             LEFT JOIN customer AS beyond ON beyond.nth = urgent.nth AND beyond.place - 1 = $4
             WHERE customer.place <= $4 AND (beyond.first IS NULL OR urgent.seq < beyond.first)
             GROUP BY urgent.nth, urgent.shard, urgent.after, urgent.lane
         ), reach AS (
             SELECT nth, shard, after, max(last) AS last FROM chosen GROUP BY nth, shard, after
         ), behind AS (
             -- One pass over each shard for all of its customers: they have no index of their own, which every insert
             -- would pay for.
             SELECT chosen.nth, owed.*, count(*) OVER (PARTITION BY chosen.nth, chosen.lane) AS reached
             FROM reach
             JOIN delivery AS owed ON owed.shard = reach.shard AND owed.handler_id = $1
                 AND owed.seq > reach.after AND owed.seq <= reach.last
             JOIN chosen ON chosen.nth = reach.nth AND chosen.lane = owed.lane AND owed.seq <= chosen.last
         )",
        "(SELECT * FROM behind WHERE reached <= $5) AS d"
    );
    let reach = URGENT_REACH as i64;
    read(link, sql, handler, after, limit_each, Some(&reach)).await
}

/// Reads what is owed, and then those messages that no handler has read lately: fewer bytes than with each delivery, and
/// joined to it they take twice the time.
async fn read(
    link: &Link,
    sql: &str,
    handler: HandlerId,
    after: &[Position],
    limit_each: usize,
    reach: Option<&i64>,
) -> Result<Vec<Pending>, Failure> {
    let shards: Vec<_> = after
        .iter()
        .map(|position| i16::from(position.shard.number()))
        .collect();
    let seqs: Vec<_> = after.iter().map(|position| position.after.0).collect();
    let limit = i64::from(u32::try_from(limit_each).unwrap_or(u32::MAX));
    let mut params: Vec<Param<'_>> = vec![
        (&handler.0, Type::INT8),
        (&shards, Type::INT2_ARRAY),
        (&seqs, Type::INT8_ARRAY),
        (&limit, Type::INT8),
    ];
    params.extend(reach.map(|reach| (reach as _, Type::INT8)));
    let rows = link.ask(sql, &params).await?;
    let seqs = rows.iter().map(|row| get(row, 0).map(Seq));
    let letters = letters(link, handler, seqs.collect::<Result<_, _>>()?).await?;
    let pending = rows.iter().zip(letters).filter_map(|(row, letter)| {
        let pending = |letter: Arc<Letter>| {
            Ok(Pending {
                seq: Seq(get(row, 0)?),
                lane: Lane::from_row(get(row, 1)?),
                attempts: row::small(row, 2)?,
                due: row::millis(row, 3)?,
                urgent: get(row, 4)?,
                letter,
            })
        };
        letter.map(pending)
    });
    pending.collect()
}

/// The messages numbered `seqs`, in their order, read by `reader`. `None` for one that is gone, and so no longer owed.
async fn letters(link: &Link, reader: HandlerId, seqs: Vec<Seq>) -> Result<Vec<Option<Arc<Letter>>>, Failure> {
    let mut found: Vec<_> = {
        let letters = link.letters();
        seqs.iter().map(|seq| letters.find(*seq)).collect()
    };
    let missing = seqs.iter().zip(&found).filter(|(_, letter)| letter.is_none());
    let missing: Vec<_> = missing.map(|(seq, _)| seq.0).collect();
    if missing.is_empty() {
        return Ok(found);
    }
    let sql = "
        SELECT m.seq, a.app, a.open_kfid, m.msgid, m.recv_ms, m.body
        FROM message AS m JOIN account AS a USING (account_id) WHERE m.seq = ANY($1)";
    let rows = link.ask(sql, &[(&missing, Type::INT8_ARRAY)]).await?;
    let mut read = HashMap::with_capacity(rows.len());
    for row in &rows {
        read.insert(Seq(get(row, 0)?), letter(row)?);
    }
    let mut letters = link.letters();
    for (seq, place) in seqs.into_iter().zip(&mut found) {
        if let Some(letter) = read.remove(&seq) {
            *place = Some(letters.keep(seq, letter, reader));
        }
    }
    Ok(found)
}

fn letter(row: &Row) -> Result<Letter, Failure> {
    Ok(Letter::new(
        Arc::new(row::account(row, 1)?),
        row::msgid(row, 3)?,
        row::millis(row, 4)?,
        Arc::from(row::body(row, 5)?),
    ))
}

/// Takes away what is done.
const TAKE: &str = "
    WITH named AS MATERIALIZED (
        SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS n (shard, handler_id, seq)
    )
    DELETE FROM delivery AS d USING named AS n
    WHERE d.shard = n.shard AND d.handler_id = n.handler_id AND d.seq = n.seq";

/// What each delivery of a batch comes to, in one statement.
///
/// A retry and a burial count under the fence of their shard, which is locked for as long as this takes: a take-over
/// comes before, and they are refused, or after, and they stand.
const FINISH: &str = "
    WITH named AS MATERIALIZED (
        SELECT * FROM unnest(
            $1::smallint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::smallint[], $6::bigint[], $7::bigint[], $8::text[]
        ) WITH ORDINALITY AS n (shard, handler_id, seq, under, verdict, attempts, at_ms, reason, nth)
    ), held AS MATERIALIZED (
        SELECT shard, fence FROM shard WHERE shard IN (SELECT shard FROM named WHERE verdict <> $9)
        ORDER BY shard FOR SHARE
    ), judged AS MATERIALIZED (
        SELECT named.*, verdict = $9 OR held.fence IS NOT DISTINCT FROM under AS stands
        FROM named LEFT JOIN held USING (shard)
    ), standing AS MATERIALIZED (
        -- Of a delivery that is named twice: the first that takes it away, else the last wait.
        SELECT DISTINCT ON (shard, handler_id, seq) * FROM judged WHERE stands
        ORDER BY shard, handler_id, seq, verdict = $10, CASE WHEN verdict = $10 THEN -nth ELSE nth END
    ), put_off AS (
        UPDATE delivery AS d SET attempts = s.attempts, due_ms = s.at_ms FROM standing AS s
        WHERE d.shard = s.shard AND d.handler_id = s.handler_id AND d.seq = s.seq AND s.verdict = $10
    ), taken AS (
        DELETE FROM delivery AS d USING standing AS s
        WHERE d.shard = s.shard AND d.handler_id = s.handler_id AND d.seq = s.seq AND s.verdict <> $10
        RETURNING s.*
    ), buried AS (
        INSERT INTO dead (handler_id, seq, attempts, died_ms, reason)
        SELECT handler_id, seq, attempts, at_ms, reason FROM taken WHERE verdict <> $9
    )
    SELECT count(*) FROM judged WHERE NOT stands";

const DONE: i16 = 0;
const RETRY: i16 = 1;
const DEAD: i16 = 2;

pub(super) async fn finish(link: &Link, finished: &[Finish]) -> Result<u64, Failure> {
    let mut finished: Vec<_> = finished.iter().collect();
    // About the order in which rows are locked, so that two who name the same deliveries seldom wait in a ring. Stable:
    // what is said of one delivery stays in order.
    finished.sort_by_key(|finish| (finish.shard.number(), finish.handler, finish.seq));
    let column = |of: fn(&Finish) -> i64| finished.iter().map(|finish| of(finish)).collect::<Vec<_>>();
    let shards: Vec<_> = finished.iter().map(|finish| i16::from(finish.shard.number())).collect();
    let (handlers, seqs) = (column(|f| f.handler.0), column(|f| f.seq.0));
    // Nearly always: at a third of what the other statement takes for each.
    if finished.iter().all(|finish| finish.verdict == Verdict::Done) {
        let named: [Param<'_>; 3] = [
            (&shards, Type::INT2_ARRAY),
            (&handlers, Type::INT8_ARRAY),
            (&seqs, Type::INT8_ARRAY),
        ];
        link.write(finished.len(), TAKE, &named).await?;
        return Ok(0);
    }
    let under = column(|f| f.under.0);
    let (mut verdicts, mut attempts, mut at, mut reasons) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for finish in &finished {
        let (verdict, used, when, why) = match &finish.verdict {
            Verdict::Done => (DONE, 0, 0, None),
            Verdict::Retry { attempts, due } => (RETRY, *attempts, due.0, None),
            Verdict::Dead { attempts, at, reason } => (DEAD, *attempts, at.0, Some(row::text(reason))),
        };
        verdicts.push(verdict);
        attempts.push(i64::from(used));
        at.push(when);
        reasons.push(why);
    }
    let rows = link
        .write(
            finished.len(),
            FINISH,
            &[
                (&shards, Type::INT2_ARRAY),
                (&handlers, Type::INT8_ARRAY),
                (&seqs, Type::INT8_ARRAY),
                (&under, Type::INT8_ARRAY),
                (&verdicts, Type::INT2_ARRAY),
                (&attempts, Type::INT8_ARRAY),
                (&at, Type::INT8_ARRAY),
                (&reasons, Type::TEXT_ARRAY),
                (&DONE, Type::INT2),
                (&RETRY, Type::INT2),
            ],
        )
        .await?;
    rows.first().map_or(Ok(0), |row| row::count(row, 0))
}

pub(super) async fn forget_owed(link: &Link, handler: &HandlerName, limit: usize) -> Result<u64, Failure> {
    let sql = "
        WITH chosen AS MATERIALIZED (
            SELECT owed.* FROM handler CROSS JOIN shard CROSS JOIN LATERAL (
                SELECT shard, handler_id, seq FROM delivery AS d
                WHERE d.shard = shard.shard AND d.handler_id = handler.handler_id
                ORDER BY d.seq LIMIT $2
            ) AS owed
            WHERE handler.name = $1 LIMIT $2
        ), gone AS (
            DELETE FROM delivery AS d USING chosen AS c
            WHERE d.shard = c.shard AND d.handler_id = c.handler_id AND d.seq = c.seq
            RETURNING 1
        )
        SELECT count(*) FROM gone";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let row = link
        .once(sql, &[(&handler.as_str(), Type::TEXT), (&limit, Type::INT8)])
        .await?;
    row::count(&row, 0)
}
