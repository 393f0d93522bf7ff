//! An HTTP server that messages are forwarded to, and its book of what arrived.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::serve::IncomingStream;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tower::service_fn;
use wecom_kf::id::{ExternalUserid, OpenKfid};
use wecom_kf::simulator::Received;

use crate::post;

/// Far longer than anything takes: what is not there by then will not come.
const PATIENCE: Duration = Duration::from_secs(120);

/// A receiver that keeps a book.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    book: Arc<Book>,
    /// One more reference for each open connection.
    guests: Arc<()>,
}

#[derive(Default)]
struct Book {
    received: Mutex<Vec<Received>>,
    kinds: Mutex<HashMap<String, usize>>,
    /// Deliveries with a bad signature or a body that is not what the contract says.
    wrong: Mutex<Vec<String>>,
    busy: Mutex<HashSet<(OpenKfid, Option<ExternalUserid>)>>,
    /// Two deliveries of one customer at once.
    overlaps: AtomicUsize,
    mood: AtomicU8,
    refused: AtomicUsize,
    changed: Notify,
}

/// How requests are answered.
const WELL: u8 = 0;
const DOWN: u8 = 1;
const STUCK: u8 = 2;

impl Receiver {
    /// Listens on a free port, until the runtime ends.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .expect("a free port");
        let url = format!("http://{}/kf", listener.local_addr().expect("an address"));
        let book = Arc::<Book>::default();
        let router = Router::new().route("/kf", post(take)).with_state(Arc::clone(&book));
        let guests = Arc::new(());
        let guest = Arc::clone(&guests);
        let welcome = service_fn(move |_: IncomingStream<'_, TcpListener>| {
            ready(Ok::<_, Infallible>(router.clone().layer(Extension(Arc::clone(&guest)))))
        });
        tokio::spawn(async move { axum::serve(listener, welcome).await });
        Self { url, book, guests }
    }

    /// Waits until nobody is connected: whatever a process that is gone has sent is in the book then.
    pub(crate) async fn deserted(&self) {
        let deserted = async {
            // This one, and the one that guests are given theirs from.
            while Arc::strong_count(&self.guests) > 2 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let gone = timeout(PATIENCE, deserted).await;
        assert!(gone.is_ok(), "connections outlive their process");
    }

    /// What arrived, in the order of arrival.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.book.received.lock().unwrap().clone()
    }

    /// Waits until `count` deliveries have arrived.
    pub(crate) async fn until(&self, count: usize) {
        self.until_there_are(count, || self.book.received.lock().unwrap().len())
            .await;
    }

    /// Waits until `count` deliveries have been refused, or left without an answer.
    pub(crate) async fn until_refused(&self, count: usize) {
        self.until_there_are(count, || self.book.refused.load(Ordering::SeqCst))
            .await;
    }

    async fn until_there_are(&self, count: usize, now: impl Fn() -> usize) {
        let enough = async {
            while now() < count {
                self.book.changed.notified().await;
            }
        };
        let came = timeout(PATIENCE, enough).await;
        assert!(came.is_ok(), "only {} of {count} within {PATIENCE:?}", now());
    }

    /// How many of each forwarded type arrived.
    pub(crate) fn kinds(&self) -> HashMap<String, usize> {
        self.book.kinds.lock().unwrap().clone()
    }

    /// Fails unless every delivery had a good signature and the documented shape, and no customer had two at once.
    pub(crate) fn assert_contract_kept(&self) {
        assert_eq!(*self.book.wrong.lock().unwrap(), [""; 0]);
        assert_eq!(
            self.book.overlaps.load(Ordering::SeqCst),
            0,
            "deliveries of one customer overlapped"
        );
    }

    /// Answers 503 from now on, or no longer.
    pub(crate) fn set_down(&self, down: bool) {
        self.book.mood.store(if down { DOWN } else { WELL }, Ordering::SeqCst);
    }

    /// Answers nothing any more.
    pub(crate) fn set_stuck(&self) {
        self.book.mood.store(STUCK, Ordering::SeqCst);
    }
}

async fn take(State(book): State<Arc<Book>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mood = book.mood.load(Ordering::SeqCst);
    if mood != WELL {
        book.refused.fetch_add(1, Ordering::SeqCst);
        book.changed.notify_one();
        if mood == STUCK {
            std::future::pending::<()>().await;
        }
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    match post::read(&headers, &body) {
        // An item that WeCom sent without an id is nobody's to count.
        Ok((_, received)) if received.msgid.as_str().is_empty() => {}
        Ok((kind, received)) => {
            let visit = Visit::begin(&book, (received.open_kfid.clone(), received.external_userid.clone()));
            tokio::task::yield_now().await;
            *book.kinds.lock().unwrap().entry(kind).or_default() += 1;
            book.received.lock().unwrap().push(received);
            drop(visit);
            book.changed.notify_one();
        }
        Err(problem) => book.wrong.lock().unwrap().push(problem),
    }
    StatusCode::NO_CONTENT
}

/// One delivery of a customer, while it is being taken. Ends also when the sender dies in the middle of it.
struct Visit<'a> {
    book: &'a Book,
    customer: (OpenKfid, Option<ExternalUserid>),
}

impl<'a> Visit<'a> {
    fn begin(book: &'a Book, customer: (OpenKfid, Option<ExternalUserid>)) -> Self {
        // Events that concern no customer have no order to keep.
        if customer.1.is_some() && !book.busy.lock().unwrap().insert(customer.clone()) {
            book.overlaps.fetch_add(1, Ordering::SeqCst);
        }
        Self { book, customer }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.book.busy.lock().unwrap().remove(&self.customer);
    }
}
