//! The command line: what can be asked of the binary, and the code it ends with.
//!
//! 0: done, or asked to stop. 1: failed. 2: wrong usage. 78: wrong config.

use std::io::{self, Write as _, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use wecom_kf::config::{Config, ConfigError, Environment, Loaded};
use wecom_kf::id::OpenKfid;
use wecom_kf::simulator;

mod calling;
mod check;
mod dead;
mod demo;
mod healthcheck;
mod keygen;
mod media;
mod migrate_store;
mod retire;
mod send;
mod serve;
mod simulate;

/// `EX_CONFIG` of BSD's sysexits: the config is wrong, starting again will not help.
const WRONG_CONFIG: u8 = 78;

/// Callback server for WeCom customer service (企业微信 微信客服).
#[derive(Debug, Parser)]
#[command(version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Receives callbacks, pulls messages and hands them to the configured handlers.
    Serve(ConfigFile),
    /// Looks at everything that can be wrong before customers notice: config, keys, store, WeCom.
    Check(ConfigFile),
    /// Plays a conversation with every message and event type against a simulated WeCom, and prints what arrives.
    Demo(demo::Options),
    /// Serves a simulated WeCom to develop against without credentials.
    Simulate(simulate::Options),
    /// Prints the JSON Schema of what `forward` handlers post, or of what their endpoints may answer.
    Schema {
        /// Of which.
        #[arg(value_enum, default_value_t = Described::Request)]
        of: Described,
    },
    /// Prints a new Token and EncodingAESKey for WeCom's console, a signing secret for a forward handler, and a key to
    /// the gateway.
    Keygen,
    /// Lists, shows, replays or drops messages that a handler could not take.
    Dead(dead::Options),
    /// Forgets what is still owed to a handler that has left the config.
    Retire(retire::Options),
    /// Moves everything in an SQLite store into an empty PostgreSQL database.
    ///
    /// Stop the server first. Everything goes in one transaction and is compared before that ends: whatever fails, the
    /// database stays empty and the file as it is.
    MigrateStore(migrate_store::Options),
    /// Says something to a customer.
    Send(send::Options),
    /// Fetches a file that a customer sent, or hands WeCom one to be sent.
    Media(media::Options),
    /// Asks a running server whether it lives; for container health checks.
    Healthcheck(healthcheck::Options),
}

/// What there is a JSON Schema of.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Described {
    Request,
    Answer,
}

#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// Path of the config file.
    #[arg(long, value_name = "FILE", default_value = "config.toml", global = true)]
    config: PathBuf,
}

pub(crate) fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        // Who reads what is printed, `head` for example, has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::FAILURE,
        Err(error) => {
            let wrong_config = error.is::<ConfigError>();
            for line in format!("{error:#}").lines() {
                eprintln!("wecom-kf: {line}");
            }
            if wrong_config {
                ExitCode::from(WRONG_CONFIG)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(file) => serve::run(file.read()?),
        Command::Check(file) => check::run(&file.load()?),
        Command::Demo(options) => demo::run(&options),
        Command::Simulate(options) => simulate::run(&options),
        Command::Schema { of } => {
            let schema = match of {
                Described::Request => wecom_kf::message::schema(),
                Described::Answer => wecom_kf::handler::forward::answer_schema(),
            };
            // Nowhere `println`, which panics when nobody reads any more.
            writeln!(stdout(), "{schema:#}")?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Keygen => keygen::run(),
        Command::Dead(options) => dead::run(options),
        Command::Retire(options) => retire::run(&options),
        Command::MigrateStore(options) => migrate_store::run(&options),
        Command::Send(options) => send::run(&options),
        Command::Media(options) => media::run(options),
        Command::Healthcheck(options) => healthcheck::run(&options),
    }
}

impl ConfigFile {
    /// Reads the config and tells its warnings.
    fn load(&self) -> anyhow::Result<Config> {
        let Loaded { config, warnings, .. } = self.read()?;
        for warning in warnings {
            eprintln!("wecom-kf: warning: {warning}");
        }
        Ok(config)
    }

    /// Reads the config.
    fn read(&self) -> anyhow::Result<Loaded> {
        Config::load(&self.config, &Environment::of_process()).map_err(|error| match error {
            ConfigError::Read { .. } => anyhow::Error::from(error).context("no config: name its file with --config"),
            ConfigError::Syntax { .. } => anyhow::Error::from(error).context(self.config.display().to_string()),
            _ => error.into(),
        })
    }
}

/// The account that the simulator's customers talk to.
fn first_account(settings: &simulator::Settings) -> anyhow::Result<OpenKfid> {
    let account = settings.accounts.first().context("the simulator has no account")?;
    Ok(account.open_kfid.clone())
}

/// The runtime every command runs on.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
