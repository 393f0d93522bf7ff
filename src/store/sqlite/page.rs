//! One page: the cursor, the messages and their deliveries move together.

use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::account;
use super::recent::Recent;
use crate::store::{Claim, Commit, Intake, Letter, NewMessage, Page, PageEnds, Seq, ShardSet, Stored};

/// Commits `page` unless its claim is out of date. The cursor goes first: where that is refused, nothing has happened.
/// What is owed to anybody is `recent` from now on.
pub(super) fn commit(conn: &Connection, page: &Page, news: &mut ShardSet, recent: &Recent) -> rusqlite::Result<Commit> {
    let Some(claim) = move_cursor(conn, page)? else {
        return Ok(Commit::Superseded);
    };
    let mut pass = Pass::begin(conn, page)?;
    let messages = page
        .messages
        .iter()
        .map(|message| pass.take_in(message, news))
        .collect::<rusqlite::Result<_>>()?;
    let (owed, account) = (pass.end()?, Arc::new(page.claim.account.clone()));
    let mut known = recent.messages();
    for (seq, message) in owed {
        known.renew(seq, Letter::of(message, &account, page.received));
    }
    Ok(Commit::Stored(Stored { claim, messages }))
}

/// Moves the account on and returns the claim for the next page.
fn move_cursor(conn: &Connection, page: &Page) -> rusqlite::Result<Option<Claim>> {
    let answers = match page.ends {
        PageEnds::More => None,
        PageEnds::Pull { answers } => Some(answers.cast_signed()),
    };
    // The token has served its purpose once the latest wake-up is answered.
    conn.prepare_cached(
        "UPDATE account SET
             cursor = coalesce(?4, cursor),
             pulled_ms = iif(?5 IS NULL, pulled_ms, ?6),
             answered = max(answered, min(coalesce(?5, 0), wake_number)),
             wake_token = iif(?5 >= wake_number, NULL, wake_token)
         WHERE account_id = ?1 AND fence = ?2 AND cursor IS ?3
         RETURNING cursor, first_pull_ms, pulled_ms IS NULL",
    )?
    .query_row(
        params![
            page.claim.account_id,
            page.claim.fence,
            page.claim.cursor,
            page.next_cursor,
            answers,
            page.received.0,
        ],
        |row| account::renewed(&page.claim, row),
    )
    .optional()
}

/// One pass over the messages of a page.
struct Pass<'a> {
    conn: &'a Connection,
    page: &'a Page,
    store: CachedStatement<'a>,
    owe: CachedStatement<'a>,
    /// Newest sequence number given; written back once a page, which is cheaper than AUTOINCREMENT's once a row.
    last_seq: i64,
    /// New, and owed to somebody.
    owed: Vec<(Seq, &'a NewMessage)>,
}

impl<'a> Pass<'a> {
    fn begin(conn: &'a Connection, page: &'a Page) -> rusqlite::Result<Self> {
        Ok(Self {
            conn,
            page,
            store: conn.prepare_cached(
                "INSERT INTO message (seq, account_id, send_time, msgid, lane, urgent, kind, recv_ms, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                 ON CONFLICT (account_id, send_time, msgid) DO NOTHING",
            )?,
            owe: conn.prepare_cached(
                "INSERT INTO delivery (handler_id, seq, lane, urgent) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (handler_id, seq) DO NOTHING",
            )?,
            last_seq: conn
                .prepare_cached("SELECT last_seq FROM meta")?
                .query_row([], |row| row.get(0))?,
            owed: Vec::with_capacity(page.messages.len()),
        })
    }

    /// Returns what is new and owed to somebody.
    fn end(self) -> rusqlite::Result<Vec<(Seq, &'a NewMessage)>> {
        self.conn
            .prepare_cached("UPDATE meta SET last_seq = ?1")?
            .execute([self.last_seq])?;
        Ok(self.owed)
    }

    fn take_in(&mut self, message: &'a NewMessage, news: &mut ShardSet) -> rusqlite::Result<Intake> {
        let seq = self.last_seq + 1;
        let stored = self.store.execute(params![
            seq,
            self.page.claim.account_id,
            message.send_time.cast_signed(),
            message.msgid.as_str(),
            message.lane.to_row(),
            message.urgent,
            message.kind,
            self.page.received.0,
            message.body.get(),
        ])?;
        if stored == 0 {
            return self.compare(message);
        }
        self.last_seq = seq;
        for handler in &message.owed_to {
            self.owe
                .execute(params![handler.0, seq, message.lane.to_row(), message.urgent])?;
        }
        if !message.owed_to.is_empty() {
            news.insert(message.lane.shard());
            self.owed.push((Seq(seq), message));
        }
        Ok(Intake::New)
    }

    /// Sorts a message that is already stored by whether it still says the same. One without its body is not compared.
    fn compare(&self, message: &NewMessage) -> rusqlite::Result<Intake> {
        let (seq, same): (i64, bool) = self
            .conn
            .prepare_cached(
                "SELECT seq, body IN (?4, '') FROM message WHERE account_id = ?1 AND send_time = ?2 AND msgid = ?3",
            )?
            .query_row(
                params![
                    self.page.claim.account_id,
                    message.send_time.cast_signed(),
                    message.msgid.as_str(),
                    message.body.get(),
                ],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
        if same {
            return Ok(Intake::Repeated);
        }
        self.conn
            .prepare_cached(
                "INSERT INTO quarantine (seq, body, recv_ms) VALUES (?1, ?2, ?3) ON CONFLICT (seq, body) DO NOTHING",
            )?
            .execute(params![seq, message.body.get(), self.page.received.0])?;
        Ok(Intake::Conflicting)
    }
}
