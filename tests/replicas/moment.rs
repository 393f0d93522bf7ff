//! One time for all that is compared: what the test saw, and what the database wrote down.

use std::time::Duration;

use tokio::time::Instant;
use wecom_kf::clock::{Clock as _, SystemClock, UnixMillis};

/// Time since the [`Origin`].
pub(crate) type Moment = Duration;

/// When a test began, by both clocks of the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    instant: Instant,
    wall: UnixMillis,
}

impl Origin {
    pub(crate) fn now() -> Self {
        Self {
            instant: Instant::now(),
            wall: SystemClock.now(),
        }
    }

    /// This moment.
    pub(crate) fn elapsed(&self) -> Moment {
        self.instant.elapsed()
    }

    /// A moment by the wall, in microseconds since 1970: nothing, if it was before.
    pub(crate) fn at(&self, wall_micros: i64) -> Moment {
        let since = wall_micros.saturating_sub(self.wall.0.saturating_mul(1_000));
        Duration::from_micros(u64::try_from(since).unwrap_or(0))
    }
}
