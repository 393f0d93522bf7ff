//! How much more a store can hold.

/// What is left to fill.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Room {
    /// Bytes that can be added: what its disk has free for this user, and what pruning has freed inside it.
    pub free_bytes: u64,
    /// Size of its disk, bytes.
    pub disk_bytes: u64,
}

impl Room {
    /// What is left on a disk.
    #[must_use]
    pub fn new(free_bytes: u64, disk_bytes: u64) -> Self {
        Self { free_bytes, disk_bytes }
    }
}
