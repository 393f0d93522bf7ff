//! Replies that WeCom accepted, and then did not deliver.

use super::{Context, ReplyError};
use crate::clock::UnixMillis;
use crate::id::Msgid;
use crate::message::{Content, Event, FailType};

/// A reply of this handler that did not reach the customer, though WeCom had accepted it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FailedReply {
    /// Message or event that it answered.
    pub in_reply_to: Msgid,
    /// Which of the handler's replies to that it was, from 0, counted as [`Context::reply`] says.
    pub index: u32,
    /// Which part of it, from 0: more than one only where a text was too long for one message.
    pub part: u32,
    /// When WeCom accepted it, by our clock.
    pub accepted: UnixMillis,
    /// Why it was not delivered.
    pub reason: FailType,
}

impl Context {
    pub(super) async fn find_failed_reply(&self) -> Result<Option<FailedReply>, ReplyError> {
        let message = self.message();
        let (Content::Event(Event::MsgSendFail(failure)), Some(store)) =
            (&message.content, self.desk().and_then(super::Desk::store))
        else {
            return Ok(None);
        };
        let reply = store.reply(self.lane(&message), &failure.fail_msgid).await?;
        let own = reply.filter(|reply| reply.handler == *self.handler());
        Ok(own.map(|reply| FailedReply {
            in_reply_to: reply.in_reply_to,
            index: reply.index,
            part: reply.part,
            accepted: reply.at,
            reason: failure.fail_type,
        }))
    }
}
