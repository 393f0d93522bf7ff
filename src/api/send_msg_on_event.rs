//! `kf/send_msg_on_event`: says the one thing that an event's code allows.
//!
//! | Event | Code | Lives | May be |
//! |---|---|---|---|
//! | the customer came in | `enter_session.welcome_code` | 20 s | words, menu |
//! | the session waits for a colleague | returned by the transfer | 48 h | words |
//! | a colleague takes the session | `session_status_change.msg_code`, or returned by the transfer | 48 h | words |
//! | the session ended | `session_status_change.msg_code`, or returned by the transfer | 20 s | words, menu |
//!
//! Each code serves once. All but the welcome's die when the session changes its state again.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/95122>

use std::fmt;

use serde::Serialize;

use super::field::required;
use super::send_msg::read_msgid;
use super::{ApiError, Call, Client, EventMessage, OutgoingMsgid};
use crate::id::Msgid;

/// A message in answer to an event. Whom it reaches is in the code.
#[derive(Clone, Copy, Serialize)]
pub struct SendMsgOnEvent<'a> {
    /// Code that came with the event, or with the answer to a transfer. Whoever has it may speak once.
    pub code: &'a str,
    /// Its id, as for [`SendMsg`](super::SendMsg).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msgid: Option<&'a OutgoingMsgid>,
    /// What to say.
    #[serde(flatten)]
    pub content: &'a EventMessage,
}

impl fmt::Debug for SendMsgOnEvent<'_> {
    /// Leaves the code out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendMsgOnEvent")
            .field("msgid", &self.msgid)
            .field("content", self.content)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Sends the message that an event's code allows. Returns its id: the one it was given, or WeCom's own.
    ///
    /// # Errors
    ///
    /// [`ApiError::Invalid`] when it is beyond WeCom's limits, without a call. [`ApiError::Rejected`] when WeCom says
    /// no; which code it gives for a stale or used one is not documented (41050 is what the customer contact API says),
    /// so that any refusal has to be taken as final. See [`ApiError`] for the rest.
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/95122>
    pub async fn send_msg_on_event(&self, message: &SendMsgOnEvent<'_>) -> Result<Msgid, ApiError> {
        let call = Call::SendMsgOnEvent;
        call.checked(required("code", message.code))?;
        call.checked(message.content.check())?;
        self.post(call, message, &[message.code], read_msgid).await
    }
}
