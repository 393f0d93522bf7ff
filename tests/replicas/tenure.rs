//! Who held what, when, by what the database saw.

use std::collections::HashMap;

use crate::life::Life;
use crate::moment::Moment;
use crate::witness::{Deed, Entry, Thing};

/// Every change of hands.
#[derive(Default)]
pub(crate) struct Tenures(HashMap<Thing, Vec<Change>>);

#[derive(Clone, Copy, Debug)]
struct Change {
    at: Moment,
    /// Who did it.
    who: Option<Life>,
    /// Whose it was from then on.
    holder: Option<Life>,
}

/// How a holder's time ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Loss {
    /// It gave the thing back.
    GivenBack,
    /// Somebody else took it.
    Taken,
}

impl Tenures {
    /// By the `log`, which is in order.
    pub(crate) fn of(log: &[Entry]) -> Self {
        let mut tenures = Self::default();
        for Entry { at, who, thing, deed } in log {
            let holder = match deed {
                Deed::Took => *who,
                Deed::GaveBack => None,
                Deed::Committed => continue,
            };
            let changes = tenures.0.entry(thing.clone()).or_default();
            changes.push(Change {
                at: *at,
                who: *who,
                holder,
            });
        }
        tenures
    }

    fn changes(&self, thing: &Thing) -> &[Change] {
        self.0.get(thing).map_or(&[], Vec::as_slice)
    }

    /// Who held `thing` at that moment.
    pub(crate) fn holder(&self, thing: &Thing, at: Moment) -> Option<Life> {
        let before = self.changes(thing).iter().take_while(|change| change.at <= at);
        before.last()?.holder
    }

    /// How `life`, which held `thing` at `from`, lost it, if it did up to `to`.
    pub(crate) fn loss(&self, thing: &Thing, life: Life, from: Moment, to: Moment) -> Option<Loss> {
        let between = self
            .changes(thing)
            .iter()
            .filter(|change| from < change.at && change.at <= to);
        let mut losses = between.filter_map(|change| match change {
            Change { who, holder: None, .. } if *who == Some(life) => Some(Loss::GivenBack),
            Change { who, .. } if *who != Some(life) => Some(Loss::Taken),
            Change { .. } => None,
        });
        losses.next()
    }

    /// What `life` held at that moment.
    pub(crate) fn held(&self, life: Life, at: Moment) -> Vec<&Thing> {
        let held = self.0.keys().filter(|thing| self.holder(thing, at) == Some(life));
        held.collect()
    }

    /// For everything that `life` held when it died: how long it took until somebody had taken it, if only the next in its
    /// place. The longest there can be, for what nobody took.
    pub(crate) fn takeovers(&self, life: Life, died: Moment) -> Vec<Moment> {
        let taken = self.held(life, died).into_iter().map(|thing| {
            let mut later = self.changes(thing).iter().filter(|change| change.at > died);
            let taken = later.find(|change| change.holder.is_some());
            taken.map_or(Moment::MAX, |change| change.at - died)
        });
        taken.collect()
    }
}

/// Commits by somebody other than who held the thing then.
pub(crate) fn stale_commits(log: &[Entry]) -> u64 {
    let mut holders: HashMap<&Thing, Option<Life>> = HashMap::new();
    let mut stale = 0;
    for Entry { who, thing, deed, .. } in log {
        match deed {
            Deed::Took => drop(holders.insert(thing, *who)),
            // Whoever held it last may still commit: nobody else has done anything since.
            Deed::GaveBack => {}
            Deed::Committed => stale += u64::from(holders.get(thing).copied().flatten() != *who),
        }
    }
    stale
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const A: Life = Life { replica: 0, number: 0 };
    const B: Life = Life { replica: 1, number: 0 };
    const THING: Thing = Thing::Shard(7);

    fn log(deeds: &[(u64, Life, Deed)]) -> Vec<Entry> {
        let entry = |(at, who, deed): &(u64, Life, Deed)| Entry {
            at: Duration::from_secs(*at),
            who: Some(*who),
            thing: THING,
            deed: *deed,
        };
        deeds.iter().map(entry).collect()
    }

    fn secs(secs: u64) -> Moment {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_commit_by_whom_the_lease_was_taken_from_is_found() {
        let log = log(&[
            (1, A, Deed::Took),
            (2, A, Deed::Committed),
            (3, B, Deed::Took),
            (4, B, Deed::Committed),
            (5, A, Deed::Committed),
            (6, A, Deed::Took),
            (7, A, Deed::Committed),
        ]);
        assert_eq!(stale_commits(&log), 1);
    }

    #[test]
    fn a_commit_by_a_later_life_without_a_lease_of_its_own_is_found() {
        assert_eq!(
            stale_commits(&log(&[(1, A, Deed::Took), (2, A.next(), Deed::Committed)])),
            1
        );
        assert_eq!(stale_commits(&log(&[(2, A, Deed::Committed)])), 1);
    }

    #[test]
    fn a_lease_that_is_taken_is_told_from_one_that_is_given_back() {
        let log = log(&[
            (1, A, Deed::Took),
            (3, B, Deed::Took),
            (5, B, Deed::GaveBack),
            (7, A, Deed::Took),
        ]);
        let tenures = Tenures::of(&log);
        let holders = [0, 1, 3, 5, 7].map(|at| tenures.holder(&THING, secs(at)));
        assert_eq!(holders, [None, Some(A), Some(B), None, Some(A)]);
        assert_eq!(tenures.loss(&THING, A, secs(2), secs(9)), Some(Loss::Taken));
        assert_eq!(tenures.loss(&THING, B, secs(4), secs(9)), Some(Loss::GivenBack));
        assert_eq!(tenures.loss(&THING, B, secs(4), secs(4)), None);
    }

    #[test]
    fn the_time_of_a_takeover_counts_from_the_death() {
        let log = log(&[(1, A, Deed::Took), (8, B, Deed::Took)]);
        let tenures = Tenures::of(&log);
        assert_eq!(tenures.takeovers(A, secs(5)), [secs(3)]);
        assert!(tenures.takeovers(B, secs(5)).is_empty());
        assert_eq!(tenures.takeovers(B, secs(9)), [Moment::MAX]);
    }
}
