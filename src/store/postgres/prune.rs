//! Forgetting: bodies and messages that are old and owed to nobody.
//!
//! Goes by sequence number, which is about the order of arrival, instead of an index on the time that every insert would
//! have to pay for. Several processes may do this at once: each passes over what another has in hand.

use tokio_postgres::types::Type;

use super::failure::Failure;
use super::link::Link;
use super::row::{self, get};
use crate::clock::UnixMillis;
use crate::store::{Blanked, Seq};

/// Messages looked at in one statement: some ten milliseconds.
const LOOKED_AT: i64 = 10_000;

/// Begins a statement that looks at [`LOOKED_AT`] messages, `$4`, behind `$2`, and finds up to `$3` of them that were
/// received before `$1`, are owed to nobody, are not kept by a dead letter, and meet a further condition.
///
/// Ends when all of them are too young. One young one does not end it: the clock may have been ahead for a while.
macro_rules! look {
    ($condition:literal, $rest:literal) => {
        concat!(
            "WITH looked AS MATERIALIZED (
                 SELECT seq, recv_ms < $1 AS old FROM message WHERE seq > $2 ORDER BY seq LIMIT $4
             ), free AS MATERIALIZED (
                 SELECT m.seq FROM looked JOIN message m USING (seq)
                 WHERE looked.old AND NOT EXISTS (
                     SELECT FROM handler h JOIN dead ON dead.handler_id = h.handler_id AND dead.seq = m.seq
                 ) AND NOT EXISTS (
                     SELECT FROM handler h
                     JOIN delivery d ON d.shard = m.lane & 63 AND d.handler_id = h.handler_id AND d.seq = m.seq
                 ) AND ",
            $condition,
            "    ORDER BY m.seq LIMIT $3 FOR NO KEY UPDATE OF m SKIP LOCKED
             ), ",
            $rest,
            ", forgotten AS (
                 DELETE FROM quarantine q USING gone WHERE q.seq = gone.seq
             )
             SELECT (SELECT count(*) FROM gone), (SELECT max(seq) FROM gone), (SELECT max(seq) FROM looked),
                 (SELECT count(*) FROM looked), (SELECT coalesce(bool_or(old), false) FROM looked)"
        )
    };
}

/// What one statement came to.
struct Step {
    gone: u64,
    /// The last that went.
    last_gone: Option<Seq>,
    /// The last that was looked at; `None` if those that follow are too young, or there are none.
    last: Option<Seq>,
}

async fn step(link: &Link, sql: &str, before: UnixMillis, after: Seq, limit: u64) -> Result<Step, Failure> {
    let row = link
        .ask_one(
            sql,
            &[
                (&before.0, Type::INT8),
                (&after.0, Type::INT8),
                (&limit.cast_signed(), Type::INT8),
                (&LOOKED_AT, Type::INT8),
            ],
        )
        .await?;
    let (looked_at, any_old): (i64, bool) = (get(&row, 3)?, get(&row, 4)?);
    let last: Option<i64> = get(&row, 2)?;
    Ok(Step {
        gone: row::count(&row, 0)?,
        last_gone: get::<Option<i64>>(&row, 1)?.map(Seq),
        last: last.map(Seq).filter(|_| any_old && looked_at == LOOKED_AT),
    })
}

pub(super) async fn delete(link: &Link, before: UnixMillis, limit: usize) -> Result<u64, Failure> {
    let sql = look!(
        "true",
        "gone AS (DELETE FROM message m USING free WHERE m.seq = free.seq RETURNING m.seq)"
    );
    let limit = limit as u64;
    let (mut gone, mut after) = (0, Seq::default());
    loop {
        let step = step(link, sql, before, after, limit - gone).await?;
        gone += step.gone;
        match step.last {
            Some(last) if gone < limit => after = last,
            _ => return Ok(gone),
        }
    }
}

/// Takes bodies, and what contradicted them. The rows stay, so that the messages are known when they come again.
pub(super) async fn blank(link: &Link, before: UnixMillis, after: Seq, limit: usize) -> Result<Blanked, Failure> {
    let sql = look!(
        "m.body <> ''",
        "gone AS (UPDATE message m SET body = '' FROM free WHERE m.seq = free.seq RETURNING m.seq)"
    );
    let step = step(link, sql, before, after, limit as u64).await?;
    let next = if step.gone == limit as u64 {
        step.last_gone
    } else {
        step.last
    };
    Ok(Blanked {
        bodies: step.gone,
        next,
    })
}
