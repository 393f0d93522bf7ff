//! What slow, silent and greedy clients get from the server, over real sockets.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{NEWS, router, sealed};
use crate::callback::MAX_BODY_BYTES;
use crate::http::{Limits, serve};

mod places;
mod stop;

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
/// Little time for the headers, plenty for all else.
const HASTY: Limits = Limits {
    header_timeout: SHORT,
    ..LAX
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
    let server = start(hello(), HASTY).await;
    assert_eq!(read_to_end(server.connect().await).await, "");
}

#[tokio::test]
async fn a_client_that_stops_within_its_headers_is_closed() {
    let server = start(hello(), HASTY).await;
    read_to_end(server.send(b"GET / HTTP/1.1\r\nHost: ").await).await;
}

#[tokio::test]
async fn a_client_that_drips_its_headers_is_closed() {
    let server = start(hello(), HASTY).await;
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
