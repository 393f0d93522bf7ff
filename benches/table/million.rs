//! A million messages: pulled while the endpoint is down, found again after a `kill -9`, and forwarded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use crate::line::{Goal, Line, Unit};
use crate::process::{Server, write_config};
use crate::stage::{Stage, database};

const MESSAGES: usize = 1_000_000;
const ACCOUNTS: usize = 8;
const STARTS: usize = 5;

pub(crate) fn measure() -> Vec<Line> {
    let runtime = Runtime::new().expect("a runtime");
    let stage = runtime.block_on(Stage::new(ACCOUNTS, MESSAGES));
    let endpoint = Arc::<Endpoint>::default();
    let url = runtime.block_on(listen(Arc::clone(&endpoint)));
    let folder = TempDir::new().expect("a folder");
    let config = write_config(&stage, &folder, &config(&url));

    let server = Server::start(&config);
    stage.ring(server.callbacks);
    server.wait_for("wecom_kf_messages_total", MESSAGES as u64);
    let pulling = server.memory("VmHWM");
    server.kill();

    endpoint.up.store(true, Ordering::SeqCst);
    let (mut ready, mut first) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        endpoint.expect(1);
        let server = Server::start(&config);
        runtime.block_on(endpoint.reached.notified());
        first.push(server.started.elapsed().as_secs_f64() * 1e3);
        ready.push(server.ready_after);
        server.kill();
    }

    endpoint.expect(owed(&folder));
    let server = Server::start(&config);
    runtime.block_on(endpoint.reached.notified());
    let draining = server.memory("VmHWM");
    server.kill();
    runtime.block_on(stage.wecom.stop());
    vec![
        Line::plain(
            "memory, pulling a million messages",
            Unit::Mebibytes,
            &[pulling],
            Goal::AtMost(128.0),
        ),
        Line::plain(
            "memory, draining them",
            Unit::Mebibytes,
            &[draining],
            Goal::AtMost(128.0),
        ),
        Line::plain(
            "start to ready, a million pending",
            Unit::Millis,
            &ready,
            Goal::AtMost(100.0),
        ),
        Line::plain(
            "start to first delivery, a million pending",
            Unit::Millis,
            &first,
            Goal::AtMost(2000.0),
        ),
    ]
}

/// Forwards to `url`, and pulls as fast as it can.
fn config(url: &str) -> String {
    format!(
        r#"
        [sync]
        first_sync_window = "72h"
        calls_per_second = 10000
        [[handlers]]
        name = "bot"
        kind = "forward"
        url = "{url}"
        signing_secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
        origins = ["all"]
        "#
    )
}

/// How many deliveries the store in `folder` holds. Nobody may have it open.
fn owed(folder: &TempDir) -> i64 {
    let db = Connection::open(database(folder)).expect("a database");
    let count = db.query_row("SELECT count(*) FROM delivery", [], |row| row.get(0));
    count.expect("a table")
}

/// Where messages are forwarded to: down at first.
#[derive(Default)]
struct Endpoint {
    up: AtomicBool,
    /// Messages until `reached`.
    left: AtomicI64,
    reached: Notify,
}

impl Endpoint {
    /// Tells `reached` after so many more messages.
    fn expect(&self, messages: i64) {
        self.left.store(messages, Ordering::SeqCst);
    }
}

async fn listen(endpoint: Arc<Endpoint>) -> String {
    let router = Router::new().route("/kf", post(take)).with_state(endpoint);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/kf", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn take(State(endpoint): State<Arc<Endpoint>>, _: Bytes) -> StatusCode {
    if !endpoint.up.load(Ordering::Relaxed) {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    if endpoint.left.fetch_sub(1, Ordering::Relaxed) == 1 {
        endpoint.reached.notify_one();
    }
    StatusCode::NO_CONTENT
}
