//! An HTTP server that every replica forwards to. It is slow now and then, and now and then refuses.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use rand::RngExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::book::{Book, Visit};
use crate::life::Life;
use crate::moment::Origin;
use crate::post as letter;

/// How the receiver answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manners {
    /// Share of the attempts that are refused, to be made again.
    pub(crate) refused: f64,
    /// What most attempts take at most.
    pub(crate) usual: Duration,
    /// Share of the attempts that take much longer …
    pub(crate) slow: f64,
    /// … namely this.
    pub(crate) slowness: Duration,
}

impl Manners {
    /// Good ones.
    pub(crate) const PROMPT: Self = Self {
        refused: 0.02,
        usual: Duration::from_millis(5),
        slow: 0.05,
        slowness: Duration::from_millis(50),
    };

    /// Some attempts take longer than `term`, so that whoever makes them loses the lease before the end.
    pub(crate) fn outlasting(term: Duration) -> Self {
        Self {
            slow: 0.003,
            slowness: term + term / 2,
            ..Self::PROMPT
        }
    }
}

/// A running receiver. Ends when it is dropped.
pub(crate) struct Receiver {
    address: SocketAddr,
    pub(crate) book: Arc<Book>,
    manners: Arc<Mutex<Manners>>,
    serving: JoinHandle<()>,
}

impl Receiver {
    /// Listens on a free port.
    pub(crate) async fn start(origin: Origin, manners: Manners) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let book = Arc::new(Book::new(origin));
        let manners = Arc::new(Mutex::new(manners));
        let router = Router::new()
            .route("/kf/{life}", post(take))
            .with_state((Arc::clone(&book), Arc::clone(&manners)));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self {
            address,
            book,
            manners,
            serving,
        }
    }

    /// Where `life` posts to.
    pub(crate) fn url(&self, life: Life) -> String {
        format!("http://{}/kf/{life}", self.address)
    }

    /// Answers so from now on.
    pub(crate) fn set_manners(&self, manners: Manners) {
        *self.manners.lock().unwrap() = manners;
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn take(
    State((book, manners)): State<(Arc<Book>, Arc<Mutex<Manners>>)>,
    Path(life): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let received = match letter::read(&headers, &body) {
        Ok((_, received)) => received,
        Err(problem) => {
            book.note_wrong(problem);
            return StatusCode::NO_CONTENT;
        }
    };
    // An item that WeCom sent without an id is nobody's to count.
    if received.msgid.as_str().is_empty() {
        return StatusCode::NO_CONTENT;
    }
    // It was read from there a moment ago.
    let webhook_id = headers["webhook-id"].to_str().unwrap_or_default();
    let life = life.parse().expect("the path that its config names");
    let visit = Visit::begin(&book, life, received, webhook_id);
    let (wait, refuses) = manners.lock().unwrap().throw();
    sleep(wait).await;
    if refuses {
        visit.refused();
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    visit.taken();
    StatusCode::NO_CONTENT
}

impl Manners {
    /// How long this one takes, and whether it is refused.
    fn throw(self) -> (Duration, bool) {
        let mut dice = rand::rng();
        let wait = match dice.random_bool(self.slow) {
            true => self.slowness,
            false => self.usual.mul_f64(dice.random()),
        };
        (wait, dice.random_bool(self.refused))
    }
}
