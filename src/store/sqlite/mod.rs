//! The embedded store: one SQLite file, one process that serves from it.
//!
//! One thread writes and commits in groups ([`writer`]); two read: one what dispatchers wait for, the other what may
//! take long, so that counting a million rows holds nobody up. All see what was committed before they were asked.
//!
//! The file is in WAL mode with `synchronous=FULL`: what was answered survives a power cut. With [`Durability::Relaxed`]
//! it is `NORMAL`, and a power cut takes the last commits. An operator's command may open the file beside the server.
//!
//! A file that turns out to be [damaged](StoreError::Damaged) is not written any more.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use nix::sys::statvfs::statvfs;
use rusqlite::Connection;
use tokio::task::spawn_blocking;

use self::damage::Damage;
use self::file::{Lock, OPERATOR_PATIENCE, Problem, SERVER_PATIENCE};
use self::reader::Reader;
use self::recent::Recent;
use self::wal::Reading;
use self::writer::Writer;
use super::{
    AccountState, Backlog, Bell, Blanked, Claim, Commit, DeadLetter, DeadSelect, Durability, Fence, Finish, HandlerId,
    Lane, News, Page, Pending, Position, Room, SentReply, Seq, Shared, Store, StoreError, WakeUp,
};
use crate::clock::UnixMillis;
use crate::id::{AccountKey, HandlerName, Msgid};

mod account;
mod damage;
mod dead;
mod delivery;
mod departure;
mod failure;
mod file;
mod page;
mod prune;
mod reader;
mod recent;
mod reply;
mod row;
mod schema;
mod wal;
mod worker;
mod writer;

pub(super) use self::departure::Departure;

/// A store in one SQLite file.
///
/// Fields are dropped in order: the writer closes the last connection, and then the file is free for the next process.
#[derive(Debug)]
pub(super) struct SqliteStore {
    /// Answers what somebody waits for.
    reader: Reader,
    /// What it read lately. Only its thread locks this.
    recent: Arc<Recent>,
    /// Answers what may take long.
    counter: Reader,
    writer: Writer,
    /// Also rung by the writer.
    bell: Arc<Bell>,
    path: PathBuf,
    /// Held while serving; an operator's command holds none.
    _lock: Option<Lock>,
}

impl SqliteStore {
    /// Opens the file at `path` to serve from it; creates it and its tables if need be.
    pub(super) fn open(path: &Path, durability: Durability) -> Result<Self, Problem> {
        let path = file::create(path)?;
        let lock = file::lock(&path)?;
        let conn = file::connect_to_write(&path, SERVER_PATIENCE)?;
        schema::bring_up_to_date(&conn)?;
        Self::start(path, conn, durability, Some(lock))
    }

    /// Opens the file at `path` beside a process that may be serving from it.
    pub(super) fn open_operator(path: &Path) -> Result<Self, Problem> {
        let path = file::find(path)?;
        let conn = file::connect_to_write(&path, OPERATOR_PATIENCE)?;
        schema::require_current(&conn)?;
        // What an operator decided is not undone, whatever the server risks.
        Self::start(path, conn, Durability::Full, None)
    }

