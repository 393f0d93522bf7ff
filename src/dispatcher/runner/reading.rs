//! Reads owed deliveries from the store into the lanes, as far as there is room.

use std::pin::Pin;
use std::sync::Arc;

use tokio::time::Instant;

use super::{Runner, STORE_BACKOFF};
use crate::dispatcher::shards::Asked;
use crate::store::{Pending, StoreError};

/// Deliveries read at a time, and of one shard: bodies may be large, and all of them are in memory at once.
const READ_AT_ONCE: usize = 1_024;
const READ_PER_SHARD: usize = 256;
/// Customers of one shard whose urgent deliveries are read at a time; the others' a second later.
const READ_URGENT_PER_SHARD: usize = 16;

/// A read under way.
type Read = Pin<Box<dyn Future<Output = Result<Reading, Failed>> + Send>>;

/// A read that failed: what was asked, if it has to be asked again, and why.
pub(super) type Failed = (Option<Asked>, StoreError);

/// What a read brought.
pub(super) enum Reading {
    Pending(Asked, Vec<Pending>),
    Urgent(Vec<Pending>),
    Replays(u64),
}

impl Runner {
    /// Starts a read if there is something to read and none is under way.
    pub(super) fn start_reading(&mut self) {
        if self.reading.is_some() || Instant::now() < self.read_not_before {
            return;
        }
        self.lanes.keep_reserve(self.breaker.is_open());
        let room = if self.lanes.is_worth_filling() {
            self.lanes.room().min(READ_AT_ONCE)
        } else {
            0
        };
        self.reading = if self.check_replays {
            Some(self.read_replays())
        } else if self.check_urgent
            && let Some(asked) = self.shards.ask_urgent(READ_URGENT_PER_SHARD)
        {
            self.check_urgent = false;
            Some(self.read_urgent(asked))
        } else {
            let asked = self.shards.ask(room, READ_PER_SHARD, &self.lanes);
            asked.map(|asked| self.read_in_order(asked))
        };
    }

    fn read_replays(&self) -> Read {
        let store = Arc::clone(&self.store);
        Box::pin(async move {
            let replays = store.replays().await;
            replays.map(Reading::Replays).map_err(|error| (None, error))
        })
    }

    fn read_in_order(&self, asked: Asked) -> Read {
        let (store, handler) = (Arc::clone(&self.store), self.member.id());
        Box::pin(async move {
            match store.pending(handler, &asked.positions, asked.limit_each).await {
                Ok(rows) => Ok(Reading::Pending(asked, rows)),
                Err(error) => Err((Some(asked), error)),
            }
        })
    }

    fn read_urgent(&self, asked: Asked) -> Read {
        let (store, handler) = (Arc::clone(&self.store), self.member.id());
        Box::pin(async move {
            match store.pending_urgent(handler, &asked.positions, asked.limit_each).await {
                Ok(rows) => Ok(Reading::Urgent(rows)),
                Err(error) => Err((Some(asked), error)),
            }
        })
    }

    pub(super) fn take_reading(&mut self, reading: Result<Reading, Failed>) {
        let now = Instant::now();
        let wall = self.clock.now();
        let due = |delivery: &Pending| now + delivery.due.since(wall);
        let stale = self.estate.take_stale();
        let forget_stale = |rows: &mut Vec<Pending>| {
            if !stale.is_empty() {
                rows.retain(|row| !stale.contains(row.lane.shard()));
            }
        };
        match reading {
            Ok(Reading::Pending(asked, mut rows)) => {
                forget_stale(&mut rows);
                self.shards.take(&asked, rows, |row| {
                    let due = due(&row);
                    self.lanes.offer(row, due, now)
                });
            }
            Ok(Reading::Urgent(mut rows)) => {
                forget_stale(&mut rows);
                self.shards.take_urgent(&rows);
                for row in rows.into_iter().filter(|row| !self.shards.overflows(row.lane)) {
                    let due = due(&row);
                    // A customer with a full lane gets the rest in its turn.
                    let _ = self.lanes.offer_beyond_window(row, due, now);
                }
            }
            Ok(Reading::Replays(replays)) => {
                self.check_replays = false;
                if self.replays.replace(replays).is_some_and(|before| before != replays) {
                    self.shards.rewind();
                    self.replayed_meanwhile = self.recording.is_some();
                }
            }
            Err((asked, error)) => {
                self.read_failures = self.read_failures.saturating_add(1);
                self.read_not_before = now + STORE_BACKOFF.wait(self.read_failures, &mut self.clock.rng());
                let (handler, error) = (self.member.name(), &error as &dyn std::error::Error);
                tracing::error!(%handler, error, "cannot read owed deliveries, will try again");
                if let Some(asked) = asked {
                    self.shards.failed(&asked);
                }
                return self.forget_recorded();
            }
        }
        self.read_failures = 0;
        self.forget_recorded();
    }
}
