//! Forgetting: bodies and messages that are old and owed to nobody, and the room they took.

use rusqlite::Connection;

use crate::clock::UnixMillis;
use crate::store::{Blanked, Seq};

/// Pages given back in one step at most: 2 MiB, a few milliseconds.
const PAGES_A_STEP: i64 = 256;

/// After this many messages in a row that are too young, all that follow are. More than one, because the clock may have
/// been ahead for a while.
const ENOUGH_YOUNG: usize = 10_000;

/// Messages looked at in one step of blanking at most: some ten milliseconds.
const LOOKED_AT: usize = 20_000;

/// Whether the message `m` is kept. Per handler, so that each look is one step down a primary key.
macro_rules! kept {
    () => {
        "EXISTS (
             SELECT 1 FROM handler h
             CROSS JOIN dead ON dead.handler_id = h.handler_id AND dead.seq = m.seq
         ) OR EXISTS (
             SELECT 1 FROM handler h
             CROSS JOIN delivery d ON d.handler_id = h.handler_id AND d.seq = m.seq
         )"
    };
}

/// Finds up to `limit` messages that [`delete`] may take. May have to look at many that are kept, so it is a read.
///
/// Goes by sequence number, which is the order of arrival, instead of an index on the time that every insert would
/// have to pay for.
pub(super) fn candidates(conn: &Connection, before: UnixMillis, limit: usize) -> rusqlite::Result<Vec<Seq>> {
    let mut messages = conn.prepare_cached(concat!(
        "SELECT seq, recv_ms < ?1, recv_ms < ?1 AND NOT (",
        kept!(),
        ") FROM message m ORDER BY seq"
    ))?;
    let mut rows = messages.query([before.0])?;
    let mut found = Vec::new();
    let mut young_in_a_row = 0;
    while found.len() < limit
        && young_in_a_row < ENOUGH_YOUNG
        && let Some(row) = rows.next()?
    {
        let (old, free): (bool, bool) = (row.get(1)?, row.get(2)?);
        young_in_a_row = if old { 0 } else { young_in_a_row + 1 };
        if free {
            found.push(Seq(row.get(0)?));
        }
    }
    Ok(found)
}

/// Deletes those of `seqs` that are still owed to nobody.
pub(super) fn delete(conn: &Connection, seqs: &[Seq]) -> rusqlite::Result<u64> {
    let mut delete = conn.prepare_cached(concat!(
        "DELETE FROM message AS m WHERE seq = ?1 AND NOT (",
        kept!(),
        ")"
    ))?;
    let mut forget = conn.prepare_cached("DELETE FROM quarantine WHERE seq = ?1")?;
    let mut deleted = 0;
    for seq in seqs {
        if delete.execute([seq.0])? == 1 {
            forget.execute([seq.0])?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

/// Bytes of the file that hold nothing, and are filled before it grows.
pub(super) fn unused_bytes(conn: &Connection) -> rusqlite::Result<u64> {
    let number = |pragma: &str| conn.query_row(pragma, [], |row| row.get::<_, i64>(0));
    Ok((number("PRAGMA freelist_count")? * number("PRAGMA page_size")?).unsigned_abs())
}

/// Messages behind `after` that [`blank`] may take the bodies of, and how far that is: `None` when all that follow are
/// too young.
pub(super) fn with_body(
    conn: &Connection,
    before: UnixMillis,
    after: Seq,
    limit: usize,
) -> rusqlite::Result<(Vec<Seq>, Option<Seq>)> {
    let mut messages = conn.prepare_cached(concat!(
        "SELECT seq, recv_ms < ?1, recv_ms < ?1 AND octet_length(body) > 0 AND NOT (",
        kept!(),
        ") FROM message m WHERE seq > ?2 ORDER BY seq"
    ))?;
    let mut rows = messages.query([before.0, after.0])?;
    let (mut found, mut looked_at, mut young_in_a_row) = (Vec::new(), 0, 0);
    while young_in_a_row < ENOUGH_YOUNG
        && let Some(row) = rows.next()?
    {
        let (seq, old, free) = (Seq(row.get(0)?), row.get::<_, bool>(1)?, row.get::<_, bool>(2)?);
        young_in_a_row = if old { 0 } else { young_in_a_row + 1 };
        if free {
            found.push(seq);
        }
        looked_at += 1;
        if found.len() == limit || looked_at == LOOKED_AT {
            return Ok((found, Some(seq)));
        }
    }
    Ok((found, None))
}

/// Takes the bodies of those of `seqs` that are still owed to nobody, and what contradicted them. The rows stay, so that
/// the messages are known when they come again.
pub(super) fn blank(conn: &Connection, seqs: &[Seq], next: Option<Seq>) -> rusqlite::Result<Blanked> {
    let mut blank = conn.prepare_cached(concat!(
        "UPDATE message AS m SET body = '' WHERE seq = ?1 AND NOT (",
        kept!(),
        ")"
    ))?;
    let mut forget = conn.prepare_cached("DELETE FROM quarantine WHERE seq = ?1")?;
    let mut bodies = 0;
    for seq in seqs {
        if blank.execute([seq.0])? == 1 {
            forget.execute([seq.0])?;
            bodies += 1;
        }
    }
    Ok(Blanked { bodies, next })
}

/// Gives pages back to the file system while more than a quarter of the file is unused; the rest will be needed again.
pub(super) fn give_back(conn: &Connection) -> rusqlite::Result<()> {
    let pages = |pragma: &str| conn.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let surplus = pages("PRAGMA freelist_count")? - pages("PRAGMA page_count")? / 4;
    if surplus > 0 {
        let step = surplus.min(PAGES_A_STEP);
        // Frees one page a row, so that every row has to be asked for.
        let mut vacuum = conn.prepare(&format!("PRAGMA incremental_vacuum({step})"))?;
        let mut freed = vacuum.query([])?;
        while freed.next()?.is_some() {}
    }
    Ok(())
}
