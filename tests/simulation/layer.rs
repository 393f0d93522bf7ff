//! A store over a store: everything goes through, but what a layer does otherwise.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use wecom_kf::clock::UnixMillis;
use wecom_kf::id::{AccountKey, HandlerName, Msgid};
use wecom_kf::store::{
    AccountState, Backlog, Blanked, Census, Claim, Commit, DeadLetter, DeadSelect, Fence, Finish, HandlerId, Lane,
    Lease, News, Page, Pending, Position, Quota, Room, SentReply, Seq, Shared, Store, StoreError, Tenure, WakeUp,
};

/// What a layer does; what it leaves out it does not touch.
#[async_trait]
pub(crate) trait Layer: Send + Sync + 'static {
    async fn backlog(&self, under: &dyn Store) -> Result<Vec<Backlog>, StoreError> {
        under.backlog().await
    }

    async fn record_wake_ups(&self, under: &dyn Store, wake_ups: Vec<WakeUp>) -> Result<Vec<u64>, StoreError> {
        under.record_wake_ups(wake_ups).await
    }

    async fn claim(
        &self,
        under: &dyn Store,
        account: &AccountKey,
        fence: Fence,
        now: UnixMillis,
    ) -> Result<Option<Claim>, StoreError> {
        under.claim(account, fence, now).await
    }

    async fn commit_page(&self, under: &dyn Store, page: Page) -> Result<Commit, StoreError> {
        under.commit_page(page).await
    }

    async fn reset_cursor(&self, under: &dyn Store, claim: Claim) -> Result<Option<Claim>, StoreError> {
        under.reset_cursor(claim).await
    }

    async fn pending(
        &self,
        under: &dyn Store,
        handler: HandlerId,
        after: &[Position],
        each: usize,
    ) -> Result<Vec<Pending>, StoreError> {
        under.pending(handler, after, each).await
    }

    async fn pending_urgent(
        &self,
        under: &dyn Store,
        handler: HandlerId,
        after: &[Position],
        each: usize,
    ) -> Result<Vec<Pending>, StoreError> {
        under.pending_urgent(handler, after, each).await
    }

    async fn finish(&self, under: &dyn Store, finished: Vec<Finish>) -> Result<u64, StoreError> {
        under.finish(finished).await
    }

    async fn renew(&self, under: &dyn Shared, term: Duration) -> Result<Tenure, StoreError> {
        under.renew(term).await
    }

    async fn take(&self, under: &dyn Shared, most: Quota, term: Duration) -> Result<Vec<Lease>, StoreError> {
        under.take(most, term).await
    }

    async fn give_back(&self, under: &dyn Shared, leases: Vec<Lease>) -> Result<(), StoreError> {
        under.give_back(leases).await
    }

    async fn woken(&self, under: &dyn Shared) -> Result<Vec<AccountState>, StoreError> {
        under.woken().await
    }
}

/// A store under a layer.
pub(crate) struct Layered<L> {
    under: Arc<dyn Store>,
    layer: L,
}

impl<L: Layer> Layered<L> {
    pub(crate) fn over(under: Arc<dyn Store>, layer: L) -> Arc<dyn Store> {
        Arc::new(Self { under, layer })
    }

    fn under_shared(&self) -> &dyn Shared {
        self.under.shared().expect("asked only where leases are")
    }
}

