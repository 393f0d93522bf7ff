//! Accepts connections and bounds what each may cost.
//!
//! axum's own server never times out a client that says nothing, so a few thousand silent sockets stop it. Here every
//! wait has an end: for the headers, for the body and the answer, and for the connection as a whole, which covers a
//! peer that does not read.
//!
//! And no number of clients that dawdle keeps out one that does not: when every place is taken, those go who have owed
//! us bytes for longest, strangers before clients that we know. Only if nobody dawdles, which means that more is asked
//! than we can answer, is the newcomer refused, with a 503 and at once: whoever has been let in is answered.
//!
//! HTTP/1.1 only: WeCom and the proxies before us need no more, and HTTP/2 brings attacks of its own.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::BoxError;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::{Either, Empty};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt as _};

use super::guest::{Arriving, Guest, Leave};
use super::throttle::Throttle;
use crate::metric;

/// Most bytes of request line and headers together; more is answered 431.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Wait after an accept that failed for want of something on our side, like file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Least time between two lines about failing accepts, or about places that had to be cleared.
const LOG_INTERVAL: Duration = Duration::from_secs(5);
/// How often overdue connections are looked for.
const LOOK: Duration = Duration::from_millis(250);
/// One that has owed us bytes for less does not dawdle: they may be here, and its task not have had its turn.
const GRACE: Duration = Duration::from_millis(100);
/// Share of the places that is cleared at once when there is none: looking for one costs a look at all.
const CLEARED_AT_ONCE: usize = 64;
/// For a newcomer for whom there is no place.
const BUSY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 1\r\nconnection: close\r\n\r\n";

/// What connections may cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections served at once. Beyond them, a newcomer takes the place of a client that dawdles, or is answered
    /// 503.
    pub max_connections: usize,
    /// For a request's headers to arrive, counted from the connection, or from the answer before if that was no
    /// success.
    pub header_timeout: Duration,
    /// The same, counted from an answer that was a success: how long an idle connection of a client that we know is
    /// kept. Longer than proxies keep theirs, so that none sends a request into a connection that we are closing.
    pub idle_timeout: Duration,
    /// From the headers to the answer, the body's arrival included. Then 408, and the connection is closed.
    pub request_timeout: Duration,
    /// For a connection as a whole. The request in hand is still answered, but no further one.
    pub max_connection_age: Duration,
    /// For a connection's request in hand to end once no further one is taken, because of the connection's age or
    /// because the server stops.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    /// WeCom hangs up after five seconds, so nothing within a request is waited for as long. nginx and the load
    /// balancers of the large clouds keep idle connections for sixty.
    fn default() -> Self {
        Self {
            max_connections: 4096,
            header_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(75),
            request_timeout: Duration::from_millis(4500),
            max_connection_age: Duration::from_secs(300),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Serves `service`, which may be an axum router or the [`Callbacks`](super::Callbacks), on `listener` until `stop` is
/// cancelled; then refuses new connections, and returns when those at work have answered or `drain_timeout` has passed.
pub async fn serve<S, B>(listener: TcpListener, service: S, limits: Limits, stop: CancellationToken)
where
    S: Service<Request<Arriving>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let mut house = House::new(limits);
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        house.see_off_the_ended();
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            now = looks.tick() => {
                house.look_round(now);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) if house.has_room().await => {
                let guest = Arc::new(Guest::new(house.epoch));
                house.take_in(
                    &guest,
                    serve_connection(stream, service.clone(), limits, Arc::clone(&guest)),
                );
            }
            Ok((stream, _)) => {
                metrics::counter!(metric::CONNECTIONS_SHED, "how" => "refused").increment(1);
                refuse(stream);
            }
            Err(error) if is_the_peers_doing(&error) => {}
            Err(error) => house.cannot_accept(&error).await,
        }
    }
    drop(listener);
    house.close().await;
}

/// Everybody who is connected.
struct House {
    limits: Limits,
    epoch: Instant,
    /// Ends them all if it is dropped.
    tasks: JoinSet<()>,
    guests: HashMap<task::Id, Arc<Guest>>,
    failures: Throttle,
    crowds: Throttle,
}

