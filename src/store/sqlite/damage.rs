//! A file that cannot be read back is not written any more, lest it get worse.
//!
//! SQLite calls a file corrupt also when its disk could not read it, and that may pass. So the file is checked from end to
//! end now and then, and written again once it turns out to be whole.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::time::Instant;

use super::failure::Failure;
use crate::backoff::Backoff;

/// Waits between two checks, which take long if the file is large.
const CHECKS: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300));

/// Remembers that the file seems damaged, for everybody who works on it.
#[derive(Clone, Debug, Default)]
pub(super) struct Damage(Arc<Mutex<Option<Found>>>);

#[derive(Debug)]
struct Found {
    failure: Failure,
    /// How often it has been confirmed.
    confirmed: u32,
    /// When it is looked at again.
    check_at: Instant,
}

impl Damage {
    /// Remembers `failure` if it tells of damage.
    pub(super) fn note(&self, failure: &Failure) {
        let mut found = self.found();
        if failure.is_damage() && found.is_none() {
            let error = failure.cause();
            tracing::error!(
                error,
                "the store is damaged, or its disk: nothing is written into it any more"
            );
            *found = Some(Found::new(failure.clone(), 0));
        }
    }

    /// Whether the file seems damaged, as far as is known.
    pub(super) fn is_known(&self) -> bool {
        self.found().is_some()
    }

    /// Why nothing is to be written through `conn`, if so.
    pub(super) fn forbids(&self, conn: &Connection) -> Option<Failure> {
        let (failure, confirmed) = match &*self.found() {
            None => return None,
            Some(found) if Instant::now() < found.check_at => return Some(found.failure.clone()),
            Some(found) => (found.failure.clone(), found.confirmed),
        };
        let whole = is_whole(conn);
        let mut found = self.found();
        if whole {
            tracing::info!("the store was checked and is whole: it is written into again");
            *found = None;
            return None;
        }
        *found = Some(Found::new(failure.clone(), confirmed.saturating_add(1)));
        Some(failure)
    }

    fn found(&self) -> MutexGuard<'_, Option<Found>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Found {
    fn new(failure: Failure, confirmed: u32) -> Self {
        let wait = CHECKS.wait(confirmed + 1, &mut rand::rng());
        Self {
            failure,
            confirmed,
            check_at: Instant::now() + wait,
        }
    }
}

fn is_whole(conn: &Connection) -> bool {
    let checked = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
    checked.is_ok_and(|finding| finding == "ok")
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt as _;

    use rusqlite::ffi;
    use tempfile::TempDir;
    use tokio::time::advance;

    use super::*;

    fn failure(code: i32) -> Failure {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None).into()
    }

    /// A file with a hole in the middle.
    fn damaged(folder: &TempDir) -> Connection {
        let path = folder.path().join("kf.db");
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch("CREATE TABLE t (x); INSERT INTO t SELECT zeroblob(100000)")
            .unwrap();
        conn.close().unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(&[0xff; 8192], 8192).unwrap();
        Connection::open(path).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn only_damage_forbids_to_write_and_only_until_the_file_is_found_whole() {
        let (damage, whole) = (Damage::default(), Connection::open_in_memory().unwrap());
        damage.note(&failure(ffi::SQLITE_FULL));
        assert!(!damage.is_known() && damage.forbids(&whole).is_none());
        damage.note(&failure(ffi::SQLITE_CORRUPT));
        assert!(damage.is_known());
        assert!(damage.forbids(&whole).is_some(), "before it was checked");
        advance(CHECKS.bound(1)).await;
        assert!(damage.forbids(&whole).is_none());
        assert!(!damage.is_known());
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_still_damaged_is_checked_again_after_a_longer_while() {
        let (folder, damage) = (TempDir::new().unwrap(), Damage::default());
        let (damaged, whole) = (damaged(&folder), Connection::open_in_memory().unwrap());
        damage.note(&failure(ffi::SQLITE_CORRUPT));
        for confirmed in 1..=9 {
            advance(CHECKS.bound(confirmed)).await;
            assert!(damage.forbids(&damaged).is_some());
        }
        // Were the waits no longer than at first, it would be checked by now.
        advance(CHECKS.bound(1)).await;
        assert!(damage.forbids(&whole).is_some(), "not checked yet");
        advance(CHECKS.bound(10)).await;
        assert!(damage.forbids(&whole).is_none());
    }
}
