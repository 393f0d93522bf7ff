//! What was said to customers, remembered for a while.

use super::Lane;
use crate::clock::UnixMillis;
use crate::id::{HandlerName, Msgid};

/// A message of ours that WeCom accepted: a handler's reply, or a part of one that was too long for one message.
///
/// Its text is not kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SentReply {
    /// Customer it was said to.
    pub lane: Lane,
    /// Message or event that it answers.
    pub in_reply_to: Msgid,
    /// Id it was sent under, unique within the account.
    pub msgid: Msgid,
    /// Handler that said it.
    pub handler: HandlerName,
    /// Which of the handler's replies to that message it is, from 0.
    pub index: u32,
    /// Which part of that reply, from 0.
    pub part: u32,
    /// When WeCom accepted it, by our clock.
    pub at: UnixMillis,
}
