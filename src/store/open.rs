//! From the address in the config to a store.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use tokio::task::spawn_blocking;

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
/// # Errors
///
/// [`StoreError::Open`] with the cause and what to do about it.
pub async fn open(settings: &Settings) -> Result<Arc<dyn Store>, StoreError> {
    let durability = settings.durability;
    settings.connect(move |path| SqliteStore::open(path, durability)).await
}

/// Opens the store beside a process that may be serving from it, to look at dead letters and to act on them.
///
/// Creates nothing and changes no tables. Waits longer than a server would for its turn to write.
///
/// # Errors
///
/// [`StoreError::Open`] if there is no store yet, or none of this version.
pub async fn open_operator(settings: &Settings) -> Result<Arc<dyn Store>, StoreError> {
    settings.connect(SqliteStore::open_operator).await
}

impl Settings {
    /// The store at `url`, which keeps what was answered whatever happens.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            durability: Durability::default(),
        }
    }

    async fn connect<P: fmt::Display + Send + 'static>(
        &self,
        open: impl FnOnce(&Path) -> Result<SqliteStore, P> + Send + 'static,
    ) -> Result<Arc<dyn Store>, StoreError> {
        let refuse = |problem: String| StoreError::Open {
            url: self.without_password(),
            problem,
        };
        let path = self.path().map_err(|problem| refuse(problem.to_owned()))?.to_owned();
        let opened = spawn_blocking(move || open(&path))
            .await
            .map_err(|_| StoreError::Closed)?;
        let store = opened.map_err(|problem| refuse(problem.to_string()))?;
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

    async fn refusal(url: &str) -> String {
        open(&Settings::new(url)).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn an_address_that_is_no_file_is_refused_with_what_to_write() {
        for url in ["", "data/x.db", "mysql://host/db", "sqlite:x.db", "sqlite://"] {
            let text = refusal(url).await;
            assert!(text.contains("sqlite://") && !text.contains('\n'), "{url}: {text}");
        }
        assert!(refusal("sqlite://x.db?mode=ro").await.contains("takes no options"));
    }

    #[tokio::test]
    async fn a_password_in_the_address_is_never_shown() {
        let settings = Settings::new("mysql://user:hunter2@h@host/db");
        let shown = format!("{settings:?}");
        assert!(
            shown.contains(r#"url: "mysql://host/db""#) && !shown.contains("hunter2"),
            "{shown}"
        );
        assert!(!refusal(&settings.url).await.contains("hunter2"));
        assert!(!refusal("user:hunter2").await.contains("hunter2"));
    }
}
