use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use metrics_exporter_prometheus::PrometheusBuilder;

use super::*;
use crate::handler::samples::read;
use crate::handler::{Handler, Policy, Registration, from_fn};
use crate::id::{AccountKey, AppName, HandlerName, OpenKfid};

const TIMEOUT: Duration = Duration::from_secs(3);

async fn attempted(handler: impl Handler) -> Attempt {
    let policy = Policy {
        timeout: TIMEOUT,
        ..Policy::default()
    };
    let registration = Registration::new(HandlerName::new("bot").unwrap(), handler).with_policy(policy);
    let account = Arc::new(AccountKey::new(AppName::new("main").unwrap(), OpenKfid::from("wk1")));
    registration.attempt(&account, &read("text"), 2).await
}

fn retry(reason: &str) -> Attempt {
    Attempt::Retry {
        after: None,
        reason: reason.into(),
    }
}

/// An error with a cause it may or may not speak of itself.
#[derive(Debug)]
struct Failed(String, Option<BoxError>);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.1.as_ref().map(|cause| &**cause as _)
    }
}

fn failed(text: &str, cause: Option<Failed>) -> Failed {
    Failed(text.to_owned(), cause.map(Into::into))
}

#[tokio::test]
async fn what_the_handler_returns_is_what_is_reported() {
    assert_eq!(attempted(from_fn(async |_, _| Ok(Outcome::Done))).await, Attempt::Done);
    assert_eq!(attempted(from_fn(async |_, _| Ok(Outcome::Skip))).await, Attempt::Skip);

    let after = Some(Duration::from_secs(9));
    let later = from_fn(move |_, _| async move {
        let source = "busy".into();
        Err(HandlerError::Retry { after, source })
    });
    let reason = "busy".into();
    assert_eq!(attempted(later).await, Attempt::Retry { after, reason });

    let away = from_fn(move |_, _| async move {
        let source = "away".into();
        Err(HandlerError::Unavailable { after, source })
    });
    let reason = "away".into();
    assert_eq!(attempted(away).await, Attempt::Unavailable { after, reason });

    let never = from_fn(|_, _| async {
        let source = "never".into();
        Err(HandlerError::Reject { source })
    });
    let reason = "never".into();
    assert_eq!(attempted(never).await, Attempt::Reject { reason });
}

#[tokio::test(start_paused = true)]
async fn the_handler_is_told_about_its_attempt() {
    let checked = from_fn(|cx, message| async move {
        assert_eq!((cx.handler().as_str(), cx.attempt()), ("bot", 2));
        assert_eq!(cx.account().to_string(), "main/wk1");
        assert_eq!(cx.deadline() - Instant::now(), TIMEOUT);
        assert!(cx.delivery_id().starts_with("msg_"));
        assert_eq!(message.kind(), Some("text"));
        Ok(Outcome::Done)
    });
    assert_eq!(attempted(checked).await, Attempt::Done);
}

#[tokio::test]
async fn any_error_is_tried_again_and_told_with_its_causes() {
    let chained = from_fn(|_, _| async {
        let disk = failed("disk is full", None);
        let database = failed("database: disk is full", Some(disk));
        Err(failed("cannot save", Some(database)))?
    });
    assert_eq!(attempted(chained).await, retry("cannot save: database: disk is full"));
}

#[tokio::test]
async fn a_reason_is_one_line_of_bounded_length() {
    let long = attempted(from_fn(|_, _| async { Err(failed(&"客".repeat(9_999), None))? })).await;
    assert_eq!(long, retry(&format!("{}…", "客".repeat(499))));

    let fits = attempted(from_fn(|_, _| async { Err(failed(&"x".repeat(500), None))? })).await;
    assert_eq!(fits, retry(&"x".repeat(500)));

    let lines = attempted(from_fn(|_, _| async {
        Err(failed("a\r\nlevel=ERROR\u{1b}[0m", None))?
    }))
    .await;
    assert_eq!(lines, retry("a  level=ERROR [0m"));
}

/// An error that is its own cause.
#[derive(Debug)]
struct Circular;

impl fmt::Display for Circular {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("round and round")
    }
}

impl std::error::Error for Circular {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self)
    }
}

#[tokio::test]
async fn an_endless_chain_of_causes_ends() {
    let handler = from_fn(|_, _| async { Err(Circular)? });
    assert_eq!(attempted(handler).await, retry("round and round"));
}

