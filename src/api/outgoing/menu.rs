//! Menus that a customer can tap on.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::read::{Fields, quoted};
use super::{Body, is_absent};
use crate::api::field::{at_most, at_most_bytes, required_bytes, web_address};
use crate::api::{FieldError, Unit};
use crate::message::silent_debug;

silent_debug!(Msgmenu, MenuItem);

/// Most items of a menu.
const ITEMS: usize = 50;

/// Most items of a menu that do something when tapped.
const TAPPABLE_ITEMS: usize = 10;

/// A menu to tap on.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94677>
#[derive(Clone, PartialEq, Eq, Default, Serialize)]
pub struct Msgmenu {
    /// What stands above the items. At most 1024 bytes.
    #[serde(skip_serializing_if = "is_absent")]
    pub head_content: Option<String>,
    /// Its items, top to bottom. At most 50, of which 10 may do something when tapped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub list: Vec<MenuItem>,
    /// What stands below the items. At most 1024 bytes.
    #[serde(skip_serializing_if = "is_absent")]
    pub tail_content: Option<String>,
}

/// One item of a menu.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MenuItem {
    /// Says its words for the customer: they come back as a text with its id.
    Click {
        /// What comes back as the text's `menu_id`. 1–128 bytes of letters, digits and `_`; a `#` is known to fail.
        id: Option<String>,
        /// Its words. 1–128 bytes.
        content: String,
    },
    /// Opens a web page.
    View {
        /// Address of the page, with `https://` or `http://`. At most 2048 bytes.
        url: String,
        /// Its words. 1–1024 bytes.
        content: String,
    },
    /// Opens a mini program.
    Miniprogram {
        /// Id of the mini program. 1–32 bytes.
        appid: String,
        /// Page of it that opens. 1–1024 bytes.
        pagepath: String,
        /// Its words. At most 1024 bytes.
        content: String,
    },
    /// Just stands there.
    Text {
        /// Its words. 1–256 bytes.
        content: String,
        /// Whether the next item follows on the same line.
        no_newline: Option<bool>,
    },
}

/// What stands under the name of an item's type.
#[derive(Serialize)]
struct WireItem<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    url: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    appid: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pagepath: &'a str,
    content: &'a str,
    /// The table of the documents calls it a boolean, their sample writes a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_newline: Option<u8>,
}

impl MenuItem {
    /// Its type, as WeCom names it.
    #[must_use]
    pub fn r#type(&self) -> &'static str {
        match self {
            Self::Click { .. } => "click",
            Self::View { .. } => "view",
            Self::Miniprogram { .. } => "miniprogram",
            Self::Text { .. } => "text",
        }
    }

    fn read(item: &Fields<'_>) -> Result<Self, FieldError> {
        let kind = item.string("type")?;
        let body = || item.object(&kind);
        Ok(match kind.as_str() {
            "click" => Self::Click {
                id: body()?.optional_string("id")?,
                content: body()?.string("content")?,
            },
            "view" => Self::View {
                url: body()?.string("url")?,
                content: body()?.string("content")?,
            },
            "miniprogram" => Self::Miniprogram {
                appid: body()?.string("appid")?,
                pagepath: body()?.string("pagepath")?,
                content: body()?.string("content")?,
            },
            "text" => Self::Text {
                content: body()?.string("content")?,
                no_newline: body()?.optional_flag("no_newline")?,
            },
            other => {
                let problem = format!("{}is none of click, view, miniprogram, text", quoted(other));
                return Err(FieldError::malformed(item.path_of("type"), problem));
            }
        })
    }

    fn check(&self, path: &str) -> Result<(), FieldError> {
        let field = |name| format!("{path}.{}.{name}", self.r#type());
        match self {
            Self::Click { id, content } => {
                at_most_bytes(&field("id"), id.as_deref().unwrap_or_default(), 128)?;
                required_bytes(&field("content"), content, 128)
            }
            Self::View { url, content } => {
                web_address(&field("url"), url)?;
                required_bytes(&field("content"), content, 1024)
            }
            Self::Miniprogram {
                appid,
                pagepath,
                content,
            } => {
                required_bytes(&field("appid"), appid, 32)?;
                required_bytes(&field("pagepath"), pagepath, 1024)?;
                at_most_bytes(&field("content"), content, 1024)
            }
            Self::Text { content, .. } => required_bytes(&field("content"), content, 256),
        }
    }

    fn wire(&self) -> WireItem<'_> {
        let words = |content| WireItem {
            id: "",
            url: "",
            appid: "",
            pagepath: "",
            content,
            no_newline: None,
        };
        match self {
            Self::Click { id, content } => WireItem {
                id: id.as_deref().unwrap_or_default(),
                ..words(content)
            },
            Self::View { url, content } => WireItem { url, ..words(content) },
            Self::Miniprogram {
                appid,
                pagepath,
                content,
            } => WireItem {
                appid,
                pagepath,
                ..words(content)
            },
            Self::Text { content, no_newline } => WireItem {
                no_newline: no_newline.map(u8::from),
                ..words(content)
            },
        }
    }
}

impl Serialize for MenuItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut item = serializer.serialize_map(Some(2))?;
        item.serialize_entry("type", self.r#type())?;
        item.serialize_entry(self.r#type(), &self.wire())?;
        item.end()
    }
}

impl Msgmenu {
    /// Holds the menu to `most` items beside its other limits.
    pub(super) fn check_with(&self, path: &str, most: usize) -> Result<(), FieldError> {
        let (head, tail) = (self.head_content.as_deref(), self.tail_content.as_deref());
        let (head, tail) = (head.unwrap_or_default(), tail.unwrap_or_default());
        if self.list.is_empty() && head.is_empty() && tail.is_empty() {
            return Err(FieldError::empty(path));
        }
        at_most_bytes(&format!("{path}.head_content"), head, 1024)?;
        at_most_bytes(&format!("{path}.tail_content"), tail, 1024)?;
        let list = format!("{path}.list");
        at_most(&list, self.list.len(), most, Unit::Items)?;
        let tappable = self.list.iter().filter(|item| !matches!(item, MenuItem::Text { .. }));
        let tappable_items = format!("{list} (click, view and miniprogram)");
        at_most(&tappable_items, tappable.count(), TAPPABLE_ITEMS, Unit::Items)?;
        let mut items = self.list.iter().enumerate();
        items.try_for_each(|(index, item)| item.check(&format!("{list}[{index}]")))
    }
}

impl Body for Msgmenu {
    fn read(fields: &Fields<'_>) -> Result<Self, FieldError> {
        Ok(Self {
            head_content: fields.optional_string("head_content")?,
            list: fields
                .list("list")?
                .iter()
                .map(MenuItem::read)
                .collect::<Result<_, _>>()?,
            tail_content: fields.optional_string("tail_content")?,
        })
    }

    fn check(&self, path: &str) -> Result<(), FieldError> {
        self.check_with(path, ITEMS)
    }
}
