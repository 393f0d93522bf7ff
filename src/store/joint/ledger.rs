//! Who holds what, in memory.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Handle;
use crate::id::AccountKey;
use crate::store::{AccountState, Census, Fence, Lease, Quota, Right, Shard, Shared, StoreError, Tenure};

#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) leases: BTreeMap<Right, Row>,
    replicas: BTreeMap<u32, Instant>,
    /// The newest claim of each account, and the fence of the lease it was made under.
    pub(super) claims: HashMap<AccountKey, (i64, Fence)>,
    pub(super) opened: u32,
    /// Retries, burials and pages that were refused for their fence.
    pub(super) refused: u64,
}

#[derive(Debug, Default)]
pub(super) struct Row {
    fence: i64,
    owner: Option<(u32, Instant)>,
}

impl Row {
    pub(super) fn owner(&self) -> Option<u32> {
        let (owner, until) = self.owner?;
        (until > Instant::now()).then_some(owner)
    }

    fn lease(&self, right: &Right) -> Lease {
        Lease {
            right: right.clone(),
            fence: Fence(self.fence),
        }
    }
}

impl Default for Ledger {
    fn default() -> Self {
        let leases = Shard::all().map(|shard| (Right::HandOut(shard), Row::default()));
        Self {
            leases: leases.collect(),
            replicas: BTreeMap::new(),
            claims: HashMap::new(),
            opened: 0,
            refused: 0,
        }
    }
}

impl Ledger {
    pub(super) fn fence(&self, right: &Right) -> Fence {
        Fence(self.leases.get(right).map_or(0, |row| row.fence))
    }

    fn living(&self) -> usize {
        self.replicas.values().filter(|until| **until > Instant::now()).count()
    }

    fn accounts(&self) -> usize {
        let is_account = |right: &&Right| matches!(right, Right::Pull(_));
        self.leases.keys().filter(is_account).count()
    }
}

#[async_trait]
impl Shared for Handle {
    async fn renew(&self, term: Duration) -> Result<Tenure, StoreError> {
        self.wire().await?;
        let until = Instant::now() + term;
        let mut ledger = self.joint.ledger();
        ledger.replicas.insert(self.owner, until);
        let mut leases = Vec::new();
        for (right, row) in &mut ledger.leases {
            if let Some((owner, held_until)) = &mut row.owner
                && *owner == self.owner
            {
                *held_until = until;
                leases.push(row.lease(right));
            }
        }
        Ok(Tenure::new(leases, ledger.living(), ledger.accounts()))
    }

    async fn take(&self, most: Quota, term: Duration) -> Result<Vec<Lease>, StoreError> {
        self.wire().await?;
        let until = Instant::now() + term;
        let mut left = most;
        let mut taken = Vec::new();
        for (right, row) in &mut self.joint.ledger().leases {
            let left = match right {
                Right::Pull(_) => &mut left.pulls,
                Right::HandOut(_) => &mut left.shards,
            };
            if *left > 0 && row.owner().is_none() {
                *left -= 1;
                row.fence += 1;
                row.owner = Some((self.owner, until));
                taken.push(row.lease(right));
            }
        }
        Ok(taken)
    }

    async fn census(&self) -> Result<Census, StoreError> {
        self.wire().await?;
        let ledger = self.joint.ledger();
        let mut vacant = Quota::default();
        for (right, _) in ledger.leases.iter().filter(|(_, row)| row.owner().is_none()) {
            match right {
                Right::Pull(_) => vacant.pulls += 1,
                Right::HandOut(_) => vacant.shards += 1,
            }
        }
        Ok(Census {
            replicas: ledger.living(),
            accounts: ledger.accounts(),
            vacant,
        })
    }

    async fn give_back(&self, leases: Vec<Lease>) -> Result<(), StoreError> {
        self.wire().await?;
        for Lease { right, fence } in leases {
            if let Some(row) = self.joint.ledger().leases.get_mut(&right)
                && (row.owner(), row.fence) == (Some(self.owner), fence.0)
            {
                row.owner = None;
            }
        }
        self.joint.vacancies.send_replace(());
        Ok(())
    }

    async fn leave(&self) -> Result<(), StoreError> {
        self.wire().await?;
        self.joint.ledger().replicas.remove(&self.owner);
        Ok(())
    }

    async fn woken(&self) -> Result<Vec<AccountState>, StoreError> {
        let mut accounts = self.wire().await?.accounts().await?;
        accounts.retain(|state| {
            let right = Right::Pull(state.account.clone());
            state.wake_up.is_some() && self.joint.owner(&right) == Some(self.owner)
        });
        Ok(accounts)
    }

    fn wake_ups_elsewhere(&self) -> watch::Receiver<()> {
        self.joint.wake_ups.subscribe()
    }

    fn vacancies(&self) -> watch::Receiver<()> {
        self.joint.vacancies.subscribe()
    }
}