#[tokio::test]
async fn a_panic_is_an_error_like_any_other() {
    let with_text = from_fn(|_, message| async move { panic!("no {} today", message.kind().unwrap()) });
    assert_eq!(attempted(with_text).await, retry("panicked: no text today"));

    let after_waiting = from_fn(async |_, _| {
        tokio::task::yield_now().await;
        panic!("later")
    });
    assert_eq!(attempted(after_waiting).await, retry("panicked: later"));

    let with_a_value = from_fn(async |_, _| std::panic::panic_any(7));
    assert_eq!(attempted(with_a_value).await, retry("panicked: without a word"));
}

struct MakesNoFuture;

impl Handler for MakesNoFuture {
    fn handle(&self, _: &Context, message: &Message) -> impl Future<Output = Result<Outcome, HandlerError>> + Send {
        assert!(message.msgid.as_str().is_empty(), "no future");
        async { Ok(Outcome::Done) }
    }
}

#[tokio::test]
async fn a_panic_before_there_is_a_future_is_an_error_too() {
    assert_eq!(attempted(MakesNoFuture).await, retry("panicked: no future"));
}

#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("words fail me")
    }
}

impl std::error::Error for Unspeakable {}

#[tokio::test]
async fn a_panic_in_an_errors_text_is_an_error_too() {
    let handler = from_fn(|_, _| async { Err(Unspeakable)? });
    assert_eq!(attempted(handler).await, retry("panicked: words fail me"));
}

/// Notes that it was dropped, and panics on it if told to.
struct Guard {
    dropped: Arc<AtomicBool>,
    panics: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::SeqCst);
        assert!(!self.panics, "dropped in the middle");
    }
}

/// Has a guard in its future and never ends.
fn hangs(dropped: &Arc<AtomicBool>, panics: bool) -> impl Handler + use<> {
    let dropped = Arc::clone(dropped);
    from_fn(move |_, _| {
        let guard = Guard {
            dropped: Arc::clone(&dropped),
            panics,
        };
        async move {
            std::future::pending::<()>().await;
            drop(guard);
            Ok(Outcome::Done)
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_is_dropped_at_its_deadline() {
    let dropped = Arc::default();
    let began = Instant::now();
    let attempt = attempted(hangs(&dropped, false)).await;
    assert_eq!(began.elapsed().as_secs(), TIMEOUT.as_secs());
    assert!(
        matches!(&attempt, Attempt::Retry { after: None, reason } if reason.contains("not done")),
        "{attempt:?}"
    );
    assert!(dropped.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_it_is_dropped_stays_inside() {
    let dropped = Arc::default();
    let attempt = attempted(hangs(&dropped, true)).await;
    assert!(
        matches!(&attempt, Attempt::Retry { reason, .. } if reason.contains("not done")),
        "{attempt:?}"
    );
    assert!(dropped.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn a_boundless_timeout_is_bounded() {
    let policy = Policy {
        timeout: Duration::MAX,
        ..Policy::default()
    };
    let handler = hangs(&Arc::default(), false);
    let registration = Registration::new(HandlerName::new("bot").unwrap(), handler).with_policy(policy);
    let account = Arc::new(AccountKey::new(AppName::new("main").unwrap(), OpenKfid::from("wk1")));
    let attempt = registration.attempt(&account, &read("text"), 1).await;
    assert!(matches!(attempt, Attempt::Retry { .. }), "{attempt:?}");
}

#[tokio::test(start_paused = true)]
async fn attempts_are_counted_by_result_and_timed() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    attempted(from_fn(async |_, _| Ok(Outcome::Done))).await;
    attempted(from_fn(async |_, _| Ok(Outcome::Done))).await;
    attempted(from_fn(async |_, _| panic!("no"))).await;
    attempted(hangs(&Arc::default(), false)).await;

    let shown = recorder.handle().render();
    assert!(
        shown.contains(r#"wecom_kf_deliveries_total{handler="bot",result="done"} 2"#),
        "{shown}"
    );
    assert!(
        shown.contains(r#"wecom_kf_deliveries_total{handler="bot",result="retry"} 2"#),
        "{shown}"
    );
    assert!(
        shown.contains(r#"wecom_kf_delivery_duration_seconds_count{handler="bot"} 4"#),
        "{shown}"
    );
}
