//! What every room of a running simulator shares: the fake WeCom behind its lock, and the way out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::settings::{BellRules, Settings};
use super::wecom::Wecom;
use crate::clock::Clock;

/// Callbacks that are under way at the same time.
const LINES: usize = 64;

/// A running simulator, as its tasks see it.
pub(super) struct World {
    wecom: Mutex<Wecom>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) bell_rules: BellRules,
    /// Sends the callbacks.
    pub(super) client: reqwest::Client,
    pub(super) lines: Semaphore,
    /// Callbacks under way. Closed from the start, so that one can wait for it to be empty at any time.
    pub(super) bells: TaskTracker,
    /// Told whenever a callback was answered, or was not in time.
    pub(super) answered: Notify,
    /// Cancelled when the simulator stops.
    pub(super) stop: CancellationToken,
    /// Runs the callbacks, whichever thread rings them.
    pub(super) runtime: Handle,
}

impl World {
    pub(super) fn new(settings: Settings, client: reqwest::Client, runtime: Handle) -> Self {
        let bells = TaskTracker::new();
        bells.close();
        Self {
            clock: settings.clock.clone(),
            bell_rules: settings.bell,
            wecom: Mutex::new(Wecom::new(settings)),
            client,
            lines: Semaphore::new(LINES),
            bells,
            answered: Notify::new(),
            stop: CancellationToken::new(),
            runtime,
        }
    }

    /// The fake WeCom. Held for an instant, never across an await.
    pub(super) fn wecom(&self) -> MutexGuard<'_, Wecom> {
        // Nothing in it is ever half done: a panic elsewhere does not make its numbers wrong.
        self.wecom.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
