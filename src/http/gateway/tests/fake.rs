//! A WeCom on loopback that answers as a closure says, and keeps what it is asked.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::net::TcpListener;
use url::form_urlencoded;

use super::TOKEN;

/// A request as WeCom saw it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: Method,
    /// As it stood on the wire.
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

pub(super) struct Fake {
    pub(super) base: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    /// Grants `TOKEN`, and answers every other request with `answer`.
    pub(super) async fn start<A, R>(answer: A) -> Self
    where
        A: Fn(Seen) -> R + Clone + Send + Sync + 'static,
        R: IntoResponse + 'static,
    {
        Self::granting(|| TOKEN.to_owned(), answer).await
    }

    /// The same with other tokens.
    pub(super) async fn granting<G, A, R>(grant: G, answer: A) -> Self
    where
        G: Fn() -> String + Clone + Send + Sync + 'static,
        A: Fn(Seen) -> R + Clone + Send + Sync + 'static,
        R: IntoResponse + 'static,
    {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let router = Router::new().fallback(move |request: Request| {
            let (log, grant, answer) = (Arc::clone(&log), grant.clone(), answer.clone());
            async move {
                let request = Seen::read(request).await;
                if request.path == "/cgi-bin/gettoken" {
                    return granted(&grant());
                }
                log.lock().unwrap().push(request.clone());
                answer(request).into_response()
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { base, seen }
    }

    /// What it was asked, `gettoken` aside.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Seen {
    async fn read(request: Request) -> Self {
        let (head, body) = request.into_parts();
        let query = head.uri.query().unwrap_or_default();
        Self {
            method: head.method,
            path: head.uri.path().to_owned(),
            query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            headers: head.headers,
            // A body that breaks off is one that is not there.
            body: to_bytes(body, usize::MAX).await.unwrap_or_default(),
        }
    }

    /// Every value of `access_token`.
    pub(super) fn access_tokens(&self) -> Vec<&str> {
        let tokens = self.query.iter().filter(|(key, _)| key == "access_token");
        tokens.map(|(_, token)| token.as_str()).collect()
    }
}

fn granted(access_token: &str) -> Response {
    format!(r#"{{"errcode":0,"errmsg":"ok","access_token":"{access_token}","expires_in":7200}}"#).into_response()
}
