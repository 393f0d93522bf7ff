//! Writes down how attempts ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::STORE_BACKOFF;
use crate::clock::Clock;
use crate::lease::Title;
use crate::store::{Finish, Seq, ShardSet, Store, StoreError, Verdict};

/// From one writing down of outcomes to the next, at least: a commit costs much the same for hundreds as for one. What
/// has not been written is handed out again after a crash, so not much longer than a commit takes.
const WRITE_EVERY: Duration = Duration::from_millis(5);

/// Outcomes that wait to be written down, with the titles they were reached under: the shards must not be handed over
/// before.
#[derive(Default)]
pub(super) struct Unrecorded {
    finished: Vec<Finish>,
    titles: Vec<Title>,
    shards: ShardSet,
}

impl Unrecorded {
    pub(super) fn push(&mut self, finish: Finish, title: Title) {
        self.shards.insert(finish.shard);
        self.finished.push(finish);
        self.titles.push(title);
    }

    pub(super) fn len(&self) -> usize {
        self.finished.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.finished.is_empty()
    }

    /// Shards they are of.
    pub(super) fn shards(&self) -> ShardSet {
        self.shards
    }
}

/// Outcomes that were written down.
pub(super) struct Recorded {
    /// Deliveries that are over.
    pub(super) over: Vec<Seq>,
    /// How many the store refused, because somebody else has taken their shard since.
    pub(super) refused: u64,
}

/// The store takes nothing any more.
pub(super) struct StoreClosed;

/// Writes outcomes down, at once and however long the store takes, and is over when it is time for the next; after `stop`
/// that is at once.
pub(super) async fn record(
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    unrecorded: Unrecorded,
    stop: CancellationToken,
) -> Result<Recorded, StoreClosed> {
    let next = Instant::now() + WRITE_EVERY;
    let Unrecorded { finished, titles, .. } = unrecorded;
    let mut failures = 0;
    let refused = loop {
        match store.finish(finished.clone()).await {
            Ok(refused) => break refused,
            Err(StoreError::Closed) => return Err(StoreClosed),
            Err(error) => {
                failures += 1;
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "cannot record outcomes, will try again"
                );
                sleep(STORE_BACKOFF.wait(failures, &mut clock.rng())).await;
            }
        }
    };
    drop(titles);
    stop.run_until_cancelled(sleep_until(next)).await;
    let over = finished
        .into_iter()
        .filter(|finish| !matches!(finish.verdict, Verdict::Retry { .. }));
    Ok(Recorded {
        over: over.map(|finish| finish.seq).collect(),
        refused,
    })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::clock::SystemClock;
    use crate::store::{self, Fence, HandlerId, Shard};

    #[test]
    fn it_is_known_how_many_wait_and_of_which_shards() {
        let mut unrecorded = Unrecorded::default();
        let shards = [3, 5, 5].map(|number| Shard::new(number).unwrap());
        for (shard, seq) in shards.into_iter().zip((1..).map(Seq)) {
            let finish = Finish {
                handler: HandlerId(1),
                shard,
                seq,
                under: Fence::FIRST,
                verdict: Verdict::Done,
            };
            unrecorded.push(finish, Title::SOLE);
        }
        assert_eq!(unrecorded.len(), 3);
        assert_eq!(unrecorded.shards(), shards.into_iter().collect());
    }

    /// How long it takes to record nothing.
    async fn recording_takes(stop: &CancellationToken) -> Duration {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}", folder.path().join("kf.db").display());
        let store = store::open(&store::Settings::new(url)).await.unwrap();
        let began = Instant::now();
        let recorded = record(store, Arc::new(SystemClock), Unrecorded::default(), stop.clone()).await;
        assert!(recorded.is_ok());
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_outcomes_wait_for_company() {
        let took = recording_takes(&CancellationToken::new()).await;
        assert!(took >= WRITE_EVERY, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_outcomes_wait_for_nothing() {
        let stop = CancellationToken::new();
        stop.cancel();
        let took = recording_takes(&stop).await;
        assert!(took < WRITE_EVERY, "{took:?}");
    }
}
