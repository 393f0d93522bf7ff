//! Messages read lately, kept for the other handlers that are owed them.
//!
//! Handlers keep about the same pace, and each reads its own deliveries. SQLite empties a reader's page cache with every
//! commit, so without this each handler would fetch, copy and decode every message anew.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection};

use super::row::{self, Accounts};
use crate::clock::UnixMillis;
use crate::store::{Letter, Seq};

/// Bytes of bodies that are kept. Decoded, a message takes about as much again.
const MOST_BYTES: usize = 4 << 20;

/// The last messages that were read. A stored message does not change while it is owed to anybody, and no sequence
/// number is given twice, so what is here is true.
#[derive(Default, Debug)]
pub(super) struct Recent {
    letters: HashMap<Seq, Arc<Letter>>,
    /// Oldest first.
    order: VecDeque<Seq>,
    bytes: usize,
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

    fn keep(&mut self, seq: Seq, letter: &Arc<Letter>) {
        self.bytes += letter.body.get().len();
        self.letters.insert(seq, Arc::clone(letter));
        self.order.push_back(seq);
        while self.bytes > MOST_BYTES
            && let Some(oldest) = self.order.pop_front()
            && let Some(gone) = self.letters.remove(&oldest)
        {
            self.bytes -= gone.body.get().len();
        }
    }
}

impl Letters<'_> {
    pub(super) fn get(&mut self, seq: Seq) -> rusqlite::Result<Arc<Letter>> {
        if let Some(letter) = self.recent.letters.get(&seq) {
            return Ok(Arc::clone(letter));
        }
        let accounts = &mut self.recent.accounts;
        let letter = self.find.query_row([seq.0], |row| {
            Ok(Letter::new(
                accounts.get(self.conn, row.get(0)?)?,
                row::msgid(row, 1)?,
                UnixMillis(row.get(2)?),
                row::body(row, 3)?.into(),
            ))
        })?;
        let letter = Arc::new(letter);
        self.recent.keep(seq, &letter);
        Ok(letter)
    }
}
