//! What a handler is told beside the message, and how it speaks.
//!
//! Whatever a handler says is sent under an id computed from the handler, the message that it answers, and the place
//! among its replies. A handler that is tried again after a crash, a time-out or a failure says the same under the same
//! ids, and none of it reaches the customer twice: what the store remembers is not sent again, and what it does not
//! remember WeCom refuses (95033), which counts as success.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::api::{Client, Download, EventMessage, Outgoing, OutgoingMsgid, ServiceSession, TransferTo};
use crate::id::{AccountKey, HandlerName, MediaId, Msgid};
use crate::message::Message;

mod budget;
mod code;
mod desk;
mod error;
mod failed;
mod id;
mod notice;
mod parts;
mod session;
mod speech;

#[cfg(test)]
mod tests;

pub use budget::Budget;
pub use desk::Desk;
pub use error::ReplyError;
pub use failed::FailedReply;

pub(super) use error::BUDGET;
pub(super) use parts::parts;

/// One attempt to hand one message to one handler. Cheap to clone; clones are the same attempt.
#[derive(Clone)]
pub struct Context(Arc<Attempted>);

/// What clones share. One allocation, because most attempts say nothing.
struct Attempted {
    handler: Arc<HandlerName>,
    account: Arc<AccountKey>,
    msgid: Msgid,
    /// Message as WeCom sent it; read again by whoever speaks.
    raw: Arc<RawValue>,
    attempt: u32,
    deadline: Instant,
    desk: Option<Arc<Desk>>,
    delivery_id: OnceLock<Box<str>>,
    /// How many times the handler has begun to say something.
    begun: AtomicU32,
    /// Held by who speaks: one at a time, in the order of asking.
    turn: Semaphore,
}

/// What WeCom has accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Sent {
    /// Which of the handler's replies to the message it is, from 0; see [`FailedReply::index`].
    pub index: u32,
    /// Ids of its parts, in order: one, unless a text was too long for one message.
    pub msgids: Vec<OutgoingMsgid>,
}

impl Context {
    /// The `attempt`-th try (1 is the first) of `handler` at `message`, which came in on `account`, to be over by
    /// `deadline`. Without a `desk` it cannot speak.
    #[must_use]
    pub fn new(
        handler: Arc<HandlerName>,
        account: Arc<AccountKey>,
        message: &Message,
        attempt: u32,
        deadline: Instant,
        desk: Option<Arc<Desk>>,
    ) -> Self {
        Self(Arc::new(Attempted {
            handler,
            account,
            msgid: message.msgid.clone(),
            raw: Arc::clone(message.raw()),
            attempt,
            deadline,
            desk,
            delivery_id: OnceLock::new(),
            begun: AtomicU32::new(0),
            turn: Semaphore::new(1),
        }))
    }

    /// Handler that is being tried.
    #[must_use]
    pub fn handler(&self) -> &HandlerName {
        &self.0.handler
    }

    /// Application and account the message came in on.
    #[must_use]
    pub fn account(&self) -> &AccountKey {
        &self.0.account
    }

    /// Id of this delivery: the same for every attempt, replay and replica, and different for every other message or
    /// handler. Whoever keeps the ids they have seen never acts twice.
    #[must_use]
    pub fn delivery_id(&self) -> &str {
        let Attempted {
            handler,
            account,
            msgid,
            delivery_id,
            ..
        } = &*self.0;
        delivery_id.get_or_init(|| id::delivery_id(handler, account, msgid).into())
    }

