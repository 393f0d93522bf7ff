//! An endpoint that messages are forwarded to.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Notify;

const PATIENCE: Duration = Duration::from_secs(120);

/// 32 bytes, as Standard Webhooks writes them.
pub(crate) const SIGNING_SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// An endpoint that takes everything, until it is told to refuse.
#[derive(Clone)]
pub(crate) struct Bot {
    url: String,
    book: Arc<Book>,
}

#[derive(Default)]
struct Book {
    refuses: AtomicBool,
    taken: Mutex<Vec<Value>>,
    changed: Notify,
}

impl Bot {
    /// Listens on a free port, until the runtime ends.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let url = format!("http://{}/kf", listener.local_addr().unwrap());
        let book = Arc::<Book>::default();
        let router = Router::new().route("/kf", post(take)).with_state(Arc::clone(&book));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, book }
    }

    /// The handler that forwards everything to it, for a config.
    pub(crate) fn handler(&self) -> String {
        format!(
            "[[handlers]]\nname = \"bot\"\nkind = \"forward\"\nurl = \"{}\"\nsigning_secret = \"{SIGNING_SECRET}\"\n\
             origins = [\"all\"]\n",
            self.url
        )
    }

    /// From now on answers that it will never take what it is sent.
    pub(crate) fn refuse(&self) {
        self.book.refuses.store(true, Ordering::SeqCst);
    }

    /// From now on takes everything.
    pub(crate) fn accept(&self) {
        self.book.refuses.store(false, Ordering::SeqCst);
    }

    /// Bodies that it took, in the order of arrival.
    pub(crate) fn taken(&self) -> Vec<Value> {
        self.book.taken.lock().unwrap().clone()
    }

    /// Waits until it has taken `count` bodies.
    pub(crate) async fn until(&self, count: usize) {
        let enough = async {
            while self.taken().len() < count {
                self.book.changed.notified().await;
            }
        };
        if tokio::time::timeout(PATIENCE, enough).await.is_err() {
            panic!("{} of {count} arrived", self.taken().len());
        }
    }
}

async fn take(State(book): State<Arc<Book>>, body: Bytes) -> StatusCode {
    if book.refuses.load(Ordering::SeqCst) {
        return StatusCode::UNPROCESSABLE_ENTITY;
    }
    book.taken.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
    book.changed.notify_one();
    StatusCode::NO_CONTENT
}
