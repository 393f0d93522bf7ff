//! The plain contents: one struct per `msgtype`, with WeCom's own field names.
//!
//! What a customer may send is not documented per type; colleagues (origin 5) send the same types.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::decode::or_default;
use crate::id::MediaId;

/// Keeps what people wrote out of `Debug` output: the types print their name and nothing else.
macro_rules! silent_debug {
    ($($name:ident),+) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )+};
}
pub(crate) use silent_debug;

silent_debug!(Text, Location, Link, BusinessCard, Miniprogram);

/// Words, also those that a tap on a menu item says.
///
/// WeCom puts a text of its own in place of media that are too large: over 2 MB for images and voice, 10 MB for videos,
/// 20 MB for files.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94670>
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Text {
    /// What was written, with line breaks and emoji. Empty if absent.
    #[serde(default, deserialize_with = "or_default")]
    pub content: String,
    /// Id of the `click` menu item that was tapped. Absent for words that were typed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub menu_id: Option<String>,
}

/// A picture.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94670>
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Image {
    /// Where to download it, for three days.
    pub media_id: MediaId,
}

/// A voice recording. Neither its length nor a transcript is told.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94670>
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Voice {
    /// Where to download it, for three days; AMR, or Silk if the page was pulled so.
    pub media_id: MediaId,
}

/// A video.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94670>
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Video {
    /// Where to download it, for three days.
    pub media_id: MediaId,
}

/// Any other file. Its name is told only by the download's `Content-Disposition`.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94670>
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct File {
    /// Where to download it, for three days.
    pub media_id: MediaId,
}

/// A place.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94670>
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Location {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// What the place is called. May be empty.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// Postal address. May be empty.
    #[serde(default, deserialize_with = "or_default")]
    pub address: String,
}

/// A link to a web page.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94670>
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Link {
    /// Title of the page. Empty if absent.
    #[serde(default, deserialize_with = "or_default")]
    pub title: String,
    /// What it is about. May be empty.
    #[serde(default, deserialize_with = "or_default")]
    pub desc: String,
    /// Address of the page, unchecked. Empty if absent.
    #[serde(default, deserialize_with = "or_default")]
    pub url: String,
    /// Address of its thumbnail, unchecked. May be empty.
    #[serde(default, deserialize_with = "or_default")]
    pub pic_url: String,
}

/// A colleague's business card.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94670>
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct BusinessCard {
    /// Employee whose card it is; need not be one who receives sessions.
    pub userid: String,
}

/// A mini program's card.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94670>
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Miniprogram {
    /// Title of the card. Empty if absent.
    #[serde(default, deserialize_with = "or_default")]
    pub title: String,
    /// Id of the mini program, `wx…`.
    pub appid: String,
    /// Page of it that the card opens, with its query. Empty if absent.
    #[serde(default, deserialize_with = "or_default")]
    pub pagepath: String,
    /// Where to download the card's picture, for three days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thumb_media_id: Option<MediaId>,
}

/// A meeting. WeCom gives no details.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94670>
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Meeting {}

/// A calendar entry (日程). WeCom gives no details.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94670>
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Calendar {}

/// A note. WeCom gives no details.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94670>
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Note {}
