//! A server with a handler in Rust that talks, as a process of its own.
//!
//! This test binary is that process: started once more with [`CONFIG`] in its environment, the test below serves instead
//! of testing. So the server is never older than the library under test.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wecom_kf::app::App;
use wecom_kf::backoff::Schedule;
use wecom_kf::config::{Config, Environment};
use wecom_kf::handler::{Context, HandlerError, Outcome, Policy, Registration, Typed, TypedHandler};
use wecom_kf::id::HandlerName;
use wecom_kf::message::{EnterSession, Message, MsgSendFail, Text};
use wecom_kf::shutdown::Signals;
use wecom_kf::telemetry;

use crate::stage::{Pace, Stage};

/// Tells the process that serves where its config is.
const CONFIG: &str = "WECOM_KF_TEST_PARROT";

/// What everybody who comes in is told.
pub(super) const WELCOME: &str = "welcome";

/// What is said in answer to `text`, in two messages.
pub(super) fn answers(text: &str) -> [String; 2] {
    ["", " indeed"].map(|more| format!("{text}{more}"))
}

/// The server of `stage`.
pub(super) fn serve(stage: &Stage) -> Command {
    let itself = std::env::current_exe().expect("the test knows its own binary");
    let mut command = Command::new(itself);
    command
        .args([
            "--exact",
            "talk::parrot::a_handler_answers_and_hears_of_what_did_not_arrive",
        ])
        .env_clear()
        .env(CONFIG, stage.config())
        .stdin(Stdio::null());
    command
}

struct Parrot;

impl TypedHandler for Parrot {
    async fn enter_session(&self, cx: &Context, _: &Message, _: &EnterSession) -> Result<Outcome, HandlerError> {
        cx.welcome(WELCOME).await?;
        Ok(Outcome::Done)
    }

    async fn text(&self, cx: &Context, _: &Message, text: &Text) -> Result<Outcome, HandlerError> {
        for answer in answers(&text.content) {
            cx.reply(answer).await?;
        }
        Ok(Outcome::Done)
    }

    async fn msg_send_fail(&self, cx: &Context, _: &Message, _: &MsgSendFail) -> Result<Outcome, HandlerError> {
        let failed = cx
            .failed_reply()
            .await?
            .ok_or_else(|| std::io::Error::other("whose reply was it?"))?;
        let (msgid, index, reason) = (failed.in_reply_to, failed.index, failed.reason);
        tracing::info!("reply {index} to {msgid} failed: {reason:?}");
        Ok(Outcome::Done)
    }
}

async fn run(config: &Path) {
    let config = Config::load(config, &Environment::default())
        .expect("a good config")
        .config;
    let _logs = telemetry::init_logs(&config.log).expect("nobody else logs");
    let stop = CancellationToken::new();
    let signals = Signals::listen().expect("signals can be heard");
    tokio::spawn(signals.watch(stop.clone(), || std::process::exit(1)));
    let policy = Policy {
        // Trouble is what is tested, and none of it is to bury anything.
        max_attempts: 1_000,
        retry_schedule: Schedule::new([20, 50, 100].map(Duration::from_millis).to_vec()),
        probe_min: Duration::from_millis(20),
        probe_max: Duration::from_millis(100),
        ..Policy::default()
    };
    let parrot = Registration::new(HandlerName::new("parrot").unwrap(), Typed(Parrot)).with_policy(policy);
    let app = App::builder(config)
        .handler(parrot)
        .build()
        .await
        .expect("the app is built");
    app.bind().await.expect("its ports are free").run(stop).await;
}

#[expect(
    clippy::disallowed_methods,
    reason = "it is for the process that this test starts, not a setting of the server"
)]
fn config_to_serve() -> Option<PathBuf> {
    std::env::var(CONFIG).ok().map(PathBuf::from)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_answers_and_hears_of_what_did_not_arrive() {
    if let Some(config) = config_to_serve() {
        return run(&config).await;
    }
    let stage = Stage::with_accounts(1, Pace::Fast).await;
    let server = stage.start_as(serve(&stage));
    let (account, customer) = (stage.accounts().remove(0), "wm1".into());
    let alice = stage.wecom.customer(&account, &customer);
    alice.enters().unwrap();
    super::until(|| alice.read() == [WELCOME]).await;
    let msgid = alice.writes("hello").unwrap();
    super::until(|| alice.read() == [WELCOME, "hello", "hello indeed"]).await;

    let lost = alice.saw().remove(2);
    stage.wecom.fail_reply(&account, &lost.msgid, 10).unwrap();
    server.until_logged(&format!("reply 1 to {msgid} failed: CustomerRefuses"));
    assert!(server.stop().success());
}
