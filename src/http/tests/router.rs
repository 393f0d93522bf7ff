//! Every answer of the contract, asked for without a socket.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Frame;
use metrics::{Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use proptest::prelude::*;
use tower::ServiceExt;

use super::{CORP, NEWS, pair, router, router_with, sealed};
use crate::callback::{KeyPair, MAX_BODY_BYTES, Notification, Verifier, seal};
use crate::id::CorpId;
use crate::metric;

struct Answer {
    status: StatusCode,
    content_type: Option<String>,
    body: Bytes,
}

impl Answer {
    fn is_refused_with(&self, status: StatusCode) -> bool {
        self.status == status && self.body.is_empty()
    }

    fn is_success(&self) -> bool {
        self.status == StatusCode::OK && self.body == "success"
    }
}

async fn ask(router: &Router, method: Method, uri: &str, body: impl Into<Body>) -> Answer {
    let request = Request::builder().method(method).uri(uri).body(body.into()).unwrap();
    let answer = router.clone().oneshot(request).await.unwrap();
    let content_type = answer
        .headers()
        .get(header::CONTENT_TYPE)
        .map(|value| value.to_str().unwrap().to_owned());
    Answer {
        status: answer.status(),
        content_type,
        body: answer.into_body().collect().await.unwrap().to_bytes(),
    }
}

/// A genuine notification, posted to `path`.
async fn post_news(router: &Router, path: &str) -> Answer {
    let sealed = sealed(NEWS);
    ask(
        router,
        Method::POST,
        &format!("{path}?{}", sealed.query()),
        sealed.body(),
    )
    .await
}

/// A body that arrives in pieces, so that its length is not known in advance, and may break off.
struct Pieces(VecDeque<io::Result<Bytes>>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(self.0.pop_front().map(|piece| piece.map(Frame::data)))
    }
}

fn in_pieces(pieces: impl IntoIterator<Item = io::Result<Bytes>>) -> Body {
    Body::new(Pieces(pieces.into_iter().collect()))
}

