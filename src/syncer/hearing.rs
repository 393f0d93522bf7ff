//! Hears of wake-ups that other processes recorded in the store they share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::pull::Source;
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::id::AppName;
use crate::store::Store;

/// How often the store is asked though it said nothing: what it says may get lost.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Signals that follow each other within this long are one.
const PAUSE: Duration = Duration::from_millis(10);
/// Waits after failures.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));

/// Wakes the accounts that another process had a callback for, until `stop`.
pub(super) async fn hear(
    store: Arc<dyn Store>,
    sources: BTreeMap<AppName, Arc<Source>>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let Some(shared) = store.shared() else { return };
    let listening = async {
        let mut told = shared.wake_ups_elsewhere();
        let mut failures = 0;
        loop {
            tokio::select! {
                biased;
                Ok(()) = told.changed() => sleep(PAUSE).await,
                () = sleep(ASK_EVERY) => {}
            }
            let woken = match shared.woken().await {
                Ok(woken) => woken,
                Err(error) => {
                    failures += 1;
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "cannot ask for wake-ups of other replicas, will try again"
                    );
                    let wait = BACKOFF.wait(failures, &mut clock.rng());
                    sleep(wait).await;
                    continue;
                }
            };
            failures = 0;
            for state in woken {
                if let (Some(source), Some(wake_up)) = (sources.get(&state.account.app), state.wake_up) {
                    source.wake_ups.hear(&state.account.open_kfid, wake_up);
                }
            }
        }
    };
    stop.run_until_cancelled(listening).await;
}
