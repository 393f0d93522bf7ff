//! `media/upload`: what is taken, and what is not.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/90253>

use bytes::Bytes;
use serde_json::{Value, json};

use super::MediaKind;
use super::multipart::parts;
use crate::clock::UnixMillis;
use crate::simulator::refusal::Refusal;
use crate::simulator::wecom::Wecom;

/// A file must be larger than this, in bytes.
const TOO_SMALL: usize = 5;
/// Longest voice message, in frames of 20 ms: a minute.
const MOST_FRAMES: usize = 60 * 50;

/// What every AMR file begins with.
const AMR: &[u8] = b"#!AMR\n";
/// Bytes of an AMR frame by its mode, the byte that tells the mode included (RFC 4867, 3GPP TS 26.101).
const FRAME_BYTES: [usize; 16] = [13, 14, 16, 18, 20, 21, 27, 32, 6, 1, 1, 1, 1, 1, 1, 1];

impl MediaKind {
    /// Largest file of this kind, in bytes.
    fn most(self) -> usize {
        match self {
            Self::Voice => 2 << 20,
            Self::Image | Self::Video => 10 << 20,
            Self::File => 20 << 20,
        }
    }

    fn too_large(self) -> Refusal {
        match self {
            Self::Image => Refusal::BAD_IMAGE_SIZE,
            Self::Video => Refusal::BAD_VIDEO_SIZE,
            Self::Voice | Self::File => Refusal::BAD_FILE_SIZE,
        }
    }

    /// Whether `content` is of this kind, as far as its first bytes tell.
    fn is_kind_of(self, content: &[u8]) -> bool {
        match self {
            Self::Image => content.starts_with(b"\xff\xd8\xff") || content.starts_with(b"\x89PNG\r\n\x1a\n"),
            Self::Voice => content.starts_with(AMR),
            Self::Video => content.get(4..8) == Some(b"ftyp"),
            Self::File => true,
        }
    }
}

impl Wecom {
    /// `POST /cgi-bin/media/upload`, past the door.
    pub(in crate::simulator) fn media_upload(
        &mut self,
        kind: Option<&str>,
        content_type: &str,
        body: &Bytes,
        now: UnixMillis,
    ) -> Result<Value, Refusal> {
        let kind: MediaKind = kind
            .and_then(|kind| kind.parse().ok())
            .ok_or(Refusal::BAD_TYPE_PARAMETER)?;
        let parts = parts(content_type, body).ok_or(Refusal::EMPTY_MEDIA)?;
        let file = parts.iter().find(|part| part.name == "media");
        let file = file.ok_or(Refusal::EMPTY_MEDIA)?;
        let name = file.filename.as_deref().filter(|name| !name.is_empty());
        let name = name.ok_or(Refusal::EMPTY_MEDIA)?;
        if file.content.is_empty() {
            return Err(Refusal::EMPTY_MEDIA);
        }
        if file.content.len() <= TOO_SMALL {
            return Err(Refusal::BAD_FILE_SIZE);
        }
        if file.content.len() > kind.most() {
            return Err(kind.too_large());
        }
        if !kind.is_kind_of(file.content) {
            return Err(Refusal::WRONG_MEDIA_TYPE);
        }
        if kind == MediaKind::Voice && frames(file.content) > MOST_FRAMES {
            return Err(Refusal::VOICE_TOO_LONG);
        }
        let media_id = self.keep_media(kind, name, body.slice_ref(file.content), now);
        // A string of seconds, unlike everywhere else.
        Ok(json!({ "type": kind, "media_id": media_id, "created_at": now.as_secs().to_string() }))
    }
}

/// How many frames an AMR file has.
fn frames(amr: &[u8]) -> usize {
    let mut rest = amr.strip_prefix(AMR).unwrap_or_default();
    let mut frames = 0;
    while let Some(head) = rest.first() {
        let bytes = FRAME_BYTES[usize::from(head >> 3 & 0x0f)];
        rest = rest.get(bytes..).unwrap_or_default();
        frames += 1;
    }
    frames
}
