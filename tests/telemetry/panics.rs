//! A handler that panics or fails with all it knows in its words: what the log makes of it, in a process of its own.

use std::env;
use std::io;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use wecom_kf::app::App;
use wecom_kf::callback::KeyPair;
use wecom_kf::config::{Config, Environment};
use wecom_kf::handler::{Policy, Registration, from_fn};
use wecom_kf::id::{ExternalUserid, HandlerName, OpenKfid};
use wecom_kf::simulator::{Account, Draft, Settings, Simulator};
use wecom_kf::telemetry::{self, Filter, LogFormat};

/// Set in the process that the test starts: itself, once more.
const CHILD: &str = "WECOM_KF_TEST_PANICS";
const NAME: &str = "panics::a_panic_is_a_line_of_the_log_and_tells_nothing_private";
const ACCOUNT: &str = "wkSimulatedAccount00000000000001";
const CUSTOMER: &str = "wmCanaryCanaryCanary";
const TEXT: &str = "a canary said this in confidence";
/// Attempts of both handlers.
const ATTEMPTS: usize = 6;

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a switch of the test, no setting of the server"
)]
fn a_panic_is_a_line_of_the_log_and_tells_nothing_private() {
    if env::var(CHILD).is_ok() {
        return child();
    }
    let output = Command::new(env::current_exe().unwrap())
        .args([NAME, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap();
    let (said, log) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(output.status.success(), "{said}\n{log}");

    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let panics: Vec<_> = lines.iter().filter(|line| line["message"] == "panicked").collect();
    assert!(!panics.is_empty(), "{log}");
    for panic in panics {
        assert!(panic["location"].as_str().unwrap().contains("panics.rs:"), "{panic}");
        assert!(
            panic["reason"].as_str().unwrap().starts_with("cannot handle Message"),
            "{panic}"
        );
    }
    assert!(lines.iter().any(|line| line["message"] == "delivery buried"), "{log}");
    for canary in [CUSTOMER, TEXT] {
        assert!(!log.contains(canary) && !said.contains(canary), "{canary}: {log}{said}");
    }
}

/// Runs a server whose handlers put all they have into their words, until both gave up.
fn child() {
    let settings = telemetry::Settings {
        filter: Filter::new("trace").unwrap(),
        format: LogFormat::Json,
        otlp_endpoint: None,
    };
    let _logs = telemetry::init_logs(&settings).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut settings = Settings::default();
        settings.accounts = vec![Account::new(ACCOUNT, "客服")];
        let (corp_id, secret) = (settings.corp_id.to_string(), settings.secret.expose_secret().to_owned());
        let wecom = Simulator::start(settings).await.unwrap();
        let folder = TempDir::new().unwrap();
        let config = config(&folder, &wecom, [&corp_id, &secret]);
        wecom
            .say(
                &OpenKfid::from(ACCOUNT),
                Draft::text(&ExternalUserid::from(CUSTOMER), TEXT),
            )
            .unwrap();

        let tried = Arc::new(AtomicUsize::new(0));
        let (tries, again) = (Arc::clone(&tried), Arc::clone(&tried));
        let panics = from_fn(move |cx, message| {
            tries.fetch_add(1, Ordering::SeqCst);
            async move { panic!("cannot handle {message:?} with {cx:?}") }
        });
        let fails = from_fn(move |cx, message| {
            again.fetch_add(1, Ordering::SeqCst);
            async move { Err(io::Error::other(format!("cannot handle {message:#?} with {cx:#?}")).into()) }
        });
        let quick = || Policy {
            max_attempts: 3,
            retry_schedule: wecom_kf::backoff::Schedule::new(vec![Duration::from_millis(5)]),
            ..Policy::default()
        };
        let app = App::builder(config)
            .handler(Registration::new(HandlerName::new("panics").unwrap(), panics).with_policy(quick()))
            .handler(Registration::new(HandlerName::new("fails").unwrap(), fails).with_policy(quick()))
            .build()
            .await
            .unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(app.run(stop.clone()));
        let given_up = async {
            while tried.load(Ordering::SeqCst) < ATTEMPTS {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(60), given_up).await.unwrap();
        stop.cancel();
        running.await.unwrap();
    });
}

fn config(folder: &TempDir, wecom: &Simulator, [corp_id, secret]: [&str; 2]) -> Config {
    let keys = KeyPair::generate(&mut rand::rng());
    let text = format!(
        r#"
        store.url = "sqlite://{}"
        [[apps]]
        name = "main"
        corp_id = "{corp_id}"
        secret = "{secret}"
        api_base = "{}"
        callback_keys = [{{ token = "{}", encoding_aes_key = "{}" }}]
        "#,
        folder.path().join("kf.db").display(),
        wecom.base_url(),
        keys.token.expose_secret(),
        keys.encoding_aes_key.expose_secret(),
    );
    Config::parse(&text, &Environment::default()).unwrap().config
}
