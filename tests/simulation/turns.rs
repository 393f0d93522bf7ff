//! What happens at the same moment happens in an order that the seed decides, not the scheduler.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

/// One for the database and one for each WeCom.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<BTreeSet<(Instant, u64)>>);

impl Turns {
    /// Waits for the turn of `key` among everybody who waits now, a millisecond at least. What the caller does then
    /// without waiting again is done before anybody else's turn.
    pub(crate) async fn of(&self, key: u64) {
        let place = (Instant::now() + Duration::from_millis(1), key);
        self.0.lock().unwrap().insert(place);
        sleep_until(place.0).await;
        while self.0.lock().unwrap().first() != Some(&place) {
            yield_now().await;
        }
        self.0.lock().unwrap().remove(&place);
    }
}
