//! What is held at one moment, as the engines see it.

use std::collections::BTreeMap;

use super::Title;
use crate::id::AccountKey;
use crate::store::{Right, Shard};

/// What this process may begin. What is in it may have fallen since: ask the title.
#[derive(Clone, Debug)]
pub struct Holdings(Extent);

#[derive(Clone, Debug)]
enum Extent {
    Everything,
    These(BTreeMap<Right, Title>),
}

impl Default for Holdings {
    /// Nothing.
    fn default() -> Self {
        Self::of(BTreeMap::new())
    }
}

impl Holdings {
    pub(super) fn everything() -> Self {
        Self(Extent::Everything)
    }

    pub(super) fn of(titles: BTreeMap<Right, Title>) -> Self {
        Self(Extent::These(titles))
    }

    /// Whether everything is this process's to do, for ever.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        matches!(self.0, Extent::Everything)
    }

    /// Title to hand out `shard`.
    #[must_use]
    pub fn shard(&self, shard: Shard) -> Option<Title> {
        match &self.0 {
            Extent::Everything => Some(Title::SOLE),
            Extent::These(titles) => titles.get(&Right::HandOut(shard)).cloned(),
        }
    }

    /// The accounts held, and the title to pull each; `None` if every account is.
    #[must_use]
    pub fn accounts(&self) -> Option<impl Iterator<Item = (&AccountKey, &Title)>> {
        let Extent::These(titles) = &self.0 else { return None };
        Some(titles.iter().filter_map(|(right, title)| match right {
            Right::Pull(account) => Some((account, title)),
            Right::HandOut(_) => None,
        }))
    }
}
