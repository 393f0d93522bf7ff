//! `media/get`: files whole or in parts, and refusals that look like a file of JSON.
//!
//! A part that does not reach the end must be a multiple of 16 bytes long. WeCom wants that of some files only, and does
//! not say of which.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/90254>

use std::ops::RangeInclusive;

use axum::http::header::{CONTENT_DISPOSITION, CONTENT_RANGE};
use axum::http::{HeaderValue, StatusCode};

use super::{Media, MediaKind};
use crate::clock::UnixMillis;
use crate::simulator::refusal::Refusal;
use crate::simulator::wecom::Wecom;
use crate::simulator::wire::Reply;

/// Most that is answered at once, in bytes.
const MOST_AT_ONCE: usize = 20 << 20;
/// What the length of a part must be a multiple of.
const BLOCK: usize = 16;

impl Wecom {
    /// `GET /cgi-bin/media/get`, past the door. `range` is the header of that name.
    pub(in crate::simulator) fn media_get(
        &self,
        media_id: Option<&str>,
        range: Option<&str>,
        now: UnixMillis,
    ) -> Result<Reply, Refusal> {
        let media_id = media_id.filter(|id| !id.is_empty()).ok_or(Refusal::NO_MEDIA_ID)?;
        let media = self.media.find(media_id, now)?;
        let size = media.content.len();
        let mut reply = Reply::of(media.content_type(), media.content.clone());
        reply.headers.insert(CONTENT_DISPOSITION, media.disposition());
        let Some(range) = range else {
            if size > MOST_AT_ONCE {
                return Err(Refusal::TOO_LARGE_AT_ONCE);
            }
            return Ok(reply);
        };
        let part = part(range, size).ok_or(Refusal::BAD_RANGE)?;
        let (first, last) = part.into_inner();
        if last + 1 - first > MOST_AT_ONCE {
            return Err(Refusal::TOO_LARGE_AT_ONCE);
        }
        reply.status = StatusCode::PARTIAL_CONTENT;
        reply.body = media.content.slice(first..=last);
        let place = HeaderValue::from_str(&format!("bytes {first}-{last}/{size}"));
        reply
            .headers
            .insert(CONTENT_RANGE, place.map_err(|_| Refusal::BAD_RANGE)?);
        Ok(reply)
    }
}

impl Media {
    fn content_type(&self) -> HeaderValue {
        HeaderValue::from_static(match self.kind {
            MediaKind::Image if self.content.starts_with(b"\x89PNG") => "image/png",
            MediaKind::Image => "image/jpeg",
            MediaKind::Voice => "audio/amr",
            MediaKind::Video => "video/mp4",
            MediaKind::File if self.name.ends_with(".json") => "application/json",
            MediaKind::File => "application/octet-stream",
        })
    }

    /// The name in raw UTF-8, as it was uploaded.
    fn disposition(&self) -> HeaderValue {
        let name: String = self.name.chars().filter(|c| !c.is_control()).collect();
        let name = name.replace('"', "\\\"");
        let disposition = format!("attachment; filename=\"{name}\"");
        HeaderValue::from_bytes(disposition.as_bytes()).unwrap_or(HeaderValue::from_static("attachment"))
    }
}

/// Which bytes of `size` the header asks for, if it asks for a part as WeCom wants it.
fn part(range: &str, size: usize) -> Option<RangeInclusive<usize>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let first: usize = first.trim().parse().ok()?;
    let end = size.checked_sub(1)?;
    let last = match last.trim() {
        "" => end,
        last => last.parse::<usize>().ok()?.min(end),
    };
    let length = (last + 1).checked_sub(first).filter(|length| *length > 0)?;
    (last == end || length.is_multiple_of(BLOCK)).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_cut_in_blocks_of_16() {
        for (range, expected) in [
            ("bytes=0-15", Some(0..=15)),
            ("bytes=16-47", Some(16..=47)),
            ("bytes=16-46", None),
            ("bytes=48-49", Some(48..=49)),
            ("bytes=48-1000", Some(48..=49)),
            ("bytes=3-", Some(3..=49)),
            ("bytes=50-60", None),
            ("bytes=20-10", None),
            ("bytes=-16", None),
            ("bytes=0-15,32-47", None),
            ("0-15", None),
        ] {
            assert_eq!(part(range, 50), expected, "{range}");
        }
        assert_eq!(part("bytes=0-", 0), None);
    }
}
