//! What SQLite says when it fails, told in the store's terms.

use std::error::Error;
use std::sync::Arc;

use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;

use crate::store::StoreError;

/// Why SQLite did not do as asked. Cheap to clone: one failed commit fails every command in it.
#[derive(Clone, Debug)]
pub(super) struct Failure(Arc<rusqlite::Error>);

impl Failure {
    /// What SQLite said.
    pub(super) fn cause(&self) -> &(dyn Error + 'static) {
        &*self.0
    }

    /// Whether what was read is not what was written.
    pub(super) fn is_damage(&self) -> bool {
        let code = self.0.sqlite_error_code();
        matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self(Arc::new(error))
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        let damage = failure.is_damage();
        let Failure(error) = failure;
        if is_full(&error) {
            Self::Full(Box::new(error))
        } else if damage {
            Self::Damaged(Box::new(error))
        } else {
            Self::Backend(Box::new(error))
        }
    }
}

/// Whether `error` means that the disk is full. The index of the WAL has a code of its own for it.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    error
        .sqlite_error()
        .is_some_and(|cause| cause.code == ErrorCode::DiskFull || cause.extended_code == SQLITE_IOERR_SHMSIZE)
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi::{self, SQLITE_BUSY, SQLITE_CORRUPT, SQLITE_FULL, SQLITE_IOERR_READ};

    use super::*;

    #[test]
    fn a_full_disk_and_damage_are_told_from_other_trouble() {
        let told = |code| {
            StoreError::from(Failure::from(rusqlite::Error::SqliteFailure(
                ffi::Error::new(code),
                None,
            )))
        };
        for full in [SQLITE_FULL, SQLITE_IOERR_SHMSIZE] {
            assert!(matches!(told(full), StoreError::Full(_)));
        }
        assert!(matches!(told(SQLITE_CORRUPT), StoreError::Damaged(_)));
        for other in [SQLITE_BUSY, SQLITE_IOERR_READ] {
            assert!(matches!(told(other), StoreError::Backend(_)));
        }
    }
}
