//! Stores that break a rule each, to check the checks with.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use wecom_kf::clock::UnixMillis;
use wecom_kf::id::{AccountKey, Msgid};
use wecom_kf::store::{
    AccountState, Claim, Commit, Fence, Finish, HandlerId, Intake, Lease, Page, PageEnds, Pending, Position, Quota,
    Right, Shared, Store, StoreError, Stored, Tenure, Verdict,
};

use crate::layer::Layer;

/// More often than any right changes hands in a run.
const FENCES: i64 = 1_000;

/// Claims `account` under whatever fence is current.
async fn claim_anyhow(under: &dyn Store, account: &AccountKey, now: UnixMillis) -> Result<Option<Claim>, StoreError> {
    for fence in 0..FENCES {
        let claim = under.claim(account, Fence(fence), now).await?;
        if claim.is_some() {
            return Ok(claim);
        }
    }
    Ok(None)
}

/// Moves the cursor first; when the rest fails, the page is lost.
#[derive(Default)]
pub(crate) struct CursorFirst(AtomicU64);

#[async_trait]
impl Layer for CursorFirst {
    async fn commit_page(&self, under: &dyn Store, page: Page) -> Result<Commit, StoreError> {
        let cursor = Page {
            messages: Vec::new(),
            ends: PageEnds::More,
            ..page.clone()
        };
        let Commit::Stored(Stored { claim, .. }) = under.commit_page(cursor).await? else {
            return Ok(Commit::Superseded);
        };
        if self.0.fetch_add(1, Ordering::Relaxed) % 3 == 2 {
            return Err(StoreError::Backend("half way".into()));
        }
        under.commit_page(Page { claim, ..page }).await
    }
}

/// Takes a page whatever the cursor is, and whoever has claimed the account since.
pub(crate) struct NoCompareAndSwap;

#[async_trait]
impl Layer for NoCompareAndSwap {
    async fn commit_page(&self, under: &dyn Store, page: Page) -> Result<Commit, StoreError> {
        match under.commit_page(page.clone()).await? {
            Commit::Superseded => match claim_anyhow(under, &page.claim.account, page.received).await? {
                Some(claim) => under.commit_page(Page { claim, ..page }).await,
                None => Ok(Commit::Superseded),
            },
            stored => Ok(stored),
        }
    }
}

/// Takes a page of who lost the account, as long as the cursor is where it was.
pub(crate) struct NoFenceOnPages;

#[async_trait]
impl Layer for NoFenceOnPages {
    async fn commit_page(&self, under: &dyn Store, page: Page) -> Result<Commit, StoreError> {
        match under.commit_page(page.clone()).await? {
            Commit::Superseded => match claim_anyhow(under, &page.claim.account, page.received).await? {
                Some(claim) if claim.cursor == page.claim.cursor => under.commit_page(Page { claim, ..page }).await,
                _ => Ok(Commit::Superseded),
            },
            stored => Ok(stored),
        }
    }
}

/// Records retries and burials of who lost the shard.
pub(crate) struct NoFenceOnOutcomes;

#[async_trait]
impl Layer for NoFenceOnOutcomes {
    async fn finish(&self, under: &dyn Store, finished: Vec<Finish>) -> Result<u64, StoreError> {
        for finish in finished {
            let mut fence = finish.under;
            while under
                .finish(vec![Finish {
                    under: fence,
                    ..finish.clone()
                }])
                .await?
                > 0
                && fence.0 < FENCES
            {
                fence.0 += 1;
            }
        }
        Ok(0)
    }
}

/// Stores some messages without owing them to everybody.
#[derive(Default)]
pub(crate) struct ForgottenDelivery(AtomicU64);

#[async_trait]
impl Layer for ForgottenDelivery {
    async fn commit_page(&self, under: &dyn Store, mut page: Page) -> Result<Commit, StoreError> {
        for message in &mut page.messages {
            if self.0.fetch_add(1, Ordering::Relaxed) % 5 == 4 {
                message.owed_to.pop();
            }
        }
        under.commit_page(page).await
    }
}

/// Records a delivery as done when it is handed out.
pub(crate) struct OutcomeFirst;

#[async_trait]
impl Layer for OutcomeFirst {
    async fn pending(
        &self,
        under: &dyn Store,
        handler: HandlerId,
        after: &[Position],
        each: usize,
    ) -> Result<Vec<Pending>, StoreError> {
        let rows = under.pending(handler, after, each).await?;
        let done = rows.iter().map(|row| Finish {
            handler,
            shard: row.lane.shard(),
            seq: row.seq,
            under: Fence::FIRST,
            verdict: Verdict::Done,
        });
        under.finish(done.collect()).await?;
        Ok(rows)
    }
}