    /// Which attempt this is, counted from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// When the attempt is broken off and counted as failed.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.0.deadline
    }

    /// Client of the application the message came in on, for whatever else WeCom's API offers.
    ///
    /// A call made through it is repeated when the handler is tried again. What is sent through it without an id of its
    /// own is then said twice.
    ///
    /// # Errors
    ///
    /// [`ReplyError::NoClient`] outside of an [`App`](crate::app::App), for want of a [`Desk`].
    pub fn client(&self) -> Result<&Client, ReplyError> {
        let Attempted { desk, account, .. } = &*self.0;
        let client = desk.as_ref().and_then(|desk| desk.client(&account.app));
        client.ok_or_else(|| ReplyError::NoClient(account.app.clone()))
    }

    /// Says `content` to the customer who wrote the message, or whom the event concerns. Returns once WeCom has accepted
    /// it, which is not yet to say that it arrived: see [`failed_reply`](Self::failed_reply).
    ///
    /// Words of more than 2,048 bytes are sent as several messages, cut behind a line, a sentence or a word where that
    /// needs no more than five, else between two characters.
    ///
    /// The **place** of a call among the handler's calls of this method, [`notice`](Self::notice),
    /// [`welcome`](Self::welcome), [`transfer_to`](Self::transfer_to) and [`end`](Self::end) makes its id, from the
    /// moment it is made (not awaited). A handler that is tried again should come to the same calls in the same order.
    /// What it says in a place that was taken by then is not said, for the customer has been answered: neither twice nor
    /// corrected.
    ///
    /// Replies are sent one at a time in the order in which they are awaited. A call that WeCom is too busy for, or that
    /// gets no answer, is repeated a little later as long as the attempt lasts.
    ///
    /// # Errors
    ///
    /// See [`ReplyError`]. Nothing is sent of what is [`Invalid`](ReplyError::Invalid), or known beforehand to be
    /// [`OverBudget`](ReplyError::OverBudget): a message is answered with five at most, by all handlers together. If
    /// WeCom refuses a part of a long text, the parts before it have been said.
    pub fn reply(&self, content: impl Into<Outgoing>) -> impl Future<Output = Result<Sent, ReplyError>> + Send {
        let (index, content) = (self.begin(), content.into());
        self.reply_as(index, content)
    }

    /// Says `content` as [`reply`](Self::reply) does, in one message, unless this handler said something on the same
    /// `topic` to this customer in the time of `every` before they wrote. Then nothing is said, and it returns `None`.
    ///
    /// For what annoys when it is repeated: that nobody is there at this hour, that the bot did not understand. The id is
    /// made of the topic and the customer, so that this holds over restarts too.
    ///
    /// # Errors
    ///
    /// As [`reply`](Self::reply).
    pub fn notice(
        &self,
        topic: &'static str,
        every: Duration,
        content: impl Into<Outgoing>,
    ) -> impl Future<Output = Result<Option<Sent>, ReplyError>> + Send {
        let (index, content) = (self.begin(), content.into());
        self.notice_as(index, topic, every, content)
    }

    /// Says the one thing that an event permits, whatever the session's state: a welcome in answer to `enter_session`, or
    /// a word to the customer whose session a colleague has taken or ended.
    ///
    /// The codes of a welcome and of a farewell live 20 seconds from the event. A repeat that comes later succeeds all
    /// the same if the first is known to have been accepted.
    ///
    /// # Errors
    ///
    /// [`ReplyError::NoCode`] when the message permits no such thing, and [`ReplyError::CodeExpired`] when it is too
    /// late, in most cases without a call. See [`ReplyError`] for the rest.
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/95122>
    pub fn welcome(&self, content: impl Into<EventMessage>) -> impl Future<Output = Result<Sent, ReplyError>> + Send {
        let (index, content) = (self.begin(), content.into());
        self.welcome_as(index, content)
    }

    /// Fetches a file that the customer sent: an image, a voice recording, a video or any other. Returns when it begins to
    /// arrive, with its type and name; its bytes are read from the [`Download`]. WeCom keeps files for three days.
    ///
    /// # Errors
    ///
    /// [`ReplyError::Refused`] when there is no such file any more. See [`ReplyError`] for the rest.
    pub async fn media(&self, media_id: &MediaId) -> Result<Download, ReplyError> {
        self.fetch_media(media_id).await
    }

    /// Who answers this customer: we, a colleague, or nobody yet.
    ///
    /// # Errors
    ///
    /// See [`ReplyError`].
    pub async fn session(&self) -> Result<ServiceSession, ReplyError> {
        self.ask_session().await
    }

    /// Hands the session over, with a word to the customer if WeCom permits one: it does when a session goes to the pool
    /// or to a colleague for the first time. Returns what was said.
    ///
    /// A session that is already there, because of an earlier attempt perhaps, is left alone. Whether the word was said
    /// then is known only if the store remembers it.
    ///
    /// # Errors
    ///
    /// See [`ReplyError`]. If the word is refused, the session has been handed over all the same.
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/94669>
    pub fn transfer_to<'a>(
        &'a self,
        to: TransferTo<'a>,
        notice: Option<EventMessage>,
    ) -> impl Future<Output = Result<Option<Sent>, ReplyError>> + Send + 'a {
        let index = self.begin();
        self.transfer_as(index, to, notice)
    }

    /// Ends the session, with a word of farewell. As [`transfer_to`](Self::transfer_to) otherwise.
    ///
    /// # Errors
    ///
    /// See [`ReplyError`].
    pub fn end(&self, farewell: Option<EventMessage>) -> impl Future<Output = Result<Option<Sent>, ReplyError>> + Send {
        let index = self.begin();
        self.transfer_as(index, TransferTo::Ended, farewell)
    }

    /// How much may still be said in answer to this message, as far as this server knows. WeCom has the last word: it
    /// counts from whatever the customer wrote last, and what others say for the account as well.
    ///
    /// # Errors
    ///
    /// [`ReplyError::Store`].
    pub async fn budget(&self) -> Result<Budget, ReplyError> {
        self.count_budget().await
    }

    /// Which of this handler's replies the `msg_send_fail` event in hand tells of. `None` for any other message, for a
    /// reply of another handler, and for one that was accepted more than four days ago or has not been remembered.
    ///
    /// # Errors
    ///
    /// [`ReplyError::Store`].
    pub async fn failed_reply(&self) -> Result<Option<FailedReply>, ReplyError> {
        self.find_failed_reply().await
    }

    /// Takes the next place.
    fn begin(&self) -> u32 {
        self.0.begun.fetch_add(1, Ordering::Relaxed)
    }

    /// The message in hand.
    fn message(&self) -> Message {
        Message::decode(Arc::clone(&self.0.raw), &self.0.account.open_kfid)
    }

    fn desk(&self) -> Option<&Desk> {
        self.0.desk.as_deref()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("handler", &self.0.handler)
            .field("account", &self.0.account)
            .field("msgid", &self.0.msgid)
            .field("attempt", &self.0.attempt)
            .field("deadline", &self.0.deadline)
            .finish_non_exhaustive()
    }
}
