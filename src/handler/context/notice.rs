//! What is said once in a while, however often there is occasion.

use std::time::Duration;

use super::error::BUDGET;
use super::speech::Told;
use super::{Context, Desk, ReplyError, Sent, id};
use crate::api::{Outgoing, OutgoingMsgid, SendMsg};
use crate::clock::UnixMillis;
use crate::store::{Lane, SentReply};

impl Context {
    pub(super) async fn notice_as(
        &self,
        index: u32,
        topic: &str,
        every: Duration,
        content: Outgoing,
    ) -> Result<Option<Sent>, ReplyError> {
        let client = self.client()?;
        let message = self.message();
        let touser = message.external_userid.as_ref().ok_or(ReplyError::NoCustomer)?;
        content.check().map_err(ReplyError::Invalid)?;
        let lane = self.lane(&message);
        // Time is cut into windows, and a notice has one id in each. It counts from when the customer wrote, which a
        // later attempt knows too.
        let length = every.as_secs().max(1);
        let window = message.send_time / length;
        let id_in = |window| id::notice_id(self.handler(), self.account(), touser, topic, (length, window));
        let msgid = id_in(window);
        let _turn = self.turn().await;
        let said = self.said(lane).await?;
        let own = |reply: &SentReply| reply.handler == *self.handler() && reply.index == index;
        if said.iter().any(own) {
            self.count(Told::Repeated, 1);
        } else {
            let written = UnixMillis::from_secs(message.send_time);
            let before = self.reply_under(lane, &id_in(window.saturating_sub(1))).await?;
            let is_recent = before.is_some_and(|reply| written < reply.at.plus(every));
            if is_recent || self.reply_under(lane, &msgid).await?.is_some() {
                return Ok(None);
            }
            if said.len() >= BUDGET {
                return Err(ReplyError::OverBudget { needed: 1, left: 0 });
            }
            let send = SendMsg {
                touser,
                open_kfid: &self.account().open_kfid,
                msgid: Some(&msgid),
                content: &content,
            };
            self.send(client, &send, 1).await?;
            self.remember(lane, index, 0, &msgid).await?;
        }
        Ok(Some(Sent {
            index,
            msgids: vec![msgid],
        }))
    }

    async fn reply_under(&self, lane: Lane, msgid: &OutgoingMsgid) -> Result<Option<SentReply>, ReplyError> {
        match self.desk().and_then(Desk::store) {
            Some(store) => Ok(store.reply(lane, msgid.as_str()).await?),
            None => Ok(None),
        }
    }
}
