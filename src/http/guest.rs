//! What the server knows of a connection while a task of its own serves it: whom it waits for, and since when.
//!
//! A connection owes us bytes, of headers or of a body, or we owe it an answer. Only the first can be closed early
//! without harm to anybody but the client who dawdles, so only that is kept track of, and cheaply: a few atomic stores
//! a request, where a timer would be allocated, armed and disarmed.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::Notify;
use tokio::time::Instant;

/// A moment that does not come.
const NEVER: u64 = u64::MAX;

/// How a connection is to end, as the accept loop orders it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Leave {
    /// After the request in hand.
    Politely = 1,
    /// At once.
    Now = 2,
}

/// One connection, shared by its task, the body of its request, and the accept loop. Moments are nanoseconds since
/// `epoch`.
#[derive(Debug)]
pub(super) struct Guest {
    /// When the server began.
    epoch: Instant,
    came: u64,
    /// Since when it has owed us bytes. [`NEVER`] while it owes none.
    owes_since: AtomicU64,
    /// When it is closed unless headers have come. [`NEVER`] while a request is in hand.
    due: AtomicU64,
    /// Whether one of its requests succeeded: a stranger's do not.
    is_known: AtomicBool,
    /// A [`Leave`], or 0.
    order: AtomicU8,
    ordered: Notify,
}

impl Guest {
    pub(super) fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            came: since(epoch),
            owes_since: AtomicU64::new(NEVER),
            due: AtomicU64::new(NEVER),
            is_known: AtomicBool::new(false),
            order: AtomicU8::new(0),
            ordered: Notify::new(),
        }
    }

    /// From now on it is awaited to send headers, for as long as `patience`.
    pub(super) fn await_headers(&self, patience: Duration) {
        let now = since(self.epoch);
        self.due.store(now.saturating_add(nanos(patience)), Ordering::Relaxed);
        self.owes_since.store(now, Ordering::Relaxed);
    }

    /// Its headers have come. What it owes of the body, it has owed since it was awaited: whoever drips gains nothing.
    pub(super) fn headers_came(&self) {
        self.due.store(NEVER, Ordering::Relaxed);
    }

    fn request_is_whole(&self) {
        self.owes_since.store(NEVER, Ordering::Relaxed);
    }

    /// A request of its succeeded.
    pub(super) fn is_known_now(&self) {
        self.is_known.store(true, Ordering::Relaxed);
    }

    /// Whether the headers it was awaited to send are overdue at `now`.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.due.load(Ordering::Relaxed) <= nanos(now - self.epoch)
    }

    /// Whether it came longer than `age` ago.
    pub(super) fn is_older(&self, age: Duration, now: Instant) -> bool {
        nanos(now - self.epoch) >= self.came.saturating_add(nanos(age))
    }

    /// Its place in the row of those that could go, strangers and the slowest first. `None` if it owes us nothing, or
    /// has for less than `grace`.
    pub(super) fn rank(&self, grace: Duration, now: Instant) -> Option<(bool, u64)> {
        let since = self.owes_since.load(Ordering::Relaxed);
        let dawdles = since.saturating_add(nanos(grace)) <= nanos(now - self.epoch);
        dawdles.then(|| (self.is_known.load(Ordering::Relaxed), since))
    }

    /// Tells its task to end. An order is never softened. `false` if it had been given before.
    pub(super) fn order(&self, leave: Leave) -> bool {
        let is_news = self.order.fetch_max(leave as u8, Ordering::Relaxed) < leave as u8;
        if is_news {
            self.ordered.notify_one();
        }
        is_news
    }

    /// Waits for an order.
    pub(super) async fn ordered(&self) -> Leave {
        self.ordered.notified().await;
        if self.order.load(Ordering::Relaxed) == Leave::Now as u8 {
            Leave::Now
        } else {
            Leave::Politely
        }
    }
}

fn since(epoch: Instant) -> u64 {
    nanos(epoch.elapsed())
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER)
}

/// A request's body on its way in, which tells when it has come.
#[derive(Debug)]
pub struct Arriving {
    inner: Incoming,
    guest: Arc<Guest>,
}

impl Arriving {
    pub(super) fn new(inner: Incoming, guest: Arc<Guest>) -> Self {
        if inner.is_end_stream() {
            guest.request_is_whole();
        }
        Self { inner, guest }
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if self.inner.is_end_stream() || matches!(polled, Poll::Ready(None)) {
            self.guest.request_is_whole();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn headers_are_overdue_when_patience_is_over_and_not_while_a_request_is_in_hand() {
        let guest = Guest::new(Instant::now());
        assert!(!guest.is_overdue(Instant::now()), "it was not looked at yet");
        guest.await_headers(5 * SECOND);
        advance(5 * SECOND - Duration::from_millis(1)).await;
        assert!(!guest.is_overdue(Instant::now()));
        advance(Duration::from_millis(1)).await;
        assert!(guest.is_overdue(Instant::now()));
        guest.headers_came();
        assert!(!guest.is_overdue(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_go_before_the_known_and_the_slowest_first() {
        let epoch = Instant::now();
        let [known, early, late, answered] = [(); 4].map(|()| Guest::new(epoch));
        known.is_known_now();
        known.await_headers(SECOND);
        early.await_headers(SECOND);
        advance(SECOND).await;
        late.await_headers(SECOND);
        answered.request_is_whole();
        assert_eq!(late.rank(SECOND, Instant::now()), None, "it had no time yet");
        advance(SECOND).await;
        let rank = |guest: &Guest| guest.rank(SECOND, Instant::now());
        assert!(rank(&early) < rank(&late) && rank(&late) < rank(&known));
        assert!(rank(&early).is_some());
        assert_eq!(rank(&answered), None, "we owe it the answer");
    }

    #[tokio::test]
    async fn an_order_is_not_softened() {
        let guest = Guest::new(Instant::now());
        assert!(guest.order(Leave::Now));
        assert!(!guest.order(Leave::Politely));
        assert_eq!(guest.ordered().await, Leave::Now);
    }
}
