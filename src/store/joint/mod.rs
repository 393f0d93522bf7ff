//! A store that several processes of a test share: SQLite for what it keeps, and leases in memory.
//!
//! Its clock is tokio's, so leases run out when a test lets time pass; what concerns leases is answered at once, so that
//! paused time does not jump while a call waits. Each [`Handle`] is what one process opened, and its wire can be cut.

use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use tokio::sync::watch;

use super::{
    AccountState, Backlog, Blanked, Claim, Commit, DeadLetter, DeadSelect, Fence, Finish, HandlerId, Lane, News, Page,
    Pending, Position, Right, Room, SentReply, Seq, Shared, Store, StoreError, Verdict, WakeUp,
};
use crate::clock::UnixMillis;
use crate::id::{AccountKey, HandlerName, Msgid};

mod ledger;

use self::ledger::Ledger;

/// What the processes share.
#[derive(Debug)]
pub(crate) struct Joint {
    inner: Arc<dyn Store>,
    ledger: Mutex<Ledger>,
    wake_ups: watch::Sender<()>,
    vacancies: watch::Sender<()>,
}

/// What one process opened.
#[derive(Debug)]
pub(crate) struct Handle {
    joint: Arc<Joint>,
    owner: u32,
    cut: watch::Sender<bool>,
    outcomes: watch::Sender<Outcomes>,
}

/// How far outcomes come that a process wants to be written down.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Outcomes {
    /// They wait to be written.
    Waiting,
    /// They are written, and the answer waits.
    Written,
    /// The process hears of it.
    Answered,
}

impl Joint {
    pub(crate) fn over(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            ledger: Mutex::default(),
            wake_ups: watch::Sender::new(()),
            vacancies: watch::Sender::new(()),
        })
    }

    pub(crate) fn open(self: &Arc<Self>) -> Arc<Handle> {
        let mut ledger = self.ledger();
        ledger.opened += 1;
        Arc::new(Handle {
            joint: Arc::clone(self),
            owner: ledger.opened,
            cut: watch::Sender::new(false),
            outcomes: watch::Sender::new(Outcomes::Answered),
        })
    }

    /// Creates the account, if it is new.
    pub(crate) fn know(&self, account: &AccountKey) {
        let is_new = {
            let mut ledger = self.ledger();
            let right = Right::Pull(account.clone());
            let is_new = !ledger.leases.contains_key(&right);
            ledger.leases.entry(right).or_default();
            is_new
        };
        if is_new {
            self.vacancies.send_replace(());
        }
    }

    /// Who holds `right` by the store's clock.
    pub(crate) fn owner(&self, right: &Right) -> Option<u32> {
        self.ledger().leases.get(right)?.owner()
    }

    /// How many retries, burials and pages were refused for their fence.
    pub(crate) fn refused(&self) -> u64 {
        self.ledger().refused
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }
}

impl Handle {
    /// Which process this is.
    pub(crate) fn owner(&self) -> u32 {
        self.owner
    }

    /// From now on no call gets an answer, or has an effect.
    pub(crate) fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Calls get answers again; those made meanwhile fail.
    pub(crate) fn mend(&self) {
        self.cut.send_replace(false);
    }

    /// From now on outcomes come as far as `stage`, also those that wait before it.
    pub(crate) fn let_outcomes(&self, stage: Outcomes) {
        self.outcomes.send_replace(stage);
    }

    /// Whether some wait, at whatever stage.
    pub(crate) fn outcomes_wait(&self) -> bool {
        self.outcomes.receiver_count() > 0
    }

    /// Waits until outcomes may be `stage`.
    async fn until_they_may_be(&self, stage: Outcomes) {
        let _ = self.outcomes.subscribe().wait_for(|may| *may >= stage).await;
    }

    async fn wire(&self) -> Result<&dyn Store, StoreError> {
        let is_cut = *self.cut.borrow();
        if is_cut {
            let _ = self.cut.subscribe().wait_for(|cut| !cut).await;
            return Err(StoreError::Backend("cut off".into()));
        }
        Ok(&*self.joint.inner)
    }
}

#[async_trait]
impl Store for Handle {
    async fn record_wake_ups(&self, wake_ups: Vec<WakeUp>) -> Result<Vec<u64>, StoreError> {
        let accounts: Vec<_> = wake_ups.iter().map(|wake_up| wake_up.account.clone()).collect();
        let numbers = self.wire().await?.record_wake_ups(wake_ups).await?;
        accounts.iter().for_each(|account| self.joint.know(account));
        self.joint.wake_ups.send_replace(());
        Ok(numbers)
    }

