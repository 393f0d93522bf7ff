//! Threads that own a connection: SQLite blocks, and tokio's threads must not.

use std::fmt;
use std::io;
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc;

use crate::store::StoreError;

/// A named thread that works through a bounded queue. Dropping this waits until the queue is empty and the thread gone.
pub(super) struct Worker<J> {
    /// `Some` until this is dropped.
    queue: Option<mpsc::Sender<J>>,
    /// `Some` until this is dropped.
    thread: Option<JoinHandle<()>>,
}

impl<J: Send + 'static> Worker<J> {
    /// Starts `work` on a thread of its own; it ends when the queue it is given does.
    pub(super) fn start(
        name: &str,
        capacity: usize,
        work: impl FnOnce(mpsc::Receiver<J>) + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, jobs) = mpsc::channel(capacity);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || work(jobs))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Puts `job` into the queue; waits while it is full.
    pub(super) async fn hand(&self, job: J) -> Result<(), StoreError> {
        let queue = self.queue.as_ref().ok_or(StoreError::Closed)?;
        queue.send(job).await.map_err(|_| StoreError::Closed)
    }
}

impl<J> Drop for Worker<J> {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has already failed everybody who waited for it.
            let _ = thread.join();
        }
    }
}

impl<J> fmt::Debug for Worker<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.thread.as_ref().and_then(|thread| thread.thread().name());
        f.debug_tuple("Worker").field(&name).finish()
    }
}
