//! Writing: one thread owns the only connection that writes.
//!
//! Commands that wait together are committed together, so that one flush of the disk pays for all of them; nobody
//! waits for company. A command is answered after the commit that made it durable. A command that fails takes nobody
//! with it: its group is rolled back, and each command gets a transaction of its own.
//!
//! Into a file that is [damaged](super::damage) nothing is written: every command is refused without being tried.

use std::sync::Arc;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::damage::Damage;
use super::failure::Failure;
use super::wal::{Reading, Wal};
use super::worker::Worker;
use crate::metric;
use crate::store::{Bell, ShardSet, StoreError};

/// How many commands may wait.
const QUEUE: usize = 1024;
/// How many commands are committed together at most.
const GROUP_COMMANDS: usize = 512;
/// A group that writes this many rows takes in no further command, so that the first need not wait long.
const GROUP_ROWS: usize = 2000;

/// Hands commands to the thread that writes.
#[derive(Debug)]
pub(super) struct Writer(Worker<Box<dyn Command>>);

impl Writer {
    /// Starts the thread, which writes through `conn` and rings `bell` for the shards of what it committed.
    /// `reading` is held by those who read beside it.
    pub(super) fn start(conn: Connection, bell: Arc<Bell>, damage: Damage, reading: Reading) -> std::io::Result<Self> {
        let work = move |commands| {
            let wal = Wal::new(&conn, reading);
            serve(&conn, commands, &bell, &damage, wal);
        };
        Worker::start("kf-store-write", QUEUE, work).map(Self)
    }

    /// Runs `work`, which writes about `rows` rows, and returns its result once it is durable.
    ///
    /// `work` adds shards that get new work to the set it is given. It may run twice; what it did the first time is
    /// then undone.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        rows: usize,
        work: impl FnMut(&Connection, &mut ShardSet) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let command = Pledge {
            rows,
            work,
            outcome: None,
            reply,
        };
        self.0.hand(Box::new(command)).await?;
        Ok(answer.await.map_err(|_| StoreError::Closed)??)
    }
}

/// A piece of work, and somebody who waits for its result.
trait Command: Send {
    fn rows(&self) -> usize;
    fn run(&mut self, conn: &Connection, news: &mut ShardSet) -> rusqlite::Result<()>;
    fn answer(self: Box<Self>, committed: Result<(), Failure>);
}

struct Pledge<W, T> {
    rows: usize,
    work: W,
    /// What the last run returned; not true before the commit.
    outcome: Option<T>,
    reply: oneshot::Sender<Result<T, Failure>>,
}

impl<W, T> Command for Pledge<W, T>
where
    W: FnMut(&Connection, &mut ShardSet) -> rusqlite::Result<T> + Send,
    T: Send,
{
    fn rows(&self) -> usize {
        self.rows
    }

    fn run(&mut self, conn: &Connection, news: &mut ShardSet) -> rusqlite::Result<()> {
        self.outcome = Some((self.work)(conn, news)?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), Failure>) {
        // Nobody waits any more: the caller gave up, the work is done all the same.
        let _ = match (committed, self.outcome) {
            (Ok(()), Some(outcome)) => self.reply.send(Ok(outcome)),
            (Err(failure), _) => self.reply.send(Err(failure)),
            (Ok(()), None) => return,
        };
    }
}

fn serve(
    conn: &Connection,
    mut commands: mpsc::Receiver<Box<dyn Command>>,
    bell: &Bell,
    damage: &Damage,
    mut wal: Wal,
) {
    while let Some(first) = commands.blocking_recv() {
        let mut rows = first.rows();
        let mut group = vec![first];
        while rows < GROUP_ROWS
            && group.len() < GROUP_COMMANDS
            && let Ok(next) = commands.try_recv()
        {
            rows += next.rows();
            group.push(next);
        }
        match damage.forbids(conn) {
            None => {
                settle(conn, group, bell, damage);
                wal.keep_short(conn);
            }
            Some(failure) => refuse(group, &failure),
        }
    }
    // Closing the last connection to the file moves the WAL into it, unless the file is damaged.
    if damage.is_known() {
        let _ = conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }
}

fn refuse(group: Vec<Box<dyn Command>>, failure: &Failure) {
    for command in group {
        command.answer(Err(failure.clone()));
    }
}

/// Carries out `group` and answers everybody in it.
fn settle(conn: &Connection, mut group: Vec<Box<dyn Command>>, bell: &Bell, damage: &Damage) {
    match commit(conn, &mut group) {
        Ok(news) => {
            bell.ring(news);
            group.into_iter().for_each(|command| command.answer(Ok(())));
        }
        Err(Undone::Command(failure)) if group.len() > 1 && !failure.is_damage() => {
            for command in group {
                settle(conn, vec![command], bell, damage);
            }
        }
        Err(Undone::Command(failure) | Undone::Transaction(failure)) => {
            damage.note(&failure);
            refuse(group, &failure);
        }
    }
}

/// Why a group changed nothing.
enum Undone {
    /// One command failed.
    Command(Failure),
    /// The transaction did not begin or did not commit.
    Transaction(Failure),
}

fn commit(conn: &Connection, group: &mut [Box<dyn Command>]) -> Result<ShardSet, Undone> {
    let (began, rows) = (
        Instant::now(),
        group.iter().map(|command| command.rows()).sum::<usize>(),
    );
    let not_committed = |error| Undone::Transaction(Failure::from(error));
    let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate).map_err(not_committed)?;
    let mut news = ShardSet::default();
    for command in group {
        command
            .run(&transaction, &mut news)
            .map_err(|error| Undone::Command(error.into()))?;
    }
    transaction.commit().map_err(not_committed)?;
    metrics::histogram!(metric::STORE_COMMIT_SECONDS).record(began.elapsed());
    metrics::histogram!(metric::STORE_COMMIT_ROWS).record(rows as f64);
    Ok(news)
}
