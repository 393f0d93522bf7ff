//! `wecom-kf retire`: what to do about messages that wait for a handler that will not come back.
//!
//! A handler's name is its durable identity: one that leaves the config is owed what it was owed, in case it comes back.
//! Until somebody decides, those messages outlive their retention.

use std::io::{Write as _, stdout};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use wecom_kf::id::HandlerName;
use wecom_kf::store;

use super::ConfigFile;

/// Deliveries forgotten in one step, so that a server beside it waits for milliseconds at most.
const STEP: usize = 2_000;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigFile,
    /// Name it had.
    handler: HandlerName,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let config = options.config.load()?;
    let name = &options.handler;
    if config.handlers.iter().any(|handler| handler.name == *name) {
        bail!("handler {name} is in the config: take it out and restart the server first");
    }
    let settings = config.store.settings();
    super::runtime()?.block_on(async {
        let store = store::open_operator(&settings).await?;
        let backlog = store.backlog().await?;
        let known = backlog.iter().find(|owed| owed.handler == *name);
        let owed = known.with_context(|| format!("no handler was ever called {name}"))?;
        let mut forgotten = 0;
        loop {
            match store.forget_owed(name, STEP).await? {
                0 => break,
                step => forgotten += step,
            }
        }
        writeln!(stdout(), "{forgotten} deliveries to {name} forgotten")?;
        if owed.dead > 0 {
            let dead = owed.dead;
            writeln!(
                stdout(),
                "{dead} dead letters are kept: wecom-kf dead drop --handler {name}"
            )?;
        }
        Ok(ExitCode::SUCCESS)
    })
}