impl House {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            epoch: Instant::now(),
            tasks: JoinSet::new(),
            guests: HashMap::new(),
            failures: Throttle::new(LOG_INTERVAL),
            crowds: Throttle::new(LOG_INTERVAL),
        }
    }

    fn take_in(&mut self, guest: &Arc<Guest>, connection: impl Future<Output = ()> + Send + 'static) {
        let id = self.tasks.spawn(connection).id();
        self.guests.insert(id, Arc::clone(guest));
    }

    fn see_off_the_ended(&mut self) {
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            self.see_off(ended);
        }
    }

    fn see_off(&mut self, ended: Result<(task::Id, ()), JoinError>) {
        let id = ended.map_or_else(|panicked| panicked.id(), |(id, ())| id);
        self.guests.remove(&id);
    }

    /// Closes whom we waited for in vain, and lets go who has been here for long.
    fn look_round(&self, now: Instant) {
        for guest in self.guests.values() {
            if guest.is_overdue(now) {
                guest.order(Leave::Now);
            } else if guest.is_older(self.limits.max_connection_age, now) {
                guest.order(Leave::Politely);
            }
        }
    }

    /// Whether there is a place for one more, if need be that of somebody who dawdles.
    async fn has_room(&mut self) -> bool {
        if self.tasks.len() < self.limits.max_connections {
            return true;
        }
        if let Some(suppressed) = self.crowds.admit() {
            tracing::warn!(connections = self.tasks.len(), suppressed, "every connection is taken");
        }
        self.make_room().await
    }

    /// Closes the slowest of those who dawdle. `false` if nobody does.
    async fn make_room(&mut self) -> bool {
        let now = Instant::now();
        let ranked = self
            .guests
            .values()
            .filter_map(|guest| Some((guest.rank(GRACE, now)?, guest)));
        let mut row: Vec<_> = ranked.collect();
        if row.is_empty() {
            return false;
        }
        let count = (self.limits.max_connections / CLEARED_AT_ONCE).clamp(1, row.len());
        row.select_nth_unstable_by_key(count - 1, |(rank, _)| *rank);
        // Some may have been told before.
        let closed = row[..count].iter().filter(|(_, guest)| guest.order(Leave::Now)).count();
        metrics::counter!(metric::CONNECTIONS_SHED, "how" => "closed").increment(closed as u64);
        // They go as soon as their tasks have a turn.
        if let Some(ended) = self.tasks.join_next_with_id().await {
            self.see_off(ended);
        }
        true
    }

    /// Out of descriptors or memory, while the connection stays in the queue.
    async fn cannot_accept(&mut self, error: &io::Error) {
        if let Some(suppressed) = self.failures.admit() {
            let error: &dyn std::error::Error = error;
            tracing::error!(error, suppressed, "cannot accept connections");
        }
        // Who dawdles holds a descriptor that somebody else needs.
        if !self.make_room().await {
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }

    async fn close(mut self) {
        for guest in self.guests.values() {
            guest.order(Leave::Politely);
        }
        while self.tasks.join_next().await.is_some() {}
    }
}

fn is_the_peers_doing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
    )
}

/// Says that there is no room, as far as that can be said without waiting.
fn refuse(stream: TcpStream) {
    let Ok(mut stream) = stream.into_std() else { return };
    // A socket that is closed with bytes unread is reset, and its peer may never see what was written.
    let _ = stream.read(&mut [0; MAX_HEADER_BYTES]);
    let _ = stream.write(BUSY);
    let _ = stream.shutdown(Shutdown::Write);
}

async fn serve_connection<S, B>(stream: TcpStream, service: S, limits: Limits, guest: Arc<Guest>)
where
    S: Service<Request<Arriving>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    // An answer is one small packet; there is nothing to gather. A socket that refuses the option works all the same.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| attend(service.clone(), request, &limits, &guest));
    guest.await_headers(limits.header_timeout);
    let connection = http1::Builder::new()
        // The accept loop closes whose headers do not come.
        .header_read_timeout(None)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);

    let leave = tokio::select! {
        biased;
        ended = connection.as_mut() => return log_end(ended),
        leave = guest.ordered() => leave,
    };
    if leave == Leave::Now {
        return;
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        ended = connection => log_end(ended),
        _ = guest.ordered() => {}
        () = tokio::time::sleep(limits.drain_timeout) => {}
    }
}

fn log_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "connection failed");
    }
}

/// Has a request answered, and keeps the books of its guest.
async fn attend<S, B>(
    service: S,
    request: Request<Incoming>,
    limits: &Limits,
    guest: &Arc<Guest>,
) -> Result<Response<Either<B, Empty<Bytes>>>, Infallible>
where
    S: Service<Request<Arriving>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes>,
{
    guest.headers_came();
    let request = request.map(|body| Arriving::new(body, Arc::clone(guest)));
    let mut answer = pin!(service.oneshot(request));
    // Most requests come whole and are answered at once. Only the others cost a timer.
    let at_once = poll_fn(|cx| match answer.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => Poll::Ready(None),
    });
    let answer = match at_once.await {
        Some(Ok(answer)) => answer.map(Either::Left),
        None => match tokio::time::timeout(limits.request_timeout, answer).await {
            Ok(Ok(answer)) => answer.map(Either::Left),
            Err(_) => too_late().map(Either::Right),
        },
    };
    if answer.status().is_success() {
        guest.is_known_now();
        guest.await_headers(limits.idle_timeout);
    } else {
        guest.await_headers(limits.header_timeout);
    }
    Ok(answer)
}

fn too_late() -> Response<Empty<Bytes>> {
    let mut answer = Response::new(Empty::new());
    *answer.status_mut() = StatusCode::REQUEST_TIMEOUT;
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(header::CONNECTION, close);
    answer
}
