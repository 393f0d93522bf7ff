//! Everything that an auto reply may say, and when.

use std::time::Duration;

use super::{OpeningHours, Rule};
use crate::api::EventMessage;
use crate::id::ServicerUserid;

/// Everything that an [`AutoReply`](super::AutoReply) may say. By default, nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// Said to whoever opens the chat, if WeCom permits a welcome: to those who never wrote and were not welcomed within
    /// 48 hours.
    pub welcome: Option<EventMessage>,
    /// What is answered to what; the first that fits decides.
    pub rules: Vec<Rule>,
    /// When there are people to hand customers to; `None` if always.
    pub hours: Option<Hours>,
    /// Said when no rule answers.
    pub fallback: Option<Notice>,
    /// Whom customers are handed to.
    pub hand_over: HandOver,
}

/// When there is somebody, and what is said when there is not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hours {
    /// When there is somebody.
    pub open: OpeningHours,
    /// Said instead of the fallback, and each time instead of handing over.
    pub closed: Notice,
}

/// Something that would annoy if it were said each time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// What is said.
    pub content: EventMessage,
    /// Least time between two of it to the same customer. Under a second counts as one.
    pub every: Duration,
}

/// Whom customers are handed to, and what they hear then.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HandOver {
    /// The colleague; `None` for whoever takes the session from the pool, where it also goes if the colleague receives no
    /// sessions.
    pub servicer_userid: Option<ServicerUserid>,
    /// What the customer hears. WeCom takes words only, no menu.
    pub reply: Option<EventMessage>,
}