/// Takes a message for known because another account has one of the same id.
#[derive(Clone, Default)]
pub(crate) struct DedupeWithoutAccount(Arc<Mutex<BTreeMap<Msgid, AccountKey>>>);

#[async_trait]
impl Layer for DedupeWithoutAccount {
    async fn commit_page(&self, under: &dyn Store, mut page: Page) -> Result<Commit, StoreError> {
        let is_known: Vec<bool> = {
            let mut known = self.0.lock().unwrap();
            let account = &page.claim.account;
            let messages = page.messages.iter();
            messages
                .map(|message| known.entry(message.msgid.clone()).or_insert_with(|| account.clone()) != account)
                .collect()
        };
        let mut known = is_known.iter();
        page.messages.retain(|_| known.next() == Some(&false));
        let commit = under.commit_page(page).await?;
        let Commit::Stored(Stored { claim, messages }) = commit else {
            return Ok(commit);
        };
        let mut stored = messages.into_iter();
        let intake = |is_known: bool| if is_known { None } else { stored.next() }.unwrap_or(Intake::Repeated);
        let messages = is_known.into_iter().map(intake).collect();
        Ok(Commit::Stored(Stored { claim, messages }))
    }
}

/// Does not tell the owner of an account that another process was called for it.
pub(crate) struct LostWakeUp;

#[async_trait]
impl Layer for LostWakeUp {
    async fn woken(&self, _under: &dyn Shared) -> Result<Vec<AccountState>, StoreError> {
        Ok(Vec::new())
    }
}

/// Tells everybody that everything is theirs.
#[derive(Clone, Default)]
pub(crate) struct LeasesForEverybody(Arc<Mutex<BTreeMap<Right, Fence>>>);

impl LeasesForEverybody {
    fn all(&self) -> Vec<Lease> {
        let fences = self.0.lock().unwrap();
        let lease = |(right, fence): (&Right, &Fence)| Lease {
            right: right.clone(),
            fence: *fence,
        };
        fences.iter().map(lease).collect()
    }
}

#[async_trait]
impl Layer for LeasesForEverybody {
    async fn renew(&self, under: &dyn Shared, term: Duration) -> Result<Tenure, StoreError> {
        let tenure = under.renew(term).await?;
        // Somebody living must be the one who hears of wake-ups.
        let whatever_is_free = Quota {
            pulls: usize::MAX,
            shards: usize::MAX,
        };
        self.take(under, whatever_is_free, term).await?;
        Ok(Tenure::new(self.all(), 1, tenure.accounts))
    }

    async fn take(&self, under: &dyn Shared, most: Quota, term: Duration) -> Result<Vec<Lease>, StoreError> {
        let taken = under.take(most, term).await?;
        let fences = taken.into_iter().map(|lease| (lease.right, lease.fence));
        self.0.lock().unwrap().extend(fences);
        Ok(self.all())
    }
}

/// Passes over some deliveries when it reads.
pub(crate) struct SkippingReader;

#[async_trait]
impl Layer for SkippingReader {
    async fn pending(
        &self,
        under: &dyn Store,
        handler: HandlerId,
        after: &[Position],
        each: usize,
    ) -> Result<Vec<Pending>, StoreError> {
        let mut rows = under.pending(handler, after, each).await?;
        rows.retain(|row| row.seq.0 % 7 != 3);
        Ok(rows)
    }
}

/// Forgets how often a message was tried.
pub(crate) struct ForgetfulRetry;

#[async_trait]
impl Layer for ForgetfulRetry {
    async fn finish(&self, under: &dyn Store, mut finished: Vec<Finish>) -> Result<u64, StoreError> {
        for finish in &mut finished {
            if let Verdict::Retry { attempts, .. } = &mut finish.verdict {
                *attempts = 0;
            }
        }
        under.finish(finished).await
    }
}

/// Stores a message again when it comes again.
#[derive(Default)]
pub(crate) struct StoredTwice(AtomicU64);

#[async_trait]
impl Layer for StoredTwice {
    async fn commit_page(&self, under: &dyn Store, mut page: Page) -> Result<Commit, StoreError> {
        for message in &mut page.messages {
            message.send_time += self.0.fetch_add(1, Ordering::Relaxed);
        }
        under.commit_page(page).await
    }
}

/// Keeps no dead letters.
pub(crate) struct ForgottenDeath;

#[async_trait]
impl Layer for ForgottenDeath {
    async fn finish(&self, under: &dyn Store, mut finished: Vec<Finish>) -> Result<u64, StoreError> {
        for finish in &mut finished {
            if matches!(finish.verdict, Verdict::Dead { .. }) {
                finish.verdict = Verdict::Done;
            }
        }
        under.finish(finished).await
    }
}
