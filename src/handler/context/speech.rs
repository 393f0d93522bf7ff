//! Saying something, once.

use std::time::Duration;

use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, sleep};

use super::code::{Code, is_spent};
use super::error::BUDGET;
use super::parts::parts;
use super::{Context, Desk, ReplyError, Sent, id};
use crate::api::{
    ApiError, Client, Download, DownloadMedia, ErrCode, ErrorClass, EventMessage, Outgoing, OutgoingMsgid, SendMsg,
    SendMsgOnEvent,
};
use crate::backoff::Backoff;
use crate::id::{MediaId, Msgid};
use crate::message::Message;
use crate::metric;
use crate::store::{Lane, SentReply};

/// How often a call is made while the attempt lasts. To handle the whole message again may cost far more: its handler may
/// have asked a language model.
const TRIES: u32 = 3;

/// Waits between those.
const PAUSE: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(1));

/// What became of a message that was to be said, as metrics tell it.
#[derive(Clone, Copy)]
enum Told {
    Sent,
    /// It had been sent before.
    Repeated,
    Refused,
    Unavailable,
}

impl Told {
    fn failed(error: &ApiError) -> Self {
        match error.class() {
            ErrorClass::Permanent => Self::Refused,
            _ => Self::Unavailable,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Repeated => "repeated",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
        }
    }
}

/// A call that came to nothing.
pub(super) struct Failed {
    pub(super) error: ApiError,
    /// An earlier try got no answer, and may have been carried out.
    pub(super) perhaps_done: bool,
}

impl From<Failed> for ReplyError {
    fn from(failed: Failed) -> Self {
        failed.error.into()
    }
}

impl Context {
    pub(super) async fn reply_as(&self, index: u32, content: Outgoing) -> Result<Sent, ReplyError> {
        let client = self.client()?;
        let message = self.message();
        let touser = message.external_userid.as_ref().ok_or(ReplyError::NoCustomer)?;
        let lane = self.lane(&message);
        let mut unsaid = Vec::new();
        let mut msgids = Vec::new();
        for (part, content) in (0..).zip(parts(content)) {
            content.check().map_err(ReplyError::Invalid)?;
            let msgid = self.reply_id(index, part);
            unsaid.push((part, msgid.clone(), content));
            msgids.push(msgid);
        }
        let _turn = self.turn().await;
        let said = self.said(lane).await?;
        unsaid.retain(|(_, msgid, _)| !knows(&said, msgid));
        self.count(Told::Repeated, msgids.len() - unsaid.len());
        let left = BUDGET.saturating_sub(said.len());
        if unsaid.len() > left {
            let needed = unsaid.len();
            return Err(ReplyError::OverBudget { needed, left });
        }
        let mut needed = unsaid.len();
        for (part, msgid, content) in unsaid {
            let send = SendMsg {
                touser,
                open_kfid: &self.account().open_kfid,
                msgid: Some(&msgid),
                content: &content,
            };
            match self.patiently(|| client.send_msg(&send)).await {
                Ok(_) => self.count(Told::Sent, 1),
                Err(Failed { error, .. }) if is_repeat(&error) => self.count(Told::Repeated, 1),
                Err(Failed { error, .. }) => {
                    self.count(Told::failed(&error), 1);
                    return Err(self.why_not(client, touser, error, needed).await);
                }
            }
            self.remember(lane, index, part, &msgid).await?;
            needed -= 1;
        }
        Ok(Sent { index, msgids })
    }

    pub(super) async fn welcome_as(&self, index: u32, content: EventMessage) -> Result<Sent, ReplyError> {
        let client = self.client()?;
        let message = self.message();
        let code = Code::of(&message).ok_or(ReplyError::NoCode)?;
        content.check().map_err(ReplyError::Invalid)?;
        let _turn = self.turn().await;
        self.say_on_event(client, self.lane(&message), index, &code, &content)
            .await
    }

