//! Writes wake-ups down for the next start, off the path of the callbacks' answers.
//!
//! For a process that has its store to itself they are only a hint whom to pull first, and with what token. Where
//! several share it, whoever pulls the account learns of them there. Either way a store that fails costs no more than
//! the time until the next poll, and a warning.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::pull::Source;
use crate::store::StoreError;

/// Wake-ups of this long are written down together: a storm of callbacks must not flush the disk for each of them.
const PAUSE: Duration = Duration::from_millis(5);

/// Writes wake-ups down until `stop`, and then the last ones.
pub(super) async fn save(source: Arc<Source>, stop: CancellationToken) {
    let mut failures = 0;
    loop {
        let some_have_come = source.wake_ups.changed();
        // Looked at before the save, so that whatever came before the stop is in it.
        let last = stop.is_cancelled();
        match write_down(&source).await {
            Ok(()) => {
                failures = 0;
                let next = async {
                    some_have_come.await;
                    sleep(PAUSE).await;
                };
                stop.run_until_cancelled(next).await;
            }
            Err(error) => {
                failures += 1;
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot save wake-ups, will try again"
                );
                let wait = source.settings.backoff.wait(failures, &mut source.clock.rng());
                stop.run_until_cancelled(sleep(wait)).await;
            }
        }
        if last {
            return;
        }
    }
}

async fn write_down(source: &Source) -> Result<(), StoreError> {
    let unsaved = source.wake_ups.take_unsaved();
    if unsaved.is_empty() {
        return Ok(());
    }
    let accounts: Vec<_> = unsaved.iter().map(|wake_up| wake_up.account.clone()).collect();
    match source.store.record_wake_ups(unsaved.clone()).await {
        Ok(numbers) => {
            source.wake_ups.saved(&accounts, &numbers);
            // The first of an account may have made it known: somebody has to take it.
            if numbers.contains(&1) {
                source.leases.seek();
            }
        }
        Err(error) => {
            source.wake_ups.not_saved(unsaved);
            return Err(error);
        }
    }
    Ok(())
}
