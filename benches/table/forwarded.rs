//! Messages forwarded a second, against a bare loop that posts the same bodies over as many connections.
//!
//! The floor is what one would write to be done with it: a `reqwest` client, and as many loops as connections, each
//! posting the next body as soon as it has its answer. No store, no order, no signature, no deadline, no record of what
//! was taken. Ours finds the messages waiting in the store, forwards them in order per customer, and is done when the
//! last outcome is recorded too. The receiver, which answers 204, runs in a thread of its own and is the same for both.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use reqwest::{Client, Url};
use serde_json::value::RawValue;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wecom_kf::clock::{Clock, SystemClock};
use wecom_kf::dispatcher::{self, Dispatcher};
use wecom_kf::handler::{Forward, Policy, Registration, Roster, SigningSecret, forward};
use wecom_kf::id::{AccountKey, AppName, HandlerName};
use wecom_kf::lease::Leases;
use wecom_kf::message::Message;
use wecom_kf::simulator::samples::{self, Chatter};
use wecom_kf::simulator::{Account, Bells, Said, Settings, Simulator};
use wecom_kf::store::{self, Commit, Fence, Lane, NewMessage, Page, PageEnds, Store};

use crate::line::{Goal, Line, Pair, Unit};
use crate::serve;

const MESSAGES: usize = 20_000;
const CONNECTIONS: usize = 32;
const PAGE: usize = 1_000;
const ROUNDS: usize = 7;

pub(crate) fn measure() -> Vec<Line> {
    // Ours counts what it does, as `serve` does.
    serve::metrics();
    let runtime = Runtime::new().expect("a runtime");
    let receiver = Receiver::start();
    let folder = TempDir::new().expect("a folder");
    let filled = folder.path().join("filled.db");
    runtime.block_on(async { fill(&filled, &said().await).await });
    // Not counted, but kept: what is forwarded here is what the floor posts.
    runtime.block_on(ours(&filled, &receiver));
    let bodies = receiver.keep_no_more();
    assert_eq!(bodies.len(), MESSAGES, "each message is forwarded once");
    let round = |_| Pair {
        floor: rate(runtime.block_on(floor(&bodies, &receiver))),
        ours: rate(runtime.block_on(ours(&filled, &receiver))),
    };
    let rounds: Vec<_> = (0..ROUNDS).map(round).collect();
    vec![Line::ratio(
        "messages forwarded",
        Unit::PerSecond,
        &rounds,
        Goal::AtLeast(0.7),
    )]
}

fn rate(took: Duration) -> f64 {
    MESSAGES as f64 / took.as_secs_f64()
}

/// Takes whatever is posted, in a thread of its own.
struct Receiver {
    address: SocketAddr,
    book: Arc<Book>,
}

#[derive(Default)]
struct Book {
    /// Bodies, until nobody wants them any more.
    bodies: Mutex<Option<Vec<Bytes>>>,
    taken: AtomicUsize,
    all: Notify,
}

impl Receiver {
    fn start() -> Self {
        let book = Arc::new(Book {
            bodies: Mutex::new(Some(Vec::new())),
            ..Book::default()
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a listener for tokio");
        let address = listener.local_addr().expect("an address");
        let receive = receive(listener, Arc::clone(&book));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(receive);
        });
        Self { address, book }
    }

    fn url(&self) -> Url {
        format!("http://{}/kf", self.address).parse().expect("an address")
    }

    /// What was posted so far.
    fn keep_no_more(&self) -> Vec<Bytes> {
        self.book
            .bodies
            .lock()
            .expect("nobody panicked")
            .take()
            .expect("taken once")
    }

    /// Waits until every message has come, and starts to count anew.
    async fn all_taken(&self) {
        self.book.all.notified().await;
        self.book.taken.store(0, Ordering::SeqCst);
    }
}

async fn receive(listener: std::net::TcpListener, book: Arc<Book>) {
    let listener = TcpListener::from_std(listener).expect("a listener");
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let book = Arc::clone(&book);
        let take = service_fn(move |request| take(request, Arc::clone(&book)));
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), take));
    }
}

async fn take(request: Request<Incoming>, book: Arc<Book>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.expect("a whole body").to_bytes();
    if let Some(bodies) = &mut *book.bodies.lock().expect("nobody panicked") {
        bodies.push(body);
    }
    if book.taken.fetch_add(1, Ordering::SeqCst) + 1 == MESSAGES {
        book.all.notify_one();
    }
    let mut answer = Response::new(Empty::new());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    Ok(answer)
}

/// Posts `bodies` and nothing more.
async fn floor(bodies: &[Bytes], receiver: &Receiver) -> Duration {
    let bodies: Arc<[Bytes]> = bodies.into();
    let next = Arc::new(AtomicUsize::new(0));
    let client = Client::builder().no_proxy().build().expect("a client");
    let url = receiver.url();
    let began = Instant::now();
    let loops: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (bodies, next) = (Arc::clone(&bodies), Arc::clone(&next));
            tokio::spawn(post_each(bodies, next, client.clone(), url.clone()))
        })
        .collect();
    for running in loops {
        running.await.expect("no loop panics");
    }
    let took = began.elapsed();
    receiver.all_taken().await;
    took
}