    fn start(path: PathBuf, conn: Connection, durability: Durability, lock: Option<Lock>) -> Result<Self, Problem> {
        schema::tune(&conn, durability)?;
        let (bell, damage, reading) = (Arc::<Bell>::default(), Damage::default(), Reading::default());
        let read = |name| {
            let conn = file::connect_to_read(&path)?;
            Reader::start(name, conn, damage.clone(), Arc::clone(&reading)).map_err(Problem::Thread)
        };
        let writer = Writer::start(conn, Arc::clone(&bell), damage.clone(), Arc::clone(&reading));
        Ok(Self {
            reader: read("kf-store-read")?,
            recent: Arc::default(),
            counter: read("kf-store-count")?,
            writer: writer.map_err(Problem::Thread)?,
            bell,
            path,
            _lock: lock,
        })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn register_handlers(&self, names: &[HandlerName]) -> Result<Vec<HandlerId>, StoreError> {
        let names = names.to_vec();
        self.writer
            .write(names.len(), move |conn, _| delivery::register_handlers(conn, &names))
            .await
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        self.counter.read(delivery::backlog).await
    }

    async fn accounts(&self) -> Result<Vec<AccountState>, StoreError> {
        self.reader.read(account::all).await
    }

    async fn record_wake_ups(&self, wake_ups: Vec<WakeUp>) -> Result<Vec<u64>, StoreError> {
        self.writer
            .write(wake_ups.len(), move |conn, _| account::record_wake_ups(conn, &wake_ups))
            .await
    }

    async fn claim(&self, account: &AccountKey, _under: Fence, now: UnixMillis) -> Result<Option<Claim>, StoreError> {
        let account = account.clone();
        self.writer
            .write(1, move |conn, _| account::claim(conn, &account, now))
            .await
            .map(Some)
    }

    async fn commit_page(&self, page: Page) -> Result<Commit, StoreError> {
        let recent = Arc::clone(&self.recent);
        self.writer
            .write(1 + page.messages.len(), move |conn, news| {
                page::commit(conn, &page, news, &recent)
            })
            .await
    }

    async fn reset_cursor(&self, claim: Claim) -> Result<Option<Claim>, StoreError> {
        self.writer
            .write(1, move |conn, _| account::reset_cursor(conn, &claim))
            .await
    }

    async fn pending(
        &self,
        handler: HandlerId,
        after: &[Position],
        limit_each: usize,
    ) -> Result<Vec<Pending>, StoreError> {
        let (after, recent) = (after.to_vec(), Arc::clone(&self.recent));
        self.reader
            .read(move |conn| delivery::pending(conn, handler, &after, limit_each, &recent))
            .await
    }

    async fn pending_urgent(
        &self,
        handler: HandlerId,
        after: &[Position],
        limit_each: usize,
    ) -> Result<Vec<Pending>, StoreError> {
        let (after, recent) = (after.to_vec(), Arc::clone(&self.recent));
        self.reader
            .read(move |conn| delivery::pending_urgent(conn, handler, &after, limit_each, &recent))
            .await
    }

    async fn finish(&self, finished: Vec<Finish>) -> Result<u64, StoreError> {
        self.writer
            .write(finished.len(), move |conn, _| delivery::finish(conn, &finished))
            .await?;
        Ok(0)
    }

    async fn forget_owed(&self, handler: &HandlerName, limit: usize) -> Result<u64, StoreError> {
        let handler = handler.clone();
        self.writer
            .write(limit, move |conn, _| delivery::forget_owed(conn, &handler, limit))
            .await
    }

    async fn dead_letters(&self, select: DeadSelect, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        self.counter.read(move |conn| dead::list(conn, &select, limit)).await
    }

    async fn replay_dead(&self, select: DeadSelect, now: UnixMillis) -> Result<u64, StoreError> {
        self.writer
            .write(1, move |conn, news| dead::replay(conn, &select, now, news))
            .await
    }

    async fn drop_dead(&self, select: DeadSelect) -> Result<u64, StoreError> {
        self.writer.write(1, move |conn, _| dead::forget(conn, &select)).await
    }

    async fn replays(&self) -> Result<u64, StoreError> {
        self.reader.read(dead::replays).await
    }

    async fn prune(&self, before: UnixMillis, limit: usize) -> Result<u64, StoreError> {
        let seqs = self
            .counter
            .read(move |conn| prune::candidates(conn, before, limit))
            .await?;
        self.writer
            .write(seqs.len(), move |conn, _| {
                let deleted = prune::delete(conn, &seqs)?;
                prune::give_back(conn)?;
                Ok(deleted)
            })
            .await
    }

    async fn blank(&self, before: UnixMillis, after: Seq, limit: usize) -> Result<Blanked, StoreError> {
        let (seqs, next) = self
            .counter
            .read(move |conn| prune::with_body(conn, before, after, limit))
            .await?;
        self.writer
            .write(seqs.len(), move |conn, _| {
                let blanked = prune::blank(conn, &seqs, next)?;
                prune::give_back(conn)?;
                Ok(blanked)
            })
            .await
    }

    async fn record_reply(&self, reply: SentReply) -> Result<(), StoreError> {
        self.writer.write(1, move |conn, _| reply::record(conn, &reply)).await
    }

    async fn replies_to(&self, lane: Lane, msgid: &Msgid) -> Result<Vec<SentReply>, StoreError> {
        let msgid = msgid.clone();
        self.reader.read(move |conn| reply::to(conn, lane, &msgid)).await
    }

    async fn reply(&self, lane: Lane, msgid: &str) -> Result<Option<SentReply>, StoreError> {
        let msgid = msgid.to_owned();
        self.reader.read(move |conn| reply::find(conn, lane, &msgid)).await
    }

    async fn prune_replies(&self, before: UnixMillis, limit: usize) -> Result<u64, StoreError> {
        self.writer
            .write(limit, move |conn, _| reply::prune(conn, before, limit))
            .await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.writer
            .write(1, |conn, _| {
                // A new value each time: SQLite does not write a row that stays the same.
                conn.prepare_cached("UPDATE meta SET checks = checks + 1")?
                    .execute([])?;
                Ok(())
            })
            .await
    }

    async fn room(&self) -> Result<Option<Room>, StoreError> {
        let unused = self.reader.read(prune::unused_bytes).await?;
        let path = self.path.clone();
        // Of a disk that hangs this hangs too.
        let asked = spawn_blocking(move || statvfs(&path)).await;
        let disk = asked
            .map_err(|_| StoreError::Closed)?
            .map_err(|cause| StoreError::Backend(Box::new(io::Error::from(cause))))?;
        let block = disk.fragment_size();
        let free = disk.blocks_available().saturating_mul(block).saturating_add(unused);
        Ok(Some(Room::new(free, disk.blocks().saturating_mul(block))))
    }

    fn news(&self) -> News {
        self.bell.listen()
    }

    fn shared(&self) -> Option<&dyn Shared> {
        None
    }
}

#[cfg(test)]
mod tests;
