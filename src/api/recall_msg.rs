//! `kf/recall_msg`: takes a message back.
//!
//! **Uncertain**: only the documents of independent customer service have it. There it works for two minutes, for
//! messages sent by API, and a message taken back still counts against the five. Where WeCom does not know the call, its
//! answer is an error like any other.

use serde_json::json;

use super::answer::done;
use super::field::required;
use super::{ApiError, Call, Client};
use crate::id::{Msgid, OpenKfid};

impl Client {
    /// Takes back a message that [`send_msg`](Self::send_msg) or [`send_msg_on_event`](Self::send_msg_on_event) sent
    /// less than two minutes ago.
    ///
    /// # Errors
    ///
    /// [`ApiError::Rejected`] with 95028 when the message is unknown, with 95029 when it is too late. See [`ApiError`]
    /// for the rest.
    ///
    /// Source: the documents of independent customer service; no page of <https://developer.work.weixin.qq.com>.
    pub async fn recall_msg(&self, open_kfid: &OpenKfid, msgid: &Msgid) -> Result<(), ApiError> {
        let call = Call::RecallMsg;
        call.checked(required("open_kfid", open_kfid.as_str()))?;
        call.checked(required("msgid", msgid.as_str()))?;
        let body = json!({ "open_kfid": open_kfid, "msgid": msgid });
        self.post(call, &body, &[], done).await
    }
}
