//! Messages that came in or were read lately, and where the others are read from.
//!
//! Handlers keep about the same pace, and each reads its own deliveries. SQLite empties a reader's page cache with every
//! commit, so without this each handler would fetch, copy and decode every message anew.

use std::cmp::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use super::row::{self, Accounts};
use crate::clock::UnixMillis;
use crate::store::{HandlerId, Letter, Seq, recent};

/// So many messages in a row that nobody asked for cost more than to look for the next one anew.
const WORTH_A_LEAP: u32 = 8;

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

    /// The messages numbered `seqs`, which ascend, in their order, from memory or, by `reader`, from the file.
    pub(super) fn letters(
        &self,
        conn: &Connection,
        reader: HandlerId,
        seqs: &[Seq],
    ) -> rusqlite::Result<Vec<Arc<Letter>>> {
        let known: Vec<_> = {
            let messages = self.messages();
            seqs.iter().map(|seq| messages.find(*seq)).collect()
        };
        let missing = seqs.iter().zip(&known).filter(|(_, known)| known.is_none());
        let missing: Vec<_> = missing.map(|(seq, _)| *seq).collect();
        let mut read = self.read(conn, &missing)?.into_iter();
        let mut messages = self.messages();
        let known_or_read = seqs.iter().zip(known).map(|(seq, known)| match known {
            Some(letter) => Some(letter),
            None => read.next().map(|letter| messages.keep(*seq, letter, reader)),
        });
        // Unwrap safety: each that is not known was read.
        Ok(known_or_read.map(|letter| letter.expect("a message")).collect())
    }

    /// Reads the messages numbered `seqs`, which ascend, in one pass as far as they lie together.
    ///
    /// # Errors
    ///
    /// Also if one is not there.
    fn read(&self, conn: &Connection, seqs: &[Seq]) -> rusqlite::Result<Vec<Letter>> {
        let mut from = conn
            .prepare_cached("SELECT seq, account_id, msgid, recv_ms, body FROM message WHERE seq >= ?1 ORDER BY seq")?;
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wanted = seqs.iter().copied().peekable();
        let mut letters = Vec::with_capacity(seqs.len());
        while let Some(begin) = wanted.peek().copied() {
            let mut rows = from.query([begin.0])?;
            let mut passed_over = 0;
            while let Some(next) = wanted.peek().copied()
                && passed_over < WORTH_A_LEAP
            {
                let row = rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
                match Seq(row.get(0)?).cmp(&next) {
                    Ordering::Less => passed_over += 1,
                    Ordering::Greater => return Err(rusqlite::Error::QueryReturnedNoRows),
                    Ordering::Equal => {
                        letters.push(Letter::new(
                            accounts.get(conn, row.get(1)?)?,
                            row::msgid(row, 2)?,
                            UnixMillis(row.get(3)?),
                            row::body(row, 4)?.into(),
                        ));
                        wanted.next();
                        passed_over = 0;
                    }
                }
            }
        }
        Ok(letters)
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::super::schema;
    use super::*;

    /// A file with messages numbered up to `last`, but for those between 20 and 40.
    fn file(last: i64) -> (TempDir, Connection) {
        let dir = TempDir::new().unwrap();
        let conn = Connection::open(dir.path().join("kf.db")).unwrap();
        assert!(schema::bring_up_to_date(&conn).is_ok());
        conn.execute_batch("INSERT INTO account (account_id, app, open_kfid, fence) VALUES (1, 'main', 'wk1', 1)")
            .unwrap();
        for seq in (1..=20).chain(40..=last) {
            conn.execute(
                "INSERT INTO message VALUES (?1, 1, 0, 'm' || ?1, 0, 0, 'text', 0, '{}')",
                [seq],
            )
            .unwrap();
        }
        (dir, conn)
    }

    fn msgids(recent: &Recent, conn: &Connection, seqs: &[i64]) -> rusqlite::Result<Vec<String>> {
        let seqs: Vec<_> = seqs.iter().copied().map(Seq).collect();
        let letters = recent.letters(conn, HandlerId(1), &seqs)?;
        Ok(letters.iter().map(|letter| letter.msgid.to_string()).collect())
    }

    #[test]
    fn messages_that_lie_together_or_far_apart_are_read_in_their_order() {
        let ((_dir, conn), recent) = (file(99), Recent::default());
        assert_eq!(msgids(&recent, &conn, &[7, 8]).unwrap(), ["m7", "m8"]);
        // Known ones, neighbours, a step over some that nobody asks for, a leap, and the last.
        let (seqs, expected) = (
            [2, 7, 8, 9, 12, 19, 40, 99],
            ["m2", "m7", "m8", "m9", "m12", "m19", "m40", "m99"],
        );
        assert_eq!(msgids(&recent, &conn, &seqs).unwrap(), expected);
        assert_eq!(msgids(&recent, &conn, &[]).unwrap(), [""; 0]);
    }

    #[test]
    fn a_message_that_is_missing_is_an_error_and_no_other_takes_its_place() {
        let ((_dir, conn), recent) = (file(50), Recent::default());
        for seqs in [&[20, 21, 40][..], &[30], &[50, 51]] {
            let read = msgids(&recent, &conn, seqs);
            assert!(
                matches!(read, Err(rusqlite::Error::QueryReturnedNoRows)),
                "{seqs:?}: {read:?}"
            );
        }
        assert_eq!(msgids(&recent, &conn, &[20, 40]).unwrap(), ["m20", "m40"]);
    }
}
