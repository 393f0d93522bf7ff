//! Writes down how attempts ended.

use std::sync::Arc;

use super::STORE_BACKOFF;
use crate::clock::Clock;
use crate::lease::Title;
use crate::store::{Finish, Seq, ShardSet, Store, StoreError, Verdict};

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

/// Writes outcomes down, however long the store takes.
pub(super) async fn record(
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    unrecorded: Unrecorded,
) -> Result<Recorded, StoreClosed> {
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
                let wait = STORE_BACKOFF.wait(failures, &mut clock.rng());
                tokio::time::sleep(wait).await;
            }
        }
    };
    drop(titles);
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
    use super::*;
    use crate::store::{Fence, HandlerId, Shard};

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
}
