//! What the commands that call WeCom have in common: for which app, and what to say when it refuses.

use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use wecom_kf::api::{ApiError, Client, ErrCode};
use wecom_kf::app;
use wecom_kf::clock::{Clock, SystemClock};
use wecom_kf::id::AppName;

use super::ConfigFile;

/// Whose secret WeCom is called with.
#[derive(Debug, clap::Args)]
pub(super) struct Caller {
    #[command(flatten)]
    config: ConfigFile,
    /// Name of the [[apps]] entry to call WeCom for; needed if there are several.
    #[arg(long, value_name = "NAME", global = true)]
    app: Option<AppName>,
}

impl Caller {
    /// The client of the app that is meant.
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        let config = self.config.load()?;
        let names: Vec<_> = config.apps.iter().map(|app| app.name.to_string()).collect();
        let meant = match &self.app {
            Some(name) => config.apps.into_iter().find(|app| app.name == *name),
            None if names.len() > 1 => bail!("which app? Name it with --app: {}", names.join(", ")),
            None => config.apps.into_iter().next(),
        };
        let meant = meant.with_context(|| format!("there is no such app in the config, but {}", names.join(", ")))?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Ok(app::client(&config.sync, meant, &clock)?)
    }
}

/// `error` with what it means and what can be done about it, in one line.
pub(super) fn explained(error: ApiError) -> anyhow::Error {
    let code = error.errcode();
    let meaning = code.and_then(ErrCode::meaning);
    let advice = code.and_then(advice);
    let remedy = code.and_then(ErrCode::remedy);
    let mut hints: Vec<_> = meaning
        .into_iter()
        .map(|text| text.trim_end_matches('.').to_owned())
        .collect();
    hints.extend(advice.map(str::to_owned));
    if let Some(remedy) = remedy {
        hints.push(format!("{}; see {}", remedy.cause, remedy.page));
    }
    let error = match hints.is_empty() {
        true => return error.into(),
        false => anyhow::Error::from(error),
    };
    anyhow!("{error:#} ({})", hints.join(": "))
}

/// What somebody at a shell can do, where it is no matter for the console.
fn advice(code: ErrCode) -> Option<&'static str> {
    match code {
        ErrCode::TOO_MANY_MESSAGES | ErrCode::REPLY_WINDOW_CLOSED => Some("wait until the customer writes again"),
        ErrCode::SESSION_STATE_FORBIDS => Some("a receptionist has the session, or it has ended"),
        ErrCode::INVALID_MEDIA_ID | ErrCode::MEDIA_ID_EXPIRED => Some("files are kept for three days"),
        _ => None,
    }
}
