//! A database in memory that several replicas have open at once, and that keeps every rule of [`Store`] and [`Shared`].
//!
//! Each call takes effect at once and whole; what goes wrong on the way there is somebody else's doing. Its clock is
//! tokio's.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use wecom_kf::clock::UnixMillis;
use wecom_kf::id::{AccountKey, HandlerName, Msgid};
use wecom_kf::store::{
    AccountState, Backlog, Bell, Blanked, Census, Claim, Commit, DeadLetter, DeadSelect, Fence, Finish, HandlerId,
    Lane, Lease, News, Page, Pending, Position, Quota, Room, SentReply, Seq, ShardSet, Shared, Store, StoreError,
    Tenure, WakeUp,
};

mod deliveries;
mod leases;
mod messages;
mod tables;

use tables::Tables;

/// How often a handle looks for itself what it may not have been told.
const POLL: Duration = Duration::from_secs(1);

/// Who may have the database open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sharing {
    /// One process at a time, to which everything belongs.
    Alone,
    /// Several, by leases.
    Leases,
}

/// Known to every replica; outlives all of them.
pub(crate) struct Database {
    sharing: Sharing,
    tables: Mutex<Tables>,
    /// Who has it open. A handle that is gone hears nothing.
    open: Mutex<Vec<Weak<Ears>>>,
    whisper: Whisper,
}

/// How long a signal takes to reach the process with this number; `None` if it never does.
pub(crate) type Whisper = Box<dyn Fn(u64) -> Option<Duration> + Send + Sync>;

/// What a process hears of the others.
#[derive(Debug)]
struct Ears {
    owner: u64,
    bell: Bell,
    wake_ups: watch::Sender<()>,
    vacancies: watch::Sender<()>,
}

/// A signal to the other processes.
#[derive(Clone, Copy, Debug)]
enum Signal {
    Deliveries(ShardSet),
    WakeUps,
    Vacancies,
}

/// The database as one process has it open.
#[derive(Debug)]
pub(crate) struct Handle {
    database: Arc<Database>,
    owner: u64,
    ears: Arc<Ears>,
}

impl Database {
    pub(crate) fn new(sharing: Sharing, whisper: Whisper) -> Arc<Self> {
        Arc::new(Self {
            sharing,
            tables: Mutex::default(),
            open: Mutex::default(),
            whisper,
        })
    }

    /// Opens it for the process that is known by the number `owner`.
    pub(crate) fn open(self: &Arc<Self>, owner: u64) -> Arc<Handle> {
        let ears = Arc::new(Ears {
            owner,
            bell: Bell::default(),
            wake_ups: watch::Sender::new(()),
            vacancies: watch::Sender::new(()),
        });
        let mut open = self.open.lock().unwrap();
        open.retain(|ears| ears.strong_count() > 0);
        open.push(Arc::downgrade(&ears));
        if self.sharing == Sharing::Leases {
            tokio::spawn(poll(Arc::downgrade(&ears)));
        }
        Arc::new(Handle {
            database: Arc::clone(self),
            owner,
            ears,
        })
    }

    pub(crate) fn sharing(&self) -> Sharing {
        self.sharing
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap()
    }

    /// Tells everybody but `owner`, some later and some never.
    fn tell_others(&self, owner: u64, signal: Signal) {
        let open = self.open.lock().unwrap();
        for ears in open.iter().filter_map(Weak::upgrade).filter(|ears| ears.owner != owner) {
            if let Some(delay) = (self.whisper)(ears.owner) {
                let ears = Arc::downgrade(&ears);
                tokio::spawn(async move {
                    sleep(delay).await;
                    if let Some(ears) = ears.upgrade() {
                        ears.hear(signal);
                    }
                });
            }
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("sharing", &self.sharing)
            .finish_non_exhaustive()
    }
}

/// Rings for every shard now and then, whatever was told.
async fn poll(ears: Weak<Ears>) {
    loop {
        sleep(POLL).await;
        let Some(ears) = ears.upgrade() else { return };
        ears.bell.ring(ShardSet::ALL);
    }
}

impl Ears {
    fn hear(&self, signal: Signal) {
        match signal {
            Signal::Deliveries(shards) => self.bell.ring(shards),
            Signal::WakeUps => drop(self.wake_ups.send(())),
            Signal::Vacancies => drop(self.vacancies.send(())),
        }
    }
}

impl Handle {
    fn news_of(&self, shards: ShardSet) {
        self.ears.bell.ring(shards);
        if !shards.is_empty() {
            self.database.tell_others(self.owner, Signal::Deliveries(shards));
        }
    }
}

#[async_trait]
impl Store for Handle {
    async fn register_handlers(&self, names: &[HandlerName]) -> Result<Vec<HandlerId>, StoreError> {
        Ok(self.database.tables().register(names))
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        Ok(self.database.tables().backlog())
    }

    async fn accounts(&self) -> Result<Vec<AccountState>, StoreError> {
        Ok(self.database.tables().accounts())
    }

