//! A store that remembers what was committed, and fails on demand.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use crate::clock::UnixMillis;
use crate::id::{AccountKey, HandlerName, Msgid};
use crate::store::{
    AccountState, Backlog, Blanked, Claim, Commit, DeadLetter, DeadSelect, Fence, Finish, HandlerId, Intake, Lane,
    News, Page, Pending, Position, Room, SentReply, Seq, Shared, Store, StoreError, WakeUp,
};

/// What happens to a commit.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    /// It fails, and nothing was written.
    Full,
    /// It is written, and fails all the same.
    AnswerLost,
    /// Somebody else claimed the account just before.
    Superseded,
}

/// What became of a page.
#[derive(Clone, Debug)]
pub(super) struct Committed {
    pub(super) cursor: Option<Box<str>>,
    pub(super) superseded: bool,
    /// Rows that it added.
    pub(super) new: usize,
}

#[derive(Debug)]
pub(super) struct Watched {
    inner: Arc<dyn Store>,
    committed: Mutex<Vec<Committed>>,
    pub(super) troubles: Mutex<VecDeque<Trouble>>,
    /// What it says of its disk, if not the truth.
    pub(super) room: Mutex<Option<Room>>,
    /// How many deliveries it says are owed, if not the truth.
    pub(super) owed: Mutex<Option<u64>>,
    /// How often it was asked that.
    pub(super) counted: AtomicUsize,
    /// Whether writes fail.
    pub(super) full: AtomicBool,
    /// Commits that may go on.
    pub(super) gate: Semaphore,
    /// Commits that have come to the gate.
    pub(super) arrived: Semaphore,
}

impl Watched {
    pub(super) fn over(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            committed: Mutex::default(),
            troubles: Mutex::default(),
            room: Mutex::default(),
            owed: Mutex::default(),
            counted: AtomicUsize::new(0),
            full: AtomicBool::new(false),
            gate: Semaphore::new(1_000_000),
            arrived: Semaphore::new(0),
        })
    }

    pub(super) fn committed(&self) -> Vec<Committed> {
        self.committed.lock().unwrap().clone()
    }

    /// Rows added since the start.
    pub(super) fn rows(&self) -> usize {
        self.committed().iter().map(|committed| committed.new).sum()
    }

    fn refuse_if_full(&self) -> Result<(), StoreError> {
        match self.full.load(Ordering::SeqCst) {
            true => Err(StoreError::Full("disk".into())),
            false => Ok(()),
        }
    }

    fn note(&self, page: &Page, commit: &Commit) {
        let (superseded, new) = match commit {
            Commit::Superseded => (true, 0),
            Commit::Stored(stored) => {
                let new = stored.messages.iter().filter(|intake| **intake == Intake::New);
                (false, new.count())
            }
        };
        let cursor = page.next_cursor.clone();
        self.committed.lock().unwrap().push(Committed {
            cursor,
            superseded,
            new,
        });
    }
}

#[async_trait]
impl Store for Watched {
    async fn commit_page(&self, page: Page) -> Result<Commit, StoreError> {
        self.arrived.add_permits(1);
        self.gate.acquire().await.unwrap().forget();
        self.refuse_if_full()?;
        let trouble = self.troubles.lock().unwrap().pop_front();
        match trouble {
            Some(Trouble::Full) => return Err(StoreError::Full("disk".into())),
            Some(Trouble::Superseded) => drop(
                self.inner
                    .claim(&page.claim.account, Fence::FIRST, page.received)
                    .await?,
            ),
            Some(Trouble::AnswerLost) | None => {}
        }
        let commit = self.inner.commit_page(page.clone()).await?;
        self.note(&page, &commit);
        match trouble {
            Some(Trouble::AnswerLost) => Err(StoreError::Backend("gone".into())),
            _ => Ok(commit),
        }
    }

    async fn register_handlers(&self, names: &[HandlerName]) -> Result<Vec<HandlerId>, StoreError> {
        self.inner.register_handlers(names).await
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        self.counted.fetch_add(1, Ordering::SeqCst);
        let told = *self.owed.lock().unwrap();
        match told {
            Some(pending) => Ok(vec![Backlog {
                id: HandlerId(1),
                handler: HandlerName::new("log").unwrap(),
                pending,
                dead: 0,
                oldest: None,
            }]),
            None => self.inner.backlog().await,
        }
    }

    async fn accounts(&self) -> Result<Vec<AccountState>, StoreError> {
        self.inner.accounts().await
    }

    async fn record_wake_ups(&self, wake_ups: Vec<WakeUp>) -> Result<Vec<u64>, StoreError> {
        self.inner.record_wake_ups(wake_ups).await
    }

    async fn claim(&self, account: &AccountKey, under: Fence, now: UnixMillis) -> Result<Option<Claim>, StoreError> {
        self.inner.claim(account, under, now).await
    }

    async fn reset_cursor(&self, claim: Claim) -> Result<Option<Claim>, StoreError> {
        self.inner.reset_cursor(claim).await
    }

    async fn pending(&self, handler: HandlerId, after: &[Position], each: usize) -> Result<Vec<Pending>, StoreError> {
        self.inner.pending(handler, after, each).await
    }

    async fn pending_urgent(
        &self,
        handler: HandlerId,
        after: &[Position],
        each: usize,
    ) -> Result<Vec<Pending>, StoreError> {
        self.inner.pending_urgent(handler, after, each).await
    }

    async fn finish(&self, finished: Vec<Finish>) -> Result<u64, StoreError> {
        self.inner.finish(finished).await
    }

    async fn forget_owed(&self, handler: &HandlerName, limit: usize) -> Result<u64, StoreError> {
        self.inner.forget_owed(handler, limit).await
    }

    async fn dead_letters(&self, select: DeadSelect, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        self.inner.dead_letters(select, limit).await
    }

    async fn replay_dead(&self, select: DeadSelect, now: UnixMillis) -> Result<u64, StoreError> {
        self.inner.replay_dead(select, now).await
    }

    async fn drop_dead(&self, select: DeadSelect) -> Result<u64, StoreError> {
        self.inner.drop_dead(select).await
    }

    async fn replays(&self) -> Result<u64, StoreError> {
        self.inner.replays().await
    }

    async fn prune(&self, before: UnixMillis, limit: usize) -> Result<u64, StoreError> {
        self.inner.prune(before, limit).await
    }

    async fn blank(&self, before: UnixMillis, after: Seq, limit: usize) -> Result<Blanked, StoreError> {
        self.inner.blank(before, after, limit).await
    }

    async fn record_reply(&self, reply: SentReply) -> Result<(), StoreError> {
        self.inner.record_reply(reply).await
    }

    async fn replies_to(&self, lane: Lane, msgid: &Msgid) -> Result<Vec<SentReply>, StoreError> {
        self.inner.replies_to(lane, msgid).await
    }

    async fn reply(&self, lane: Lane, msgid: &str) -> Result<Option<SentReply>, StoreError> {
        self.inner.reply(lane, msgid).await
    }

    async fn prune_replies(&self, before: UnixMillis, limit: usize) -> Result<u64, StoreError> {
        self.inner.prune_replies(before, limit).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.refuse_if_full()?;
        self.inner.check().await
    }

    async fn room(&self) -> Result<Option<Room>, StoreError> {
        let told = *self.room.lock().unwrap();
        match told {
            Some(room) => Ok(Some(room)),
            None => self.inner.room().await,
        }
    }

    fn news(&self) -> News {
        self.inner.news()
    }

    fn shared(&self) -> Option<&dyn Shared> {
        self.inner.shared()
    }
}
