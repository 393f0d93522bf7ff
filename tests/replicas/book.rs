//! The receiver's book: every attempt that arrived, from its beginning to its end.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;
use wecom_kf::id::{Msgid, OpenKfid};
use wecom_kf::simulator::Received;

use crate::life::Life;
use crate::moment::{Moment, Origin};

/// One attempt at a delivery, as the receiver saw it.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// Who made it.
    pub(crate) life: Life,
    /// What it was about.
    pub(crate) received: Received,
    /// Idempotency key that came with it.
    pub(crate) webhook_id: String,
    pub(crate) began: Moment,
    /// Later than the beginning: the answer, or the sender's end. Now, while there is neither.
    pub(crate) ended: Moment,
    pub(crate) end: End,
}

/// How an attempt ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// It has not.
    Open,
    /// With a 2xx.
    Taken,
    /// With a 5xx.
    Refused,
    /// The sender went away first.
    Abandoned,
}

/// Attempts in the order of their beginnings.
pub(crate) struct Book {
    origin: Origin,
    attempts: Mutex<Vec<Attempt>>,
    /// Places of attempts in the order in which they were taken.
    taken: Mutex<Vec<usize>>,
    wrong: Mutex<Vec<String>>,
    changed: Notify,
}

/// An attempt while it lasts. Ends with it, also when the sender dies in the middle.
pub(crate) struct Visit<'a> {
    book: &'a Book,
    place: usize,
    end: End,
}

impl Book {
    /// An empty one.
    pub(crate) fn new(origin: Origin) -> Self {
        Self {
            origin,
            attempts: Mutex::default(),
            taken: Mutex::default(),
            wrong: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Something arrived that is not what the contract says.
    pub(crate) fn note_wrong(&self, problem: String) {
        self.wrong.lock().unwrap().push(problem);
    }

    /// What arrived that is not what the contract says.
    pub(crate) fn wrong(&self) -> Vec<String> {
        self.wrong.lock().unwrap().clone()
    }

    /// Every attempt so far.
    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        let mut attempts = self.attempts.lock().unwrap().clone();
        let now = self.origin.elapsed();
        let open = attempts.iter_mut().filter(|attempt| attempt.end == End::Open);
        open.for_each(|attempt| attempt.ended = now);
        attempts
    }

    /// What was taken, in that order.
    pub(crate) fn taken(&self) -> Vec<Received> {
        let attempts = self.attempts.lock().unwrap();
        let taken = self.taken.lock().unwrap();
        taken.iter().map(|place| attempts[*place].received.clone()).collect()
    }

    /// Waits until `count` deliveries were taken; `false` if that took longer than `patience`.
    pub(crate) async fn until(&self, count: usize, patience: Duration) -> bool {
        let enough = async {
            while self.taken.lock().unwrap().len() < count {
                self.changed.notified().await;
            }
        };
        timeout(patience, enough).await.is_ok()
    }

    /// Keys that do not stand for one message, or messages that came under several keys.
    pub(crate) fn wrong_keys(&self) -> usize {
        let attempts = self.attempts.lock().unwrap();
        let mut keys: HashMap<&str, (&OpenKfid, &Msgid)> = HashMap::new();
        let mut messages: HashMap<(&OpenKfid, &Msgid), &str> = HashMap::new();
        let wrong = attempts.iter().filter(|attempt| {
            let (key, message) = (
                attempt.webhook_id.as_str(),
                (&attempt.received.open_kfid, &attempt.received.msgid),
            );
            *keys.entry(key).or_insert(message) != message || *messages.entry(message).or_insert(key) != key
        });
        wrong.count()
    }
}

impl<'a> Visit<'a> {
    /// `life` begins an attempt.
    pub(crate) fn begin(book: &'a Book, life: Life, received: Received, webhook_id: &str) -> Self {
        let now = book.origin.elapsed();
        let mut attempts = book.attempts.lock().unwrap();
        attempts.push(Attempt {
            life,
            received,
            webhook_id: webhook_id.to_owned(),
            began: now,
            ended: now,
            end: End::Open,
        });
        Self {
            book,
            place: attempts.len() - 1,
            end: End::Abandoned,
        }
    }

    /// It ends with a 2xx.
    pub(crate) fn taken(mut self) {
        self.end = End::Taken;
    }

    /// It ends with a 5xx.
    pub(crate) fn refused(mut self) {
        self.end = End::Refused;
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let mut attempts = self.book.attempts.lock().unwrap();
        let attempt = &mut attempts[self.place];
        (attempt.ended, attempt.end) = (self.book.origin.elapsed(), self.end);
        if self.end == End::Taken {
            self.book.taken.lock().unwrap().push(self.place);
        }
        self.book.changed.notify_one();
    }
}
