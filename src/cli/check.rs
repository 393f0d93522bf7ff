//! `wecom-kf check`: finds what is wrong before customers do, and says on which page of the console it is mended.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Write as _, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

#[cfg(feature = "nats")]
use url::Url;
use wecom_kf::api::{ApiError, Client};
use wecom_kf::app;
use wecom_kf::clock::{Clock, SystemClock};
#[cfg(feature = "nats")]
use wecom_kf::config::Nats;
use wecom_kf::config::{App, Config, Forward, Handler, HandlerKind};
use wecom_kf::handler::forward::Reach;
use wecom_kf::id::HandlerName;
use wecom_kf::store::{self, Backlog, StoreError};

/// Prints findings, and remembers whether any was bad.
struct Report {
    failed: bool,
    /// Whether all could be printed.
    printed: io::Result<()>,
}

pub(super) fn run(config: &Config) -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(async {
        let mut report = Report {
            failed: false,
            printed: Ok(()),
        };
        report.good("config", "read and understood");
        for app in &config.apps {
            let paths = if config.apps.len() == 1 { " and /callback" } else { "" };
            let pairs = app.callback_keys.len();
            report.good(
                &app.name,
                &format!(
                    "{pairs} callback key pair(s); callback path /callback/{}{paths}",
                    app.name
                ),
            );
        }
        check_store(config, &mut report).await;
        for app in &config.apps {
            check_app(config, app, &mut report).await;
        }
        check_handlers(&config.handlers, &mut report).await;
        report.printed?;
        Ok(if report.failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    })
}

/// Tells where messages go. Posts and publishes nothing: it would be taken for a message.
async fn check_handlers(handlers: &[Handler], report: &mut Report) {
    if handlers.is_empty() {
        report.note("handlers", "none: messages are stored, and nobody is handed them");
    }
    for handler in handlers {
        match &handler.kind {
            HandlerKind::Forward(forward) => check_forward(&handler.name, forward, report),
            #[cfg(feature = "nats")]
            HandlerKind::Nats(nats) => check_nats(handler, nats, report).await,
            _ => {}
        }
    }
}

fn check_forward(name: &HandlerName, forward: &Forward, report: &mut Report) {
    let mut finding = format!("posts to {}", forward.shown_url());
    if forward.reach == Reach::PublicOnly {
        finding.push_str(", at public addresses only");
    }
    if let Some(ca) = &forward.ca {
        finding.push_str(&format!(", vouched for by {}", ca.path));
    }
    if forward.signing_secrets.len() > 1 {
        finding.push_str(&format!(
            "; signs with {} secrets: remove the old one when it is no longer used",
            forward.signing_secrets.len()
        ));
    }
    report.good(name, &finding);
}

#[cfg(feature = "nats")]
async fn check_nats(handler: &Handler, section: &Nats, report: &mut Report) {
    let servers: Vec<_> = section.servers.iter().map(Url::as_str).collect();
    let place = format!("{} on {}", section.subject, servers.join(", "));
    let made = app::nats(section.clone(), handler.policy.timeout, Arc::new(SystemClock));
    let checked = match made {
        Ok(nats) => nats.check().await,
        Err(error) => Err(error.into()),
    };
    match checked {
        Ok(()) => report.good(&handler.name, &format!("publishes to {place}, where it is let in")),
        Err(error) => report.bad(&handler.name, &format!("cannot publish to {place}: {}", chain(&*error))),
    }
}

