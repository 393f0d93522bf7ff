//! What takes effect in the store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use wecom_kf::clock::UnixMillis;
use wecom_kf::id::{AccountKey, CallbackToken};
use wecom_kf::store::{
    Claim, Commit, Fence, Finish, HandlerId, Intake, Lease, Page, Pending, Position, Quota, Right, Shared, Store,
    StoreError, Stored, Tenure, Verdict, WakeUp,
};

use super::{Audit, Books, Check, Granted, Tenancy};
use crate::layer::Layer;

/// Watches the database for one process.
pub(crate) struct Auditor {
    pub(crate) audit: Arc<Audit>,
    pub(crate) owner: u64,
}

/// Number of the callback that a token came with.
fn callback(token: &CallbackToken) -> Option<u64> {
    token.expose().strip_prefix("ENC")?.parse().ok()
}

impl Auditor {
    /// Holds what the store says is owed against the books.
    async fn compare(&self, under: &dyn Store) -> Result<(), StoreError> {
        let backlog = under.backlog().await?;
        let mut books = self.audit.books();
        for of in backlog {
            let owed = books.owed.keys().filter(|(handler, ..)| *handler == of.id).count() as u64;
            let dead = books.dead.iter().filter(|(handler, ..)| *handler == of.id).count() as u64;
            if (of.pending, of.dead) != (owed, dead) {
                let what = format!(
                    "the store owes {} {} and has buried {}; by what was stored and finished it is {owed} and {dead}",
                    of.handler, of.pending, of.dead
                );
                books.found(Check::Owed, what);
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Layer for Auditor {
    async fn record_wake_ups(&self, under: &dyn Store, wake_ups: Vec<WakeUp>) -> Result<Vec<u64>, StoreError> {
        let answer = under.record_wake_ups(wake_ups.clone()).await;
        if answer.is_ok() {
            let mut books = self.audit.books();
            for WakeUp { account, token, .. } in wake_ups {
                let number = token.as_ref().and_then(callback).unwrap_or_default();
                books.note(("wake-up", self.owner, &account, number));
                let newest = books.recorded.entry(account).or_default();
                *newest = (*newest).max(number);
            }
        }
        answer
    }

    async fn claim(
        &self,
        under: &dyn Store,
        account: &AccountKey,
        fence: Fence,
        now: UnixMillis,
    ) -> Result<Option<Claim>, StoreError> {
        let answer = under.claim(account, fence, now).await;
        if let Ok(claim) = &answer {
            let mut books = self.audit.books();
            books.note(("claim", self.owner, account, fence, claim.is_some()));
            if let Some(claim) = claim {
                books.claimed(claim, fence);
            }
        }
        answer
    }

    async fn commit_page(&self, under: &dyn Store, page: Page) -> Result<Commit, StoreError> {
        let answer = under.commit_page(page.clone()).await;
        {
            let mut books = self.audit.books();
            match &answer {
                Ok(Commit::Stored(stored)) => books.stored(self.owner, &page, stored),
                Ok(_) => books.note(("superseded", self.owner, &page.claim.account)),
                Err(_) => {
                    if let Some(granted) = books.claims.get_mut(&page.claim.account) {
                        granted.unsure = true;
                    }
                }
            }
        }
        self.compare(under).await?;
        answer
    }

    async fn reset_cursor(&self, under: &dyn Store, claim: Claim) -> Result<Option<Claim>, StoreError> {
        let answer = under.reset_cursor(claim).await;
        if let Ok(Some(claim)) = &answer {
            let mut books = self.audit.books();
            books.note(("reset", self.owner, &claim.account));
            let fence = books
                .claims
                .get(&claim.account)
                .map_or(Fence::FIRST, |granted| granted.under);
            books.claimed(claim, fence);
        }
        answer
    }

    async fn pending(
        &self,
        under: &dyn Store,
        handler: HandlerId,
        after: &[Position],
        each: usize,
    ) -> Result<Vec<Pending>, StoreError> {
        let answer = under.pending(handler, after, each).await;
        self.audit
            .books()
            .read(self.owner, handler, answer.as_deref().unwrap_or_default());
        self.compare(under).await?;
        answer
    }

    async fn pending_urgent(
        &self,
        under: &dyn Store,
        handler: HandlerId,
        after: &[Position],
        each: usize,
    ) -> Result<Vec<Pending>, StoreError> {
        let answer = under.pending_urgent(handler, after, each).await;
        self.audit
            .books()
            .read(self.owner, handler, answer.as_deref().unwrap_or_default());
        answer
    }

    async fn finish(&self, under: &dyn Store, finished: Vec<Finish>) -> Result<u64, StoreError> {
        let answer = under.finish(finished.clone()).await;
        if let Ok(refused) = answer {
            self.audit.books().finished(self.owner, finished, refused);
        }
        self.compare(under).await?;
        answer
    }

    async fn renew(&self, under: &dyn Shared, term: Duration) -> Result<Tenure, StoreError> {
        let answer = under.renew(term).await;
        if let Ok(tenure) = &answer {
            let mut books = self.audit.books();
            books.note(("renewed", self.owner, tenure.leases.len()));
            for lease in &tenure.leases {
                books.renewed(self.owner, lease, Instant::now() + term);
            }
        }
        answer
    }

    async fn take(&self, under: &dyn Shared, most: Quota, term: Duration) -> Result<Vec<Lease>, StoreError> {
        let answer = under.take(most, term).await;
        if let Ok(leases) = &answer {
            let mut books = self.audit.books();
            for lease in leases {
                books.taken(self.owner, lease, Instant::now() + term);
            }
        }
        answer
    }

    async fn give_back(&self, under: &dyn Shared, leases: Vec<Lease>) -> Result<(), StoreError> {
        let answer = under.give_back(leases.clone()).await;
        if answer.is_ok() {
            let mut books = self.audit.books();
            for lease in &leases {
                books.given_back(self.owner, lease);
            }
        }
        answer
    }
}

impl Books {
    /// The newest fence of `right`.
    fn fence(&self, right: &Right) -> Fence {
        self.tenancies.get(right).map_or(Fence::FIRST, |tenancy| tenancy.fence)
    }

    fn claimed(&mut self, claim: &Claim, under: Fence) {
        let account = &claim.account;
        if self.fence(&Right::Pull(account.clone())) != under {
            self.found(Check::StaleCommits, format!("{account} was claimed under an old fence"));
        }
        let granted = Granted {
            number: claim.fence,
            under,
            cursor: claim.cursor.clone(),
            unsure: false,
        };
        self.claims.insert(account.clone(), granted);
    }

    fn stored(&mut self, owner: u64, page: &Page, stored: &Stored) {
        let account = &page.claim.account;
        self.note(("page", owner, account, &page.next_cursor, page.messages.len()));
        let newest = self.fence(&Right::Pull(account.clone()));
        let current = self.claims.get(account).is_some_and(|granted| {
            let same_cursor = granted.unsure || granted.cursor == page.claim.cursor;
            granted.number == page.claim.fence && granted.under == newest && same_cursor
        });
        if !current {
            let what = format!("a page of {account} behind {:?} counted", page.claim.cursor);
            self.found(Check::StaleCommits, what);
        }
        if let Some(granted) = self.claims.get_mut(account) {
            granted.cursor = stored.claim.cursor.clone();
            granted.number = stored.claim.fence;
        }
        for (message, intake) in page.messages.iter().zip(&stored.messages) {
            if *intake != Intake::New {
                continue;
            }
            let letter = (account.clone(), message.msgid.clone());
            if self.rows.insert(letter.clone(), message.lane).is_some() {
                self.found(Check::DoubleRows, format!("{letter:?} has two rows"));
                continue;
            }
            self.lanes.entry(message.lane).or_default().push(letter);
            for handler in &message.owed_to {
                let debt = (*handler, account.clone(), message.msgid.clone());
                self.owed.insert(debt, 0);
            }
        }
    }

    fn read(&mut self, owner: u64, handler: HandlerId, rows: &[Pending]) {
        for row in rows {
            let letter = (AccountKey::clone(&row.letter.account), row.letter.msgid.clone());
            self.note(("read", owner, handler, &letter, row.attempts));
            let known = self.numbers.entry(row.seq).or_insert_with(|| letter.clone());
            if *known != letter {
                self.found(Check::DoubleRows, format!("{:?} stands for two messages", row.seq));
            }
            let (account, msgid) = letter;
            let debt = (handler, account, msgid);
            match self.owed.get(&debt) {
                None => self.found(Check::Owed, format!("{debt:?} was read and is not owed")),
                Some(attempts) if *attempts != row.attempts => {
                    let what = format!(
                        "{debt:?} was tried {attempts} times, and the store says {}",
                        row.attempts
                    );
                    self.found(Check::Attempts, what);
                }
                Some(_) => {}
            }
        }
    }

    fn finished(&mut self, owner: u64, finished: Vec<Finish>, refused: u64) {
        let mut stale = 0;
        for finish in finished {
            let Some((account, msgid)) = self.numbers.get(&finish.seq).cloned() else {
                continue;
            };
            let debt = (finish.handler, account, msgid);
            let current = finish.under == self.fence(&Right::HandOut(finish.shard));
            match finish.verdict {
                Verdict::Done => {
                    self.note(("done", owner, &debt));
                    self.owed.remove(&debt);
                    let effects = self.effects;
                    self.done.entry(debt).or_insert((owner, effects));
                }
                _ if !current => {
                    self.note(("refused", owner, &debt));
                    stale += u64::from(self.owed.contains_key(&debt));
                }
                Verdict::Retry { attempts, .. } => {
                    self.note(("retry", owner, &debt, attempts));
                    if let Some(owed) = self.owed.get_mut(&debt) {
                        *owed = attempts;
                    }
                }
                _ => {
                    self.note(("dead", owner, &debt));
                    if self.owed.remove(&debt).is_some() {
                        self.dead.insert(debt);
                    }
                }
            }
        }
        if refused < stale {
            let what = format!("{stale} outcomes came under old fences, and {refused} were refused");
            self.found(Check::StaleCommits, what);
        }
    }

    fn renewed(&mut self, owner: u64, lease: &Lease, until: Instant) {
        match self.tenancies.get_mut(&lease.right) {
            Some(tenancy) if tenancy.owner == owner && tenancy.fence == lease.fence => tenancy.until = Some(until),
            _ => self.found(Check::Overlap, format!("{owner} renewed {lease:?} without having it")),
        }
    }

    fn taken(&mut self, owner: u64, lease: &Lease, until: Instant) {
        self.note(("taken", owner, &lease.right, lease.fence));
        let before = self.tenancies.get(&lease.right).copied();
        if let Some(before) = before {
            if before.until.is_some_and(|until| until > Instant::now()) {
                self.found(
                    Check::Overlap,
                    format!("{owner} was given {lease:?} that {} has", before.owner),
                );
            }
            if lease.fence <= before.fence {
                self.found(
                    Check::Overlap,
                    format!("{owner} was given {lease:?} under an old fence"),
                );
            }
            if before.until.is_some() {
                self.ran_out(before.owner, &lease.right);
            }
        }
        let (fence, taken) = (lease.fence, self.effects);
        let tenancy = Tenancy {
            owner,
            fence,
            until: Some(until),
            taken,
        };
        self.tenancies.insert(lease.right.clone(), tenancy);
    }

    fn given_back(&mut self, owner: u64, lease: &Lease) {
        self.note(("given back", owner, &lease.right, lease.fence));
        let tenancy = self.tenancies.get_mut(&lease.right);
        if let Some(tenancy) = tenancy.filter(|tenancy| tenancy.owner == owner && tenancy.fence == lease.fence) {
            tenancy.until = None;
            self.handed_over(owner, &lease.right);
        }
    }
}