impl<L> fmt::Debug for Layered<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layered")
            .field("under", &self.under)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl<L: Layer> Store for Layered<L> {
    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        self.layer.backlog(&*self.under).await
    }

    async fn record_wake_ups(&self, wake_ups: Vec<WakeUp>) -> Result<Vec<u64>, StoreError> {
        self.layer.record_wake_ups(&*self.under, wake_ups).await
    }

    async fn claim(&self, account: &AccountKey, fence: Fence, now: UnixMillis) -> Result<Option<Claim>, StoreError> {
        self.layer.claim(&*self.under, account, fence, now).await
    }

    async fn commit_page(&self, page: Page) -> Result<Commit, StoreError> {
        self.layer.commit_page(&*self.under, page).await
    }

    async fn reset_cursor(&self, claim: Claim) -> Result<Option<Claim>, StoreError> {
        self.layer.reset_cursor(&*self.under, claim).await
    }

    async fn pending(&self, handler: HandlerId, after: &[Position], each: usize) -> Result<Vec<Pending>, StoreError> {
        self.layer.pending(&*self.under, handler, after, each).await
    }

    async fn pending_urgent(
        &self,
        handler: HandlerId,
        after: &[Position],
        each: usize,
    ) -> Result<Vec<Pending>, StoreError> {
        self.layer.pending_urgent(&*self.under, handler, after, each).await
    }

    async fn finish(&self, finished: Vec<Finish>) -> Result<u64, StoreError> {
        self.layer.finish(&*self.under, finished).await
    }

    async fn register_handlers(&self, names: &[HandlerName]) -> Result<Vec<HandlerId>, StoreError> {
        self.under.register_handlers(names).await
    }

    async fn accounts(&self) -> Result<Vec<AccountState>, StoreError> {
        self.under.accounts().await
    }

    async fn forget_owed(&self, handler: &HandlerName, limit: usize) -> Result<u64, StoreError> {
        self.under.forget_owed(handler, limit).await
    }

    async fn dead_letters(&self, select: DeadSelect, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        self.under.dead_letters(select, limit).await
    }

    async fn replay_dead(&self, select: DeadSelect, now: UnixMillis) -> Result<u64, StoreError> {
        self.under.replay_dead(select, now).await
    }

    async fn drop_dead(&self, select: DeadSelect) -> Result<u64, StoreError> {
        self.under.drop_dead(select).await
    }

    async fn replays(&self) -> Result<u64, StoreError> {
        self.under.replays().await
    }

    async fn prune(&self, before: UnixMillis, limit: usize) -> Result<u64, StoreError> {
        self.under.prune(before, limit).await
    }

    async fn blank(&self, before: UnixMillis, after: Seq, limit: usize) -> Result<Blanked, StoreError> {
        self.under.blank(before, after, limit).await
    }

    async fn record_reply(&self, reply: SentReply) -> Result<(), StoreError> {
        self.under.record_reply(reply).await
    }

    async fn replies_to(&self, lane: Lane, msgid: &Msgid) -> Result<Vec<SentReply>, StoreError> {
        self.under.replies_to(lane, msgid).await
    }

    async fn reply(&self, lane: Lane, msgid: &str) -> Result<Option<SentReply>, StoreError> {
        self.under.reply(lane, msgid).await
    }

    async fn prune_replies(&self, before: UnixMillis, limit: usize) -> Result<u64, StoreError> {
        self.under.prune_replies(before, limit).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.under.check().await
    }

    async fn room(&self) -> Result<Option<Room>, StoreError> {
        self.under.room().await
    }

    fn news(&self) -> News {
        self.under.news()
    }

    fn shared(&self) -> Option<&dyn Shared> {
        self.under.shared().map(|_| self as &dyn Shared)
    }
}

#[async_trait]
impl<L: Layer> Shared for Layered<L> {
    async fn renew(&self, term: Duration) -> Result<Tenure, StoreError> {
        self.layer.renew(self.under_shared(), term).await
    }

    async fn take(&self, most: Quota, term: Duration) -> Result<Vec<Lease>, StoreError> {
        self.layer.take(self.under_shared(), most, term).await
    }

    async fn give_back(&self, leases: Vec<Lease>) -> Result<(), StoreError> {
        self.layer.give_back(self.under_shared(), leases).await
    }

    async fn woken(&self) -> Result<Vec<AccountState>, StoreError> {
        self.layer.woken(self.under_shared()).await
    }

    async fn census(&self) -> Result<Census, StoreError> {
        self.under_shared().census().await
    }

    async fn leave(&self) -> Result<(), StoreError> {
        self.under_shared().leave().await
    }

    fn wake_ups_elsewhere(&self) -> watch::Receiver<()> {
        self.under_shared().wake_ups_elsewhere()
    }

    fn vacancies(&self) -> watch::Receiver<()> {
        self.under_shared().vacancies()
    }
}
