//! The plain contents: one struct per `msgtype`, with WeCom's own field names.

use serde::Serialize;

use super::read::Fields;
use super::split::TEXT_BYTES;
use super::{Body, is_absent};
use crate::api::FieldError;
use crate::api::field::{at_most_bytes, required, required_bytes, web_address};
use crate::id::{MediaId, ServicerUserid};
use crate::message::silent_debug;

silent_debug!(Text, Link, Miniprogram, Location, CaLink);

/// Words.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94677>
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Text {
    /// What is said. 1–2048 bytes.
    pub content: String,
}

/// A picture, voice recording, video or file.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94677>
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Media {
    /// What `media/upload` returned for a file of the same type, at most three days ago.
    pub media_id: MediaId,
}

/// A card that opens a web page.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94677>
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Its title. 1–128 bytes.
    pub title: String,
    /// What stands below the title. At most 512 bytes.
    #[serde(skip_serializing_if = "is_absent")]
    pub desc: Option<String>,
    /// Address of the page, with `https://` or `http://`. At most 2048 bytes.
    pub url: String,
    /// Its picture, uploaded as `image`.
    pub thumb_media_id: MediaId,
}

/// A card that opens a mini program.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94677>
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Miniprogram {
    /// Id of the mini program, which must be associated with the corporation (else 90207 or 90208).
    pub appid: String,
    /// Its title. At most 64 bytes.
    #[serde(skip_serializing_if = "is_absent")]
    pub title: Option<String>,
    /// Its cover, uploaded as `image`; 520 × 416 pixels fit best.
    pub thumb_media_id: MediaId,
    /// Page of it that opens. What stands before a `?` must end in `.html`.
    pub pagepath: String,
}

/// A place.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94677>
#[derive(Clone, PartialEq, Serialize)]
pub struct Location {
    /// Its name.
    #[serde(skip_serializing_if = "is_absent")]
    pub name: Option<String>,
    /// Its address in words.
    #[serde(skip_serializing_if = "is_absent")]
    pub address: Option<String>,
    /// Degrees north, -90 to 90.
    pub latitude: f64,
    /// Degrees east, -180 to 180.
    pub longitude: f64,
}

/// A customer-acquisition link.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94677>
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct CaLink {
    /// The link, as 获客助手 made it.
    pub link_url: String,
}

/// An employee's card.
///
/// Source: the documents of independent customer service; today's page 94677 does not have it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct BusinessCard {
    /// Whose card it is.
    pub userid: ServicerUserid,
}

impl Body for Text {
    fn read(fields: &Fields<'_>) -> Result<Self, FieldError> {
        let content = fields.string("content")?;
        Ok(Self { content })
    }

    fn check(&self, path: &str) -> Result<(), FieldError> {
        required_bytes(&format!("{path}.content"), &self.content, TEXT_BYTES)
    }
}

impl Body for Media {
    fn read(fields: &Fields<'_>) -> Result<Self, FieldError> {
        let media_id = fields.string("media_id").map(MediaId::new)?;
        Ok(Self { media_id })
    }

    fn check(&self, path: &str) -> Result<(), FieldError> {
        required(&format!("{path}.media_id"), self.media_id.as_str())
    }
}

impl Body for Link {
    fn read(fields: &Fields<'_>) -> Result<Self, FieldError> {
        Ok(Self {
            title: fields.string("title")?,
            desc: fields.optional_string("desc")?,
            url: fields.string("url")?,
            thumb_media_id: fields.string("thumb_media_id").map(MediaId::new)?,
        })
    }

    fn check(&self, path: &str) -> Result<(), FieldError> {
        required_bytes(&format!("{path}.title"), &self.title, 128)?;
        at_most_bytes(&format!("{path}.desc"), self.desc.as_deref().unwrap_or_default(), 512)?;
        web_address(&format!("{path}.url"), &self.url)?;
        required(&format!("{path}.thumb_media_id"), self.thumb_media_id.as_str())
    }
}

impl Body for Miniprogram {
    fn read(fields: &Fields<'_>) -> Result<Self, FieldError> {
        Ok(Self {
            appid: fields.string("appid")?,
            title: fields.optional_string("title")?,
            thumb_media_id: fields.string("thumb_media_id").map(MediaId::new)?,
            pagepath: fields.string("pagepath")?,
        })
    }

    fn check(&self, path: &str) -> Result<(), FieldError> {
        required(&format!("{path}.appid"), &self.appid)?;
        at_most_bytes(&format!("{path}.title"), self.title.as_deref().unwrap_or_default(), 64)?;
        required(&format!("{path}.thumb_media_id"), self.thumb_media_id.as_str())?;
        let field = format!("{path}.pagepath");
        required(&field, &self.pagepath)?;
        let page = self.pagepath.split('?').next().unwrap_or_default();
        if page.ends_with(".html") {
            return Ok(());
        }
        Err(FieldError::malformed(field, "must end in .html, before any ?"))
    }
}

impl Body for Location {
    fn read(fields: &Fields<'_>) -> Result<Self, FieldError> {
        Ok(Self {
            name: fields.optional_string("name")?,
            address: fields.optional_string("address")?,
            latitude: fields.number("latitude")?,
            longitude: fields.number("longitude")?,
        })
    }

    fn check(&self, path: &str) -> Result<(), FieldError> {
        let within = |name, degrees: f64, most: f64| {
            // Not a number lies within no range.
            if degrees.abs() <= most {
                return Ok(());
            }
            let problem = format!("must be between -{most} and {most}");
            Err(FieldError::malformed(format!("{path}.{name}"), problem))
        };
        within("latitude", self.latitude, 90.0)?;
        within("longitude", self.longitude, 180.0)
    }
}

impl Body for CaLink {
    fn read(fields: &Fields<'_>) -> Result<Self, FieldError> {
        let link_url = fields.string("link_url")?;
        Ok(Self { link_url })
    }

    fn check(&self, path: &str) -> Result<(), FieldError> {
        web_address(&format!("{path}.link_url"), &self.link_url)
    }
}

impl Body for BusinessCard {
    fn read(fields: &Fields<'_>) -> Result<Self, FieldError> {
        let userid = fields.string("userid").map(ServicerUserid::new)?;
        Ok(Self { userid })
    }

    fn check(&self, path: &str) -> Result<(), FieldError> {
        required(&format!("{path}.userid"), self.userid.as_str())
    }
}