    /// Says the one thing that `code` permits. Whoever calls has the turn.
    pub(super) async fn say_on_event(
        &self,
        client: &Client,
        lane: Lane,
        index: u32,
        code: &Code,
        content: &EventMessage,
    ) -> Result<Sent, ReplyError> {
        let msgid = self.reply_id(index, 0);
        if knows(&self.said(lane).await?, &msgid) {
            self.count(Told::Repeated, 1);
        } else {
            if self.desk().is_some_and(|desk| desk.clock().now() > code.until) {
                return Err(ReplyError::CodeExpired);
            }
            let send = SendMsgOnEvent {
                code: &code.text,
                msgid: Some(&msgid),
                content,
            };
            match self.patiently(|| client.send_msg_on_event(&send)).await {
                Ok(_) => self.count(Told::Sent, 1),
                Err(Failed { error, .. }) if is_repeat(&error) => self.count(Told::Repeated, 1),
                // Nobody but that try can have used the code within its life.
                Err(Failed {
                    error,
                    perhaps_done: true,
                }) if is_spent(&error) => self.count(Told::Repeated, 1),
                Err(Failed { error, .. }) => {
                    self.count(Told::failed(&error), 1);
                    return Err(if is_spent(&error) {
                        ReplyError::CodeExpired
                    } else {
                        error.into()
                    });
                }
            }
            self.remember(lane, index, 0, &msgid).await?;
        }
        Ok(Sent {
            index,
            msgids: vec![msgid],
        })
    }

    pub(super) async fn fetch_media(&self, media_id: &MediaId) -> Result<Download, ReplyError> {
        let client = self.client()?;
        let request = DownloadMedia::whole(media_id);
        Ok(self.patiently(|| client.download_media(&request)).await?)
    }

    /// Makes a call, and again a little later if WeCom is busy or gave no answer, as long as the attempt lasts.
    pub(super) async fn patiently<T, F>(&self, mut call: impl FnMut() -> F) -> Result<T, Failed>
    where
        F: Future<Output = Result<T, ApiError>>,
    {
        let (mut tries, mut perhaps_done) = (0, false);
        loop {
            let error = match call().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            tries += 1;
            let pause = PAUSE.wait(tries, &mut rand::rng());
            let pause = error.retry_after().map_or(pause, |after| after.max(pause));
            let in_time = Instant::now() + pause < self.deadline();
            if error.class() != ErrorClass::Retry || tries == TRIES || !in_time {
                return Err(Failed { error, perhaps_done });
            }
            perhaps_done |= error.is_no_answer();
            sleep(pause).await;
        }
    }

    /// Waits until nobody else speaks for this attempt.
    pub(super) async fn turn(&self) -> SemaphorePermit<'_> {
        // Unwrap safety: nobody closes the semaphore.
        self.0.turn.acquire().await.expect("the turn is never closed")
    }

    /// What is known to have been said in answer to the message, by any handler.
    pub(super) async fn said(&self, lane: Lane) -> Result<Vec<SentReply>, ReplyError> {
        match self.desk().and_then(Desk::store) {
            Some(store) => Ok(store.replies_to(lane, &self.0.msgid).await?),
            None => Ok(Vec::new()),
        }
    }

    async fn remember(&self, lane: Lane, index: u32, part: u32, msgid: &OutgoingMsgid) -> Result<(), ReplyError> {
        let Some(desk) = self.desk() else { return Ok(()) };
        let Some(store) = desk.store() else { return Ok(()) };
        let reply = SentReply {
            lane,
            in_reply_to: self.0.msgid.clone(),
            msgid: Msgid::from(msgid.as_str()),
            handler: self.handler().clone(),
            index,
            part,
            at: desk.clock().now(),
        };
        Ok(store.record_reply(reply).await?)
    }

    fn count(&self, told: Told, messages: usize) {
        if messages > 0 {
            let handler = self.handler().to_string();
            metrics::counter!(metric::REPLIES, "handler" => handler, "result" => told.as_str())
                .increment(messages as u64);
        }
    }

    pub(super) fn reply_id(&self, index: u32, part: u32) -> OutgoingMsgid {
        id::reply_id(self.handler(), self.account(), &self.0.msgid, index, part)
    }

    pub(super) fn lane(&self, message: &Message) -> Lane {
        Lane::of(self.account(), &message.party())
    }
}

/// Whether WeCom has it already: from us, for nobody else comes to the same id.
fn is_repeat(error: &ApiError) -> bool {
    error.errcode() == Some(ErrCode::DUPLICATE_MSGID)
}

pub(super) fn knows(said: &[SentReply], msgid: &OutgoingMsgid) -> bool {
    said.iter().any(|reply| reply.msgid.as_str() == msgid.as_str())
}
