//! `wecom-kf dead`: what to do about messages that a handler could not take.
//!
//! Works on the store itself, whether a server runs on it or not; a running server notices a replay within seconds.

use std::process::ExitCode;
use std::str::FromStr;
use std::time::SystemTime;

use anyhow::bail;
use clap::Subcommand;
use wecom_kf::clock::{Clock as _, SystemClock};
use wecom_kf::id::HandlerName;
use wecom_kf::store::{self, DeadLetter, DeadSelect, Seq};

use super::ConfigFile;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigFile,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists dead letters, a line each, oldest first.
    List {
        /// Only those of this handler.
        #[arg(long)]
        handler: Option<HandlerName>,
        /// How many at most.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Shows one dead letter with its message.
    Show {
        /// Which, as `list` names it: HANDLER:NUMBER.
        id: DeadId,
    },
    /// Hands dead letters to their handler again.
    Replay(Which),
    /// Forgets dead letters.
    Drop(Which),
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// This one, as `list` names it: HANDLER:NUMBER.
    id: Option<DeadId>,
    /// All of this handler.
    #[arg(long)]
    handler: Option<HandlerName>,
    /// All there are.
    #[arg(long)]
    all: bool,
}

/// Names one dead letter.
#[derive(Debug, Clone)]
struct DeadId {
    handler: HandlerName,
    seq: Seq,
}

impl FromStr for DeadId {
    type Err = String;

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (handler, seq) = id.rsplit_once(':')?;
            Some(Self {
                handler: handler.parse().ok()?,
                seq: Seq(seq.parse().ok()?),
            })
        };
        parse().ok_or_else(|| format!("`{id}` is not HANDLER:NUMBER, like bot:42"))
    }
}

impl From<DeadId> for DeadSelect {
    fn from(id: DeadId) -> Self {
        Self {
            handler: Some(id.handler),
            seq: Some(id.seq),
        }
    }
}

impl From<Which> for DeadSelect {
    fn from(which: Which) -> Self {
        match which.id {
            Some(id) => id.into(),
            // Without a handler it is `--all`: the argument parser sees to it that one of the three is there.
            None => Self {
                handler: which.handler,
                seq: None,
            },
        }
    }
}

pub(super) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let settings = store::Settings {
        url: options.config.load()?.store.url,
    };
    let store = store::open_operator(&settings)?;
    super::runtime()?.block_on(async {
        match options.action {
            Action::List { handler, limit } => {
                for letter in store.dead_letters(DeadSelect { handler, seq: None }, limit).await? {
                    println!("{}", line(&letter));
                }
            }
            Action::Show { id } => {
                let found = store.dead_letters(id.into(), 1).await?;
                let Some(letter) = found.first() else {
                    bail!("no such dead letter")
                };
                println!("{}\n{}", line(letter), letter.body);
            }
            Action::Replay(which) => {
                let replayed = store.replay_dead(which.into(), SystemClock.now()).await?;
                println!("{replayed} to be handed out again");
            }
            Action::Drop(which) => println!("{} dropped", store.drop_dead(which.into()).await?),
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn line(letter: &DeadLetter) -> String {
    let DeadLetter {
        handler,
        seq,
        account,
        msgid,
        kind,
        attempts,
        reason,
        ..
    } = letter;
    let at = humantime::format_rfc3339_seconds(SystemTime::from(letter.at));
    let plural = if *attempts == 1 { "" } else { "s" };
    format!(
        "{handler}:{}  {at}  {account}  {kind}  {msgid}  {attempts} attempt{plural}  {reason}",
        seq.0
    )
}
