//! What a store does beyond [`Store`](super::Store) when several processes share it.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::{AccountState, Census, Lease, Quota, SharedTokens, StoreError, Tenure};
use crate::clock::SetClock;

/// Shares the work of a store among the processes that have it open, each of which is known by the handle it opened.
///
/// A lease lasts for its term by the store's own clock; no process's clock is ever compared with another's.
#[async_trait]
pub trait Shared: Send + Sync {
    /// Renews everything this process holds for another `term`, in one statement, and notes that it lives. A lease that
    /// ran out and was not taken by anybody since is held again, under the same fence.
    async fn renew(&self, term: Duration) -> Result<Tenure, StoreError>;

    /// Sets `clock` by the store's own, and again with every renewal, so that what processes write down for each other
    /// means the same to all of them. A store whose processes have one clock leaves it alone.
    async fn set_clock(&self, _clock: &SetClock) -> Result<(), StoreError> {
        Ok(())
    }

    /// Takes leases that nobody holds, up to `most` of each kind, for `term`. Each gets a new fence, under which alone
    /// can be done what is fenced; claims of an account made before can no longer commit.
    async fn take(&self, most: Quota, term: Duration) -> Result<Vec<Lease>, StoreError>;

    /// Counts who shares the work and what is free. Changes nothing, and is asked for every second.
    async fn census(&self) -> Result<Census, StoreError>;

    /// Gives `leases` back, as far as they are still held under these fences, so that others may take them at once.
    async fn give_back(&self, leases: Vec<Lease>) -> Result<(), StoreError>;

    /// Counts among the replicas no more. What is still held runs out by itself.
    async fn leave(&self) -> Result<(), StoreError>;

    /// The accounts this process holds that have a wake-up no finished pull has answered, whoever recorded it.
    async fn woken(&self) -> Result<Vec<AccountState>, StoreError>;

    /// Changes when another process may have recorded a wake-up. Coalesced, and never the only way to find one.
    fn wake_ups_elsewhere(&self) -> watch::Receiver<()>;

    /// Changes when leases may have come free before their time. Coalesced, and never the only way to find them.
    fn vacancies(&self) -> watch::Receiver<()>;

    /// Where these processes share access tokens; `None` leaves each with its own.
    fn tokens(&self) -> Option<&dyn SharedTokens> {
        None
    }
}