/// Looks at the store as a bystander: a check must neither disturb a running server nor leave a file that belongs to
/// whoever ran it.
async fn check_store(config: &Config, report: &mut Report) {
    let url = &config.store.url;
    if let Some(path) = url.strip_prefix("sqlite://").map(Path::new)
        && !path.exists()
    {
        let folder = nearest_folder(path);
        return match try_to_write(folder) {
            Ok(()) => report.note("store", &format!("{url} does not exist yet: the first start makes it")),
            Err(error) => report.bad(
                "store",
                &format!("{url} cannot be made in {}: {error}", folder.display()),
            ),
        };
    }
    let looked = async {
        let store = store::open_operator(&config.store.settings()).await?;
        store.check().await?;
        store.backlog().await
    };
    match looked.await {
        Ok(backlog) => {
            report.good("store", &format!("{url} can be written"));
            for owed in backlog.iter().filter(|owed| owed.dead > 0) {
                report.note(
                    "store",
                    &format!("{} dead letters of {}: wecom-kf dead list", owed.dead, owed.handler),
                );
            }
            let configured = |owed: &&Backlog| config.handlers.iter().any(|handler| handler.name == owed.handler);
            for owed in backlog.iter().filter(|owed| owed.pending > 0 && !configured(owed)) {
                let (pending, handler) = (owed.pending, &owed.handler);
                report.note(
                    "store",
                    &format!("{pending} messages wait for {handler}, which is not in the config: wecom-kf retire {handler} forgets them"),
                );
            }
        }
        Err(StoreError::Absent { url }) => {
            report.note(
                "store",
                &format!("{url} can be reached, and has no tables yet: the first start makes them"),
            );
        }
        Err(error) => report.bad("store", &chain(&error)),
    }
}

/// Folder nearest to `path` that exists.
fn nearest_folder(path: &Path) -> &Path {
    let above = path.ancestors().skip(1).find(|folder| folder.exists());
    above.unwrap_or_else(|| Path::new("."))
}

fn try_to_write(folder: &Path) -> io::Result<()> {
    let probe = folder.join(format!(".wecom-kf-check-{:016x}", rand::random::<u64>()));
    File::create_new(&probe)?;
    fs::remove_file(probe)
}

async fn check_app(config: &Config, app: &App, report: &mut Report) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let client = match app::client(&config.sync, app.clone(), &clock) {
        Ok(client) => client,
        Err(error) => return report.bad(&app.name, &chain(&error)),
    };
    match client.ensure_access_token().await {
        Ok(()) => report.good(&app.name, "corp_id and secret are accepted: WeCom gave an access token"),
        // That it is not asked for again so soon is of no interest here; what refused it is.
        Err(ApiError::NoAccessToken { source, .. }) => return report.refused(&app.name, "no access token", &source),
        Err(error) => return report.refused(&app.name, "no access token", &error),
    }
    match accounts(&client).await {
        Ok((0, 0)) => report.bad(
            &app.name,
            "no customer service account: 微信客服 → 通过API管理微信客服账号 → 企业内部开发 hands accounts to the app",
        ),
        Ok((readable, 0)) => report.good(&app.name, &format!("{readable} account(s) can be read")),
        Ok((readable, others)) => report.note(
            &app.name,
            &format!("{readable} account(s) can be read, {others} are not granted to this app: 微信客服 → 通过API管理微信客服账号"),
        ),
        Err(error) => report.refused(&app.name, "accounts cannot be listed", &error),
    }
}

/// How many accounts the app may read, and how many it sees but may not.
async fn accounts(client: &Client) -> Result<(usize, usize), ApiError> {
    let accounts = client.account_list().await?;
    let readable = accounts
        .iter()
        .filter(|account| account.manage_privilege != Some(false))
        .count();
    Ok((readable, accounts.len() - readable))
}

impl Report {
    fn good(&mut self, what: impl Display, finding: &str) {
        self.print(format_args!("ok    {what}: {finding}"));
    }

    fn note(&mut self, what: impl Display, finding: &str) {
        self.print(format_args!("note  {what}: {finding}"));
    }

    fn bad(&mut self, what: impl Display, finding: &str) {
        self.failed = true;
        self.print(format_args!("FAIL  {what}: {finding}"));
    }

    fn print(&mut self, line: std::fmt::Arguments<'_>) {
        if self.printed.is_ok() {
            self.printed = writeln!(stdout(), "{line}");
        }
    }

    /// A call that WeCom refused, with what a person can do about it.
    fn refused(&mut self, what: impl Display, finding: &str, error: &ApiError) {
        self.bad(what, &format!("{finding}: {}", chain(error)));
        if let Some(remedy) = error.errcode().and_then(|code| code.remedy()) {
            self.print(format_args!(
                "      cause: {}\n      page:  {}",
                remedy.cause, remedy.page
            ));
        }
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