    async fn record_wake_ups(&self, wake_ups: Vec<WakeUp>) -> Result<Vec<u64>, StoreError> {
        let numbers = self.database.tables().record_wake_ups(wake_ups);
        self.database.tell_others(self.owner, Signal::WakeUps);
        Ok(numbers)
    }

    async fn claim(&self, account: &AccountKey, under: Fence, now: UnixMillis) -> Result<Option<Claim>, StoreError> {
        Ok(self.database.tables().claim(account, under, now))
    }

    async fn commit_page(&self, page: Page) -> Result<Commit, StoreError> {
        let mut news = ShardSet::default();
        let commit = self.database.tables().commit(page, &mut news);
        self.news_of(news);
        Ok(commit)
    }

    async fn reset_cursor(&self, claim: Claim) -> Result<Option<Claim>, StoreError> {
        Ok(self.database.tables().reset_cursor(claim))
    }

    async fn pending(&self, handler: HandlerId, after: &[Position], each: usize) -> Result<Vec<Pending>, StoreError> {
        Ok(self.database.tables().pending(handler, after, each))
    }

    async fn pending_urgent(
        &self,
        handler: HandlerId,
        after: &[Position],
        each: usize,
    ) -> Result<Vec<Pending>, StoreError> {
        Ok(self.database.tables().pending_urgent(handler, after, each))
    }

    async fn finish(&self, finished: Vec<Finish>) -> Result<u64, StoreError> {
        Ok(self.database.tables().finish(finished))
    }

    async fn forget_owed(&self, handler: &HandlerName, limit: usize) -> Result<u64, StoreError> {
        Ok(self.database.tables().forget_owed(handler, limit))
    }

    async fn dead_letters(&self, select: DeadSelect, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        Ok(self.database.tables().dead_letters(&select, limit))
    }

    async fn replay_dead(&self, select: DeadSelect, now: UnixMillis) -> Result<u64, StoreError> {
        let mut news = ShardSet::default();
        let replayed = self.database.tables().replay_dead(&select, now, &mut news);
        self.news_of(news);
        Ok(replayed)
    }

    async fn drop_dead(&self, select: DeadSelect) -> Result<u64, StoreError> {
        Ok(self.database.tables().drop_dead(&select).len() as u64)
    }

    async fn replays(&self) -> Result<u64, StoreError> {
        Ok(self.database.tables().replays)
    }

    async fn prune(&self, before: UnixMillis, limit: usize) -> Result<u64, StoreError> {
        Ok(self.database.tables().prune(before, limit))
    }

    async fn blank(&self, before: UnixMillis, after: Seq, limit: usize) -> Result<Blanked, StoreError> {
        Ok(self.database.tables().blank(before, after, limit))
    }

    async fn record_reply(&self, reply: SentReply) -> Result<(), StoreError> {
        self.database.tables().record_reply(reply)
    }

    async fn replies_to(&self, lane: Lane, msgid: &Msgid) -> Result<Vec<SentReply>, StoreError> {
        Ok(self.database.tables().replies_to(lane, msgid))
    }

    async fn reply(&self, lane: Lane, msgid: &str) -> Result<Option<SentReply>, StoreError> {
        Ok(self.database.tables().reply(lane, msgid))
    }

    async fn prune_replies(&self, before: UnixMillis, limit: usize) -> Result<u64, StoreError> {
        Ok(self.database.tables().prune_replies(before, limit))
    }

    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn room(&self) -> Result<Option<Room>, StoreError> {
        Ok(None)
    }

    fn news(&self) -> News {
        self.ears.bell.listen()
    }

    fn shared(&self) -> Option<&dyn Shared> {
        (self.database.sharing == Sharing::Leases).then_some(self as &dyn Shared)
    }
}

#[async_trait]
impl Shared for Handle {
    async fn renew(&self, term: Duration) -> Result<Tenure, StoreError> {
        Ok(self.database.tables().renew(self.owner, Instant::now(), term))
    }

    async fn take(&self, most: Quota, term: Duration) -> Result<Vec<Lease>, StoreError> {
        Ok(self.database.tables().take(self.owner, most, Instant::now(), term))
    }

    async fn census(&self) -> Result<Census, StoreError> {
        Ok(self.database.tables().census(Instant::now()))
    }

    async fn give_back(&self, leases: Vec<Lease>) -> Result<(), StoreError> {
        self.database.tables().give_back(self.owner, leases);
        self.database.tell_others(self.owner, Signal::Vacancies);
        Ok(())
    }

    async fn leave(&self) -> Result<(), StoreError> {
        self.database.tables().leave(self.owner);
        self.database.tell_others(self.owner, Signal::Vacancies);
        Ok(())
    }

    async fn woken(&self) -> Result<Vec<AccountState>, StoreError> {
        Ok(self.database.tables().woken(self.owner))
    }

    fn wake_ups_elsewhere(&self) -> watch::Receiver<()> {
        self.ears.wake_ups.subscribe()
    }

    fn vacancies(&self) -> watch::Receiver<()> {
        self.ears.vacancies.subscribe()
    }
}
