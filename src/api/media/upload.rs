//! `media/upload`: hands WeCom a file that can be sent for three days.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/90253>

use std::fmt;
use std::io;

use bytes::Bytes;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::Form;
use crate::api::answer::{Answer, LooseInt};
use crate::api::field::{at_most, required};
use crate::api::wire::Payload;
use crate::api::{ApiError, Ask, Call, Client, FieldError, Problem, Unit};
use crate::id::MediaId;

/// Fewest bytes of a file.
const LEAST_BYTES: usize = 6;

const MIB: usize = 1024 * 1024;

/// What a file is to be sent as. Each has its own message type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum MediaKind {
    /// A picture: JPEG or PNG, at most 10 MiB.
    Image,
    /// A voice recording: AMR, at most 2 MiB and 60 s.
    Voice,
    /// A video: MP4, at most 10 MiB.
    Video,
    /// Anything, at most 20 MiB.
    File,
}

impl MediaKind {
    /// Its name on the wire, which is also that of its message type.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Voice => "voice",
            Self::Video => "video",
            Self::File => "file",
        }
    }

    /// Most bytes of a file of this kind.
    #[must_use]
    pub fn limit_bytes(self) -> usize {
        match self {
            Self::Image | Self::Video => 10 * MIB,
            Self::Voice => 2 * MIB,
            Self::File => 20 * MIB,
        }
    }

    /// Type of `content` by its first bytes, or what it must be for this kind.
    fn content_type(self, content: &[u8]) -> Result<&'static str, &'static str> {
        match self {
            Self::Image if content.starts_with(b"\xff\xd8\xff") => Ok("image/jpeg"),
            Self::Image if content.starts_with(b"\x89PNG\r\n\x1a\n") => Ok("image/png"),
            Self::Image => Err("JPEG or PNG"),
            Self::Voice if content.starts_with(b"#!AMR") => Ok("audio/amr"),
            Self::Voice => Err("AMR"),
            Self::Video if content.get(4..8) == Some(b"ftyp") => Ok("video/mp4"),
            Self::Video => Err("MP4"),
            Self::File => Ok("application/octet-stream"),
        }
    }
}

impl fmt::Display for MediaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A file to hand to WeCom.
#[derive(Clone)]
pub struct Upload {
    /// What it is to be sent as.
    pub kind: MediaKind,
    /// Its name, which the customer sees. In any script, without path, quotes or control characters.
    pub file_name: String,
    /// Its content. Kept until WeCom has accepted it: a refused access token means sending it once more.
    pub content: Bytes,
}

impl fmt::Debug for Upload {
    /// Leaves name and content out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("kind", &self.kind)
            .field("bytes", &self.content.len())
            .finish_non_exhaustive()
    }
}

impl Upload {
    /// Reads the content from a stream.
    ///
    /// Stops one byte behind the [limit](MediaKind::limit_bytes) of its kind, which is enough for the call to refuse it.
    ///
    /// # Errors
    ///
    /// When reading fails.
    pub async fn read(
        kind: MediaKind,
        file_name: impl Into<String>,
        stream: impl AsyncRead + Unpin,
    ) -> io::Result<Self> {
        let mut content = Vec::new();
        let most = kind.limit_bytes() as u64 + 1;
        stream.take(most).read_to_end(&mut content).await?;
        Ok(Self {
            kind,
            file_name: file_name.into(),
            content: content.into(),
        })
    }

    /// Holds it to WeCom's limits. Returns its type.
    fn check(&self) -> Result<&'static str, FieldError> {
        required("filename", &self.file_name)?;
        let forbidden = |c: char| c.is_control() || "\"\\/".contains(c);
        if self.file_name.contains(forbidden) {
            let problem = "must hold no path, quote or control character";
            return Err(FieldError::malformed("filename", problem));
        }
        let (kind, bytes) = (self.kind, self.content.len());
        if bytes < LEAST_BYTES {
            let problem = format!("has {bytes} bytes, fewer than {LEAST_BYTES}");
            return Err(FieldError::malformed("media", problem));
        }
        at_most("media", bytes, kind.limit_bytes(), Unit::Bytes)?;
        kind.content_type(&self.content).map_err(|format| {
            let problem = format!("must be {format} to be sent as {kind}, and by its first bytes is not");
            FieldError::malformed("media", problem)
        })
    }
}

/// A file that WeCom keeps.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Uploaded {
    /// Its id, for three days, for every app of the corporation.
    pub media_id: MediaId,
    /// When it was made, in seconds since 1970; `None` if WeCom did not say.
    pub created_at: Option<u64>,
}

impl Client {
    /// Hands a file to WeCom. It may take any time, but not stand still for longer than
    /// [`Settings::timeout`](crate::api::Settings::timeout).
    ///
    /// # Errors
    ///
    /// [`ApiError::Invalid`] without a call when name, size or format are not what WeCom takes. See [`ApiError`] for
    /// the rest. Repeating it does no harm: a file that nobody sends is forgotten.
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/90253>
    pub async fn upload_media(&self, upload: &Upload) -> Result<Uploaded, ApiError> {
        let call = Call::MediaUpload;
        let content_type = call.checked(upload.check())?;
        let form = Form::new(&upload.file_name, content_type, upload.content.clone());
        let ask = Ask {
            query: &[("type", upload.kind.as_str())],
            payload: Payload::Form(&form),
            private: &[&upload.file_name],
            ..Ask::get(call, &[])
        };
        self.call(&ask, read_uploaded).await
    }
}

#[derive(Deserialize)]
struct Body {
    media_id: MediaId,
    created_at: Option<LooseInt>,
}

fn read_uploaded(answer: &Answer) -> Result<Uploaded, Problem> {
    let body: Body = answer.read()?;
    let created_at = body.created_at.and_then(|secs| u64::try_from(secs.0).ok());
    Ok(Uploaded {
        media_id: body.media_id,
        created_at,
    })
}
