//! Back-pressure that ends at WeCom: while there is no room for more messages, they stay there, for three days.
//!
//! Pulling is held back while the disk of the store is nearly full, while handlers owe too much already, and after a
//! page could not be stored until the store takes writes again. Nothing else stops: callbacks are answered and noted,
//! deliveries go on, and pruning makes room.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::futures::Notified;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::metric;
use crate::store::{Room, Store};

/// How often the disk is looked at. What is pulled in between, some ten thousand messages, is far below any mark.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often deliveries are counted, which takes a while when there are millions.
const COUNT_EVERY: Duration = Duration::from_secs(15);
/// A disk is never nearly full while a tenth of it is free: a small one would never be anything else.
const SHARE_OF_DISK: u64 = 10;

/// How much may be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Marks {
    /// Bytes the store keeps free; a tenth of its disk, if that is less.
    pub min_free: u64,
    /// Deliveries owed, of all handlers together, above which no more are taken on.
    pub max_backlog: u64,
    /// Waits between tries of a store that does not take pages.
    pub backoff: Backoff,
}

impl Default for Marks {
    fn default() -> Self {
        Self {
            min_free: 1 << 30,
            max_backlog: 5_000_000,
            backoff: Backoff::new(Duration::from_millis(200), Duration::from_secs(30)),
        }
    }
}

/// Why nothing is pulled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Held {
    /// The disk of the store is nearly full.
    DiskNearlyFull,
    /// Handlers owe too much already.
    Backlog,
    /// The store does not take pages.
    StoreFails,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DiskNearlyFull => "nothing is pulled: the disk of the store is nearly full",
            Self::Backlog => "nothing is pulled: too many deliveries are owed",
            Self::StoreFails => "nothing is pulled: the store does not take pages",
        })
    }
}

/// Holds pulls back while there is no room for what they would bring. One for all applications: they share the store.
#[derive(Debug)]
pub(super) struct Floodgate {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    marks: Marks,
    held: watch::Sender<Option<Held>>,
    /// Wakes the schedules in the order of coming, where a `watch` draws lots: so a run can be repeated.
    opened: Notify,
    /// Pages in a row that the store did not take.
    failures: AtomicU32,
    failed: Notify,
}

impl Floodgate {
    pub(super) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, marks: Marks) -> Self {
        Self {
            store,
            clock,
            marks,
            held: watch::Sender::new(None),
            opened: Notify::new(),
            failures: AtomicU32::new(0),
            failed: Notify::new(),
        }
    }

    /// Why nothing may be pulled now, if so.
    pub(super) fn held(&self) -> Option<Held> {
        *self.held.borrow()
    }

    /// Waits until it opens the next time, counted from this call: who calls before they look miss nothing.
    pub(super) fn opened(&self) -> Notified<'_> {
        self.opened.notified()
    }

    /// Why nothing may be pulled, now and after every change.
    pub(super) fn subscribe(&self) -> watch::Receiver<Option<Held>> {
        self.held.subscribe()
    }

    /// The store took a page.
    pub(super) fn stored(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// The store did not take a page: nothing is pulled until it may take one.
    pub(super) fn store_failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.set(Some(Held::StoreFails));
        self.failed.notify_one();
    }

    /// Opens and closes, until `stop`. [`look`](Self::look) once before anything is pulled.
    pub(super) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let watching = async {
            let mut count_at = Instant::now() + COUNT_EVERY;
            loop {
                tokio::select! {
                    biased;
                    () = sleep(LOOK_EVERY) => {}
                    () = self.failed.notified() => self.until_it_takes_writes().await,
                }
                if Instant::now() >= count_at {
                    self.look().await;
                    count_at = Instant::now() + COUNT_EVERY;
                } else {
                    let backlog = (self.held() == Some(Held::Backlog)).then_some(Held::Backlog);
                    self.set(self.disk_nearly_full().await.or(backlog));
                }
            }
        };
        stop.run_until_cancelled(watching).await;
    }

    /// Looks at everything there is to see.
    pub(super) async fn look(&self) {
        let held = self.disk_nearly_full().await;
        self.set(held.or(self.backlog().await));
    }

    async fn until_it_takes_writes(&self) {
        // It may have been opened since, by a look that had begun before.
        self.set(Some(Held::StoreFails));
        loop {
            let failures = self.failures.load(Ordering::Relaxed);
            let wait = self.marks.backoff.wait(failures, &mut self.clock.rng());
            sleep(wait).await;
            if self.store.check().await.is_ok() {
                return;
            }
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Asks how much room there is. Without an answer what was last seen holds.
    async fn disk_nearly_full(&self) -> Option<Held> {
        let before = self.held().filter(|held| *held == Held::DiskNearlyFull);
        let Ok(room) = self.store.room().await else {
            return before;
        };
        let room = room?;
        metrics::gauge!(metric::STORE_FREE_BYTES).set(room.free_bytes as f64);
        let mark = self.marks.free_bytes(room, before.is_some());
        (room.free_bytes < mark).then_some(Held::DiskNearlyFull)
    }

    async fn backlog(&self) -> Option<Held> {
        let before = self.held().filter(|held| *held == Held::Backlog);
        let Ok(backlog) = self.store.backlog().await else {
            return before;
        };
        let owed: u64 = backlog.iter().map(|handler| handler.pending).sum();
        (owed > self.marks.backlog(before.is_some())).then_some(Held::Backlog)
    }

    fn set(&self, held: Option<Held>) {
        let changed = self.held.send_if_modified(|now| std::mem::replace(now, held) != held);
        match held {
            Some(held) if changed => tracing::warn!("{held}; WeCom keeps messages for three days"),
            None if changed => {
                tracing::info!("pulling goes on");
                self.opened.notify_waiters();
            }
            _ => {}
        }
    }
}

impl Marks {
    /// Bytes that must be free. To go on takes an eighth more than to stop, lest the two alternate.
    fn free_bytes(&self, room: Room, held: bool) -> u64 {
        let mark = self.min_free.min(room.disk_bytes / SHARE_OF_DISK);
        if held { mark + mark / 8 } else { mark }
    }

    /// Deliveries that may be owed; to go on, an eighth fewer.
    fn backlog(&self, held: bool) -> u64 {
        let mark = self.max_backlog;
        if held { mark - mark / 8 } else { mark }
    }
}
