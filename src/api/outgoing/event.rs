//! What can be said in answer to an event: words or a menu, and nothing else.

use serde::{Deserialize, Serialize};

use super::{Body, Msgmenu, Outgoing, Text};
use crate::api::FieldError;

/// Most items of a menu that answers an event.
const ITEMS: usize = 10;

/// A message in answer to an event: a welcome, a notice that the customer waits, a farewell.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/95122>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "Outgoing", into = "Outgoing")]
#[non_exhaustive]
pub enum EventMessage {
    /// Words. At most 2048 bytes.
    Text(Text),
    /// A menu to tap on, of at most 10 items of any kind. WeCom takes one in a welcome and a farewell, not while the
    /// customer waits or when somebody takes over.
    Msgmenu(Msgmenu),
}

impl EventMessage {
    /// Words.
    #[must_use]
    pub fn text(content: impl Into<String>) -> Self {
        let content = content.into();
        Self::Text(Text { content })
    }

    /// Holds it to WeCom's limits.
    ///
    /// # Errors
    ///
    /// [`FieldError`] names the field and the limit.
    pub fn check(&self) -> Result<(), FieldError> {
        match self {
            Self::Text(text) => text.check("text"),
            Self::Msgmenu(menu) => menu.check_with("msgmenu", ITEMS),
        }
    }
}

impl From<&str> for EventMessage {
    /// Words, like [`text`](EventMessage::text).
    fn from(content: &str) -> Self {
        Self::text(content)
    }
}

impl From<String> for EventMessage {
    /// Words, like [`text`](EventMessage::text).
    fn from(content: String) -> Self {
        Self::text(content)
    }
}

impl TryFrom<Outgoing> for EventMessage {
    type Error = FieldError;

    fn try_from(message: Outgoing) -> Result<Self, FieldError> {
        match message {
            Outgoing::Text(text) => Ok(Self::Text(text)),
            Outgoing::Msgmenu(menu) => Ok(Self::Msgmenu(menu)),
            other => {
                let problem = format!(
                    "\"{}\" cannot answer an event: only text and msgmenu can",
                    other.msgtype()
                );
                Err(FieldError::malformed("msgtype", problem))
            }
        }
    }
}

impl From<EventMessage> for Outgoing {
    fn from(message: EventMessage) -> Self {
        match message {
            EventMessage::Text(text) => Self::Text(text),
            EventMessage::Msgmenu(menu) => Self::Msgmenu(menu),
        }
    }
}
