//! Who may pull which account and hand out which shard, where several processes share a store.

use super::Shard;
use crate::id::AccountKey;

/// What one process at a time has the right to do.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "messages are pulled and handed out; there is nothing else to share"
)]
pub enum Right {
    /// To pull an account.
    Pull(AccountKey),
    /// To hand out the messages of a shard, to every handler.
    HandOut(Shard),
}

/// Which holder of a [`Right`] is meant: how often the right has changed hands, in the store's count.
///
/// What is done under a right names its fence, and is refused once somebody else has taken the right since.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Fence(pub i64);

impl Fence {
    /// Before anybody took the right; in a store that nobody shares, always.
    pub const FIRST: Self = Self(0);
}

/// A right that this process holds, and under which fence.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a right and its fence")]
pub struct Lease {
    /// What may be done.
    pub right: Right,
    /// Named with everything that is done under it.
    pub fence: Fence,
}

/// How many leases of each kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "one number for each kind of right")]
pub struct Quota {
    /// Accounts to pull.
    pub pulls: usize,
    /// Shards to hand out.
    pub shards: usize,
}

/// What a renewal found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Tenure {
    /// Everything this process holds now. What it held before and is not here was taken by somebody else.
    pub leases: Vec<Lease>,
    /// Processes that renewed within their term, this one included.
    pub replicas: usize,
    /// Accounts there are, whoever pulls them.
    pub accounts: usize,
}

impl Tenure {
    /// What a renewal found.
    #[must_use]
    pub fn new(leases: Vec<Lease>, replicas: usize, accounts: usize) -> Self {
        Self {
            leases,
            replicas,
            accounts,
        }
    }
}

/// Who shares the work, and what of it nobody does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "three numbers")]
pub struct Census {
    /// Processes that renewed within their term and did not leave since.
    pub replicas: usize,
    /// Accounts there are, whoever pulls them.
    pub accounts: usize,
    /// Leases that could be taken.
    pub vacant: Quota,
}
