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
        let place = Place {
            turns: self,
            at: (Instant::now() + Duration::from_millis(1), key),
        };
        self.0.lock().unwrap().insert(place.at);
        sleep_until(place.at.0).await;
        while self.0.lock().unwrap().first() != Some(&place.at) {
            yield_now().await;
        }
    }
}

/// A place in line. Who is killed there leaves it.
struct Place<'a> {
    turns: &'a Turns,
    at: (Instant, u64),
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.turns.0.lock().unwrap().remove(&self.at);
    }
}
