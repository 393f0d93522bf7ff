//! The right to begin something now, and its end.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use crate::store::{Fence, Lease};

/// The right to pull an account or to hand out a shard.
///
/// Kept from before the work begins until what came of it is recorded: as long as one is, its lease is not given to
/// anybody else, unless it runs out.
#[derive(Clone)]
pub struct Title(Option<Arc<Tenancy>>);

impl Title {
    /// Of a process that has its store to itself.
    pub const SOLE: Self = Self(None);

    /// One of `lease`, which stands until `until`. The lease comes out of `returns` when the last clone is dropped.
    pub(super) fn new(lease: Lease, until: Instant, returns: UnboundedSender<Lease>) -> Self {
        let tenancy = Tenancy {
            lease,
            epoch: Instant::now(),
            until_micros: AtomicU64::new(0),
            returns,
        };
        tenancy.set(until);
        Self(Some(Arc::new(tenancy)))
    }

    /// Named with what comes of the work.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.0.as_ref().map_or(Fence::FIRST, |tenancy| tenancy.lease.fence)
    }

    /// Whether work may begin under it now. To be asked right before.
    #[must_use]
    pub fn stands(&self) -> bool {
        self.0.as_ref().is_none_or(|tenancy| tenancy.micros_left() > 0)
    }

    /// When it falls unless it is renewed; `None` if never.
    pub(super) fn until(&self) -> Option<Instant> {
        let tenancy = self.0.as_ref()?;
        Some(tenancy.epoch + Duration::from_micros(tenancy.until_micros.load(Ordering::Relaxed)))
    }

    /// Lets it stand until `until`. One that fell does not rise again: somebody may have seen it, and acted on that.
    pub(super) fn extend(&self, until: Instant) -> bool {
        let stands = self.stands();
        if stands && let Some(tenancy) = &self.0 {
            tenancy.set(until);
        }
        stands
    }

    /// Nothing begins under it any more.
    pub(super) fn fall(&self) {
        if let Some(tenancy) = &self.0 {
            tenancy.until_micros.store(0, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Title {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Title")
            .field("fence", &self.fence())
            .field("stands", &self.stands())
            .finish()
    }
}

/// What the clones of a title share.
struct Tenancy {
    lease: Lease,
    epoch: Instant,
    /// When it falls, in microseconds since the epoch; 0 once it has to.
    until_micros: AtomicU64,
    returns: UnboundedSender<Lease>,
}

impl Tenancy {
    fn set(&self, until: Instant) {
        let micros = until.saturating_duration_since(self.epoch).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        self.until_micros.store(micros, Ordering::Relaxed);
    }

    fn micros_left(&self) -> u128 {
        let until = u128::from(self.until_micros.load(Ordering::Relaxed));
        until.saturating_sub(self.epoch.elapsed().as_micros())
    }
}

impl Drop for Tenancy {
    fn drop(&mut self) {
        // Without a tender nobody gives it back: it runs out.
        let _ = self.returns.send(self.lease.clone());
    }
}
