//! Whose order a message keeps, and which shard carries it.

use xxhash_rust::xxh3::xxh3_64;

use crate::id::AccountKey;

/// One customer of one account, as a hash: messages of one lane are handled in order, one at a time.
///
/// Two customers that share a hash share a lane, which costs a little parallelism and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Lane(u64);

impl Lane {
    /// Lane of what `party` (a customer; for an event without one, whoever it is about) does in `account`.
    ///
    /// Fixed for ever: stored rows depend on it.
    #[must_use]
    pub fn of(account: &AccountKey, party: &str) -> Self {
        let key = format!("{}\n{}\n{party}", account.app, account.open_kfid);
        Self(xxh3_64(key.as_bytes()))
    }

    /// Reads a lane back from a signed column.
    #[must_use]
    pub(crate) fn from_row(column: i64) -> Self {
        Self(column.cast_unsigned())
    }

    /// This lane as a signed column.
    #[must_use]
    pub(crate) fn to_row(self) -> i64 {
        self.0.cast_signed()
    }

    /// Shard that carries this lane.
    #[must_use]
    pub fn shard(self) -> Shard {
        Shard((self.0 % u64::from(Shard::COUNT)) as u8)
    }
}

/// One of the 64 parts that deliveries are split into.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Shard(u8);

impl Shard {
    /// How many shards there are. Fixed for ever: stored rows depend on it.
    pub const COUNT: u8 = 64;

    /// Every shard.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }

    /// Shard number `number`, if there is one.
    #[must_use]
    pub fn new(number: u8) -> Option<Self> {
        (number < Self::COUNT).then_some(Self(number))
    }

    /// Number of this shard, 0–63.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }
}

/// A set of shards.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ShardSet(u64);

impl ShardSet {
    /// Every shard.
    pub const ALL: Self = Self(u64::MAX);

    /// Adds `shard`.
    pub fn insert(&mut self, shard: Shard) {
        self.0 |= 1 << shard.0;
    }

    /// Takes `shard` out.
    pub fn remove(&mut self, shard: Shard) {
        self.0 &= !(1 << shard.0);
    }

    /// Whether `shard` is in it.
    #[must_use]
    pub fn contains(self, shard: Shard) -> bool {
        self.0 & (1 << shard.0) != 0
    }

    /// Both sets together.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both sets.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether no shard is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The shards in it, lowest first.
    pub fn iter(self) -> impl Iterator<Item = Shard> {
        Shard::all().filter(move |shard| self.contains(*shard))
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl FromIterator<Shard> for ShardSet {
    fn from_iter<I: IntoIterator<Item = Shard>>(shards: I) -> Self {
        let mut set = Self::default();
        for shard in shards {
            set.insert(shard);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{AppName, OpenKfid};

    #[test]
    fn a_lane_never_changes_its_shard() {
        let account = AccountKey::new(AppName::new("main").unwrap(), OpenKfid::from("wk1"));
        let lane = Lane::of(&account, "wm1");
        assert_eq!(Lane::from_row(lane.to_row()), lane);
        assert_eq!(
            lane,
            Lane::from_row(GOLDEN),
            "stored rows would be orphaned: got {}",
            lane.to_row()
        );
        assert_eq!(lane.shard().number(), 53);
    }

    const GOLDEN: i64 = 4_243_833_481_026_727_221;

    #[test]
    fn a_set_holds_what_was_put_in() {
        let [low, high] = [0, 63].map(|n| Shard::new(n).unwrap());
        let both: ShardSet = [low, high].into_iter().collect();
        assert_eq!(both.iter().collect::<Vec<_>>(), [low, high]);
        for (gone, kept) in [(low, high), (high, low)] {
            let mut set = both;
            set.remove(gone);
            assert_eq!(set.iter().collect::<Vec<_>>(), [kept]);
            assert_eq!(set.union(both), both);
            assert_eq!(set.intersection(both), set);
        }
        assert!(both.intersection(ShardSet::default()).is_empty());
        assert_eq!(ShardSet::ALL.iter().count(), 64);
        assert!(Shard::new(64).is_none());
    }
}
