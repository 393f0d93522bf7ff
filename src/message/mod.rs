//! Messages and events of customer service, typed.
//!
//! [`Message::decode`] takes one item of a `sync_msg` page and never fails: what it does not know becomes
//! [`Content::Unknown`], what it knows but cannot read becomes [`Content::Malformed`], and the JSON stays at hand in
//! [`Message::raw`] either way.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/94670>

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::id::{ExternalUserid, Msgid, OpenKfid, ServicerUserid};

/// One item of a `sync_msg` page.
#[derive(Clone)]
#[non_exhaustive]
pub struct Message {
    /// WeCom's id, unique within the account. `sha256:` and the digest of the JSON if WeCom gave none.
    pub msgid: Msgid,
    /// Account it came in on. For events lifted from the event; if the item names none, the account that was pulled.
    pub open_kfid: OpenKfid,
    /// Customer it is about; lifted from the event for events. Absent for events that concern no customer.
    pub external_userid: Option<ExternalUserid>,
    /// Colleague who wrote it (origin 5), or whom the event is about.
    pub servicer_userid: Option<ServicerUserid>,
    /// When it was sent, Unix seconds. 0 if WeCom did not say.
    pub send_time: u64,
    /// Who sent it.
    pub origin: Origin,
    /// What it says.
    pub content: Content,
    raw: Arc<RawValue>,
}

/// Who sent a message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Origin {
    /// The customer (3).
    Customer,
    /// The system: an event (4).
    Event,
    /// A colleague, in the WeCom client (5).
    Servicer,
    /// A number we do not know, or none at all (0).
    Other(u32),
}

/// What a message says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Content {
    /// A type this version does not know, or an event of such a type.
    Unknown,
    /// A known type that does not have the documented shape, or no message at all.
    Malformed(Malformed),
}

/// Why an item could not be read as what it claims to be.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Malformed {
    /// What is wrong, with the path of the field. Holds nothing of the message itself.
    pub problem: Box<str>,
}

impl Message {
    /// Reads one item of the page that was pulled for `account`.
    #[must_use]
    pub fn decode(raw: Arc<RawValue>, account: &OpenKfid) -> Self {
        let _ = (raw, account);
        todo!()
    }

    /// WeCom's JSON, as it came.
    #[must_use]
    pub fn raw(&self) -> &Arc<RawValue> {
        &self.raw
    }

    /// Type as filters and forwarded bodies name it: the `msgtype`, or `event.` and the `event_type`. `None` for what
    /// is no object or names no type: such an item is kept and counted, but not handed to handlers.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        todo!()
    }
}
