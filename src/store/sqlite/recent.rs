//! Messages that came in or were read lately, and where the others are read from.
//!
//! Handlers keep about the same pace, and each reads its own deliveries. SQLite empties a reader's page cache with every
//! commit, so without this each handler would fetch, copy and decode every message anew.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use super::row::{self, Accounts};
use crate::clock::UnixMillis;
use crate::store::{Letter, Seq, recent};

/// What is remembered: messages, and the accounts they came from. Locked for moments only: writing does not wait for a
/// read.
#[derive(Default, Debug)]
pub(super) struct Recent {
    messages: Mutex<recent::Recent>,
    accounts: Mutex<Accounts>,
}

impl Recent {
    pub(super) fn messages(&self) -> MutexGuard<'_, recent::Recent> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The messages numbered `seqs`, in their order, from memory or from the file.
    pub(super) fn letters(&self, conn: &Connection, seqs: &[Seq]) -> rusqlite::Result<Vec<Arc<Letter>>> {
        let found: Vec<_> = {
            let messages = self.messages();
            seqs.iter().map(|seq| messages.find(*seq)).collect()
        };
        let known_or_read = seqs.iter().zip(found).map(|(seq, known)| match known {
            Some(letter) => Ok(letter),
            None => self.read(conn, *seq).map(|letter| self.messages().keep(*seq, letter)),
        });
        known_or_read.collect()
    }

    fn read(&self, conn: &Connection, seq: Seq) -> rusqlite::Result<Letter> {
        conn.prepare_cached("SELECT account_id, msgid, recv_ms, body FROM message WHERE seq = ?1")?
            .query_row([seq.0], |row| {
                let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(Letter::new(
                    accounts.get(conn, row.get(0)?)?,
                    row::msgid(row, 1)?,
                    UnixMillis(row.get(2)?),
                    row::body(row, 3)?.into(),
                ))
            })
    }
}