    async fn claim(&self, account: &AccountKey, under: Fence, now: UnixMillis) -> Result<Option<Claim>, StoreError> {
        let inner = self.wire().await?;
        self.joint.know(account);
        if self.joint.ledger().fence(&Right::Pull(account.clone())) != under {
            return Ok(None);
        }
        let claim = inner.claim(account, under, now).await?;
        if let Some(claim) = &claim {
            let made = (claim.fence, under);
            self.joint.ledger().claims.insert(account.clone(), made);
        }
        Ok(claim)
    }

    async fn commit_page(&self, page: Page) -> Result<Commit, StoreError> {
        let inner = self.wire().await?;
        {
            let mut ledger = self.joint.ledger();
            let account = &page.claim.account;
            let right = (page.claim.fence, ledger.fence(&Right::Pull(account.clone())));
            if ledger.claims.get(account) != Some(&right) {
                ledger.refused += 1;
                return Ok(Commit::Superseded);
            }
        }
        inner.commit_page(page).await
    }

    async fn finish(&self, mut finished: Vec<Finish>) -> Result<u64, StoreError> {
        let inner = self.wire().await?;
        self.until_they_may_be(Outcomes::Written).await;
        let named = finished.len();
        {
            let mut ledger = self.joint.ledger();
            finished.retain(|finish| {
                finish.verdict == Verdict::Done || finish.under == ledger.fence(&Right::HandOut(finish.shard))
            });
            ledger.refused += (named - finished.len()) as u64;
        }
        let mut refused = (named - finished.len()) as u64;
        refused += inner.finish(finished).await?;
        self.until_they_may_be(Outcomes::Answered).await;
        Ok(refused)
    }

    async fn register_handlers(&self, names: &[HandlerName]) -> Result<Vec<HandlerId>, StoreError> {
        self.wire().await?.register_handlers(names).await
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        self.wire().await?.backlog().await
    }

    async fn accounts(&self) -> Result<Vec<AccountState>, StoreError> {
        self.wire().await?.accounts().await
    }

    async fn reset_cursor(&self, claim: Claim) -> Result<Option<Claim>, StoreError> {
        self.wire().await?.reset_cursor(claim).await
    }

    async fn pending(&self, handler: HandlerId, after: &[Position], each: usize) -> Result<Vec<Pending>, StoreError> {
        self.wire().await?.pending(handler, after, each).await
    }

    async fn pending_urgent(
        &self,
        handler: HandlerId,
        after: &[Position],
        each: usize,
    ) -> Result<Vec<Pending>, StoreError> {
        self.wire().await?.pending_urgent(handler, after, each).await
    }

    async fn forget_owed(&self, handler: &HandlerName, limit: usize) -> Result<u64, StoreError> {
        self.wire().await?.forget_owed(handler, limit).await
    }

    async fn dead_letters(&self, select: DeadSelect, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        self.wire().await?.dead_letters(select, limit).await
    }

    async fn replay_dead(&self, select: DeadSelect, now: UnixMillis) -> Result<u64, StoreError> {
        self.wire().await?.replay_dead(select, now).await
    }

    async fn drop_dead(&self, select: DeadSelect) -> Result<u64, StoreError> {
        self.wire().await?.drop_dead(select).await
    }

    async fn replays(&self) -> Result<u64, StoreError> {
        self.wire().await?.replays().await
    }

    async fn prune(&self, before: UnixMillis, limit: usize) -> Result<u64, StoreError> {
        self.wire().await?.prune(before, limit).await
    }

    async fn blank(&self, before: UnixMillis, after: Seq, limit: usize) -> Result<Blanked, StoreError> {
        self.wire().await?.blank(before, after, limit).await
    }

    async fn record_reply(&self, reply: SentReply) -> Result<(), StoreError> {
        self.wire().await?.record_reply(reply).await
    }

    async fn replies_to(&self, lane: Lane, msgid: &Msgid) -> Result<Vec<SentReply>, StoreError> {
        self.wire().await?.replies_to(lane, msgid).await
    }

    async fn reply(&self, lane: Lane, msgid: &str) -> Result<Option<SentReply>, StoreError> {
        self.wire().await?.reply(lane, msgid).await
    }

    async fn prune_replies(&self, before: UnixMillis, limit: usize) -> Result<u64, StoreError> {
        self.wire().await?.prune_replies(before, limit).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.wire().await?.check().await
    }

    async fn room(&self) -> Result<Option<Room>, StoreError> {
        self.wire().await?.room().await
    }

    fn news(&self) -> News {
        self.joint.inner.news()
    }

    fn shared(&self) -> Option<&dyn Shared> {
        Some(self)
    }
}
