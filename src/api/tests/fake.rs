//! Servers on loopback for the tests of the client: one that answers as a closure says, one that misbehaves.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame};
use reqwest::Url;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Below `/cgi-bin/`.
    pub(super) call: String,
    pub(super) query: BTreeMap<String, String>,
    pub(super) headers: HeaderMap,
    /// What of the body is no text is replaced.
    pub(super) body: String,
    pub(super) bytes: Bytes,
}

/// An HTTP server that keeps what it is asked.
pub(super) struct Fake {
    pub(super) base: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    pub(super) async fn start<A, R>(answer: A) -> Self
    where
        A: Fn(Seen) -> R + Clone + Send + Sync + 'static,
        R: IntoResponse + 'static,
    {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let router = Router::new().fallback(move |request: Request| {
            let (log, answer) = (Arc::clone(&log), answer.clone());
            async move {
                let request = Seen::read(request).await;
                log.lock().unwrap().push(request.clone());
                answer(request).into_response()
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { base, seen }
    }

    pub(super) fn seen(&self, call: &str) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|seen| seen.call == call).cloned().collect()
    }

    pub(super) fn count(&self, call: &str) -> usize {
        self.seen(call).len()
    }
}

impl Seen {
    async fn read(request: Request) -> Self {
        let url = Url::parse(&format!("http://fake{}", request.uri())).unwrap();
        let headers = request.headers().clone();
        let bytes = to_bytes(request.into_body(), usize::MAX).await.unwrap();
        Self {
            headers,
            call: url.path().strip_prefix("/cgi-bin/").unwrap_or(url.path()).to_owned(),
            query: url.query_pairs().into_owned().collect(),
            body: String::from_utf8_lossy(&bytes).into(),
            bytes,
        }
    }

    pub(super) fn access_token(&self) -> &str {
        &self.query["access_token"]
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// gettoken's answer.
pub(super) fn grant(access_token: &str) -> Response {
    let body = format!(r#"{{"errcode":0,"errmsg":"ok","access_token":"{access_token}","expires_in":7200}}"#);
    Response::new(Body::from(body))
}

/// An answer's body that comes in `pieces`, does not tell its length, and then ends or stays silent.
pub(super) fn in_pieces(pieces: &[&'static str], then: Then) -> Body {
    let pieces = pieces
        .iter()
        .copied()
        .map(str::as_bytes)
        .map(Bytes::from_static)
        .collect();
    Body::new(Pieces { pieces, then })
}

struct Pieces {
    pieces: VecDeque<Bytes>,
    then: Then,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match (self.pieces.pop_front(), self.then) {
            (Some(piece), _) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            (None, Then::Close) => Poll::Ready(None),
            (None, Then::Hang) => Poll::Pending,
        }
    }
}

/// What a misbehaving server does once it has written its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Then {
    Close,
    Hang,
}

/// Grants a token like any other server, and answers every other request with `bytes` on the bare socket.
pub(super) async fn misbehave(access_token: &'static str, bytes: &'static str, then: Then) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut hanging = Vec::new();
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            if read_request(&mut socket).await.starts_with("GET /cgi-bin/gettoken?") {
                let body = format!(r#"{{"errcode":0,"access_token":"{access_token}"}}"#);
                let head = format!(
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                socket.write_all((head + &body).as_bytes()).await.unwrap();
                continue;
            }
            socket.write_all(bytes.as_bytes()).await.unwrap();
            match then {
                Then::Close => {}
                Then::Hang => hanging.push(socket),
            }
        }
    });
    base
}

/// Reads the whole request: a socket closed with bytes unread would be reset instead. Returns its head.
async fn read_request(socket: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8(request[..end].to_vec()).unwrap();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if request.len() - end - 4 >= length.map_or(0, |length| length.parse().unwrap()) {
                return head;
            }
        }
        match socket.read(&mut buffer).await.unwrap() {
            0 => return String::from_utf8_lossy(&request).into(),
            n => request.extend_from_slice(&buffer[..n]),
        }
    }
}
