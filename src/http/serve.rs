//! Accepts connections and bounds what each may cost.
//!
//! axum's own server never times out a client that says nothing, so a few thousand silent sockets stop it. Here every
//! wait has an end: for the headers, for the body and the answer, and for the connection as a whole, which covers a
//! peer that does not read.
//! HTTP/1.1 only: WeCom and the proxies before us need no more, and HTTP/2 brings attacks of its own.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::throttle::Throttle;

/// Most bytes of request line and headers together; more is answered 431.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Wait after an accept that failed for want of something on our side, like file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Least time between two lines about failing accepts.
const ACCEPT_LOG_INTERVAL: Duration = Duration::from_secs(5);

/// What connections may cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections served at once; further ones wait in the kernel's queue.
    pub max_connections: usize,
    /// For a request's headers to arrive, counted from the connection or from the answer before. So it is also how long
    /// an idle connection is kept.
    pub header_timeout: Duration,
    /// From the headers to the answer, the body's arrival included. Then 408, and the connection is closed.
    pub request_timeout: Duration,
    /// For a connection as a whole. The request in hand is still answered, but no further one.
    pub max_connection_age: Duration,
    /// For a connection's request in hand to end once no further one is taken, because of the connection's age or
    /// because the server stops.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    /// WeCom hangs up after five seconds, so nothing within a request is waited for as long.
    fn default() -> Self {
        Self {
            max_connections: 4096,
            header_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_millis(4500),
            max_connection_age: Duration::from_secs(300),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Serves `router` on `listener` until `stop` is cancelled; then refuses new connections, and returns when those at
/// work have answered or `drain_timeout` has passed.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(limits.max_connections.min(Semaphore::MAX_PERMITS)));
    let failures = Throttle::new(ACCEPT_LOG_INTERVAL);
    // Ends them all if this future is dropped.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let (stream, slot) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = accept(&listener, &slots, &failures) => accepted,
        };
        let (router, stop) = (router.clone(), stop.clone());
        connections.spawn(async move {
            serve_connection(stream, router, limits, stop).await;
            drop(slot);
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Waits for a free slot first, so that what we cannot serve is not accepted either.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    failures: &Throttle,
) -> (TcpStream, OwnedSemaphorePermit) {
    // Unwrap safety: the semaphore is never closed.
    let slot = Arc::clone(slots).acquire_owned().await.expect("slots are never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, slot),
            Err(error) if is_the_peers_doing(&error) => {}
            // Out of descriptors or memory. The connection stays in the queue, so trying again at once would spin.
            Err(error) => {
                if let Some(suppressed) = failures.admit() {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        suppressed,
                        "cannot accept connections"
                    );
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_the_peers_doing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
    )
}

async fn serve_connection(stream: TcpStream, router: Router, limits: Limits, stop: CancellationToken) {
    // An answer is one small packet; there is nothing to gather. A socket that refuses the option works all the same.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| answer(router.clone(), request, limits.request_timeout));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);

    tokio::select! {
        ended = connection.as_mut() => return log_end(ended),
        () = stop.cancelled() => {}
        () = tokio::time::sleep(limits.max_connection_age) => {}
    }
    connection.as_mut().graceful_shutdown();
    if let Ok(ended) = tokio::time::timeout(limits.drain_timeout, connection).await {
        log_end(ended);
    }
}

fn log_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "connection failed");
    }
}

async fn answer(router: Router, request: Request<Incoming>, timeout: Duration) -> Result<Response, Infallible> {
    let answer = router.oneshot(request.map(Body::new));
    match tokio::time::timeout(timeout, answer).await {
        Ok(answer) => answer,
        Err(_) => Ok((StatusCode::REQUEST_TIMEOUT, [(header::CONNECTION, "close")]).into_response()),
    }
}
