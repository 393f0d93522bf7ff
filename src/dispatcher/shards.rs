//! How far one handler has read each shard of the store, and what is worth reading next. Pure.

use std::collections::HashMap;

use super::lanes::{Full, Lanes, Offer};
use crate::store::{Lane, Pending, Position, Seq, Shard, ShardSet};

/// Reading positions of one handler.
#[derive(Debug)]
pub(crate) struct Shards {
    after: [Seq; Shard::COUNT as usize],
    /// Those that are this process's to read.
    entered: ShardSet,
    /// Of those, the ones that may hold deliveries behind the reading position.
    behind: ShardSet,
    /// Had news since urgent deliveries were last looked for, or had some then.
    maybe_urgent: ShardSet,
    /// Lanes that were full when a delivery of theirs was read, and the first one that was left out. Reading goes on for
    /// everybody else; nothing behind it enters the lane before it is read again.
    overflowing: HashMap<Lane, Seq>,
    /// Counts reads; whether all shards are asked depends on it.
    turn: u8,
}

/// A read that is under way: what was asked.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) positions: Vec<Position>,
    pub(crate) limit_each: usize,
}

impl Shards {
    /// None to read yet.
    pub(crate) fn new() -> Self {
        Self::at_the_beginning_of(ShardSet::default())
    }

    fn at_the_beginning_of(shards: ShardSet) -> Self {
        Self {
            after: [Seq::default(); Shard::COUNT as usize],
            entered: shards,
            behind: shards,
            maybe_urgent: shards,
            overflowing: HashMap::new(),
            turn: 0,
        }
    }

    /// Reads `shard` from now on, from the beginning.
    pub(crate) fn enter(&mut self, shard: Shard) {
        self.leave(shard);
        self.entered.insert(shard);
        self.news([shard].into_iter().collect());
    }

    /// Reads `shard` no more, and forgets how far it came.
    pub(crate) fn leave(&mut self, shard: Shard) {
        for set in [&mut self.entered, &mut self.behind, &mut self.maybe_urgent] {
            set.remove(shard);
        }
        self.after[usize::from(shard.number())] = Seq::default();
        self.overflowing.retain(|lane, _| lane.shard() != shard);
    }

    /// `shards` have new deliveries.
    pub(crate) fn news(&mut self, shards: ShardSet) {
        let shards = shards.intersection(self.entered);
        self.behind = self.behind.union(shards);
        self.maybe_urgent = self.maybe_urgent.union(shards);
    }

    /// Deliveries may have come back anywhere: begins again.
    pub(crate) fn rewind(&mut self) {
        *self = Self::at_the_beginning_of(self.entered);
    }

    /// What to read next in order, when there is room for `room` deliveries. At most `most` of one shard at a time.
    ///
    /// Asks no more than half of all shards, those that have come least far, so that the others do not run away from them:
    /// messages that came together lie together in the store, and what several handlers read at about the same time is
    /// read once. All of them every fourth time: who is owed little need not wait until everybody has caught up.
    pub(crate) fn ask(&mut self, room: usize, most: usize, lanes: &Lanes) -> Option<Asked> {
        self.go_back_for_drained(lanes);
        let mut shards: Vec<_> = self.behind.iter().collect();
        if shards.is_empty() || room == 0 {
            return None;
        }
        self.turn = (self.turn + 1) % 4;
        if self.turn > 0 {
            shards.sort_by_key(|shard| self.after[usize::from(shard.number())]);
            shards.truncate(usize::from(Shard::COUNT / 2));
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
            let lane = row.lane;
            if !self.overflowing.contains_key(&lane) {
                match offer(row) {
                    Offer::Held => {}
                    Offer::Full(Full::Lane(lane)) => {
                        self.overflowing.insert(lane, seq);
                    }
                    Offer::Full(Full::Window) => {
                        stopped.insert(shard);
                        continue;
                    }
                }
            }
            self.after[usize::from(shard.number())] = seq;
        }
        for Position { shard, .. } in &asked.positions {
            if stopped.contains(*shard) || read[usize::from(shard.number())] >= asked.limit_each {
                self.behind.insert(*shard);
            }
        }
    }

