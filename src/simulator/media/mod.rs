//! Files that WeCom keeps for three days: what clients upload, and what customers send.
//!
//! Sources: <https://developer.work.weixin.qq.com/document/path/90253> (upload),
//! <https://developer.work.weixin.qq.com/document/path/90254> (get).

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;

use super::Simulator;
use super::refusal::Refusal;
use super::samples::alphanumeric;
use super::wecom::Wecom;
use crate::clock::UnixMillis;
use crate::id::MediaId;

mod get;
mod multipart;
mod upload;

crate::simulator::named::named! {
    /// What kind of file it is, which decides how it may be used.
    MediaKind {
        /// A picture.
        Image = "image",
        /// A voice message.
        Voice = "voice",
        /// A video.
        Video = "video",
        /// Any other file.
        File = "file",
    }
}

/// Everything that was ever uploaded or sent.
#[derive(Debug)]
pub(super) struct Library {
    lifetime: Duration,
    media: HashMap<MediaId, Media>,
}

/// One file.
#[derive(Debug)]
pub(super) struct Media {
    pub(super) kind: MediaKind,
    pub(super) name: String,
    pub(super) content: Bytes,
    pub(super) kept: UnixMillis,
}

impl Library {
    pub(super) fn new(lifetime: Duration) -> Self {
        Self {
            lifetime,
            media: HashMap::new(),
        }
    }

    /// The file of this id, if there is one and its three days are not over.
    pub(super) fn find(&self, media_id: &str, now: UnixMillis) -> Result<&Media, Refusal> {
        let media = self.media.get(media_id).ok_or(Refusal::UNKNOWN_MEDIA_ID)?;
        if now.since(media.kept) >= self.lifetime {
            return Err(Refusal::EXPIRED_MEDIA_ID);
        }
        Ok(media)
    }

    pub(super) fn keep(&mut self, media_id: MediaId, media: Media) {
        self.media.insert(media_id, media);
    }

    /// Takes note that a customer sent a file of which only the id was said. It has the contents of an example.
    pub(super) fn keep_example(&mut self, media_id: &str, kind: MediaKind, now: UnixMillis) {
        if !self.media.contains_key(media_id) {
            let (name, content) = kind.example();
            let media = Media {
                kind,
                name: name.to_owned(),
                content: Bytes::from_static(content),
                kept: now,
            };
            self.keep(MediaId::from(media_id), media);
        }
    }
}

impl MediaKind {
    /// Name and contents of a small file of this kind.
    fn example(self) -> (&'static str, &'static [u8]) {
        match self {
            Self::Image => ("picture.png", PNG),
            Self::Voice => (
                "voice.amr",
                b"#!AMR\n\x3c\x91\x17\x16\xbe\x66\x79\xe1\xe0\x01\xe7\xaf\xf0\x00\x00\x00",
            ),
            Self::Video => (
                "video.mp4",
                b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom\x00\x00\x00\x08mdat",
            ),
            Self::File => ("订单.txt", "订单号 20260801001\n".as_bytes()),
        }
    }
}

/// One transparent pixel.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\
    \x15\xc4\x89\x00\x00\x00\rIDATx\x9cc\x00\x01\x00\x00\x05\x00\x01\r\n-\xb4\x00\x00\x00\x00IEND\xaeB`\x82";

impl Wecom {
    /// Keeps a file under an id that nobody has.
    pub(super) fn keep_media(&mut self, kind: MediaKind, name: &str, content: Bytes, now: UnixMillis) -> MediaId {
        let media_id = MediaId::new(format!("3{}", alphanumeric(64, &mut self.rng)));
        let media = Media {
            kind,
            name: name.to_owned(),
            content,
            kept: now,
        };
        self.media.keep(media_id.clone(), media);
        media_id
    }
}

impl Simulator {
    /// Keeps a file as if a customer had sent it, or a client uploaded it. No limits are checked.
    #[must_use]
    pub fn keep_media(&self, kind: MediaKind, name: &str, content: impl Into<Bytes>) -> MediaId {
        let now = self.world.clock.now();
        self.world.wecom().keep_media(kind, name, content.into(), now)
    }
}
