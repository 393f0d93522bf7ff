//! The file on disk: made so that only its owner reads it, and served by one process at a time.
//!
//! SQLite gives the `-wal` and `-shm` files beside a database the mode of the database itself.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::failure::is_full;

/// How long a server waits for its turn to write. Only an operator's command can be in its way.
pub(super) const SERVER_PATIENCE: Duration = Duration::from_secs(5);
/// How long an operator's command waits for its turn: a busy server leaves few gaps.
pub(super) const OPERATOR_PATIENCE: Duration = Duration::from_secs(30);

/// Statements each connection keeps prepared: more than there are.
const STATEMENTS: usize = 64;

/// Why the file cannot be used, and what to do about it: one line for the operator.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum Problem {
    #[error("there is no such file: correct the path, or start the server, which creates it")]
    Missing,
    #[error("is a directory: name a file in it")]
    Directory,
    #[error("cannot create or write {}: {cause}; name a path that this user may write to", path.display())]
    Unwritable { path: PathBuf, cause: io::Error },
    #[error("another process serves from it: stop that one, or give this one a file of its own")]
    Taken,
    #[error("is not an SQLite database: name another file, or move this one away to begin with an empty store")]
    NotADatabase,
    #[error("is the database of another program: name another file")]
    Foreign,
    #[error(
        "has schema version {found}, this build knows {known}: run the newer version, or restore a backup made before it"
    )]
    Newer { found: i64, known: i64 },
    #[error("has schema version {found}, this build needs {known}: start the server once, which brings it up to date")]
    Older { found: i64, known: i64 },
    #[error("orders customers by {0}, which this build does not know: run the version that wrote it")]
    OtherLanes(String),
    #[error("its file system has no shared memory for SQLite: name a path on a local disk")]
    NoWal,
    #[error("no space left on its disk: make some")]
    Full,
    #[error("is damaged: restore a backup, or move it away to begin with an empty store ({0})")]
    Damaged(rusqlite::Error),
    #[error("cannot be opened: {0}")]
    Sqlite(rusqlite::Error),
    #[error("cannot start a thread: {0}; raise the limit on processes")]
    Thread(io::Error),
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::NotADatabase,
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged(error),
            _ if is_full(&error) => Self::Full,
            _ => Self::Sqlite(error),
        }
    }
}

/// Makes sure that there is a file at `path`, and returns its one true name: two ways to write a path must not end in
/// two locks.
pub(super) fn create(path: &Path) -> Result<PathBuf, Problem> {
    if let Some(parent) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .map_err(|cause| unwritable(parent, cause))?;
    }
    private_file(path)?;
    let path = fs::canonicalize(path).map_err(|cause| unwritable(path, cause))?;
    // A new file survives a power cut when its folder knows of it, whatever was flushed into it.
    if let Some(parent) = path.parent() {
        let synced = File::open(parent).and_then(|folder| folder.sync_all());
        synced.map_err(|cause| unwritable(parent, cause))?;
    }
    Ok(path)
}

/// Finds the file at `path`, which must be there.
pub(super) fn find(path: &Path) -> Result<PathBuf, Problem> {
    let path = fs::canonicalize(path).map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound => Problem::Missing,
        _ => unwritable(path, cause),
    })?;
    if path.is_dir() {
        Err(Problem::Directory)
    } else {
        Ok(path)
    }
}

/// Keeps other processes from serving from a database while it lives.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing it would not do: a child that this process is just starting has a copy, until it is another program.
        let _ = self.0.unlock();
    }
}

/// Takes the lock of the database at `path`.
pub(super) fn lock(path: &Path) -> Result<Lock, Problem> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let lock = private_file(&path)?;
    match lock.try_lock() {
        Ok(()) => Ok(Lock(lock)),
        Err(TryLockError::WouldBlock) => Err(Problem::Taken),
        Err(TryLockError::Error(cause)) => Err(unwritable(&path, cause)),
    }
}

fn private_file(path: &Path) -> Result<File, Problem> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|cause| unwritable(path, cause))
}

fn unwritable(path: &Path, cause: io::Error) -> Problem {
    match cause.kind() {
        io::ErrorKind::IsADirectory => Problem::Directory,
        _ => Problem::Unwritable {
            path: path.to_owned(),
            cause,
        },
    }
}

/// Opens the connection that writes.
pub(super) fn connect_to_write(path: &Path, patience: Duration) -> rusqlite::Result<Connection> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, patience)
}

/// Opens a connection that cannot write.
pub(super) fn connect_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, SERVER_PATIENCE)?;
    // Enough for the messages that one look into every shard comes across: 8 MiB.
    conn.pragma_update(None, "cache_size", -8192)?;
    Ok(conn)
}

fn connect(path: &Path, access: OpenFlags, patience: Duration) -> rusqlite::Result<Connection> {
    // Each connection lives on one thread.
    let conn = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(patience)?;
    // Else SQLite plans a statement anew for each value that its LIMIT is bound to, which costs more than most reads.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(conn)
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi::{self, SQLITE_BUSY, SQLITE_FULL};
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_lock_ends_although_a_child_has_a_copy_of_its_file() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("wecom-kf.db");
        let held = lock(&path).unwrap();
        let _copy = held.0.try_clone().unwrap();
        assert!(matches!(lock(&path), Err(Problem::Taken)));
        drop(held);
        lock(&path).unwrap();
    }

    #[test]
    fn who_cannot_open_a_file_is_told_of_a_full_disk_only_if_it_is_full() {
        let problem = |code| Problem::from(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        assert!(matches!(problem(SQLITE_FULL), Problem::Full));
        assert!(matches!(problem(SQLITE_BUSY), Problem::Sqlite(_)));
    }
}
