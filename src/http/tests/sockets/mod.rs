//! What slow, silent and greedy clients get from the server, over real sockets.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::routing::get;
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{NEWS, router, sealed};
use crate::callback::MAX_BODY_BYTES;
use crate::http::{Limits, serve};

/// Far longer than anything here should take.
const PATIENCE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);
/// A limit that is not the one under test.
const NEVER: Duration = Duration::from_secs(3600);

const LAX: Limits = Limits {
    max_connections: 64,
    header_timeout: NEVER,
    idle_timeout: NEVER,
    request_timeout: NEVER,
    max_connection_age: NEVER,
    drain_timeout: NEVER,
};

struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn start(router: Router, limits: Limits) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(listener, router, limits, stop.clone()));
    Server { address, stop, task }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Connects and sends `bytes`.
    async fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        stream
    }

    async fn has_ended(self) {
        in_time(self.task).await.unwrap();
    }
}

async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes for ever")
}

/// All that comes until the server closes the connection; a reset counts as closed.
async fn read_to_end(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = in_time(stream.read_to_end(&mut bytes)).await;
    String::from_utf8(bytes).unwrap()
}

/// Reads until what came ends with `end`.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    in_time(async {
        while !bytes.ends_with(end.as_bytes()) {
            bytes.push(stream.read_u8().await.unwrap());
        }
    })
    .await;
    String::from_utf8(bytes).unwrap()
}

fn post(body_length: usize) -> String {
    let query = sealed(NEWS).query();
    format!("POST /callback/main?{query} HTTP/1.1\r\nHost: x\r\nContent-Length: {body_length}\r\n\r\n")
}

fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn serves_a_notification_and_keeps_the_connection_for_the_next() {
    let (router, notified) = router(&["main"]);
    let server = start(router, LAX).await;
    let mut stream = server.connect().await;
    let body = sealed(NEWS).body();
    for _ in 0..2 {
        stream
            .write_all(format!("{}{body}", post(body.len())).as_bytes())
            .await
            .unwrap();
        let answer = read_until(&mut stream, "success").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    assert_eq!(notified.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_silent_client_is_closed() {
    let server = start(
        hello(),
        Limits {
            header_timeout: SHORT,
            ..LAX
        },
    )
    .await;
    assert_eq!(read_to_end(server.connect().await).await, "");
}

#[tokio::test]
async fn a_client_that_stops_within_its_headers_is_closed() {
    let server = start(
        hello(),
        Limits {
            header_timeout: SHORT,
            ..LAX
        },
    )
    .await;
    read_to_end(server.send(b"GET / HTTP/1.1\r\nHost: ").await).await;
}

#[tokio::test]
async fn a_client_that_drips_its_headers_is_closed() {
    let server = start(
        hello(),
        Limits {
            header_timeout: SHORT,
            ..LAX
        },
    )
    .await;
    let (mut reader, mut writer) = server.send(b"GET / HTTP/1.1\r\nX: ").await.into_split();
    let drip = async {
        while writer.write_all(b"x").await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    let mut answer = Vec::new();
    tokio::select! {
        () = drip => {}
        _ = in_time(reader.read_to_end(&mut answer)) => {}
    }
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let server = start(
        hello(),
        Limits {
            idle_timeout: SHORT,
            ..LAX
        },
    )
    .await;
    let answer = read_to_end(server.send(GET).await).await;
    assert!(answer.ends_with("hello"), "{answer}");
}

#[tokio::test]
async fn a_stranger_is_not_kept_as_long_as_a_client_that_succeeded() {
    let limits = Limits {
        // Long enough for a request to be sent on a busy machine.
        header_timeout: Duration::from_secs(2),
        ..LAX
    };
    let server = start(hello(), limits).await;
    let mut known = server.send(GET).await;
    read_until(&mut known, "hello").await;
    let answer = read_to_end(server.send(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n").await).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    known.write_all(GET).await.unwrap();
    read_until(&mut known, "hello").await;
}

#[tokio::test]
async fn a_client_that_stops_within_its_body_is_told_so_and_closed() {
    let (router, notified) = router(&["main"]);
    let server = start(
        router,
        Limits {
            request_timeout: SHORT,
            ..LAX
        },
    )
    .await;
    let answer = read_to_end(server.send(format!("{}<xml>", post(1000)).as_bytes()).await).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert!(notified.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_body_announced_too_long_is_refused_before_it_comes() {
    let (router, _) = router(&["main"]);
    let server = start(router, LAX).await;
    let mut stream = server.send(post(MAX_BODY_BYTES + 1).as_bytes()).await;
    let answer = read_until(&mut stream, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn headers_have_a_limit() {
    let server = start(hello(), LAX).await;
    let mut stream = server.connect().await;
    let request = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20 * 1024));
    // The server may close before it has read all of it.
    let _ = stream.write_all(request.as_bytes()).await;
    let answer = read_to_end(stream).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

/// A request whose body does not come.
fn half_a_body() -> Vec<u8> {
    format!("{}<xml>", post(1000)).into_bytes()
}

#[tokio::test]
async fn a_newcomer_takes_the_place_of_the_stranger_that_dawdles_longest() {
    for dawdler in [&b""[..], b"GET / HTTP/1.1\r\nX: ", &half_a_body()] {
        let (router, _) = router(&["main"]);
        let limits = Limits {
            max_connections: 3,
            ..LAX
        };
        let server = start(hello().merge(router), limits).await;
        let first = server.send(dawdler).await;
        let mut second = server.send(dawdler).await;
        // Comes last, or it would be the only one for whom the server has waited long, a moment before the first.
        let mut known = server.send(GET).await;
        read_until(&mut known, "hello").await;
        // Whoever has just come is not taken for slow: until the first is, a newcomer is told to come back.
        in_time(async { while !ask(&server).await.ends_with("hello") {} }).await;
        assert_eq!(read_to_end(first).await, "");
        let early = tokio::time::timeout(Duration::ZERO, second.read_u8()).await;
        assert!(early.is_err(), "closed although one place was enough");
        known.write_all(GET).await.unwrap();
        read_until(&mut known, "hello").await;
    }
}

/// What a newcomer with a good request is answered.
async fn ask(server: &Server) -> String {
    read_to_end(
        server
            .send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await,
    )
    .await
}

#[tokio::test]
async fn while_all_are_being_answered_a_newcomer_is_told_to_come_back() {
    let (router, begun, release) = held();
    let limits = Limits {
        max_connections: 1,
        ..LAX
    };
    let server = start(router, limits).await;
    let in_hand = server.send(GET).await;
    in_time(begun.notified()).await;
    // Longer than anybody may dawdle.
    tokio::time::sleep(SHORT).await;
    let answer = in_time(async {
        loop {
            // A socket closed on a request that was not read may be reset before the answer is.
            let answer = ask(&server).await;
            if !answer.is_empty() {
                return answer;
            }
        }
    })
    .await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.contains("retry-after: 1\r\n") && answer.contains("connection: close\r\n"),
        "{answer}"
    );
    release.notify_one();
    drop(begun);
    let mut in_hand = in_hand;
    read_until(&mut in_hand, "released").await;
}

/// An answer without end, which reports when it is given up.
struct Endless(Arc<Notify>);

impl HttpBody for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 4096])))))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_gives_up_its_place() {
    for limits in [
        Limits {
            idle_timeout: SHORT,
            ..LAX
        },
        Limits {
            max_connection_age: SHORT,
            drain_timeout: SHORT,
            ..LAX
        },
    ] {
        let given_up = Arc::new(Notify::new());
        let endless = Arc::clone(&given_up);
        let router = Router::new().route("/", get(async move || Body::new(Endless(endless))));
        let server = start(router, limits).await;
        let _deaf = server.send(GET).await;
        in_time(given_up.notified()).await;
    }
}

/// A router whose one request reports that it has begun and waits until it is told to end.
fn held() -> (Router, Arc<Notify>, Arc<Notify>) {
    let (begun, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begin, wait) = (Arc::clone(&begun), Arc::clone(&release));
    let router = Router::new().route(
        "/",
        get(async move || {
            begin.notify_one();
            wait.notified().await;
            "released"
        }),
    );
    (router, begun, release)
}

#[tokio::test]
async fn a_stop_lets_the_request_in_hand_finish_and_takes_no_other() {
    let (router, begun, release) = held();
    let server = start(router, LAX).await;
    let in_hand = server.send(GET).await;
    in_time(begun.notified()).await;

    server.stop.cancel();
    in_time(async { while TcpStream::connect(server.address).await.is_ok() {} }).await;
    assert!(!server.task.is_finished());

    release.notify_one();
    let answer = read_to_end(in_hand).await;
    assert!(
        answer.ends_with("released") && answer.contains("connection: close"),
        "{answer}"
    );
    server.has_ended().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let (router, begun, _release) = held();
    let server = start(
        router,
        Limits {
            drain_timeout: SHORT,
            ..LAX
        },
    )
    .await;
    let in_hand = server.send(GET).await;
    in_time(begun.notified()).await;
    server.stop.cancel();
    assert_eq!(read_to_end(in_hand).await, "");
    server.has_ended().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_idle_or_silent_clients() {
    let server = start(hello(), LAX).await;
    let _silent = server.connect().await;
    let mut idle = server.send(GET).await;
    read_until(&mut idle, "hello").await;
    server.stop.cancel();
    server.has_ended().await;
}
