//! Lets one log line through at a time, so that a stranger cannot fill a disk.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Admits one event per interval and counts those it holds back.
#[derive(Debug)]
pub(super) struct Throttle {
    interval: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// No event is admitted before; `None` at first.
    next: Option<Instant>,
    suppressed: u64,
}

impl Throttle {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            state: Mutex::default(),
        }
    }

    /// Asks whether an event may be logged. If so, says how many were held back since the last.
    pub(super) fn admit(&self) -> Option<u64> {
        let now = Instant::now();
        // Poisoning changes nothing: the state is whole after every statement.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.next.is_some_and(|next| now < next) {
            state.suppressed += 1;
            return None;
        }
        state.next = Some(now + self.interval);
        Some(std::mem::take(&mut state.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn admits_one_event_per_interval_and_counts_the_others() {
        let throttle = Throttle::new(Duration::from_secs(5));
        assert_eq!(throttle.admit(), Some(0));
        assert_eq!([throttle.admit(), throttle.admit()], [None, None]);
        tokio::time::advance(Duration::from_millis(4999)).await;
        assert_eq!(throttle.admit(), None);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!([throttle.admit(), throttle.admit()], [Some(3), None]);
    }
}
