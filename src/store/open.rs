//! From the address in the config to a store.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::sqlite::SqliteStore;
use super::{Store, StoreError};

/// Which store to open.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// Address; its scheme picks the kind of store. `sqlite://` and a path, relative to the working directory or
    /// absolute: `sqlite://data/wecom-kf.db`, `sqlite:///var/lib/wecom-kf.db`.
    pub url: String,
    /// What a power cut may undo. An operator's commands survive it either way.
    pub durability: Durability,
}

/// What a power cut may undo. The end of the process undoes nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(
    clippy::exhaustive_enums,
    reason = "either every commit waits for the disk or none does"
)]
pub enum Durability {
    /// Nothing that was answered, if the disk honours flushes.
    #[default]
    Full,
    /// The last commits, all of them together. Messages are pulled from WeCom again, which keeps them for three days; what
    /// was handed out is handed out again; burials and waits between attempts are forgotten.
    Relaxed,
}

/// Opens the store to serve from it: creates it if it is new, brings an older one up to date, and keeps every other
/// process from serving from it until it is dropped.
///
/// Blocks while it reads and writes files: call it before anything is served.
///
/// # Errors
///
/// [`StoreError::Open`] with the cause and what to do about it.
pub fn open(settings: &Settings) -> Result<Arc<dyn Store>, StoreError> {
    settings.connect(|path| SqliteStore::open(path, settings.durability))
}

/// Opens the store beside a process that may be serving from it, to look at dead letters and to act on them.
///
/// Creates nothing and changes no tables. Waits longer than a server would for its turn to write.
///
/// # Errors
///
/// [`StoreError::Open`] if there is no store yet, or none of this version.
pub fn open_operator(settings: &Settings) -> Result<Arc<dyn Store>, StoreError> {
    settings.connect(SqliteStore::open_operator)
}

impl Settings {
    /// The store at `url`, which keeps what was answered whatever happens.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            durability: Durability::default(),
        }
    }

    fn connect<P: fmt::Display>(
        &self,
        open: impl FnOnce(&Path) -> Result<SqliteStore, P>,
    ) -> Result<Arc<dyn Store>, StoreError> {
        let refuse = |problem: String| StoreError::Open {
            url: self.without_password(),
            problem,
        };
        let path = self.path().map_err(|problem| refuse(problem.to_owned()))?;
        let store = open(path).map_err(|problem| refuse(problem.to_string()))?;
        Ok(Arc::new(store))
    }

    fn path(&self) -> Result<&Path, &'static str> {
        match self.url.strip_prefix("sqlite://") {
            None => Err("only sqlite:// is supported: write sqlite:// and the path of a file"),
            Some("") => Err("names no file: write the path of one behind sqlite://"),
            Some(path) if path.contains(['?', '#', '\0']) => {
                Err("takes no options: write sqlite:// and the path of a file, nothing behind it")
            }
            Some(path) => Ok(Path::new(path)),
        }
    }

    /// The address as it may be shown: what other databases have before an `@` is a password.
    fn without_password(&self) -> String {
        match self.url.split_once("://") {
            Some(("sqlite", _)) => self.url.clone(),
            Some((scheme, rest)) => {
                let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
                format!("{scheme}://{place}")
            }
            None => "(not an address)".to_owned(),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("url", &self.without_password())
            .field("durability", &self.durability)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> String {
        open(&Settings::new(url)).unwrap_err().to_string()
    }

    #[test]
    fn an_address_that_is_no_file_is_refused_with_what_to_write() {
        for url in ["", "data/x.db", "mysql://host/db", "sqlite:x.db", "sqlite://"] {
            let text = refusal(url);
            assert!(text.contains("sqlite://") && !text.contains('\n'), "{url}: {text}");
        }
        assert!(refusal("sqlite://x.db?mode=ro").contains("takes no options"));
    }

    #[test]
    fn a_password_in_the_address_is_never_shown() {
        let settings = Settings::new("mysql://user:hunter2@h@host/db");
        let shown = format!("{settings:?}");
        assert!(
            shown.contains(r#"url: "mysql://host/db""#) && !shown.contains("hunter2"),
            "{shown}"
        );
        assert!(!refusal(&settings.url).contains("hunter2"));
        assert!(!refusal("user:hunter2").contains("hunter2"));
    }
}
