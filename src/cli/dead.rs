//! `wecom-kf dead`: what to do about messages that a handler could not take.
//!
//! Works on the store itself, whether a server runs on it or not; a running server notices a replay within seconds.

use std::fmt;
use std::io::{Write as _, stdout};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::SystemTime;

use anyhow::anyhow;
use clap::Subcommand;
use wecom_kf::clock::{Clock as _, SystemClock};
use wecom_kf::config::Config;
use wecom_kf::id::HandlerName;
use wecom_kf::store::{self, Backlog, DeadLetter, DeadSelect, Seq};

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

#[derive(Debug, Clone, clap::Args)]
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

impl fmt::Display for DeadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.handler, self.seq.0)
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

impl Which {
    /// Whether letters of `handler` are meant.
    fn is_of(&self, handler: &HandlerName) -> bool {
        let named = self.id.as_ref().map(|id| &id.handler).or(self.handler.as_ref());
        named.is_none_or(|named| named == handler)
    }

    /// None of a kind is as good as asked for; one that was named must have been there.
    fn require_found(&self, count: u64) -> anyhow::Result<()> {
        match &self.id {
            Some(id) if count == 0 => Err(unknown(id)),
            _ => Ok(()),
        }
    }
}

fn unknown(id: &DeadId) -> anyhow::Error {
    anyhow!("no dead letter {id}: those there are, tells `wecom-kf dead list`")
}

pub(super) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Config { store, handlers, .. } = options.config.load()?;
    super::runtime()?.block_on(async {
        let store = store::open_operator(&store.settings()).await?;
        match options.action {
            Action::List { handler, limit } => {
                for letter in store.dead_letters(DeadSelect { handler, seq: None }, limit).await? {
                    writeln!(stdout(), "{}", line(&letter))?;
                }
            }
            Action::Show { id } => {
                let found = store.dead_letters(id.clone().into(), 1).await?;
                let Some(letter) = found.first() else {
                    return Err(unknown(&id));
                };
                writeln!(stdout(), "{}\n{}", line(letter), letter.body)?;
            }
            Action::Replay(which) => {
                let replayed = store.replay_dead(which.clone().into(), SystemClock.now()).await?;
                which.require_found(replayed)?;
                writeln!(stdout(), "{replayed} to be handed out again")?;
                let configured = |owed: &&Backlog| handlers.iter().any(|handler| handler.name == owed.handler);
                let backlog = store.backlog().await?;
                let meant = backlog
                    .iter()
                    .filter(|owed| which.is_of(&owed.handler) && owed.pending > 0);
                for Backlog { pending, handler, .. } in meant.filter(|owed| !configured(owed)) {
                    writeln!(stdout(), "{pending} wait for {handler}, which is not in the config")?;
                }
            }
            Action::Drop(which) => {
                let dropped = store.drop_dead(which.clone().into()).await?;
                which.require_found(dropped)?;
                writeln!(stdout(), "{dropped} dropped")?;
            }
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
