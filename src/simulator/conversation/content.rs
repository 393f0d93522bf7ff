//! What may be sent to a customer: checked, and cut where WeCom cuts.
//!
//! Lengths are bytes of UTF-8. Where the documents say that a field is cut, it is; where they only give its length, a
//! longer one is refused.
//!
//! Sources: <https://developer.work.weixin.qq.com/document/path/94677> (send_msg),
//! <https://developer.work.weixin.qq.com/document/path/95122> (send_msg_on_event).

use serde_json::Value;

use super::menu;
use crate::clock::UnixMillis;
use crate::simulator::calls::fields::{Fields, optional, required, text};
use crate::simulator::media::{Library, MediaKind};
use crate::simulator::refusal::Refusal;

const MAX_TEXT: usize = 2048;
const MAX_TITLE: usize = 128;
const MAX_DESC: usize = 512;
const MAX_URL: usize = 2048;
const MAX_MINIPROGRAM_TITLE: usize = 64;
const MAX_PAGEPATH: usize = 1024;

/// What a content is checked against, apart from itself.
pub(super) struct Surroundings<'a> {
    pub(super) media: &'a Library,
    pub(super) now: UnixMillis,
    /// Most entries of a menu, of any type.
    pub(super) menu_entries: usize,
}

/// Checks the body of a message, and cuts it to what the customer will see.
pub(super) fn check(msgtype: &str, body: &mut Fields, around: &Surroundings<'_>) -> Result<(), Refusal> {
    match msgtype {
        "text" => {
            if text(body, "content")?.is_none_or(str::is_empty) {
                return Err(Refusal::EMPTY_TEXT);
            }
            cut(body, "content", MAX_TEXT);
            Ok(())
        }
        "image" => media(body, "media_id", MediaKind::Image, around),
        "voice" => media(body, "media_id", MediaKind::Voice, around),
        "video" => media(body, "media_id", MediaKind::Video, around),
        "file" => media(body, "media_id", MediaKind::File, around),
        "link" => link(body, around),
        "miniprogram" => miniprogram(body, around),
        "msgmenu" => menu::check(body, around.menu_entries),
        "location" => location(body),
        "ca_link" => web_address(required(body, "link_url", MAX_URL)?),
        "business_card" => required(body, "userid", 64).map(drop),
        _ => Err(Refusal::BAD_MSGTYPE),
    }
}

fn link(body: &mut Fields, around: &Surroundings<'_>) -> Result<(), Refusal> {
    required(body, "title", usize::MAX)?;
    cut(body, "title", MAX_TITLE);
    text(body, "desc")?;
    cut(body, "desc", MAX_DESC);
    web_address(required(body, "url", MAX_URL)?)?;
    media(body, "thumb_media_id", MediaKind::Image, around)
}

fn miniprogram(body: &mut Fields, around: &Surroundings<'_>) -> Result<(), Refusal> {
    if !required(body, "appid", 32)?.starts_with("wx") {
        return Err(Refusal::BAD_APPID);
    }
    optional(body, "title", MAX_MINIPROGRAM_TITLE)?;
    let path = required(body, "pagepath", MAX_PAGEPATH)?;
    if !path.split('?').next().unwrap_or_default().ends_with(".html") {
        return Err(Refusal::parameter("invalid pagepath"));
    }
    media(body, "thumb_media_id", MediaKind::Image, around)
}

fn location(body: &Fields) -> Result<(), Refusal> {
    for (field, range) in [("latitude", -90.0..=90.0), ("longitude", -180.0..=180.0)] {
        let degrees = body.get(field).and_then(Value::as_f64);
        if !degrees.is_some_and(|degrees| range.contains(&degrees)) {
            return Err(Refusal::parameter(format!("invalid {field}")));
        }
    }
    text(body, "name")?;
    text(body, "address")?;
    Ok(())
}

fn media(body: &Fields, field: &'static str, kind: MediaKind, around: &Surroundings<'_>) -> Result<(), Refusal> {
    let media_id = text(body, field)?.filter(|id| !id.is_empty());
    let media_id = media_id.ok_or(Refusal::NO_MEDIA_ID)?;
    let media = around.media.find(media_id, around.now)?;
    if media.kind == kind {
        Ok(())
    } else {
        Err(Refusal::WRONG_MEDIA_TYPE)
    }
}

fn web_address(url: &str) -> Result<(), Refusal> {
    if url.starts_with("http://") || url.starts_with("https://") {
        Ok(())
    } else {
        Err(Refusal::parameter("invalid url"))
    }
}

/// Cuts the text of `field` to at most this many bytes, between two characters.
fn cut(fields: &mut Fields, field: &str, max: usize) {
    if let Some(Value::String(text)) = fields.get_mut(field) {
        text.truncate(text.floor_char_boundary(max));
    }
}

/// What a customer reads of a message: its text, or that of its menu, or its title; nothing for a picture.
pub(super) fn readable(msgtype: &str, body: &Fields) -> Option<String> {
    let string = |field| body.get(field).and_then(Value::as_str).map(str::to_owned);
    match msgtype {
        "text" => string("content"),
        "msgmenu" => Some(menu::readable(body)),
        "location" => string("name"),
        _ => string("title"),
    }
}
