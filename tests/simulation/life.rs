//! Whether a replica runs, is stopped by a signal, or is dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// One process, from its start to its end. Whatever it asks of the outside, and whatever it hears from there, waits
/// while it is stopped; its timers run on, as they do on a machine whose clock does not stop with a process.
#[derive(Clone, Debug)]
pub(crate) struct Life(Arc<State>);

#[derive(Debug)]
struct State {
    owner: u64,
    stopped: AtomicBool,
    dead: AtomicBool,
    goes_on: Notify,
}

impl Life {
    /// A process that is known by the number `owner`.
    pub(crate) fn new(owner: u64) -> Self {
        Self(Arc::new(State {
            owner,
            stopped: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            goes_on: Notify::new(),
        }))
    }

    pub(crate) fn owner(&self) -> u64 {
        self.0.owner
    }

    /// Waits while the process is stopped, and for ever once it is dead. Tells whether it had to wait.
    pub(crate) async fn running(&self) -> bool {
        let mut waited = false;
        loop {
            // Listens before it looks, and is told in the order of coming.
            let goes_on = self.0.goes_on.notified();
            if !self.is_stopped() && !self.is_dead() {
                return waited;
            }
            waited = true;
            goes_on.await;
        }
    }

    pub(crate) fn stop(&self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }

    pub(crate) fn go_on(&self) {
        self.0.stopped.store(false, Ordering::Relaxed);
        self.0.goes_on.notify_waiters();
    }

    pub(crate) fn die(&self) {
        self.0.dead.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::Relaxed)
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.0.dead.load(Ordering::Relaxed)
    }
}
