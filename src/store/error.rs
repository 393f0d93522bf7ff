//! Why a store could not do as asked.

use std::error::Error;

/// Why the store could not do as asked. Nothing was changed, unless it says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The place named by the config cannot be used.
    #[error("store {url}: {problem}")]
    Open {
        /// Address of the store, without a password.
        url: String,
        /// What is wrong and how to mend it.
        problem: String,
    },
    /// The database named by the config is there, and holds no store yet.
    #[error("store {url}: has no tables yet: start the server once, which makes them")]
    Absent {
        /// Address of the store, without a password.
        url: String,
    },
    /// No room to write. Goes away when there is.
    #[error("no space left for the store")]
    Full(#[source] Box<dyn Error + Send + Sync>),
    /// What was written cannot be read back. Nothing more is written, lest it get worse, until the store is found whole.
    #[error("the store is damaged, or its disk: restore a backup, or move it away to begin with an empty store")]
    Damaged(#[source] Box<dyn Error + Send + Sync>),
    /// The store itself failed.
    #[error("store failed")]
    Backend(#[source] Box<dyn Error + Send + Sync>),
    /// The store is closed: the process is stopping.
    #[error("store is closed")]
    Closed,
}