#[tokio::test]
async fn echoes_exactly_what_the_official_samples_hold() {
    for (token, key, receiveid, query, echo) in [
        (
            "QDG6eK",
            "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C",
            "wx5823bf96d3bd56c7",
            "msg_signature=5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3&timestamp=1409659589&nonce=263014780&\
             echostr=P9nAzCzyDtyTWESHep1vC5X9xho%2FqYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp%2B4RPcs8TgAE7OaBO%2B\
             FZXvnaqQ%3D%3D",
            "1616140317555161061",
        ),
        (
            "hJqcu3uJ9Tn2gXPmxx2w9kkCkCE2EPYo",
            "6qkdMrq68nTKduznJYO1A37W2oEgpkMUvkttRToqhUt",
            "ww1436e0e65a779aee",
            "msg_signature=012bc692d0a58dd4b10f8dfe5c4ac00ae211ebeb&timestamp=1476416373&nonce=47744683&\
             echostr=fsi1xnbH4yQh0+PJxcOdhhK6TDXkjMyhEPA7xB2TGz6b+g7xyAbEkRxN/3cNXW9qdqjnoVzEtpbhnFyq6SVHyA==",
            "1288432023552776189",
        ),
    ] {
        let pair = KeyPair::new(token.into(), key.into()).unwrap();
        let verifier = Verifier::new(vec![pair], vec![CorpId::from(receiveid)]).unwrap();
        let (router, notified) = router_with(&["main"], &verifier);
        // Saving the form sends the same request several times.
        for _ in 0..3 {
            let answer = ask(&router, Method::GET, &format!("/callback/main?{query}"), "").await;
            assert_eq!((answer.status, &*answer.body), (StatusCode::OK, echo.as_bytes()));
            assert_eq!(answer.content_type.as_deref(), Some("text/plain"));
        }
        assert!(notified.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn hands_on_what_is_authentic_and_says_success() {
    let (router, notified) = router(&["main", "second"]);
    let answer = post_news(&router, "/callback/second").await;
    assert!(answer.is_success());
    assert_eq!(answer.content_type.as_deref(), Some("text/plain"));
    let notified = notified.lock().unwrap();
    let [
        (
            app,
            Notification::Message {
                open_kfid: Some(open_kfid),
                ..
            },
        ),
    ] = &notified[..]
    else {
        panic!("{notified:?}");
    };
    assert_eq!((&**app, open_kfid.as_str()), ("second", "wk1"));
}

#[tokio::test]
async fn answers_success_to_what_is_authentic_but_not_for_us() {
    let (router, notified) = router(&["main"]);
    for message in [
        "<xml><MsgType>event</MsgType><Event>enter_agent</Event></xml>",
        "<xml><MsgType>text</MsgType><Content>hello</Content></xml>",
        "<xml><InfoType>suite_ticket</InfoType></xml>",
        "not XML at all",
    ] {
        let sealed = sealed(message);
        let uri = format!("/callback/main?{}", sealed.query());
        assert!(
            ask(&router, Method::POST, &uri, sealed.body()).await.is_success(),
            "{message}"
        );
    }
    let notified = notified.lock().unwrap();
    assert_eq!(notified.len(), 4);
    assert!(notified.iter().all(|(_, notification)| notification.kind() == "other"));
}

#[tokio::test]
async fn an_only_app_needs_no_name_and_a_trailing_slash_is_tolerated() {
    let (only, _) = router(&["main"]);
    for path in ["/callback/main", "/callback/main/", "/callback", "/callback/"] {
        assert!(post_news(&only, path).await.is_success(), "{path}");
    }
    let (two, notified) = router(&["main", "second"]);
    for path in [
        "/callback",
        "/callback/",
        "/callback/third",
        "/callback/Main",
        "/callback/main/x",
        "/callback/%ff",
    ] {
        assert!(
            post_news(&two, path).await.is_refused_with(StatusCode::NOT_FOUND),
            "{path}"
        );
    }
    assert!(notified.lock().unwrap().is_empty());
}

#[tokio::test]
async fn can_be_mounted_in_another_application() {
    let (callbacks, _) = router(&["main"]);
    let merged = Router::new()
        .route("/", axum::routing::get(async || "home"))
        .merge(callbacks.clone());
    assert!(post_news(&merged, "/callback/main").await.is_success());
    let nested = Router::new().nest("/tenants/{tenant}", callbacks);
    assert!(post_news(&nested, "/tenants/7/callback/main").await.is_success());
}

#[tokio::test]
async fn refuses_with_the_status_of_the_contract_and_says_no_more() {
    let (router, notified) = router(&["main"]);
    let good = sealed(NEWS);
    let (query, body) = (good.query(), good.body());
    let forged = seal(
        &KeyPair::new("another".into(), "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C".into()).unwrap(),
        CORP,
        NEWS.as_bytes(),
        1_760_000_000,
        "n0nce",
        [7; 16],
    );
    let stranger = seal(&pair(), "wwanother", NEWS.as_bytes(), 1_760_000_000, "n0nce", [7; 16]);
    let too_long = "x".repeat(MAX_BODY_BYTES + 1);
    let (get, post) = (Method::GET, Method::POST);
    for (method, query, body, status) in [
        (&post, &forged.query(), &forged.body(), StatusCode::FORBIDDEN),
        (&post, &stranger.query(), &stranger.body(), StatusCode::FORBIDDEN),
        (&post, &query, &forged.body(), StatusCode::FORBIDDEN),
        (&get, &forged.echo_query(), &String::new(), StatusCode::FORBIDDEN),
        (&get, &good.echo_query(), &String::new(), StatusCode::FORBIDDEN),
        (&get, &query, &String::new(), StatusCode::BAD_REQUEST),
        (&get, &String::new(), &String::new(), StatusCode::BAD_REQUEST),
        (&post, &String::new(), &body, StatusCode::BAD_REQUEST),
        (&post, &format!("{query}&nonce=n"), &body, StatusCode::BAD_REQUEST),
        (&post, &query, &String::new(), StatusCode::BAD_REQUEST),
        (&post, &query, &"{}".to_owned(), StatusCode::BAD_REQUEST),
        (&post, &query, &too_long, StatusCode::PAYLOAD_TOO_LARGE),
        (&Method::PUT, &query, &body, StatusCode::METHOD_NOT_ALLOWED),
        (&Method::DELETE, &query, &body, StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let answer = ask(
            &router,
            method.clone(),
            &format!("/callback/main?{query}"),
            body.clone(),
        )
        .await;
        assert!(
            answer.is_refused_with(status),
            "{method} {query}: {} instead of {status}",
            answer.status
        );
    }
    assert!(notified.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_body_is_bounded_also_when_it_does_not_tell_its_length() {
    let (router, notified) = router(&["main"]);
    let sealed = sealed(NEWS);
    let uri = format!("/callback/main?{}", sealed.query());

    let whole = sealed
        .body()
        .into_bytes()
        .chunks(100)
        .map(Bytes::copy_from_slice)
        .map(Ok)
        .collect::<Vec<_>>();
    assert!(ask(&router, Method::POST, &uri, in_pieces(whole)).await.is_success());

    let endless = (0..=MAX_BODY_BYTES / 1024).map(|_| Ok(Bytes::from_static(&[b' '; 1024])));
    let refused = ask(&router, Method::POST, &uri, in_pieces(endless)).await;
    assert!(refused.is_refused_with(StatusCode::PAYLOAD_TOO_LARGE));

    let broken = [
        Ok(Bytes::from_static(b"<xml>")),
        Err(io::ErrorKind::ConnectionReset.into()),
    ];
    let refused = ask(&router, Method::POST, &uri, in_pieces(broken)).await;
    assert!(refused.is_refused_with(StatusCode::BAD_REQUEST));
    assert_eq!(notified.lock().unwrap().len(), 1);
}

proptest! {
    #[test]
    fn no_request_is_answered_with_a_server_error(
        method in prop_oneof![Just(Method::GET), Just(Method::POST), Just(Method::HEAD), Just(Method::OPTIONS)],
        query in "[ -~&&[^# <>\"`{}]]{0,120}",
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (router, notified) = router(&["main"]);
        let answer = runtime.block_on(ask(&router, method, &format!("/callback/main?{query}"), body));
        prop_assert!(answer.status.is_client_error() && answer.body.is_empty(), "{}", answer.status);
        prop_assert!(notified.lock().unwrap().is_empty());
    }
}

/// Keeps the labels of every counter that is incremented.
#[derive(Clone, Default)]
struct Counted(Arc<Mutex<Vec<String>>>);

struct CountInto(Counted, String);

impl CounterFn for CountInto {
    fn increment(&self, _: u64) {
        self.0.0.lock().unwrap().push(self.1.clone());
    }

    fn absolute(&self, _: u64) {}
}

impl Recorder for Counted {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        assert_eq!(key.name(), metric::CALLBACKS);
        let labels: Vec<&str> = key.labels().map(metrics::Label::value).collect();
        Counter::from_arc(Arc::new(CountInto(self.clone(), labels.join(" "))))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        assert_eq!(key.name(), metric::CALLBACK_SECONDS);
        Histogram::noop()
    }
}

#[test]
fn every_request_is_counted_once_by_app_and_result() {
    let counted = Counted::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    metrics::with_local_recorder(&counted, || {
        runtime.block_on(async {
            let (router, _) = router(&["main"]);
            let (news, echo) = (sealed(NEWS), sealed("123"));
            post_news(&router, "/callback/main").await;
            ask(&router, Method::GET, &format!("/callback?{}", echo.echo_query()), "").await;
            ask(
                &router,
                Method::POST,
                &format!("/callback/main?{}", echo.query()),
                news.body(),
            )
            .await;
            ask(&router, Method::POST, "/callback/main", news.body()).await;
            let too_long = "x".repeat(MAX_BODY_BYTES + 1);
            ask(
                &router,
                Method::POST,
                &format!("/callback/main?{}", news.query()),
                too_long,
            )
            .await;
            // A client that goes away before its body has come.
            let waiting = ask(&router, Method::POST, "/callback/main", Body::new(Never));
            assert!(tokio::time::timeout(std::time::Duration::ZERO, waiting).await.is_err());
        });
    });
    assert_eq!(
        *counted.0.lock().unwrap(),
        [
            "main message",
            "main echo",
            "main signature",
            "main missing",
            "main too_large",
            "main abandoned"
        ]
    );
}

/// A body that never comes.
struct Never;

impl HttpBody for Never {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Pending
    }
}
