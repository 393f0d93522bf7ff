//! Messages read lately, and where the others are read from.
//!
//! Handlers keep about the same pace, and each reads its own deliveries. SQLite empties a reader's page cache with every
//! commit, so without this each handler would fetch, copy and decode every message anew.

use std::sync::Arc;

use rusqlite::{CachedStatement, Connection};

use super::row::{self, Accounts};
use crate::clock::UnixMillis;
use crate::store::{Letter, Seq, recent};

/// What a reader remembers: messages, and the accounts they came from.
#[derive(Default, Debug)]
pub(super) struct Recent {
    messages: recent::Recent,
    accounts: Accounts,
}

/// Fetches messages, from memory or from the file.
pub(super) struct Letters<'a> {
    recent: &'a mut Recent,
    conn: &'a Connection,
    find: CachedStatement<'a>,
}

impl Recent {
    pub(super) fn letters<'a>(&'a mut self, conn: &'a Connection) -> rusqlite::Result<Letters<'a>> {
        let find = conn.prepare_cached("SELECT account_id, msgid, recv_ms, body FROM message WHERE seq = ?1")?;
        Ok(Letters {
            recent: self,
            conn,
            find,
        })
    }
}

impl Letters<'_> {
    pub(super) fn get(&mut self, seq: Seq) -> rusqlite::Result<Arc<Letter>> {
        let Recent { messages, accounts } = &mut *self.recent;
        let (conn, find) = (self.conn, &mut self.find);
        if let Some(letter) = messages.find(seq) {
            return Ok(letter);
        }
        let letter = find.query_row([seq.0], |row| {
            Ok(Letter::new(
                accounts.get(conn, row.get(0)?)?,
                row::msgid(row, 1)?,
                UnixMillis(row.get(2)?),
                row::body(row, 3)?.into(),
            ))
        })?;
        Ok(messages.keep(seq, letter))
    }
}
