//! What this process may do now, where several processes share a store.
//!
//! Who pulls an account and who hands out a shard is written in the store, as leases that run out unless they are
//! renewed. A [`Tender`] renews them, takes what is free up to this process's share and gives up what is beyond it;
//! [`Leases`] tells the engines what is held.
//!
//! An engine begins nothing without a [`Title`], and keeps it until what came of its work is recorded. A title stands
//! until a moment on this process's own monotonic clock that lies before the one at which the store lets others have
//! the lease: however long the process was stopped, it begins nothing that is no longer its to do. What was begun in
//! time may end late; its page, retry or burial names the fence of the title, and the store refuses it once somebody
//! else has taken the lease.
//!
//! To hand a lease over, it is withdrawn first: no new title, and it goes back to the store when the last one is
//! dropped. So the next holder never overlaps with work in hand.
//!
//! Where a store belongs to one process alone, that one may do everything, for ever: [`Leases::sole`], which costs
//! nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::clock::Clock;
use crate::store::Store;

mod board;
mod books;
mod holdings;
mod tender;
#[cfg(test)]
mod tests;
mod title;

use board::Board;
pub use holdings::Holdings;
pub use tender::Tender;
pub use title::Title;

/// How leases are kept.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// How long a lease lasts by the store's clock when it is not renewed: what a crash delays its accounts and
    /// customers by. Renewed three times as often; this process lets go a fifth of it earlier than the store does.
    pub term: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            term: Duration::from_secs(15),
        }
    }
}

/// What this process may do now. Clones see the same.
#[derive(Clone, Debug)]
pub struct Leases {
    /// Also with the tender, if there is one.
    board: Arc<Board>,
    seek: Arc<Notify>,
}

impl Leases {
    /// Those of a process that has its store to itself: everything, for ever.
    #[must_use]
    pub fn sole() -> Self {
        Self::on(Board::of(Holdings::everything()))
    }

    /// Those of this process in `store`, and who tends them, if the store is shared.
    #[must_use]
    pub fn of(store: &Arc<dyn Store>, clock: &Arc<dyn Clock>, settings: Settings) -> (Self, Option<Tender>) {
        if store.shared().is_none() {
            return (Self::sole(), None);
        }
        let leases = Self::on(Board::of(Holdings::default()));
        let tender = Tender::new(Arc::clone(store), Arc::clone(clock), settings, &leases);
        (leases, Some(tender))
    }

    fn on(board: Board) -> Self {
        Self {
            board: Arc::new(board),
            seek: Arc::default(),
        }
    }

    /// What is held, now and after every change.
    #[must_use]
    pub fn holdings(&self) -> watch::Receiver<Holdings> {
        self.board.listen()
    }

    /// Something may just have become free, or come into being: it is looked for at once.
    pub fn seek(&self) {
        self.seek.notify_one();
    }
}
