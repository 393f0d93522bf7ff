//! Files on their way through, both ways.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame};
use tokio::sync::Notify;
use tower::ServiceExt as _;

use super::fake::Fake;
use super::{Body, KEY, OK, Stage, TOKEN, whole, with_key};

const UPLOAD: &str = "/apps/main/cgi-bin/media/upload?type=file";
const GET: &str = "/apps/main/cgi-bin/media/get?media_id=m1";
/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A body in pieces, whose length nobody knows before.
struct Pieces {
    left: VecDeque<Bytes>,
    end: End,
}

enum End {
    Clean,
    /// Breaks off, but not before what came earlier could be sent.
    Broken {
        paused: bool,
    },
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(piece) = self.left.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match &mut self.end {
            End::Clean => Poll::Ready(None),
            End::Broken { paused: true } => Poll::Ready(Some(Err("gone".into()))),
            End::Broken { paused } => {
                *paused = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

/// `bytes` in pieces of 10,000.
fn in_pieces(bytes: &Bytes) -> Pieces {
    let left = bytes.chunks(10_000).map(Bytes::copy_from_slice).collect();
    Pieces { left, end: End::Clean }
}

fn broken(bytes: &Bytes) -> Pieces {
    Pieces {
        end: End::Broken { paused: false },
        ..in_pieces(bytes)
    }
}

/// Bytes of which no two stretches are alike.
fn file(length: usize) -> Bytes {
    (0..length)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

#[tokio::test]
async fn an_upload_arrives_byte_for_byte_whatever_its_size() {
    let fake = Fake::start(|_| OK).await;
    let stage = Stage::before(&fake);
    for length in [0, 6, 256 * 1024, 256 * 1024 + 1, 20 * 1024 * 1024] {
        let file = file(length);
        for body in [whole(file.clone()), in_pieces(&file).boxed()] {
            let is_announced = body.size_hint().exact().is_some();
            let request = Request::post(UPLOAD).header("content-type", "multipart/form-data; boundary=x");
            let answer = stage.ask(with_key(request, body)).await;
            assert_eq!(answer.status, StatusCode::OK, "{length}");
            let seen = fake.seen().pop().unwrap();
            assert!(seen.body == file, "{length} bytes, announced: {is_announced}");
            assert_eq!(seen.headers["content-type"], "multipart/form-data; boundary=x");
            if is_announced && length > 0 {
                assert_eq!(seen.headers["content-length"], length.to_string());
            }
        }
    }
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_before_or_on_its_way() {
    let fake = Fake::start(|_| OK).await;
    let stage = Stage::before(&fake);
    let file = file(20 * 1024 * 1024 + 64 * 1024 + 1);
    let announced = stage.post(UPLOAD, file.clone()).await;
    assert_eq!(
        (announced.status, announced.errcode()),
        (StatusCode::PAYLOAD_TOO_LARGE, 40206)
    );
    assert!(fake.seen().is_empty());
    let on_its_way = stage
        .ask(with_key(Request::post(UPLOAD), in_pieces(&file).boxed()))
        .await;
    assert_eq!(
        (on_its_way.status, on_its_way.errcode()),
        (StatusCode::PAYLOAD_TOO_LARGE, 40206)
    );

    // No other call is as long.
    let message = file.slice(..256 * 1024 + 1);
    for body in [whole(message.clone()), in_pieces(&message).boxed()] {
        let request = Request::post("/apps/main/cgi-bin/kf/send_msg");
        let answer = stage.ask(with_key(request, body)).await;
        assert_eq!(
            (answer.status, answer.errcode()),
            (StatusCode::PAYLOAD_TOO_LARGE, 40206)
        );
    }
    assert!(
        fake.seen().iter().all(|seen| seen.path == "/cgi-bin/media/upload"),
        "no message was sent"
    );
}

#[tokio::test]
async fn a_body_that_breaks_off_is_told_from_a_wecom_that_fails() {
    let fake = Fake::start(|_| OK).await;
    let stage = Stage::before(&fake);
    for length in [100, 300 * 1024] {
        let body = broken(&file(length)).boxed();
        let answer = stage.ask(with_key(Request::post(UPLOAD), body)).await;
        assert_eq!(
            (answer.status, answer.errcode()),
            (StatusCode::BAD_REQUEST, 40035),
            "{length}"
        );
    }
}

/// A WeCom that takes only the token after the first.
async fn fake_that_refuses_the_first_token() -> Fake {
    let granted = Arc::new(AtomicUsize::new(0));
    let grant = move || format!("{TOKEN}-{}", granted.fetch_add(1, Ordering::SeqCst));
    Fake::granting(grant, |seen: super::fake::Seen| {
        if seen.access_tokens() == [format!("{TOKEN}-0")] {
            format!(r#"{{"errcode":42001,"errmsg":"access_token {TOKEN}-0 expired"}}"#).into_response()
        } else {
            OK.into_response()
        }
    })
    .await
}

#[tokio::test]
async fn a_small_upload_is_repeated_with_the_next_token() {
    let fake = fake_that_refuses_the_first_token().await;
    let stage = Stage::before(&fake);
    let answer = stage.post(UPLOAD, file(256 * 1024)).await;
    assert_eq!((answer.status, answer.errcode()), (StatusCode::OK, 0));
    let seen = fake.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].body, seen[1].body);
}

#[tokio::test]
async fn the_caller_repeats_a_large_upload_and_finds_the_next_token() {
    let fake = fake_that_refuses_the_first_token().await;
    let stage = Stage::before(&fake);
    let file = file(1024 * 1024);
    let refused = stage.post(UPLOAD, file.clone()).await;
    assert_eq!((refused.status, refused.errcode()), (StatusCode::OK, 42001));
    assert!(
        !String::from_utf8_lossy(&refused.body).contains("canary"),
        "{:?}",
        refused.body
    );
    let taken = stage.post(UPLOAD, file.clone()).await;
    assert_eq!(taken.errcode(), 0);
    assert!(fake.seen()[1].body == file);
}

#[tokio::test]
async fn a_file_comes_back_with_its_name_and_nothing_else_of_wecoms_headers() {
    let bytes = file(3 * 1024 * 1024);
    let answered = bytes.clone();
    let fake = Fake::start(move |_| {
        let headers = [
            ("content-type", "image/jpeg"),
            ("content-disposition", "attachment; filename=\"图.jpg\""),
            ("set-cookie", "a=b"),
            ("server", "nginx"),
            ("x-w-no", "1"),
            ("location", "https://elsewhere.example/"),
        ];
        (headers, answered.clone()).into_response()
    })
    .await;
    let stage = Stage::before(&fake);
    let answer = stage.get(GET).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.body == bytes);
    let mut names: Vec<_> = answer.headers.keys().map(header::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-disposition", "content-type"]);
    assert_eq!(
        answer.headers["content-disposition"].as_bytes(),
        "attachment; filename=\"图.jpg\"".as_bytes()
    );
    assert_eq!(fake.seen()[0].query[1], ("media_id".to_owned(), "m1".to_owned()));
}

#[tokio::test]
async fn a_part_of_a_file_can_be_asked_for() {
    let fake = Fake::start(|seen: super::fake::Seen| {
        assert_eq!(seen.headers["range"], "bytes=16-31");
        let headers = [
            ("content-disposition", "attachment; filename=\"a\""),
            ("content-range", "bytes 16-31/100"),
        ];
        (StatusCode::PARTIAL_CONTENT, headers, "0123456789abcdef").into_response()
    })
    .await;
    let stage = Stage::before(&fake);
    let request = Request::get(GET).header("range", "bytes=16-31");
    let answer = stage.ask(with_key(request, whole(""))).await;
    assert_eq!(
        (answer.status, &answer.body[..]),
        (StatusCode::PARTIAL_CONTENT, &b"0123456789abcdef"[..])
    );
    assert_eq!(answer.headers["content-range"], "bytes 16-31/100");
}

#[tokio::test]
async fn an_error_instead_of_a_file_is_read_and_a_file_that_looks_like_one_is_not() {
    const GONE: &str = r#"{"errcode":40007,"errmsg":"invalid media_id"}"#;
    let granted = Arc::new(AtomicUsize::new(0));
    let grants = Arc::clone(&granted);
    let grant = move || format!("{TOKEN}-{}", grants.fetch_add(1, Ordering::SeqCst));
    let fake = Fake::granting(grant, |seen: super::fake::Seen| match seen.query[1].1.as_str() {
        "gone" => ([("content-type", "text/plain")], GONE).into_response(),
        // What a customer sent has a name.
        "m1" => (
            [
                ("content-type", "application/json"),
                ("content-disposition", "attachment; filename=\"a.json\""),
            ],
            r#"{"errcode":42001}"#,
        )
            .into_response(),
        _ => ([("content-type", "image/png")], "\u{89}PNG").into_response(),
    })
    .await;
    let stage = Stage::before(&fake);
    let gone = stage.get("/apps/main/cgi-bin/media/get?media_id=gone").await;
    assert_eq!((gone.status, &gone.body[..]), (StatusCode::OK, GONE.as_bytes()));
    let file = stage.get(GET).await;
    assert_eq!(&file.body[..], br#"{"errcode":42001}"#);
    let nameless = stage.get("/apps/main/cgi-bin/media/get?media_id=nameless").await;
    assert_eq!(&nameless.body[..], "\u{89}PNG".as_bytes());
    assert_eq!(granted.load(Ordering::SeqCst), 1, "no token was thrown away");
}

/// A body whose second half comes when it is told to.
struct Halves {
    first: Option<Bytes>,
    go_on: Arc<Notify>,
    wait: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl hyper::body::Body for Halves {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let Some(wait) = &mut self.wait else {
            return Poll::Ready(None);
        };
        std::task::ready!(wait.as_mut().poll(cx));
        self.wait = None;
        // Nobody else waits for it: the test sees that the second half was asked for.
        self.go_on.notify_one();
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"second")))))
    }
}

