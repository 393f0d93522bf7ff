//! `wecom-kf migrate-store`: carries everything in an SQLite store into an empty PostgreSQL database, once it is to be
//! served from there.

use std::convert::Infallible;
use std::io::{Write as _, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use wecom_kf::config::{Environment, StoreCredentials};
use wecom_kf::store::{self, Settings};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Store to move from, as `store.url` names it: sqlite:// and the path of its file.
    #[arg(long, value_name = "URL")]
    from: String,
    /// Store to move to: postgres://user@host/database, which must be empty.
    #[arg(long, value_name = "URL", value_parser = address)]
    to: SecretString,
    /// File with the password of the database's user; else WECOM_KF_STORE_PASSWORD is, if it is set.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// File with the certificates of those who alone are believed to vouch for the database.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// There may be a password in it, which is not to be shown.
fn address(text: &str) -> Result<SecretString, Infallible> {
    Ok(text.into())
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let credentials = StoreCredentials::read(
        options.password_file.as_deref(),
        options.ca_file.as_deref(),
        &Environment::of_process(),
    )?;
    let from = Settings::new(&*options.from);
    let to = Settings {
        password: credentials.password,
        authorities: credentials.authorities,
        ..Settings::new(options.to.expose_secret())
    };
    let moved = super::runtime()?
        .block_on(store::move_all(&from, &to))
        .context("nothing was moved")?;
    let mut out = stdout();
    for table in moved {
        writeln!(out, "{:<10} {:>10} rows", table.table, table.rows)?;
    }
    writeln!(
        out,
        "moved, and compared row by row: now let store.url name the database and start the server.\n\
         Keep {} until that has run for a while, and never serve from it again: customers would be answered twice.",
        options.from
    )?;
    Ok(ExitCode::SUCCESS)
}
