//! What SQLite says when it fails, told in the store's terms.

use std::sync::Arc;

use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;

use crate::store::StoreError;

/// Why SQLite did not do as asked. Cheap to clone: one failed commit fails every command in it.
#[derive(Clone, Debug)]
pub(super) struct Failure(Arc<rusqlite::Error>);

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self(Arc::new(error))
    }
}

impl From<Failure> for StoreError {
    fn from(Failure(error): Failure) -> Self {
        if is_full(&error) {
            Self::Full(Box::new(error))
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
