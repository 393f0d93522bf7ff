//! Which shards are this handler's to hand out, and under which titles.

use tokio::sync::watch;
use tokio::time::Instant;

use super::Runner;
use crate::lease::{Holdings, Leases, Title};
use crate::store::{Fence, Lane, Seq, Shard, ShardSet};

/// The shards that are held, as far as this runner knows.
pub(super) struct Estate {
    holdings: watch::Receiver<Holdings>,
    titles: [Option<Title>; Shard::COUNT as usize],
    /// Held, and not read yet: not before what was concluded under an earlier title is recorded.
    to_enter: ShardSet,
    /// Left or entered while a read was under way, which says nothing true of them any more.
    stale: ShardSet,
}

impl Estate {
    /// Nothing, until it is looked at what `leases` hold.
    pub(super) fn of(leases: &Leases) -> Self {
        Self {
            holdings: leases.holdings(),
            titles: [const { None }; Shard::COUNT as usize],
            to_enter: ShardSet::default(),
            stale: ShardSet::default(),
        }
    }

    /// Whether other processes hand out what this one does not.
    pub(super) fn is_shared(&self) -> bool {
        !self.holdings.borrow().is_everything()
    }

    /// Waits until something else is held.
    pub(super) async fn changed(&mut self) {
        if self.holdings.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Takes over what is held. Returns the shards that are no longer held, or are again after others may have had them.
    fn look(&mut self) -> ShardSet {
        let holdings = self.holdings.borrow_and_update();
        let had_and_have = Shard::all().zip(&mut self.titles).filter_map(|(shard, title)| {
            let fence = title.as_ref().map(Title::fence);
            *title = holdings.shard(shard);
            (title.as_ref().map(Title::fence) != fence).then_some(shard)
        });
        had_and_have.collect()
    }

    /// Fence under which `shard` is held.
    pub(super) fn fence(&self, shard: Shard) -> Option<Fence> {
        self.titles[usize::from(shard.number())].as_ref().map(Title::fence)
    }

    /// Title to begin something in `shard` with now. One that has fallen is let go of.
    pub(super) fn title(&mut self, shard: Shard) -> Option<Title> {
        let title = &mut self.titles[usize::from(shard.number())];
        title.take_if(|title| !title.stands());
        title.clone()
    }

    /// Lets go of everything.
    pub(super) fn clear(&mut self) {
        self.titles.fill_with(|| None);
    }

    /// Takes the shards of which the read that has just ended says nothing true.
    pub(super) fn take_stale(&mut self) -> ShardSet {
        std::mem::take(&mut self.stale)
    }
}

impl Runner {
    /// Takes note of what is held now.
    pub(super) fn take_holdings(&mut self) {
        let changed = self.estate.look();
        self.start_over(changed);
    }

    /// Forgets what waits of `shards`, and reads those from the beginning that are held. What runs goes on, and is not
    /// started beside itself.
    pub(super) fn start_over(&mut self, shards: ShardSet) {
        if shards.is_empty() {
            return;
        }
        self.lanes.evict(shards);
        for shard in shards.iter() {
            self.shards.leave(shard);
            if self.reading.is_some() {
                self.estate.stale.insert(shard);
            }
            if self.estate.fence(shard).is_some() {
                self.estate.to_enter.insert(shard);
            } else {
                self.estate.to_enter.remove(shard);
            }
        }
    }

    /// Starts to read the shards that are held and settled. Read earlier, they would show deliveries whose end is being
    /// recorded.
    pub(super) fn enter_shards(&mut self) {
        if self.estate.to_enter.is_empty() {
            return;
        }
        let unsettled = self.unrecorded.shards().union(self.being_recorded);
        for shard in self.estate.to_enter.iter().filter(|shard| !unsettled.contains(*shard)) {
            self.shards.enter(shard);
            self.estate.to_enter.remove(shard);
        }
    }

    /// The delivery `seq`, taken from its lane, cannot be tried: its shard is not held any more.
    pub(super) fn put_aside(&mut self, lane: Lane, seq: Seq) {
        self.lanes.finished(lane, Instant::now());
        self.lanes.forget(seq);
        self.start_over([lane.shard()].into_iter().collect());
    }
}
