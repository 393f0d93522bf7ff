//! How much may still be said.

use std::time::Duration;

use super::error::BUDGET;
use super::{Context, ReplyError};
use crate::clock::UnixMillis;
use crate::message::Origin;

/// How long a customer may be answered after they wrote.
const WINDOW: Duration = Duration::from_hours(48);

/// How much may still be said to a customer, as far as this server knows. A further message of theirs renews both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Budget {
    /// Messages left of the five in answer to this one.
    pub left: usize,
    /// When the 48 hours are over in which this message may be answered; `None` for an event, which does not begin them.
    pub until: Option<UnixMillis>,
}

impl Context {
    pub(super) async fn count_budget(&self) -> Result<Budget, ReplyError> {
        let message = self.message();
        let said = self.said(self.lane(&message)).await?.len();
        let written = (message.origin == Origin::Customer).then(|| UnixMillis::from_secs(message.send_time));
        Ok(Budget {
            left: BUDGET.saturating_sub(said),
            until: written.map(|at| at.plus(WINDOW)),
        })
    }
}