    /// Notes where the answer to [`ask_urgent`](Self::ask_urgent) found something: there may be more than it names.
    pub(crate) fn take_urgent(&mut self, rows: &[Pending]) {
        let found = rows.iter().map(|row| row.lane.shard()).collect();
        self.maybe_urgent = self.maybe_urgent.union(found);
    }

    /// Whether deliveries of `lane` were left out: whatever stands behind them has to wait.
    pub(crate) fn overflows(&self, lane: Lane) -> bool {
        self.overflowing.contains_key(&lane)
    }

    /// Goes back to what was left out of lanes that have room again. What was read since is recognised.
    fn go_back_for_drained(&mut self, lanes: &Lanes) {
        let (after, behind) = (&mut self.after, &mut self.behind);
        self.overflowing.retain(|lane, first| {
            let drained = lanes.has_drained(*lane);
            if drained {
                let after = &mut after[usize::from(lane.shard().number())];
                *after = (*after).min(Seq(first.0 - 1));
                behind.insert(lane.shard());
            }
            !drained
        });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatcher::lanes::tests::{delivery, lanes};

    const MOST: usize = 256;

    fn ask(shards: &mut Shards, room: usize) -> Option<Asked> {
        shards.ask(room, MOST, &lanes(9, 9))
    }

    fn of(customers: &[&str]) -> ShardSet {
        customers
            .iter()
            .map(|customer| delivery(1, customer).lane.shard())
            .collect()
    }

    #[test]
    fn the_shards_share_the_room_and_each_is_asked_for_something_and_not_too_much() {
        for (room, each) in [(100, 50), (1, 1), (10_000, MOST)] {
            let mut shards = Shards::at_the_beginning_of(of(&["a", "b"]));
            assert_eq!(ask(&mut shards, room).unwrap().limit_each, each);
        }
        assert!(ask(&mut Shards::at_the_beginning_of(of(&["a", "b"])), 0).is_none());
    }

    #[test]
    fn those_that_have_come_least_far_are_read_first_and_all_every_fourth_time() {
        let mut shards = Shards::at_the_beginning_of(Shard::all().collect());
        let mut read = || {
            let asked = ask(&mut shards, 64).unwrap();
            for Position { shard, .. } in &asked.positions {
                shards.after[usize::from(shard.number())] = Seq(1);
            }
            // There is more.
            shards.failed(&asked);
            asked.positions.iter().map(|position| position.shard).collect()
        };
        let [first, second, third, fourth]: [ShardSet; 4] = std::array::from_fn(|_| read());
        assert_eq!(
            [first, second, third, fourth].map(|read| read.iter().count()),
            [32, 32, 32, 64]
        );
        assert_eq!(first.union(second), fourth);
    }

    #[test]
    fn a_read_that_failed_is_asked_again() {
        let mut shards = Shards::at_the_beginning_of(of(&["a"]));
        let asked = ask(&mut shards, 9).unwrap();
        assert!(ask(&mut shards, 9).is_none(), "it is under way");
        shards.failed(&asked);
        assert_eq!(ask(&mut shards, 9).unwrap().positions.len(), 1);
    }

    #[test]
    fn a_shard_that_is_left_forgets_what_was_left_out_and_no_other_does() {
        let mut shards = Shards::at_the_beginning_of(of(&["a", "b"]));
        let asked = ask(&mut shards, 9).unwrap();
        let rows = vec![delivery(1, "a"), delivery(2, "b")];
        shards.take(&asked, rows, |row| Offer::Full(Full::Lane(row.lane)));
        let [a, b] = ["a", "b"].map(|customer| delivery(1, customer).lane);
        assert!(shards.overflows(a) && shards.overflows(b));
        shards.leave(a.shard());
        assert!(!shards.overflows(a) && shards.overflows(b));
    }
}
