//! Which leases are held, which are on their way back, and who still works under them. No I/O.

use std::collections::BTreeMap;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::{Holdings, Title};
use crate::metric;
use crate::store::{Census, Fence, Lease, Quota, Right, Shard};

/// The leases of one process.
pub(super) struct Books {
    /// Work may begin under these, until they fall.
    held: BTreeMap<Right, Title>,
    /// Withdrawn: they go back when nobody works under them any more, and are renewed until then.
    withdrawn: BTreeMap<Right, Fence>,
    /// Titles made for a right, clones aside, that somebody still has. There are several where a lease was lost and had
    /// again while work under it went on.
    outstanding: BTreeMap<Right, usize>,
    returns: UnboundedSender<Lease>,
}

impl Books {
    /// Empty ones, whose titles come out of `returns` when they are dropped.
    pub(super) fn new(returns: UnboundedSender<Lease>) -> Self {
        Self {
            held: BTreeMap::new(),
            withdrawn: BTreeMap::new(),
            outstanding: BTreeMap::new(),
            returns,
        }
    }

    /// What work may begin under.
    pub(super) fn holdings(&self) -> Holdings {
        Holdings::of(self.held.clone())
    }

    /// The store says that `leases`, and nothing else, are held, and by this process's clock they are until `until`.
    /// Returns whether anything changed.
    pub(super) fn renewed(&mut self, leases: Vec<Lease>, until: Instant) -> bool {
        let mut before = std::mem::take(&mut self.held);
        let mut withdrawn = std::mem::take(&mut self.withdrawn);
        let mut changed = false;
        for lease in leases {
            if withdrawn.get(&lease.right) == Some(&lease.fence) {
                withdrawn.remove(&lease.right);
                self.withdrawn.insert(lease.right, lease.fence);
                continue;
            }
            match before.remove(&lease.right) {
                Some(title) if title.fence() == lease.fence && title.extend(until) => {
                    self.held.insert(lease.right, title);
                }
                had => {
                    if let Some(title) = had {
                        lose(&lease.right, &title);
                    }
                    // Held all the time, or taken by a call whose answer was lost.
                    self.hold(lease, until);
                    changed = true;
                }
            }
        }
        for (right, title) in &before {
            lose(right, title);
            changed = true;
        }
        for right in withdrawn.keys() {
            count("lost", right);
        }
        changed
    }

    /// The store has just given `leases`, until `until` by this process's clock.
    pub(super) fn taken(&mut self, leases: Vec<Lease>, until: Instant) {
        for lease in leases {
            self.withdrawn.remove(&lease.right);
            self.hold(lease, until);
        }
    }

    fn hold(&mut self, lease: Lease, until: Instant) {
        count("taken", &lease.right);
        *self.outstanding.entry(lease.right.clone()).or_default() += 1;
        let title = Title::new(lease.clone(), until, self.returns.clone());
        self.held.insert(lease.right, title);
    }

    /// Lets go of what has fallen. Returns how much that was.
    pub(super) fn lapse(&mut self) -> usize {
        let before = self.held.len();
        self.held.retain(|right, title| {
            let stands = title.stands();
            if !stands {
                count("lost", right);
            }
            stands
        });
        before - self.held.len()
    }

    /// When the next title falls, unless it is renewed.
    pub(super) fn next_lapse(&self) -> Option<Instant> {
        self.held.values().filter_map(Title::until).min()
    }

    /// Withdraws what is beyond `share`. Returns how much that is.
    pub(super) fn withdraw_beyond(&mut self, share: Quota) -> usize {
        let surplus = |kind: fn(&Right) -> bool, share: usize| {
            let of_kind: Vec<_> = self.held.keys().filter(|right| kind(right)).cloned().collect();
            of_kind.into_iter().skip(share)
        };
        let rights: Vec<_> = surplus(is_pull, share.pulls)
            .chain(surplus(is_hand_out, share.shards))
            .collect();
        for right in &rights {
            if let Some(title) = self.held.remove(right) {
                title.fall();
                self.withdrawn.insert(right.clone(), title.fence());
            }
        }
        rights.len()
    }

    /// A title of `lease` was dropped by the last who had it.
    pub(super) fn returned(&mut self, lease: &Lease) {
        if let Some(outstanding) = self.outstanding.get_mut(&lease.right) {
            *outstanding -= 1;
            if *outstanding == 0 {
                self.outstanding.remove(&lease.right);
            }
        }
    }

    /// Withdrawn leases that nobody works under any more.
    pub(super) fn to_give_back(&self) -> Vec<Lease> {
        let idle = self
            .withdrawn
            .iter()
            .filter(|(right, _)| !self.outstanding.contains_key(right));
        let lease = |(right, fence): (&Right, &Fence)| Lease {
            right: right.clone(),
            fence: *fence,
        };
        idle.map(lease).collect()
    }

    /// The store has `leases` back.
    pub(super) fn given_back(&mut self, leases: &[Lease]) {
        for lease in leases {
            count("given_back", &lease.right);
            self.withdrawn.remove(&lease.right);
        }
    }

    /// Whether some leases are on their way back.
    pub(super) fn has_withdrawn(&self) -> bool {
        !self.withdrawn.is_empty()
    }

    /// How much of what is vacant belongs to this process's share.
    pub(super) fn lacks(&self, share: Quota, vacant: Quota) -> Quota {
        let held = quota(self.held.keys());
        Quota {
            pulls: share.pulls.saturating_sub(held.pulls).min(vacant.pulls),
            shards: share.shards.saturating_sub(held.shards).min(vacant.shards),
        }
    }

    /// How many leases this process has, those on their way back included.
    pub(super) fn owned(&self) -> Quota {
        quota(self.held.keys().chain(self.withdrawn.keys()))
    }
}

/// An even share of everything there is, for each of the living: rounded up, so that nothing is left over.
pub(super) fn share(census: Census) -> Quota {
    let replicas = census.replicas.max(1);
    Quota {
        pulls: census.accounts.div_ceil(replicas),
        shards: usize::from(Shard::COUNT).div_ceil(replicas),
    }
}

fn quota<'a>(rights: impl Iterator<Item = &'a Right>) -> Quota {
    rights.fold(Quota::default(), |mut quota, right| {
        match right {
            Right::Pull(_) => quota.pulls += 1,
            Right::HandOut(_) => quota.shards += 1,
        }
        quota
    })
}

fn is_pull(right: &Right) -> bool {
    matches!(right, Right::Pull(_))
}

fn is_hand_out(right: &Right) -> bool {
    matches!(right, Right::HandOut(_))
}

fn lose(right: &Right, title: &Title) {
    title.fall();
    count("lost", right);
}

fn count(change: &'static str, right: &Right) {
    let kind = if is_pull(right) { "pull" } else { "shard" };
    metrics::counter!(metric::LEASE_CHANGES, "kind" => kind, "change" => change).increment(1);
}
