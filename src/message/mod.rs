//! Messages and events of customer service, typed.
//!
//! WeCom adds types without notice, and one odd item must never cost the page it came on. So
//! [`Message::decode`] takes one item of a `sync_msg` page and never fails: what it does not know becomes
//! [`Content::Unknown`], what it knows but cannot read becomes [`Content::Malformed`], and the JSON stays at hand in
//! [`Message::raw`] either way.
//!
//! How strictly an item is read:
//!
//! * Around the content everything is optional, and what cannot be read counts as absent. Ids may be strings or
//!   integers. Of a field that is named twice the last one counts.
//! * Within the content a field is required only if the item would say nothing without it: the id of the image, the
//!   product or the recalled message, the coordinates of a location, the new status. Everything else defaults when it
//!   is absent or null; a body that is absent as a whole counts as an empty one.
//! * A required field that is absent, a field of the wrong type (a number beyond its range included) or one that is
//!   named twice makes the content malformed. Fields that we do not know never do.
//!
//! `Debug` output shows types and ids of messages, never what people wrote nor who the customer is: take that from the
//! fields.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/94670>

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::id::{ExternalUserid, Msgid, OpenKfid, ServicerUserid};

mod channels;
mod content;
mod decode;
mod event;
mod kind;
mod menu;
mod merged;
mod number;
mod schema;

pub use channels::{Channels, ChannelsShopOrder, ChannelsShopProduct, ChannelsSubType};
pub(crate) use content::silent_debug;
pub use content::{
    BusinessCard, Calendar, File, Image, Link, Location, Meeting, Miniprogram, Note, Text, Video, Voice,
};
pub use event::{
    ChangeType, ChannelsScene, EnterSession, FailType, MsgSendFail, RejectCustomerMsgSwitchChange, RejectSwitch,
    ServicerRecallMsg, ServicerStatus, ServicerStatusChange, SessionStatusChange, StopType, UserRecallMsg,
    WechatChannels,
};
pub use kind::{Content, Event, KINDS};
pub use menu::{MenuClick, MenuItem, MenuMiniprogram, MenuText, MenuView, Msgmenu};
pub use merged::{MergedItem, MergedMsg};
pub(crate) use number::open_number;
pub use schema::{forwarded_type, schema};

/// One item of a `sync_msg` page.
///
/// As JSON it is written the way WeCom writes it, from the typed fields; [`Content::Unknown`] and
/// [`Content::Malformed`] from [`raw`](Self::raw), as they came.
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
    /// When it was sent, Unix seconds. 0 if WeCom did not say, or named a time after the year 9999.
    pub send_time: u64,
    /// Who sent it.
    pub origin: Origin,
    /// What it says.
    pub content: Content,
    kind: Option<Cow<'static, str>>,
    raw: Arc<RawValue>,
}

number::open_number! {
    /// Who sent a message. 0, which WeCom does not use, if it did not say.
    pub enum Origin {
        /// The customer.
        Customer = 3,
        /// The system: an event.
        Event = 4,
        /// A colleague, in the WeCom client.
        Servicer = 5,
    }
}

/// Why an item could not be read as what it claims to be.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Malformed {
    /// What is wrong, with the path of the field. Holds nothing of the message itself.
    pub problem: Box<str>,
}

impl Malformed {
    fn new(problem: impl Into<Box<str>>) -> Self {
        Self {
            problem: problem.into(),
        }
    }
}

impl Message {
    /// WeCom's JSON, as it came.
    #[must_use]
    pub fn raw(&self) -> &Arc<RawValue> {
        &self.raw
    }

    /// Type as filters and forwarded bodies name it: the `msgtype`, or `event.` and the `event_type`. `None` for what
    /// is no object or names no type: such an item is kept and counted, but not handed to handlers.
    ///
    /// One of [`KINDS`], or as WeCom sent it for a type that this version does not know; plain `event` for an event
    /// that does not say which.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }

    /// Type as a metric's label: one of [`KINDS`], `unknown` or `malformed`, whatever WeCom sends.
    #[must_use]
    pub fn kind_label(&self) -> &'static str {
        match &self.content {
            Content::Malformed(_) => "malformed",
            content => content.kind().unwrap_or("unknown"),
        }
    }

    /// Whose order it keeps within its account: the customer's id, else `@` and the colleague's, else nothing.
    ///
    /// Fixed for ever: stored rows depend on it.
    #[must_use]
    pub fn party(&self) -> Cow<'_, str> {
        match (&self.external_userid, &self.servicer_userid) {
            (Some(customer), _) => customer.as_str().into(),
            (None, Some(servicer)) => format!("@{servicer}").into(),
            (None, None) => "".into(),
        }
    }

    /// Whether it should overtake other customers' messages: the welcome code of `enter_session` lives 20 seconds.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        self.kind() == Some("event.enter_session")
    }

    /// Whether WeCom's JSON names `field` at its top, whatever the value. Reads the JSON anew.
    #[must_use]
    pub fn has_field(&self, field: &str) -> bool {
        decode::Fields::of(&self.raw).is_some_and(|item| item.names(field))
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("msgid", &self.msgid)
            .field("open_kfid", &self.open_kfid)
            .field("send_time", &self.send_time)
            .field("origin", &self.origin)
            .field("kind", &self.kind)
            .field("content", &self.content)
            .finish_non_exhaustive()
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.content.kind().is_none() {
            return self.raw.serialize(serializer);
        }
        let mut item = serializer.serialize_map(None)?;
        item.serialize_entry("msgid", &self.msgid)?;
        item.serialize_entry("send_time", &self.send_time)?;
        item.serialize_entry("origin", &self.origin)?;
        // An event names these inside `event`.
        if !matches!(self.content, Content::Event(_)) {
            item.serialize_entry("open_kfid", &self.open_kfid)?;
            if let Some(customer) = &self.external_userid {
                item.serialize_entry("external_userid", customer)?;
            }
            if let Some(servicer) = &self.servicer_userid {
                item.serialize_entry("servicer_userid", servicer)?;
            }
        }
        self.content.serialize_into(&mut item, &self.open_kfid)?;
        item.end()
    }
}
