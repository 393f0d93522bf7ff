//! How far one handler has read each shard of the store, and what is worth reading next. Pure.

use std::collections::HashMap;

use super::lanes::{Full, Lanes, Offer};
use crate::store::{Lane, Pending, Position, Seq, Shard, ShardSet};

/// Reading positions of one handler.
#[derive(Debug)]
pub(crate) struct Shards {
    after: [Seq; Shard::COUNT as usize],
    /// May hold deliveries behind the reading position.
    behind: ShardSet,
    /// Had news since urgent deliveries were last looked for.
    maybe_urgent: ShardSet,
    /// Stopped at a delivery whose lane is full: a busy customer holds up 1/64 of the others' *reading*, until half of
    /// the lane is done.
    stopped_at: HashMap<Shard, Lane>,
}

/// A read that is under way: what was asked.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) positions: Vec<Position>,
    pub(crate) limit_each: usize,
}

impl Shards {
    pub(crate) fn new() -> Self {
        Self {
            after: [Seq::default(); Shard::COUNT as usize],
            behind: ShardSet::ALL,
            maybe_urgent: ShardSet::ALL,
            stopped_at: HashMap::new(),
        }
    }

    /// `shards` have new deliveries.
    pub(crate) fn news(&mut self, shards: ShardSet) {
        self.behind = self.behind.union(shards);
        self.maybe_urgent = self.maybe_urgent.union(shards);
    }

    /// Deliveries may have come back anywhere: begins again.
    pub(crate) fn rewind(&mut self) {
        *self = Self::new();
    }

    /// What to read next in order, when there is room for `room` deliveries. At most `most` of one shard at a time.
    pub(crate) fn ask(&mut self, room: usize, most: usize, lanes: &Lanes) -> Option<Asked> {
        self.stopped_at.retain(|_, lane| !lanes.has_drained(*lane));
        let shards: Vec<_> = self
            .behind
            .iter()
            .filter(|shard| !self.stopped_at.contains_key(shard))
            .collect();
        if shards.is_empty() || room == 0 {
            return None;
        }
        for shard in &shards {
            self.behind.remove(*shard);
        }
        let limit_each = (room / shards.len()).clamp(1, most);
        Some(Asked {
            positions: self.positions(&shards),
            limit_each,
        })
    }

    /// Where to look for urgent deliveries that reading in order would reach too late.
    pub(crate) fn ask_urgent(&mut self, most: usize) -> Option<Asked> {
        let shards: Vec<_> = self
            .maybe_urgent
            .iter()
            .filter(|shard| self.behind.contains(*shard))
            .collect();
        self.maybe_urgent = ShardSet::default();
        (!shards.is_empty()).then(|| Asked {
            positions: self.positions(&shards),
            limit_each: most,
        })
    }

    /// Hands the answer to [`ask`](Self::ask) over, as far as there is room.
    pub(crate) fn take(&mut self, asked: &Asked, rows: Vec<Pending>, mut offer: impl FnMut(Pending) -> Offer) {
        let mut read = [0_usize; Shard::COUNT as usize];
        let mut stopped = ShardSet::default();
        for row in rows {
            let (shard, seq) = (row.lane.shard(), row.seq);
            read[usize::from(shard.number())] += 1;
            if stopped.contains(shard) {
                continue;
            }
            match offer(row) {
                Offer::Held => self.after[usize::from(shard.number())] = seq,
                Offer::Full(full) => {
                    stopped.insert(shard);
                    if let Full::Lane(lane) = full {
                        self.stopped_at.insert(shard, lane);
                    }
                }
            }
        }
        for Position { shard, .. } in &asked.positions {
            if stopped.contains(*shard) || read[usize::from(shard.number())] >= asked.limit_each {
                self.behind.insert(*shard);
            }
        }
    }

    /// The read failed: it is to be asked again.
    pub(crate) fn failed(&mut self, asked: &Asked) {
        self.news(asked.positions.iter().map(|position| position.shard).collect());
    }

    fn positions(&self, shards: &[Shard]) -> Vec<Position> {
        shards
            .iter()
            .map(|shard| Position {
                shard: *shard,
                after: self.after[usize::from(shard.number())],
            })
            .collect()
    }
}
