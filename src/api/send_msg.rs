//! `kf/send_msg`: says something to a customer.
//!
//! WeCom takes at most five messages after each of the customer's, within 48 h of it (95001, 95002), while the session
//! is new or with the assistant (95018). Success means accepted, not delivered: a `msg_send_fail` event tells of those
//! that were not.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/94677>

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::field::required;
use super::{ApiError, Call, Client, FieldError, Outgoing, Problem};
use crate::id::{ExternalUserid, Msgid, OpenKfid};

/// An id that we give a message, 1–32 characters of `0-9`, `a-z`, `A-Z`, `_` and `-`.
///
/// WeCom takes one id of an account once (95033), so the same id makes a call that got no answer safe to repeat. An
/// inbound message's id will not do: it may be longer, and is taken already.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize)]
#[serde(transparent)]
pub struct OutgoingMsgid(Box<str>);

impl OutgoingMsgid {
    /// Parses an id.
    ///
    /// # Errors
    ///
    /// [`FieldError::Malformed`] when it is empty, longer than 32 characters or has another character in it.
    pub fn new(id: &str) -> Result<Self, FieldError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if (1..=32).contains(&id.len()) && id.bytes().all(allowed) {
            return Ok(Self(id.into()));
        }
        let problem = "must be 1 to 32 characters of 0-9, a-z, A-Z, '_' and '-'";
        Err(FieldError::malformed("msgid", problem))
    }

    /// The id as it stands on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OutgoingMsgid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for OutgoingMsgid {
    type Err = FieldError;

    fn from_str(id: &str) -> Result<Self, FieldError> {
        Self::new(id)
    }
}

/// A message to a customer.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SendMsg<'a> {
    /// Whom to tell.
    pub touser: &'a ExternalUserid,
    /// Account that speaks.
    pub open_kfid: &'a OpenKfid,
    /// Its id. Without one a call that got no answer cannot be repeated without speaking twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msgid: Option<&'a OutgoingMsgid>,
    /// What to say.
    #[serde(flatten)]
    pub content: &'a Outgoing,
}

impl Client {
    /// Sends a message to a customer. Returns its id: the one it was given, or WeCom's own.
    ///
    /// # Errors
    ///
    /// [`ApiError::Invalid`] when it is beyond WeCom's limits, without a call. [`ApiError::Rejected`] when WeCom says
    /// no: among others 95001 and 95002 (too many or too late), 95018 (somebody else answers), and 95033, which on a
    /// repeat means that it was sent already. See [`ApiError`] for the rest.
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/94677>
    pub async fn send_msg(&self, message: &SendMsg<'_>) -> Result<Msgid, ApiError> {
        let call = Call::SendMsg;
        let touser = message.touser.as_str();
        call.checked(required("touser", touser))?;
        call.checked(required("open_kfid", message.open_kfid.as_str()))?;
        call.checked(message.content.check())?;
        self.post(call, message, &[touser], read_msgid).await
    }
}

#[derive(Deserialize)]
struct Body {
    msgid: Msgid,
}

pub(super) fn read_msgid(answer: &Answer) -> Result<Msgid, Problem> {
    let Body { msgid } = answer.read()?;
    Ok(msgid)
}
