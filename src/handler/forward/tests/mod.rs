use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Mutex;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, Response as Answer};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

use super::*;
use crate::clock::{ManualClock, UnixMillis};
use crate::handler::samples::{decoded, read};
use crate::handler::{Attempt, Policy, Registration};
use crate::id::{AccountKey, AppName, HandlerName, OpenKfid};

mod answers;
mod certificates;
mod hostile;
mod reach;

const NOW: UnixMillis = UnixMillis(1_795_000_000_000);

/// 32 bytes of 7, as a secret.
const SECRET: &str = "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

/// One request as the endpoint got it.
struct Seen {
    method: String,
    headers: HeaderMap,
    body: Vec<u8>,
    peer: SocketAddr,
}

/// An endpoint that answers every request alike and keeps what it was sent.
struct Endpoint {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Endpoint {
    async fn that_answers(answer: impl Fn() -> Answer<Body> + Clone + Send + Sync + 'static) -> Self {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let kept = Arc::clone(&seen);
        let router = Router::new().fallback(move |ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request| {
            let (kept, answer) = (Arc::clone(&kept), answer.clone());
            async move {
                let (head, body) = request.into_parts();
                let body = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
                let method = head.method.to_string();
                let headers = head.headers;
                kept.lock().unwrap().push(Seen {
                    method,
                    headers,
                    body,
                    peer,
                });
                answer()
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/kf", listener.local_addr().unwrap());
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        Self { url, seen }
    }

    async fn with_status(status: u16) -> Self {
        Self::that_answers(move || answer(status, &[])).await
    }

    fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

fn answer(status: u16, headers: &[(&str, &str)]) -> Answer<Body> {
    let mut answer = Answer::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    answer.body(Body::from("thank you")).unwrap()
}

fn settings(url: &str, timeout: Duration) -> Settings {
    Settings {
        url: url.parse().unwrap(),
        signing_secrets: vec![SigningSecret::parse(SECRET).unwrap()],
        reach: Reach::Anywhere,
        authorities: None,
        concurrency: 4,
        timeout,
    }
}

fn forwarder(url: &str, timeout: Duration) -> Registration {
    registered(Forward::new(settings(url, timeout), clock()).unwrap(), timeout)
}

fn registered(forward: Forward, timeout: Duration) -> Registration {
    Registration::new(HandlerName::new("bot").unwrap(), forward).with_policy(Policy {
        timeout,
        ..Policy::default()
    })
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::new(NOW))
}

async fn forwarded(to: &Registration, message: &Message) -> Attempt {
    let account = Arc::new(AccountKey::new(
        AppName::new("main").unwrap(),
        OpenKfid::from("wkPulled"),
    ));
    to.attempt(&account, message, 1).await
}

/// Forwards a text with time to spare.
async fn sent_to(url: &str) -> Attempt {
    forwarded(&forwarder(url, Duration::from_secs(30)), &read("text")).await
}

/// HMAC as RFC 2104 writes it, for keys of at most a block.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let pad = |with: u8| (0..64).map(|i| key.get(i).unwrap_or(&0) ^ with).collect::<Vec<u8>>();
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new()
        .chain_update(pad(0x5c))
        .chain_update(inner)
        .finalize()
        .to_vec()
}

#[tokio::test]
async fn a_request_is_signed_over_its_id_time_and_body() {
    use base64::Engine as _;

    let endpoint = Endpoint::with_status(204).await;
    assert_eq!(sent_to(&endpoint.url).await, Attempt::Done);

    let seen = endpoint.seen.lock().unwrap();
    let Seen {
        method, headers, body, ..
    } = &seen[0];
    assert_eq!(method, "POST");
    let host = endpoint.url.trim_start_matches("http://").split('/').next();
    assert_eq!(headers["host"].to_str().ok(), host);
    assert_eq!(headers["content-type"], "application/json");
    assert!(headers["user-agent"].to_str().unwrap().starts_with("wecom-kf/"));
    assert_eq!(headers["webhook-timestamp"], "1795000000");
    let id = headers["webhook-id"].to_str().unwrap();
    let signed = [format!("{id}.1795000000.").as_bytes(), body].concat();
    let signature = base64::engine::general_purpose::STANDARD.encode(hmac(&[7; 32], &signed));
    assert_eq!(headers["webhook-signature"], format!("v1,{signature}").as_str());
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    assert_eq!(body["data"]["app"], "main");
}

#[test]
fn the_host_is_asked_for_by_name_and_by_its_port_unless_that_is_the_schemes_own() {
    for (url, host) in [
        ("https://bot.example/kf?key=1", "bot.example"),
        ("https://bot.example:443/", "bot.example"),
        ("http://bot.example:443", "bot.example:443"),
        ("http://[::1]:8080/kf", "[::1]:8080"),
    ] {
        let forward = Forward::new(settings(url, Duration::from_secs(30)), clock()).unwrap();
        assert_eq!(forward.host, host);
    }
}

#[tokio::test]
async fn every_attempt_of_a_message_has_the_same_id_and_no_other_message_has_it() {
    let endpoint = Endpoint::with_status(200).await;
    let forwarder = forwarder(&endpoint.url, Duration::from_secs(30));
    for sample in ["text", "text", "image"] {
        assert_eq!(forwarded(&forwarder, &read(sample)).await, Attempt::Done);
    }
    let seen = endpoint.seen.lock().unwrap();
    let ids: Vec<_> = seen.iter().map(|request| &request.headers["webhook-id"]).collect();
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0], ids[2]);
}

#[tokio::test]
async fn the_status_decides_what_becomes_of_the_message() {
    let cases = [
        ("done", &[200, 201, 202, 204, 299][..]),
        ("rejected", &[410, 422]),
        ("unavailable", &[429, 502, 503, 504]),
        (
            "to be tried again",
            &[300, 301, 302, 304, 307, 308, 400, 401, 403, 404, 408, 500, 501, 599],
        ),
    ];
    for (expected, statuses) in cases {
        for &status in statuses {
            let endpoint = Endpoint::with_status(status).await;
            let (is, reason) = match sent_to(&endpoint.url).await {
                Attempt::Done => ("done", None),
                Attempt::Skip => ("skipped", None),
                Attempt::Reject { reason } => ("rejected", Some(reason)),
                Attempt::Unavailable { reason, after: None } => ("unavailable", Some(reason)),
                Attempt::Retry { reason, after: None } => ("to be tried again", Some(reason)),
                other => panic!("{status}: {other:?}"),
            };
            assert_eq!(is, expected, "{status}");
            assert!(
                reason.is_none_or(|reason| reason.contains(&status.to_string())),
                "{status}"
            );
            assert_eq!(endpoint.requests(), 1, "{status}");
        }
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Endpoint::with_status(200).await;
    let location = elsewhere.url.clone();
    let endpoint = Endpoint::that_answers(move || answer(307, &[("location", &location)])).await;
    let attempt = sent_to(&endpoint.url).await;
    assert!(
        matches!(&attempt, Attempt::Retry { reason, .. } if reason.contains("redirects")),
        "{attempt:?}"
    );
    assert_eq!((endpoint.requests(), elsewhere.requests()), (1, 0));
}

#[tokio::test]
async fn retry_after_is_honoured_in_both_its_forms_and_within_bounds() {
    let cases = [
        ("7", Some(7)),
        ("0", Some(1)),
        ("999999", Some(3600)),
        ("Wed, 18 Nov 2026 11:08:10 GMT", Some(90)),
        ("Wed, 18 Nov 2026 11:06:00 GMT", Some(1)),
        ("Fri, 18 Nov 2033 11:06:00 GMT", Some(3600)),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("", None),
    ];
    for (value, secs) in cases {
        let expected = secs.map(Duration::from_secs);
        let endpoint = Endpoint::that_answers(move || answer(503, &[("retry-after", value)])).await;
        let attempt = sent_to(&endpoint.url).await;
        assert!(
            matches!(attempt, Attempt::Unavailable { after, .. } if after == expected),
            "{value}: {attempt:?}"
        );
    }
    let endpoint = Endpoint::that_answers(|| answer(500, &[("retry-after", "7")])).await;
    let expected = Some(Duration::from_secs(7));
    let attempt = sent_to(&endpoint.url).await;
    assert!(
        matches!(attempt, Attempt::Retry { after, .. } if after == expected),
        "{attempt:?}"
    );
}

#[tokio::test]
async fn one_connection_serves_many_messages() {
    let endpoint = Endpoint::with_status(200).await;
    let forwarder = forwarder(&endpoint.url, Duration::from_secs(30));
    for _ in 0..5 {
        assert_eq!(forwarded(&forwarder, &read("text")).await, Attempt::Done);
    }
    let peers: HashSet<SocketAddr> = endpoint.seen.lock().unwrap().iter().map(|seen| seen.peer).collect();
    assert_eq!((endpoint.requests(), peers.len()), (5, 1));
}

#[tokio::test]
async fn what_is_no_message_is_rejected_unsent() {
    let endpoint = Endpoint::with_status(200).await;
    let forwarder = forwarder(&endpoint.url, Duration::from_secs(30));
    let attempt = forwarded(&forwarder, &decoded("17")).await;
    assert!(matches!(attempt, Attempt::Reject { .. }), "{attempt:?}");
    assert_eq!(endpoint.requests(), 0);
}

#[test]
fn nothing_shows_the_secret_or_the_query() {
    let settings = settings("http://127.0.0.1:9/kf?key=s3cret", Duration::from_secs(1));
    let both = format!("{settings:?} {:?}", Forward::new(settings.clone(), clock()).unwrap());
    assert_eq!(both.matches("http://127.0.0.1:9/kf").count(), 2, "{both}");
    assert!(
        !both.contains("s3cret") && !both.contains("BwcH") && !both.contains("7, 7"),
        "{both}"
    );
}

#[test]
fn only_http_is_spoken_and_no_credentials_are_sent() {
    for (url, spoken) in [
        ("https://bot.example/kf", true),
        ("ftp://bot.example/kf", false),
        ("file:///kf", false),
        ("https://ann@bot.example/kf", false),
        ("https://ann:s3cret@bot.example/kf", false),
    ] {
        let made = Forward::new(settings(url, Duration::from_secs(1)), clock());
        assert_eq!(made.is_ok(), spoken, "{url}");
    }
}

#[test]
fn without_a_secret_nothing_is_forwarded() {
    let settings = Settings {
        signing_secrets: Vec::new(),
        ..settings("https://bot.example/kf", Duration::from_secs(1))
    };
    let made = Forward::new(settings, clock());
    assert!(matches!(made, Err(ForwardError::NoSecret)), "{made:?}");
}
