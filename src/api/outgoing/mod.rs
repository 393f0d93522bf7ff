//! What can be said to a customer.
//!
//! [`Outgoing`] has a variant per `msgtype` and WeCom's wire form, `{"msgtype":"text","text":{"content":"…"}}`, both
//! ways: bots in other languages write it. Reading checks the shape and [`check`](Outgoing::check) the limits, both with
//! a [`FieldError`] that names the field.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/94677>

use serde::de::Error;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::FieldError;

mod content;
mod event;
mod menu;
mod read;
mod split;

#[cfg(test)]
mod tests;

pub use content::{BusinessCard, CaLink, Link, Location, Media, Miniprogram, Text};
pub use event::EventMessage;
pub use menu::{MenuItem, Msgmenu};
pub(crate) use read::Fields;

/// What stands under the name of its `msgtype`.
trait Body: Sized {
    /// Takes the body out of JSON.
    fn read(fields: &Fields<'_>) -> Result<Self, FieldError>;

    /// Holds the body, which stands at `path`, to WeCom's limits.
    fn check(&self, path: &str) -> Result<(), FieldError>;
}

/// Names the types of message and what each holds, in one table.
macro_rules! outgoing {
    ($($(#[$doc:meta])* $variant:ident($body:ty) = $msgtype:literal;)+) => {
        /// A message to a customer.
        #[derive(Clone, PartialEq, Debug)]
        #[non_exhaustive]
        pub enum Outgoing {
            $($(#[$doc])* $variant($body),)+
        }

        impl Outgoing {
            /// Every `msgtype` that can be sent.
            pub const MSGTYPES: &[&str] = &[$($msgtype),+];

            /// Its type, as WeCom names it.
            #[must_use]
            pub fn msgtype(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $msgtype,)+
                }
            }

            /// Holds it to WeCom's limits, as far as they can be known before it is sent.
            ///
            /// # Errors
            ///
            /// [`FieldError`] names the field and the limit, in bytes where WeCom counts bytes.
            pub fn check(&self) -> Result<(), FieldError> {
                match self {
                    $(Self::$variant(body) => body.check($msgtype),)+
                }
            }

            fn read_body(msgtype: &str, message: &Fields<'_>) -> Result<Self, FieldError> {
                match msgtype {
                    $($msgtype => Body::read(&message.object($msgtype)?).map(Self::$variant),)+
                    _ => Err(unknown(msgtype, message)),
                }
            }
        }

        impl Serialize for Outgoing {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut message = serializer.serialize_map(Some(2))?;
                message.serialize_entry("msgtype", self.msgtype())?;
                match self {
                    $(Self::$variant(body) => message.serialize_entry($msgtype, body)?,)+
                }
                message.end()
            }
        }
    };
}

outgoing! {
    /// Words.
    Text(Text) = "text";
    /// A picture, uploaded as `image`.
    Image(Media) = "image";
    /// A voice recording, uploaded as `voice`.
    Voice(Media) = "voice";
    /// A video, uploaded as `video`.
    Video(Media) = "video";
    /// A file, uploaded as `file`.
    File(Media) = "file";
    /// A card that opens a web page.
    Link(Link) = "link";
    /// A card that opens a mini program.
    Miniprogram(Miniprogram) = "miniprogram";
    /// A menu to tap on.
    Msgmenu(Msgmenu) = "msgmenu";
    /// A place.
    Location(Location) = "location";
    /// A customer-acquisition link (获客助手), shown as a card. Since December 2023.
    CaLink(CaLink) = "ca_link";
    /// An employee's card. **Uncertain**: documented for independent customer service only, one in 48 h (95025), and
    /// WeCom may answer 40008 elsewhere.
    BusinessCard(BusinessCard) = "business_card";
}

impl Outgoing {
    /// Words as one message. More than 2048 bytes do not pass [`check`](Self::check); see [`texts`](Self::texts).
    #[must_use]
    pub fn text(content: impl Into<String>) -> Self {
        let content = content.into();
        Self::Text(Text { content })
    }

    /// Words as one message or several, each within the 2048 bytes that WeCom takes.
    ///
    /// Cuts fall behind a line, a sentence or a word if one ends late enough, else between two characters; white space
    /// before a cut is dropped. There is always one message: an empty text is one that does not pass
    /// [`check`](Self::check). Each counts against the five that may follow what a customer said.
    #[must_use]
    pub fn texts(content: &str) -> Vec<Self> {
        split::split(content).into_iter().map(Self::text).collect()
    }

    /// Reads a message from JSON. Its limits are not checked, only its shape; fields that are not WeCom's are passed
    /// over, and `null` is as good as absent.
    ///
    /// # Errors
    ///
    /// [`FieldError`] names the field that is missing or of the wrong type, and never quotes what is to be said.
    pub fn from_json(message: &Value) -> Result<Self, FieldError> {
        Self::read(&Fields::of("", message)?)
    }

    /// The same, from within other JSON.
    pub(crate) fn read(message: &Fields<'_>) -> Result<Self, FieldError> {
        Self::read_body(&message.string("msgtype")?, message)
    }
}

impl From<&str> for Outgoing {
    /// Words as one message, like [`text`](Outgoing::text).
    fn from(content: &str) -> Self {
        Self::text(content)
    }
}

impl From<String> for Outgoing {
    /// Words as one message, like [`text`](Outgoing::text).
    fn from(content: String) -> Self {
        Self::text(content)
    }
}

fn unknown(msgtype: &str, message: &Fields<'_>) -> FieldError {
    let known = Outgoing::MSGTYPES.join(", ");
    let problem = format!("{}is none of {known}", read::quoted(msgtype));
    FieldError::malformed(message.path_of("msgtype"), problem)
}

impl<'de> Deserialize<'de> for Outgoing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let message = Value::deserialize(deserializer)?;
        Self::from_json(&message).map_err(D::Error::custom)
    }
}

/// Whether an optional text says nothing: WeCom refuses an empty string where it accepts an absent key.
fn is_absent(text: &Option<String>) -> bool {
    text.as_deref().is_none_or(str::is_empty)
}
