//! Traces: a collector that knows the wire format only is sent a span for each callback, pull and attempt.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use wecom_kf::simulator::Bells;

use crate::post::SIGNING_SECRET;
use crate::privacy::{serve, stop, until_counted};
use crate::stage::{Pace, Stage};

/// A field of a protobuf message: its number, and its bytes if it has a length.
fn fields(mut message: &[u8]) -> Vec<(u64, &[u8])> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let length = match key & 7 {
            0 => {
                varint(&mut message);
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut message)).unwrap(),
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (value, rest) = message.split_at(length);
        fields.push((key >> 3, value));
        message = rest;
    }
    fields
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let end = bytes.iter().position(|byte| byte & 0x80 == 0).expect("it ends");
    let (digits, rest) = bytes.split_at(end + 1);
    *bytes = rest;
    digits
        .iter()
        .rev()
        .fold(0, |value, digit| value << 7 | u64::from(digit & 0x7f))
}

fn all(message: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    fields(message)
        .into_iter()
        .filter(move |(field, _)| *field == number)
        .map(|(_, value)| value)
}

fn one(message: &[u8], number: u64) -> &[u8] {
    all(message, number).next().unwrap_or_default()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a span says that matters here, by the numbers of `opentelemetry/proto/trace/v1/trace.proto`.
#[derive(Debug)]
struct Span {
    /// Trace and span, as in `traceparent`.
    id: String,
    name: String,
    attributes: Vec<(String, String)>,
    /// Messages that it stored.
    stored: Vec<String>,
    /// Ids of spans that it is linked to.
    links: Vec<String>,
}

impl Span {
    fn read(span: &[u8]) -> Self {
        let id = |of: &[u8]| format!("{}-{}", hex(one(of, 1)), hex(one(of, 2)));
        let attributes = |of: &[u8], number| -> Vec<_> {
            // KeyValue { key = 1, value = 2 }, AnyValue { string_value = 1 }.
            let pairs = all(of, number).map(|pair| (text(one(pair, 1)), text(one(one(pair, 2), 1))));
            pairs.collect()
        };
        let stored = |event| attributes(event, 3).into_iter().find(|(key, _)| key == "msgid");
        Self {
            id: id(span),
            name: text(one(span, 5)),
            attributes: attributes(span, 9),
            stored: all(span, 11).filter_map(stored).map(|(_, msgid)| msgid).collect(),
            links: all(span, 13).map(id).collect(),
        }
    }

    fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }
}

/// What was collected, as it came, and the spans in it.
#[derive(Clone, Default)]
struct Collector {
    raw: Arc<Mutex<Vec<u8>>>,
    spans: Arc<Mutex<Vec<Span>>>,
    traceparents: Arc<Mutex<BTreeSet<String>>>,
}

async fn collect(State(collector): State<Collector>, body: Bytes) -> StatusCode {
    // ExportTraceServiceRequest { resource_spans = 1 { scope_spans = 2 { spans = 2 } } }
    for resource in all(&body, 1) {
        for scope in all(resource, 2) {
            collector.spans.lock().unwrap().extend(all(scope, 2).map(Span::read));
        }
    }
    collector.raw.lock().unwrap().extend_from_slice(&body);
    StatusCode::OK
}

async fn take(State(collector): State<Collector>, headers: HeaderMap) -> StatusCode {
    let traceparent = headers["traceparent"].to_str().unwrap().to_owned();
    collector.traceparents.lock().unwrap().insert(traceparent);
    StatusCode::NO_CONTENT
}

#[tokio::test(flavor = "multi_thread")]
async fn callbacks_pulls_and_attempts_are_spans_that_can_be_followed_and_tell_nothing_private() {
    const MESSAGES: usize = 60;
    let stage = Stage::with_accounts(2, Pace::Fast).await;
    let collector = Collector::default();
    let router = Router::new()
        .route("/v1/traces", post(collect))
        .route("/kf", post(take));
    let url = serve(router.with_state(collector.clone())).await;
    stage.change(&stage.receiver.url, &format!("{url}/kf"));
    stage.change(
        "format = \"json\"",
        &format!("format = \"json\"\notlp_endpoint = \"{url}\""),
    );
    let server = stage.start();
    stage.say(MESSAGES, Bells::Once);
    let done = format!(r#"wecom_kf_deliveries_total{{handler="bot",result="done"}} {MESSAGES}"#);
    until_counted(&server, &[done]).await;
    // What waits is sent at the end.
    let log = stop(server);
    assert!(!log.iter().any(|line| line.contains("traces")), "{log:?}");

    let spans = std::mem::take(&mut *collector.spans.lock().unwrap());
    let named = |name| spans.iter().filter(move |span: &&Span| span.name == name);
    let callbacks: BTreeSet<_> = named("callback").map(|span| span.id.as_str()).collect();
    assert!(
        named("callback").all(|span| span.attribute("result").is_some()),
        "{spans:?}"
    );
    let woken: Vec<_> = named("pull").filter(|span| !span.links.is_empty()).collect();
    assert!(!woken.is_empty(), "no pull is linked: {spans:?}");
    assert!(
        woken
            .iter()
            .all(|pull| pull.links.iter().all(|link| callbacks.contains(link.as_str())))
    );

    let stored: BTreeSet<_> = named("pull")
        .flat_map(|span| &span.stored)
        .map(String::as_str)
        .collect();
    let attempts: Vec<_> = named("attempt").collect();
    let tried: BTreeSet<_> = attempts.iter().filter_map(|span| span.attribute("msgid")).collect();
    assert_eq!((attempts.len(), tried.len()), (MESSAGES, MESSAGES));
    assert!(tried.is_subset(&stored), "an attempt leads to no pull");
    assert!(attempts.iter().all(|span| span.attribute("result") == Some("done")));
    let passed_on: BTreeSet<_> = attempts.iter().map(|span| format!("00-{}-01", span.id)).collect();
    assert_eq!(*collector.traceparents.lock().unwrap(), passed_on);

    let raw = String::from_utf8_lossy(&collector.raw.lock().unwrap()).into_owned();
    let secrets = stage.callback_keys().into_iter().chain([SIGNING_SECRET]);
    assert_eq!(
        secrets.filter(|secret| raw.contains(secret)).collect::<Vec<_>>(),
        [""; 0]
    );
    let said: Vec<serde_json::Value> = stage
        .wecom
        .ledger()
        .said
        .iter()
        .map(|said| serde_json::from_str(&said.raw).unwrap())
        .collect();
    let customers: Vec<_> = said
        .iter()
        .filter_map(|said| said["external_userid"].as_str())
        .collect();
    assert!(!customers.is_empty());
    assert!(
        !customers.iter().any(|customer| raw.contains(customer)),
        "a customer is named"
    );
}
