//! What an operator sees of the calls: counters and log lines.

use std::collections::HashMap;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::response::IntoResponse;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::*;

#[tokio::test]
async fn calls_are_counted_and_logged_without_what_they_carry() {
    let counts = Counts::default();
    let _recorder = metrics::set_default_local_recorder(&counts);
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_writer({
            let log = log.clone();
            move || log.clone()
        })
        .finish();
    let _subscriber = tracing::subscriber::set_default(subscriber);
    // While there is but one subscriber, tracing lets the thread that reaches a line first decide for all whether it is
    // of interest, and a neighbouring test without a subscriber says no. With two, it asks the subscribers.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());

    let fake = Fake::start(|seen: Seen| match (seen.call.as_str(), seen.body.contains("wk1")) {
        ("gettoken", _) => grant(TOKEN),
        ("kf/sync_msg", true) => r#"{"errcode":95007,"errmsg":"invalid msg token"}"#.into_response(),
        _ => "<html>".into_response(),
    })
    .await;
    let client = client(&fake.base);
    pull(&client).await.unwrap_err();
    client.account_list().await.unwrap_err();

    for (call, errcode) in [
        ("gettoken", "0"),
        ("kf/sync_msg", "95007"),
        ("kf/account/list", "unreadable"),
    ] {
        assert_eq!(counts.of(call, errcode), 1, "{call} {errcode}");
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        log.contains("called WeCom call=\"kf/sync_msg\" errcode=95007 duration_ms="),
        "{log}"
    );
    assert!(!log.contains("canary"), "{log}");
    assert!(!format!("{client:?}").contains("canary"));
}

/// Log lines, kept.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Counters, by metric and labels.
#[derive(Default)]
struct Counts(Mutex<HashMap<Key, Arc<AtomicU64>>>);

impl Counts {
    fn of(&self, call: &'static str, errcode: &'static str) -> u64 {
        let key = Key::from_parts(
            crate::metric::API_REQUESTS,
            vec![
                metrics::Label::new("call", call),
                metrics::Label::new("errcode", errcode),
            ],
        );
        self.0
            .lock()
            .unwrap()
            .get(&key)
            .map_or(0, |count| count.load(Ordering::SeqCst))
    }
}

impl Recorder for Counts {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::clone(self.0.lock().unwrap().entry(key.clone()).or_default()))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
