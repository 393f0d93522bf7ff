//! Who may pull which account and hand out which shard, and until when.

use std::time::Duration;

use tokio::time::Instant;
use wecom_kf::store::{AccountState, Census, Fence, Lease, Quota, Right, Shard, Tenure};

use super::tables::Tables;

/// Who holds a right, or held it last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Holder {
    pub(super) fence: Fence,
    /// Number of the process, and when its term ends. `None` once it was given back.
    term: Option<(u64, Instant)>,
}

impl Holder {
    fn is(&self, owner: u64) -> bool {
        self.term.is_some_and(|(holder, _)| holder == owner)
    }

    fn is_free(&self, now: Instant) -> bool {
        self.term.is_none_or(|(_, until)| until <= now)
    }

    fn prolong(&mut self, owner: u64, until: Instant) {
        if self.is(owner) {
            self.term = Some((owner, until));
        }
    }

    fn take(&mut self, owner: u64, until: Instant) -> Fence {
        self.fence.0 += 1;
        self.term = Some((owner, until));
        self.fence
    }
}

impl Tables {
    pub(super) fn holder(&self, shard: Shard) -> Holder {
        self.shards.get(&shard).copied().unwrap_or_default()
    }

    pub(super) fn renew(&mut self, owner: u64, now: Instant, term: Duration) -> Tenure {
        self.replicas.insert(owner, now + term);
        self.replicas.retain(|_, until| *until > now);
        let mut leases = Vec::new();
        for (key, account) in &mut self.accounts {
            account.holder.prolong(owner, now + term);
            if account.holder.is(owner) {
                let (right, fence) = (Right::Pull(key.clone()), account.holder.fence);
                leases.push(Lease { right, fence });
            }
        }
        for (shard, holder) in &mut self.shards {
            holder.prolong(owner, now + term);
            if holder.is(owner) {
                let (right, fence) = (Right::HandOut(*shard), holder.fence);
                leases.push(Lease { right, fence });
            }
        }
        Tenure::new(leases, self.replicas.len(), self.accounts.len())
    }

    pub(super) fn take(&mut self, owner: u64, most: Quota, now: Instant, term: Duration) -> Vec<Lease> {
        let free = self
            .accounts
            .iter_mut()
            .filter(|(_, account)| account.holder.is_free(now));
        let mut leases: Vec<Lease> = Vec::new();
        for (key, account) in free.take(most.pulls) {
            // Whoever claimed it before can no longer commit.
            account.claim += 1;
            let (right, fence) = (Right::Pull(key.clone()), account.holder.take(owner, now + term));
            leases.push(Lease { right, fence });
        }
        let free: Vec<Shard> = Shard::all().filter(|shard| self.holder(*shard).is_free(now)).collect();
        for shard in free.into_iter().take(most.shards) {
            let fence = self.shards.entry(shard).or_default().take(owner, now + term);
            let right = Right::HandOut(shard);
            leases.push(Lease { right, fence });
        }
        leases
    }

    pub(super) fn census(&self, now: Instant) -> Census {
        Census {
            replicas: self.replicas.values().filter(|until| **until > now).count(),
            accounts: self.accounts.len(),
            vacant: Quota {
                pulls: self
                    .accounts
                    .values()
                    .filter(|account| account.holder.is_free(now))
                    .count(),
                shards: Shard::all().filter(|shard| self.holder(*shard).is_free(now)).count(),
            },
        }
    }

    pub(super) fn give_back(&mut self, owner: u64, leases: Vec<Lease>) {
        for Lease { right, fence } in leases {
            let holder = match right {
                Right::Pull(key) => self.accounts.get_mut(&key).map(|account| &mut account.holder),
                Right::HandOut(shard) => self.shards.get_mut(&shard),
            };
            if let Some(holder) = holder.filter(|holder| holder.is(owner) && holder.fence == fence) {
                holder.term = None;
            }
        }
    }

    pub(super) fn leave(&mut self, owner: u64) {
        self.replicas.remove(&owner);
    }

    pub(super) fn woken(&self, owner: u64) -> Vec<AccountState> {
        let held = self.accounts.iter().filter(|(_, account)| account.holder.is(owner));
        let states = held.map(|(key, account)| account.state(key));
        states.filter(|state| state.wake_up.is_some()).collect()
    }
}
