//! How a dispatcher hears that a shard has new work: coalesced, bounded, and never the only way to find it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

use super::ShardSet;

/// Rung by a store when shards get new work; every [`News`] made from it hears.
#[derive(Debug, Default)]
pub struct Bell {
    listeners: Mutex<Vec<Weak<Slot>>>,
}

#[derive(Debug)]
struct Slot {
    shards: AtomicU64,
    changed: Notify,
}

/// Hears of shards with new work. However much happens between two looks, it costs eight bytes.
#[derive(Debug)]
pub struct News(Arc<Slot>);

impl Bell {
    /// Tells every listener that `shards` have new work.
    pub fn ring(&self, shards: ShardSet) {
        if shards.is_empty() {
            return;
        }
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| {
            let Some(slot) = listener.upgrade() else { return false };
            slot.shards.fetch_or(shards.bits(), Ordering::SeqCst);
            slot.changed.notify_one();
            true
        });
    }

    /// A new listener, for whom every shard is news at first.
    #[must_use]
    pub fn listen(&self) -> News {
        let slot = Arc::new(Slot {
            shards: AtomicU64::new(ShardSet::ALL.bits()),
            changed: Notify::new(),
        });
        slot.changed.notify_one();
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::downgrade(&slot));
        News(slot)
    }
}

impl News {
    /// Waits for news and takes it. Dropping the future loses none.
    pub async fn next(&self) -> ShardSet {
        loop {
            let shards = self.take();
            if !shards.is_empty() {
                return shards;
            }
            self.0.changed.notified().await;
        }
    }

    /// Takes the news there is now, without waiting.
    #[must_use]
    pub fn take(&self) -> ShardSet {
        ShardSet::from_bits(self.0.shards.swap(0, Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Shard;

    #[tokio::test]
    async fn rings_between_two_looks_come_together() {
        let bell = Bell::default();
        let news = bell.listen();
        assert_eq!(news.next().await, ShardSet::ALL);
        let [a, b] = [3, 9].map(|n| Shard::new(n).unwrap());
        bell.ring([a].into_iter().collect());
        bell.ring([b].into_iter().collect());
        assert_eq!(news.next().await.iter().collect::<Vec<_>>(), [a, b]);
        assert!(news.take().is_empty());
    }

    #[test]
    fn a_listener_that_left_is_forgotten() {
        let bell = Bell::default();
        drop(bell.listen());
        bell.ring(ShardSet::ALL);
        assert!(bell.listeners.lock().unwrap().is_empty());
    }
}
