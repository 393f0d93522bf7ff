//! Dead letters: deliveries that were given up, kept until somebody decides.

use tokio_postgres::types::Type;

use super::failure::Failure;
use super::link::{Link, Param};
use super::row::{self, get};
use crate::clock::UnixMillis;
use crate::id::HandlerName;
use crate::store::{DeadLetter, DeadSelect, Seq, Shard, ShardSet};

/// Whether a row of `dead` is meant, by the handler's name `$1` and the sequence number `$2`; NULL means any.
macro_rules! selected {
    () => {
        "($1::text IS NULL OR dead.handler_id = (SELECT handler_id FROM handler WHERE name = $1))
         AND ($2::bigint IS NULL OR dead.seq = $2)"
    };
}

/// The two columns that [`selected!`] goes by.
struct Named<'a>(Option<&'a str>, Option<i64>);

impl<'a> Named<'a> {
    fn by(select: &'a DeadSelect) -> Self {
        let handler = select.handler.as_ref().map(HandlerName::as_str);
        Self(handler, select.seq.map(|seq| seq.0))
    }

    fn params(&self) -> [Param<'_>; 2] {
        [(&self.0, Type::TEXT), (&self.1, Type::INT8)]
    }
}

pub(super) async fn list(link: &Link, select: &DeadSelect, limit: usize) -> Result<Vec<DeadLetter>, Failure> {
    let sql = concat!(
        "SELECT h.name, dead.seq, a.app, a.open_kfid, m.msgid, m.kind, dead.attempts, dead.died_ms, dead.reason, m.body
         FROM dead
         JOIN message m ON m.seq = dead.seq
         JOIN account a ON a.account_id = m.account_id
         JOIN handler h ON h.handler_id = dead.handler_id
         WHERE ",
        selected!(),
        " ORDER BY dead.died_ms, dead.seq LIMIT $3"
    );
    let named = Named::by(select);
    let [handler, seq] = named.params();
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = link.ask(sql, &[handler, seq, (&limit, Type::INT8)]).await?;
    let letter = |row| {
        Ok(DeadLetter {
            handler: row::handler_name(row, 0)?,
            seq: Seq(get(row, 1)?),
            account: row::account(row, 2)?,
            msgid: row::msgid(row, 4)?,
            kind: get(row, 5)?,
            attempts: row::small(row, 6)?,
            at: row::millis(row, 7)?,
            reason: get(row, 8)?,
            body: row::body(row, 9)?,
        })
    };
    rows.iter().map(letter).collect()
}

/// Returns how many there were, and the shards that are owed them.
pub(super) async fn replay(link: &Link, select: &DeadSelect, now: UnixMillis) -> Result<(u64, ShardSet), Failure> {
    // `lane & 63` is the shard of a lane, see `Lane::shard`.
    let sql = concat!(
        "WITH chosen AS (DELETE FROM dead WHERE ",
        selected!(),
        " RETURNING handler_id, seq
         ), owed AS (
             INSERT INTO delivery (shard, handler_id, seq, lane, urgent, due_ms)
             SELECT (m.lane & 63)::smallint, chosen.handler_id, chosen.seq, m.lane, m.urgent, $3
             FROM chosen JOIN message m ON m.seq = chosen.seq
             RETURNING shard
         ), counted AS (
             UPDATE meta SET replays = replays + 1 WHERE EXISTS (SELECT FROM chosen)
         )
         SELECT (SELECT count(*) FROM chosen), ARRAY(SELECT DISTINCT shard FROM owed)"
    );
    let named = Named::by(select);
    let [handler, seq] = named.params();
    let row = link.once(sql, &[handler, seq, (&now.0, Type::INT8)]).await?;
    let shards = get::<Vec<i16>>(&row, 1)?;
    let shards = shards.into_iter().filter_map(|shard| u8::try_from(shard).ok());
    Ok((row::count(&row, 0)?, shards.filter_map(Shard::new).collect()))
}

pub(super) async fn forget(link: &Link, select: &DeadSelect) -> Result<u64, Failure> {
    let sql = concat!(
        "WITH gone AS (DELETE FROM dead WHERE ",
        selected!(),
        " RETURNING 1) SELECT count(*) FROM gone"
    );
    let row = link.once(sql, &Named::by(select).params()).await?;
    row::count(&row, 0)
}

pub(super) async fn replays(link: &Link) -> Result<u64, Failure> {
    row::count(&link.ask_one("SELECT replays FROM meta", &[]).await?, 0)
}
