//! What stands before the replicas in production: callbacks go to any of them, and to another when one does not answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use rand::seq::SliceRandom as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How long a replica has for its answer. One that is stopped still accepts connections, and says nothing.
const PATIENCE: Duration = Duration::from_millis(500);

/// A running load balancer. Ends when it is dropped.
pub(crate) struct Balancer {
    /// Where callbacks are sent.
    pub(crate) address: SocketAddr,
    backends: Backends,
    serving: JoinHandle<()>,
}

/// Where the replicas listen. One that is gone stays here until another takes its place: nobody tells a balancer.
type Backends = Arc<Mutex<Vec<Option<SocketAddr>>>>;

impl Balancer {
    /// Before `count` replicas that do not yet run.
    pub(crate) async fn start(count: usize) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let backends: Backends = Arc::new(Mutex::new(vec![None; count]));
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build();
        let client = client.expect("a client");
        let router = Router::new()
            .fallback(pass_on)
            .with_state((client, Arc::clone(&backends)));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self {
            address,
            backends,
            serving,
        }
    }

    /// Replica `number` listens there now.
    pub(crate) fn set(&self, number: usize, backend: SocketAddr) {
        self.backends.lock().unwrap()[number] = Some(backend);
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pass_on(State((client, backends)): State<(reqwest::Client, Backends)>, uri: Uri, body: Bytes) -> StatusCode {
    let mut order: Vec<_> = backends.lock().unwrap().iter().copied().flatten().collect();
    order.shuffle(&mut rand::rng());
    for backend in order {
        let url = format!("http://{backend}{uri}");
        if let Ok(answer) = client.post(url).body(body.clone()).send().await
            && !answer.status().is_server_error()
        {
            return answer.status();
        }
    }
    StatusCode::BAD_GATEWAY
}