fn halves(go_on: &Arc<Notify>) -> Halves {
    let wait = Arc::clone(go_on);
    Halves {
        first: Some(Bytes::from_static(b"first")),
        go_on: Arc::clone(go_on),
        wait: Some(Box::pin(async move { wait.notified().await })),
    }
}

#[tokio::test]
async fn a_download_runs_through_while_wecom_still_sends() {
    let go_on = Arc::new(Notify::new());
    let file = Arc::new(Mutex::new(Some(halves(&go_on))));
    let fake = Fake::start(move |_| {
        let body = axum::body::Body::new(file.lock().unwrap().take().unwrap());
        let answer = Response::builder().header("content-disposition", "attachment; filename=\"a\"");
        answer.body(body).unwrap()
    })
    .await;
    let stage = Stage::before(&fake);
    let request: Request<Body> = with_key(Request::get(GET), whole(""));
    let answer = stage.gateway.service().oneshot(request).await.unwrap();
    let mut body = answer.into_body();
    let first = tokio::time::timeout(PATIENCE, body.frame())
        .await
        .expect("the first half comes alone");
    assert_eq!(first.unwrap().unwrap().into_data().unwrap(), "first");
    go_on.notify_one();
    let second = tokio::time::timeout(PATIENCE, body.frame())
        .await
        .expect("the second half comes");
    assert_eq!(second.unwrap().unwrap().into_data().unwrap(), "second");
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_download_that_breaks_off_does_not_look_whole() {
    let fake = Fake::start(|_| {
        let pieces = broken(&file(100_000));
        let answer = Response::builder().header("content-disposition", "attachment; filename=\"a\"");
        answer.body(axum::body::Body::new(pieces)).unwrap()
    })
    .await;
    let stage = Stage::before(&fake);
    let request: Request<Body> = with_key(Request::get(GET), whole(""));
    let answer = stage.gateway.service().oneshot(request).await.unwrap();
    let error = answer.into_body().collect().await.unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(
        !shown.contains("canary") && !shown.contains("http://") && !shown.contains(KEY),
        "{shown}"
    );
}
