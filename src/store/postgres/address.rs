//! From the address in the config to a server, and what to do when there is no way.

use std::net::IpAddr;

use secrecy::ExposeSecret as _;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;

use super::failure::Failure;
use crate::store::Settings;

/// Why the database cannot be used, and what to do about it: one line for the operator.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum Problem {
    #[error("is no address of a database: write postgres://user@host/database")]
    Address,
    #[error("names no host: write postgres://user@host/database")]
    NoHost,
    #[error("names no user: write postgres://user@host/database")]
    NoUser,
    #[error("its user or password is wrong: correct them in `url` and `password`")]
    Password,
    #[error("there is no such database: create it, or correct the address")]
    NoDatabase,
    #[error("the user may not create tables: make it the owner of the database, or GRANT CREATE ON SCHEMA to it")]
    Forbidden,
    #[error("has no schema to put tables in: create one that the user's search_path names")]
    NoSchema,
    #[error("has the encoding {0}, which does not hold every message: create the database with ENCODING 'UTF8'")]
    Encoding(String),
    #[error("has no tables yet: start the server once, which makes them")]
    Missing,
    #[error("holds the tables of another program: name a database of its own, or a schema in search_path")]
    Foreign,
    #[error(
        "has schema version {found}, this build knows {known}: run the newer version, or restore a backup made before it"
    )]
    Newer { found: i64, known: i64 },
    #[error("has schema version {found}, this build needs {known}: start the server once, which brings it up to date")]
    Older { found: i64, known: i64 },
    #[error("orders customers by {0}, which this build does not know: run the version that wrote it")]
    OtherLanes(String),
    #[error("no space left on its disk: make some")]
    Full,
    #[error("offers no TLS: switch it on there, or write ?sslmode=disable if nobody else is on the way to it")]
    NoTls,
    #[error("its certificate is not believed ({0}): name the authority that vouches for it in `ca_file`")]
    Certificate(String),
    #[error("cannot be reached ({0}): start it, or correct the address")]
    Unreachable(String),
    #[error("cannot be used: {0}")]
    Postgres(Box<dyn std::error::Error + Send + Sync>),
    #[error("this machine's certificates cannot be used: {0}; name an authority in `ca_file`")]
    Tls(rustls::Error),
    #[error("its connections cannot be kept: {0}")]
    Pool(deadpool_postgres::BuildError),
}

impl From<tokio_postgres::Error> for Problem {
    fn from(error: tokio_postgres::Error) -> Self {
        Failure::from(error).into()
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        if let Failure::Unreachable(error) = &failure {
            return Self::unreachable(error);
        }
        match failure.code() {
            Some(code)
                if *code == SqlState::INVALID_PASSWORD || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION =>
            {
                Self::Password
            }
            Some(code) if *code == SqlState::INVALID_CATALOG_NAME => Self::NoDatabase,
            Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => Self::Forbidden,
            Some(code) if *code == SqlState::DISK_FULL => Self::Full,
            _ => Self::Postgres(Box::new(failure)),
        }
    }
}

impl Problem {
    fn unreachable(error: &tokio_postgres::Error) -> Self {
        let mut causes = Vec::new();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        let (said, cause) = (error.to_string(), causes.join(": "));
        if said.contains("TLS") && cause.contains("does not support TLS") {
            Self::NoTls
        } else if said.contains("TLS") {
            Self::Certificate(cause)
        } else if cause.is_empty() {
            Self::Unreachable(said)
        } else {
            Self::Unreachable(cause)
        }
    }
}

/// Reads the address of a database, with the password from beside it.
pub(super) fn parse(settings: &Settings) -> Result<Config, Problem> {
    // What the parser says could quote the password.
    let mut config: Config = settings.url.parse().map_err(|_| Problem::Address)?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(Problem::NoHost);
    }
    if config.get_user().is_none() {
        return Err(Problem::NoUser);
    }
    if let Some(password) = &settings.password {
        config.password(password.expose_secret());
    }
    if !names_sslmode(&settings.url) {
        // Messages of customers cross no network in the clear unless the operator says so.
        let here = !config.get_hosts().is_empty() && config.get_hosts().iter().all(is_here);
        config.ssl_mode(if here { SslMode::Disable } else { SslMode::Require });
    }
    Ok(config)
}

fn names_sslmode(url: &str) -> bool {
    let (_, options) = url.split_once('?').unwrap_or_default();
    options.split('&').any(|option| option.starts_with("sslmode="))
}

/// Whether nobody else is on the way to `host`.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()),
        Host::Unix(_) => true,
    }
}