async fn post_each(bodies: Arc<[Bytes]>, next: Arc<AtomicUsize>, client: Client, url: Url) {
    while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
        let request = client.post(url.clone()).header(CONTENT_TYPE, "application/json");
        let answer = request.body(body.clone()).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        answer.bytes().await.expect("a whole answer");
    }
}

/// Forwards what waits in a copy of the store at `filled`.
async fn ours(filled: &Path, receiver: &Receiver) -> Duration {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("kf.db");
    std::fs::copy(filled, &path).expect("a copy");
    let store = open(&path).await;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let policy = Policy::default();
    let settings = forward::Settings {
        url: receiver.url(),
        signing_secrets: vec![SigningSecret::generate(&mut rand::rng())],
        reach: forward::Reach::Anywhere,
        authorities: None,
        concurrency: CONNECTIONS,
        timeout: policy.timeout,
    };
    assert_eq!(policy.concurrency, CONNECTIONS);
    let forward = Forward::new(settings, Arc::clone(&clock)).expect("a forwarder");
    let name = HandlerName::new("bot").expect("a name");
    let registration = Registration::new(name, forward).with_policy(policy).on_shared_threads();
    hand_out(&store, registration, &clock, receiver.all_taken()).await
}

/// Hands out what waits in `store` until all is `done`, and recorded; returns how long it took.
pub(crate) async fn hand_out(
    store: &Arc<dyn Store>,
    registration: Registration,
    clock: &Arc<dyn Clock>,
    done: impl Future<Output = ()>,
) -> Duration {
    let names = [registration.name().clone()];
    let ids = store.register_handlers(&names).await.expect("a handler");
    let roster = Arc::new(Roster::new([(ids[0], registration)]));
    let stop = CancellationToken::new();
    let settings = dispatcher::Settings::default();
    let dispatcher = Dispatcher::new(store, &roster, &Leases::sole(), clock, &settings).expect("a dispatcher");

    let began = Instant::now();
    let running = tokio::spawn(dispatcher.run(stop.clone()));
    done.await;
    stop.cancel();
    running.await.expect("the dispatcher does not panic");
    let took = began.elapsed();
    let backlog = store.backlog().await.expect("a backlog");
    assert_eq!((backlog[0].pending, backlog[0].dead), (0, 0), "all of it is recorded");
    took
}

/// Opens the store at `path`.
pub(crate) async fn open(path: &Path) -> Arc<dyn Store> {
    let url = format!("sqlite://{}", path.display());
    store::open(&store::Settings::new(url)).await.expect("a store")
}

/// Makes a store at `path` in which what was `said` waits for the handler `bot`.
pub(crate) async fn fill(path: &Path, said: &[Arc<Said>]) {
    let store = open(path).await;
    let name = HandlerName::new("bot").expect("a name");
    let ids = store.register_handlers(&[name]).await.expect("a handler");
    let clock = SystemClock;
    let account = AccountKey::new(AppName::new("main").expect("a name"), said[0].open_kfid.clone());
    let mut claim = store
        .claim(&account, Fence::FIRST, clock.now())
        .await
        .expect("a claim")
        .expect("nobody else pulls it");
    for (number, said) in said.chunks(PAGE).enumerate() {
        let message = |said: &Arc<Said>| {
            let body: Arc<RawValue> = RawValue::from_string(said.raw.to_string()).expect("JSON").into();
            let message = Message::decode(Arc::clone(&body), &account.open_kfid);
            NewMessage {
                lane: Lane::of(&account, &message.party()),
                kind: message.kind().expect("a kind").into(),
                urgent: message.is_urgent(),
                send_time: message.send_time,
                msgid: message.msgid,
                body,
                decoded: None,
                owed_to: ids.clone(),
            }
        };
        let page = Page {
            claim,
            next_cursor: Some(format!("cursor{number}").into()),
            messages: said.iter().map(message).collect(),
            received: clock.now(),
            ends: PageEnds::More,
        };
        let Commit::Stored(stored) = store.commit_page(page).await.expect("a commit") else {
            panic!("nobody else has claimed the account");
        };
        claim = stored.claim;
    }
}

/// What customers of one account say in a simulated WeCom.
async fn said() -> Vec<Arc<Said>> {
    let account = samples::accounts(1, 1).remove(0);
    let mut settings = Settings::default();
    settings.accounts = vec![Account::new(account.as_str(), "bench")];
    let wecom = Simulator::start(settings).await.expect("the simulator starts");
    let drafts = Chatter::new(1, samples::customers(1, 2_000)).take(MESSAGES);
    wecom
        .say_many(&account, drafts, Bells::Silent)
        .expect("the account exists");
    let said = wecom.ledger().said;
    wecom.stop().await;
    said
}
