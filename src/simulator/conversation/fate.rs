//! What becomes of a message after it was accepted: it fails, or is taken back.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/94670> (`msg_send_fail`). Taking back is documented for
//! the independent customer service only: `POST /cgi-bin/kf/recall_msg`, within two minutes.

use std::time::Duration;

use serde_json::json;

use crate::clock::UnixMillis;
use crate::id::{Msgid, OpenKfid};
use crate::simulator::calls::Answer;
use crate::simulator::calls::fields::{Fields, required, text};
use crate::simulator::draft::Draft;
use crate::simulator::refusal::Refusal;
use crate::simulator::wecom::Wecom;

/// How long a message can be taken back.
const RECALLABLE: Duration = Duration::from_secs(2 * 60);

/// No message of this id was ever accepted on this account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no message {msgid} was sent on account {open_kfid}")]
pub struct UnknownReply {
    /// Account that was named.
    pub open_kfid: OpenKfid,
    /// Message that was named.
    pub msgid: Msgid,
}

impl Wecom {
    /// Lets a message that was accepted not arrive, and the account hear of it. Whoever calls it rings.
    pub(in crate::simulator) fn fail_reply(
        &mut self,
        open_kfid: &OpenKfid,
        msgid: &Msgid,
        fail_type: u32,
        now: UnixMillis,
    ) -> Result<Msgid, UnknownReply> {
        let unknown = || UnknownReply {
            open_kfid: open_kfid.clone(),
            msgid: msgid.clone(),
        };
        let seen = self.replies.get_mut(open_kfid, msgid.as_str()).ok_or_else(unknown)?;
        seen.fail_type = Some(fail_type);
        let customer = seen.external_userid.clone();
        let event = json!({ "fail_msgid": msgid, "fail_type": fail_type });
        let event = Draft::event("msg_send_fail", Some(&customer), event);
        self.say(open_kfid, event, now).map_err(|_| unknown())
    }

    /// `POST /cgi-bin/kf/recall_msg`.
    pub(in crate::simulator) fn recall_msg(&mut self, request: &Fields, now: UnixMillis) -> Answer {
        let open_kfid = self.granted_account(text(request, "open_kfid")?)?;
        let msgid = required(request, "msgid", 64)?;
        let seen = self.replies.get_mut(&open_kfid, msgid);
        let seen = seen.filter(|seen| seen.arrived()).ok_or(Refusal::UNKNOWN_MSGID)?;
        if now.since(UnixMillis::from_secs(seen.send_time)) > RECALLABLE {
            return Err(Refusal::TOO_LATE_TO_RECALL);
        }
        seen.recalled = Some(now.as_secs());
        Ok(json!({}))
    }
}
