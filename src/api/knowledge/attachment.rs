//! What may hang on an answer. WeCom takes media by id and gives them back by name.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::api::FieldError;
use crate::api::field::{required, web_address};
use crate::id::MediaId;

/// What is to hang on an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Attachment {
    /// A picture, uploaded as `image`.
    Image(MediaId),
    /// A video, uploaded as `video`.
    Video(MediaId),
    /// A web page.
    Link {
        /// Its title.
        title: String,
        /// What stands below the title.
        desc: Option<String>,
        /// Its address, with `https://` or `http://`.
        url: String,
        /// Address of its picture.
        pic_url: Option<String>,
    },
    /// A mini program.
    Miniprogram {
        /// Its title.
        title: Option<String>,
        /// Its cover, uploaded as `image`.
        thumb_media_id: MediaId,
        /// Id of the mini program.
        appid: String,
        /// Page of it that opens.
        pagepath: String,
    },
}

impl Attachment {
    pub(super) fn check(&self, path: &str) -> Result<(), FieldError> {
        let field = |name| format!("{path}.{}.{name}", self.msgtype());
        match self {
            Self::Image(media_id) | Self::Video(media_id) => required(&field("media_id"), media_id.as_str()),
            Self::Link { title, url, .. } => {
                required(&field("title"), title)?;
                web_address(&field("url"), url)
            }
            Self::Miniprogram {
                thumb_media_id,
                appid,
                pagepath,
                ..
            } => {
                required(&field("thumb_media_id"), thumb_media_id.as_str())?;
                required(&field("appid"), appid)?;
                required(&field("pagepath"), pagepath)
            }
        }
    }

    fn msgtype(&self) -> &'static str {
        match self {
            Self::Image(_) => "image",
            Self::Video(_) => "video",
            Self::Link { .. } => "link",
            Self::Miniprogram { .. } => "miniprogram",
        }
    }

    pub(super) fn json(&self) -> Value {
        let mut body = match self {
            Self::Image(media_id) | Self::Video(media_id) => json!({ "media_id": media_id }),
            Self::Link {
                title,
                desc,
                url,
                pic_url,
            } => json!({ "title": title, "desc": desc, "url": url, "pic_url": pic_url }),
            Self::Miniprogram {
                title,
                thumb_media_id,
                appid,
                pagepath,
            } => json!({ "title": title, "thumb_media_id": thumb_media_id, "appid": appid, "pagepath": pagepath }),
        };
        body.as_object_mut()
            .into_iter()
            .for_each(|fields: &mut Map<_, _>| fields.retain(|_, value| !value.is_null()));
        json!({ "msgtype": self.msgtype(), self.msgtype(): body })
    }
}

/// What hangs on an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StoredAttachment {
    /// A picture, by name.
    Image(Box<str>),
    /// A video, by name.
    Video(Box<str>),
    /// A web page.
    Link {
        /// Its title.
        title: Box<str>,
        /// What stands below the title.
        desc: Option<Box<str>>,
        /// Its address.
        url: Box<str>,
        /// Address of its picture.
        pic_url: Option<Box<str>>,
    },
    /// A mini program.
    Miniprogram {
        /// Its title.
        title: Option<Box<str>>,
        /// Id of the mini program.
        appid: Box<str>,
        /// Page of it that opens.
        pagepath: Box<str>,
    },
    /// Something that this version does not know, by its type.
    Other(Box<str>),
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct WireAttachment {
    msgtype: Box<str>,
    image: Fields,
    video: Fields,
    link: Fields,
    miniprogram: Fields,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Fields {
    name: Box<str>,
    title: Option<Box<str>>,
    desc: Option<Box<str>>,
    url: Box<str>,
    pic_url: Option<Box<str>>,
    appid: Box<str>,
    pagepath: Box<str>,
}

impl From<WireAttachment> for StoredAttachment {
    fn from(wire: WireAttachment) -> Self {
        match &*wire.msgtype {
            "image" => Self::Image(wire.image.name),
            "video" => Self::Video(wire.video.name),
            "link" => Self::Link {
                title: wire.link.title.unwrap_or_default(),
                desc: wire.link.desc,
                url: wire.link.url,
                pic_url: wire.link.pic_url,
            },
            "miniprogram" => Self::Miniprogram {
                title: wire.miniprogram.title,
                appid: wire.miniprogram.appid,
                pagepath: wire.miniprogram.pagepath,
            },
            _ => Self::Other(wire.msgtype),
        }
    }
}
