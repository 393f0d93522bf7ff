//! The table of types.
//!
//! One line here gives a type its variant, its name on the wire, and its place in the decoder, the serialiser, the
//! schema and [`KINDS`], so that these cannot disagree. A new type needs its line, its struct and a fixture.

use schemars::SchemaGenerator;
use serde::Serialize;
use serde::ser::SerializeMap;
use serde_json::value::RawValue;

use super::channels::{Channels, ChannelsShopOrder, ChannelsShopProduct};
use super::content::{
    BusinessCard, Calendar, File, Image, Link, Location, Meeting, Miniprogram, Note, Text, Video, Voice,
};
use super::decode::{Fields, body};
use super::event::{
    EnterSession, MsgSendFail, RejectCustomerMsgSwitchChange, ServicerRecallMsg, ServicerStatusChange,
    SessionStatusChange, UserRecallMsg,
};
use super::menu::Msgmenu;
use super::merged::MergedMsg;
use super::{Malformed, schema};
use crate::id::OpenKfid;

/// Of a known type: its name as in [`KINDS`], and the item read as that type.
type Known<T> = (&'static str, Result<T, Malformed>);

/// Declares [`Content`], [`Event`] and what goes over all their variants. Each variant holds the struct of its name.
macro_rules! kinds {
    (
        bodied { $($(#[$doc:meta])* $variant:ident = $msgtype:literal,)+ }
        bare { $($(#[$bare_doc:meta])* $bare:ident = $bare_msgtype:literal $(| $alias:literal)*,)+ }
        events { $($(#[$event_doc:meta])* $event:ident = $event_type:literal,)+ }
    ) => {
        /// What a message says.
        #[derive(Clone, PartialEq, Debug)]
        #[non_exhaustive]
        pub enum Content {
            $($(#[$doc])* $variant($variant),)+
            $($(#[$bare_doc])* $bare($bare),)+
            /// Something happened (`event`).
            Event(Event),
            /// A type this version does not know, or an event of such a type.
            Unknown,
            /// A known type that does not have the documented shape, or no message at all.
            Malformed(Malformed),
        }

        /// What happened, as told by an item of type `event`.
        ///
        /// Each struct has the fields of its event, less `open_kfid`, which every item has and
        /// [`Message`](super::Message) holds.
        #[derive(Clone, PartialEq, Debug, Serialize)]
        #[serde(tag = "event_type")]
        #[non_exhaustive]
        pub enum Event {
            $($(#[$event_doc])* #[serde(rename = $event_type)] $event($event),)+
        }

        /// Every type that this version knows, as [`Message::kind`](super::Message::kind) names it.
        pub const KINDS: &[&str] = &[$($msgtype,)+ $($bare_msgtype,)+ $(concat!("event.", $event_type),)+];

        impl Content {
            /// Type as named in [`KINDS`]; `None` for [`Unknown`](Self::Unknown) and [`Malformed`](Self::Malformed).
            #[must_use]
            pub fn kind(&self) -> Option<&'static str> {
                match self {
                    $(Self::$variant(_) => Some($msgtype),)+
                    $(Self::$bare(_) => Some($bare_msgtype),)+
                    Self::Event(event) => Some(event.kind()),
                    Self::Unknown | Self::Malformed(_) => None,
                }
            }

            /// Reads `item` as a `msgtype` (not an event), if that is a type we know.
            pub(super) fn read(msgtype: &str, item: &Fields<'_>) -> Option<Known<Self>> {
                match msgtype {
                    $($msgtype => Some(($msgtype, body($msgtype, item.get($msgtype)).map(Self::$variant))),)+
                    $($bare_msgtype $(| $alias)* => Some(($bare_msgtype, Ok(Self::$bare($bare {})))),)+
                    _ => None,
                }
            }

            /// Writes `msgtype` and the body into an item of the account `open_kfid`.
            pub(super) fn serialize_into<M>(&self, item: &mut M, open_kfid: &OpenKfid) -> Result<(), M::Error>
            where
                M: SerializeMap,
            {
                match self {
                    $(Self::$variant(body) => {
                        item.serialize_entry("msgtype", $msgtype)?;
                        item.serialize_entry($msgtype, body)
                    })+
                    $(Self::$bare(_) => item.serialize_entry("msgtype", $bare_msgtype),)+
                    Self::Event(event) => {
                        item.serialize_entry("msgtype", "event")?;
                        item.serialize_entry("event", &EventBody { open_kfid, event })
                    }
                    Self::Unknown | Self::Malformed(_) => Ok(()),
                }
            }
        }

        impl Event {
            /// Type as named in [`KINDS`].
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$event(_) => concat!("event.", $event_type),)+
                }
            }

            /// Reads `event` as an `event_type`, if that is one we know.
            pub(super) fn read(event_type: &str, event: &RawValue) -> Option<Known<Self>> {
                match event_type {
                    $($event_type => Some((
                        concat!("event.", $event_type),
                        body("event", Some(event)).map(Self::$event),
                    )),)+
                    _ => None,
                }
            }
        }

        /// Schemas of the forwarded body, one for each of [`KINDS`].
        pub(super) fn schemas(generator: &mut SchemaGenerator) -> Vec<serde_json::Value> {
            vec![
                $(schema::bodied::<$variant>(generator, $msgtype),)+
                $(schema::bare($bare_msgtype, &[$bare_msgtype $(, $alias)*]),)+
                $(schema::event::<$event>(generator, $event_type),)+
            ]
        }
    };
}

kinds! {
    bodied {
        /// Words (`text`).
        Text = "text",
        /// A picture (`image`).
        Image = "image",
        /// A voice recording (`voice`).
        Voice = "voice",
        /// A video (`video`).
        Video = "video",
        /// Any other file (`file`).
        File = "file",
        /// A place (`location`).
        Location = "location",
        /// A link to a web page (`link`).
        Link = "link",
        /// A colleague's business card (`business_card`).
        BusinessCard = "business_card",
        /// A mini program's card (`miniprogram`).
        Miniprogram = "miniprogram",
        /// A menu to tap on (`msgmenu`).
        Msgmenu = "msgmenu",
        /// A product of a Channels shop (`channels_shop_product`).
        ChannelsShopProduct = "channels_shop_product",
        /// An order at a Channels shop (`channels_shop_order`).
        ChannelsShopOrder = "channels_shop_order",
        /// Forwarded chat records (`merged_msg`).
        MergedMsg = "merged_msg",
        /// Something from Channels (`channels`).
        Channels = "channels",
    }
    bare {
        /// A meeting, without details (`meeting`).
        Meeting = "meeting",
        /// A calendar entry, without details (`calendar`; `schedule` is read as the same).
        Calendar = "calendar" | "schedule",
        /// A note, without details (`note`).
        Note = "note",
    }
    events {
        /// A customer came in through one of our links (`enter_session`).
        EnterSession = "enter_session",
        /// A message of ours did not reach the customer (`msg_send_fail`).
        MsgSendFail = "msg_send_fail",
        /// A colleague began or stopped receiving (`servicer_status_change`).
        ServicerStatusChange = "servicer_status_change",
        /// A colleague took, passed on or ended a session (`session_status_change`).
        SessionStatusChange = "session_status_change",
        /// A customer withdrew a message (`user_recall_msg`).
        UserRecallMsg = "user_recall_msg",
        /// A colleague withdrew a message (`servicer_recall_msg`).
        ServicerRecallMsg = "servicer_recall_msg",
        /// A colleague refuses a customer's messages, or accepts them again (`reject_customer_msg_switch_change`).
        RejectCustomerMsgSwitchChange = "reject_customer_msg_switch_change",
    }
}

/// An event with the account it belongs to, as WeCom writes them.
#[derive(Serialize)]
struct EventBody<'a> {
    open_kfid: &'a OpenKfid,
    #[serde(flatten)]
    event: &'a Event,
}
