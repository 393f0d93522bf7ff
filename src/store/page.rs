//! Pages of messages: how they go into the store, and what it makes of them.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::{HandlerId, Lane, bodiless_debug};
use crate::clock::UnixMillis;
use crate::id::{AccountKey, Msgid};
use crate::message::Message;

/// The sole right to pull an account, and where to go on.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Account that may be pulled.
    pub account: AccountKey,
    /// Where the next page starts; `None` before the first page.
    pub cursor: Option<Box<str>>,
    /// Whether the account's first pull has yet to reach the end of its history.
    pub first_pull: Option<FirstPull>,
    /// Row of the account in the store that made this claim. For that store alone.
    pub account_id: i64,
    /// Number of this claim; a commit under an older one is refused. For that store alone.
    pub fence: i64,
}

/// An account's first pull, under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FirstPull {
    /// When it began; kept over restarts.
    pub began: UnixMillis,
}

/// One page of messages, ready to be committed.
#[derive(Clone, Debug)]
pub struct Page {
    /// Right and cursor under which it was pulled.
    pub claim: Claim,
    /// Cursor after it. `None` leaves the cursor where it is.
    pub next_cursor: Option<Box<str>>,
    /// Its messages, in WeCom's order.
    pub messages: Vec<NewMessage>,
    /// When it arrived.
    pub received: UnixMillis,
    /// Whether more pages follow.
    pub ends: PageEnds,
}

/// Whether a page is the last of its pull.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a pull goes on or ends; there is no third")]
pub enum PageEnds {
    /// `has_more` was 1.
    More,
    /// The pull has reached the end: it answers all wake-ups up to this number (0 if there was none).
    Pull {
        /// Number of the newest wake-up known before the pull began.
        answers: u64,
    },
}

/// A message as it goes into the store.
#[derive(Clone)]
pub struct NewMessage {
    /// WeCom's id of it.
    pub msgid: Msgid,
    /// When it was sent, Unix seconds; 0 if unknown. Part of its identity in the store's index.
    pub send_time: u64,
    /// Customer whose order it keeps.
    pub lane: Lane,
    /// Type as named in filters, `text` or `event.enter_session`.
    pub kind: Box<str>,
    /// Whether it may overtake other customers' messages.
    pub urgent: bool,
    /// WeCom's JSON, as it came.
    pub body: Arc<RawValue>,
    /// What that says, if it has been decoded already: spares those a second time who are handed it at once.
    pub decoded: Option<Arc<Message>>,
    /// Registered handlers it is owed to; empty for history.
    pub owed_to: Vec<HandlerId>,
}

/// What became of a page.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Commit {
    /// It is durable.
    Stored(Stored),
    /// Somebody else claimed the account or moved its cursor: the page was dropped whole.
    Superseded,
}

/// A page that is durable.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Claim to pull the next page with.
    pub claim: Claim,
    /// For each message of the page, in order: what the store made of it.
    pub messages: Vec<Intake>,
}

/// What the store made of one message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Intake {
    /// Not seen before: stored, and owed to its handlers.
    New,
    /// Stored earlier with the same body.
    Repeated,
    /// Stored earlier with another body: the first was kept, this one put into quarantine.
    Conflicting,
}

bodiless_debug!(NewMessage: msgid, kind, urgent, owed_to);
