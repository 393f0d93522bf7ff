//! How the process hears that it should stop.
//!
//! The first SIGTERM or SIGINT asks: a token is cancelled, and everything that holds it finishes what it has in hand.
//! The second one insists: the process ends at once. That is safe at any moment, because nothing is promised before it
//! is durable, but it may cost repeated deliveries.
//!
//! A program that embeds the server does not need this module: it cancels the token whenever it likes.

use std::future;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Signals that stop the process, taken from their default effect, which is to kill it.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes SIGTERM and SIGINT over. From here on they have no effect but through [`watch`](Self::watch), so call this
    /// first of all: a signal that comes before `watch` is kept for it.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Cancels `stop` at the first signal and calls `at_once` at the second. The binary exits there, with code 1: it was
    /// not granted the time to stop in order.
    pub async fn watch(mut self, stop: CancellationToken, at_once: impl FnOnce()) {
        let signal = self.next().await;
        info!(signal, "asked to stop: finishing what is in hand");
        stop.cancel();
        let signal = self.next().await;
        warn!(signal, "asked again: stopping at once");
        at_once();
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            Some(()) = self.terminate.recv() => "SIGTERM",
            Some(()) = self.interrupt.recv() => "SIGINT",
            else => future::pending().await,
        }
    }
}
