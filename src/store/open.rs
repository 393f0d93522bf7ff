//! From the address in the config to a store.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use secrecy::SecretString;
use tokio::task::spawn_blocking;
use url::Url;

use super::postgres::{PostgresStore, Problem};
use super::sqlite::SqliteStore;
use super::{Authorities, Store, StoreError};

/// Connections to PostgreSQL unless more or fewer are asked for.
pub const CONNECTIONS: usize = 8;

/// Which store to open.
#[derive(Clone)]
pub struct Settings {
    /// Address; its scheme picks the kind of store. `sqlite://` and a path, relative to the working directory or
    /// absolute: `sqlite://data/wecom-kf.db`, `sqlite:///var/lib/wecom-kf.db`. Or `postgres://user@host/database`.
    pub url: String,
    /// What a power cut may undo. An operator's commands survive it either way.
    pub durability: Durability,
    /// Password for PostgreSQL, unless it is in the address.
    pub password: Option<SecretString>,
    /// Who alone is believed to vouch for a PostgreSQL server; `None` leaves it to the authorities of this machine.
    pub authorities: Option<Authorities>,
    /// Connections to PostgreSQL at once, beside one that listens.
    pub connections: usize,
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
    if settings.is_postgres() {
        return settings.opened(PostgresStore::open(settings).await);
    }
    let durability = settings.durability;
    settings
        .open_file(move |path| SqliteStore::open(path, durability))
        .await
}

/// Opens the store beside a process that may be serving from it, to look at dead letters and to act on them.
///
/// Creates nothing and changes no tables. Waits longer than a server would for its turn to write.
///
/// # Errors
///
/// [`StoreError::Open`] if there is no store yet, or none of this version; [`StoreError::Absent`] if there is a database
/// without one.
pub async fn open_operator(settings: &Settings) -> Result<Arc<dyn Store>, StoreError> {
    if settings.is_postgres() {
        return match PostgresStore::open_operator(settings).await {
            Err(Problem::Missing) => Err(StoreError::Absent {
                url: settings.without_password(),
            }),
            opened => settings.opened(opened),
        };
    }
    settings.open_file(SqliteStore::open_operator).await
}

impl Settings {
    /// The store at `url`, which keeps what was answered whatever happens.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            durability: Durability::default(),
            password: None,
            authorities: None,
            connections: CONNECTIONS,
        }
    }

    /// Looks at what can be wrong with an address before anything is opened.
    ///
    /// # Errors
    ///
    /// What is wrong and how to mend it, without repeating the address.
    pub fn review(&self) -> Result<(), String> {
        if self.is_postgres() {
            PostgresStore::review(self).map_err(|problem| problem.to_string())
        } else {
            self.path().map(|_| ()).map_err(str::to_owned)
        }
    }

    pub(super) fn is_postgres(&self) -> bool {
        matches!(self.url.split_once("://"), Some(("postgres" | "postgresql", _)))
    }

    async fn open_file<P: fmt::Display + Send + 'static>(
        &self,
        open: impl FnOnce(&Path) -> Result<SqliteStore, P> + Send + 'static,
    ) -> Result<Arc<dyn Store>, StoreError> {
        let path = self.path().map_err(|problem| self.refused(problem))?.to_owned();
        let opened = spawn_blocking(move || open(&path))
            .await
            .map_err(|_| StoreError::Closed)?;
        self.opened(opened)
    }

    fn opened(&self, opened: Result<impl Store, impl fmt::Display>) -> Result<Arc<dyn Store>, StoreError> {
        match opened {
            Ok(store) => Ok(Arc::new(store)),
            Err(problem) => Err(self.refused(problem)),
        }
    }

    pub(super) fn refused(&self, problem: impl fmt::Display) -> StoreError {
        StoreError::Open {
            url: self.without_password(),
            problem: problem.to_string(),
        }
    }

    pub(super) fn path(&self) -> Result<&Path, &'static str> {
        match self.url.strip_prefix("sqlite://") {
            None => Err("is neither: write sqlite:// and the path of a file, or postgres://user@host/database"),
            Some("") => Err("names no file: write the path of one behind sqlite://"),
            Some(path) if path.contains(['?', '#', '\0']) => {
                Err("takes no options: write sqlite:// and the path of a file, nothing behind it")
            }
            Some(path) => Ok(Path::new(path)),
        }
    }

    /// The address as it may be shown: without user, password and options.
    fn without_password(&self) -> String {
        if self.url.starts_with("sqlite://") {
            return self.url.clone();
        }
        // What is behind the host holds no @ unless a password holds a / or a ?, and was cut there.
        match Url::parse(&self.url) {
            Ok(url)
                if url.has_host() && !url.path().contains('@') && !url.query().unwrap_or_default().contains('@') =>
            {
                let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
                format!(
                    "{}://{}{port}{}",
                    url.scheme(),
                    url.host_str().unwrap_or_default(),
                    url.path()
                )
            }
            _ => "(not an address)".to_owned(),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("url", &self.without_password())
            .field("durability", &self.durability)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
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
        for url in [
            "",
            "data/x.db",
            "mysql://host/db",
            "sqlite:x.db",
            "sqlite://",
            "postgres:/x",
        ] {
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
