//! Threads of a handler's own, so that it can block nobody but itself.
//!
//! A handler is somebody else's code, and sooner or later it blocks its thread: a lock, a database driver, a loop
//! without end. On threads it shares with callbacks and pulls it would hold those up, and on two threads of its own its
//! other customers. So every attempt gets a thread for as long as it runs. Threads are kept for the next attempt, and
//! end after ten idle seconds.

use std::io;

use tokio::runtime::{Builder, Runtime};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::handler::Attempt;
use crate::id::HandlerName;

/// Threads beyond those of attempts, for what a handler starts with `spawn_blocking`: as many as tokio gives by default.
const SPARE: usize = 512;

/// Threads of one handler. Dropping this breaks off what can be broken off, and waits for nothing.
#[derive(Debug)]
pub(super) struct Threads {
    /// Its one worker drives the timers and sockets of attempts, and whatever they spawn. `Some` until this is dropped.
    runtime: Option<Runtime>,
    end: CancellationToken,
}

impl Threads {
    /// Threads for up to `attempts` attempts of `handler` at once.
    pub(super) fn start(handler: &HandlerName, attempts: usize) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(attempts.saturating_add(SPARE))
            .thread_name(format!("kf-{handler}"))
            .enable_all()
            .build()?;
        Ok(Self {
            runtime: Some(runtime),
            end: CancellationToken::new(),
        })
    }

    /// Runs `attempt` as a task of `attempts`, on a thread that is free or new.
    pub(super) fn run(
        &self,
        attempts: &mut JoinSet<Attempt>,
        attempt: impl Future<Output = Attempt> + Send + 'static,
    ) -> AbortHandle {
        let Some(runtime) = &self.runtime else {
            unreachable!("only a drop takes the runtime away");
        };
        let (handle, end) = (runtime.handle().clone(), self.end.clone());
        let on_its_thread = move || {
            let ended = handle.block_on(end.run_until_cancelled_owned(attempt));
            ended.unwrap_or_else(|| Attempt::Retry {
                after: None,
                reason: "broken off".into(),
            })
        };
        attempts.spawn_blocking_on(on_its_thread, runtime.handle())
    }

    /// Drops the futures of attempts that run. A thread that is blocked keeps its own until it returns.
    pub(super) fn break_off(&self) {
        self.end.cancel();
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.break_off();
        if let Some(runtime) = self.runtime.take() {
            // A plain drop would wait for threads that may be blocked for ever, and panic in a task besides.
            runtime.shutdown_background();
        }
    }
}
