//! `media/get`: fetches a file that a customer sent, piece by piece.
//!
//! WeCom refuses to give large files at once (830002). Then parts are asked for, one after the other, and the caller
//! does not notice.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/90254>

use std::fmt;

use bytes::Bytes;

use super::ByteRange;
use super::opening::Opening;
use super::range::ContentRange;
use crate::api::field::required;
use crate::api::wire::Payload;
use crate::api::{ApiError, Ask, Call, Client, ErrCode, Problem};
use crate::id::MediaId;

/// Blocks of 16 bytes in a part of a file that is too large for one download: 16 MiB, where WeCom allows 20.
const PART_BLOCKS: u64 = 1024 * 1024;

/// Which file to fetch.
#[derive(Clone, Copy, Debug)]
pub struct DownloadMedia<'a> {
    /// The file, for three days after it was sent or uploaded.
    pub media_id: &'a MediaId,
    /// Which part of it; `None` for the whole.
    pub range: Option<ByteRange>,
    /// Most bytes to accept.
    pub limit_bytes: u64,
}

impl<'a> DownloadMedia<'a> {
    /// Well above the 20 MB that customers can send.
    pub const LIMIT_BYTES: u64 = 100 * 1024 * 1024;

    /// The whole file, if it is no larger than [`LIMIT_BYTES`](Self::LIMIT_BYTES).
    #[must_use]
    pub fn whole(media_id: &'a MediaId) -> Self {
        Self {
            media_id,
            range: None,
            limit_bytes: Self::LIMIT_BYTES,
        }
    }
}

/// A file on its way. Dropping it ends the download.
pub struct Download {
    client: Client,
    media_id: MediaId,
    limit_bytes: u64,
    opening: Opening,
    /// Whether other parts have to be asked for behind this one.
    in_parts: bool,
    /// Where in the file the next byte stands.
    position: u64,
    received: u64,
}

impl fmt::Debug for Download {
    /// Leaves the file's name out: a customer may have given it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("content_type", &self.opening.content_type)
            .field("length", &self.length())
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Fetches a file. Returns when it begins to arrive; its bytes are read from the [`Download`].
    ///
    /// It does not count as a call under way from then on, so that whoever reads slowly holds nobody up. It may take any
    /// time, but not stand still for longer than [`Settings::timeout`](crate::api::Settings::timeout).
    ///
    /// # Errors
    ///
    /// [`ApiError::Rejected`] with 40007 or 40145 when the file is unknown or older than three days; 45033 when it is
    /// fetched too often at once. [`ApiError::Unreadable`] when it is larger than the limit
    /// ([`is_too_large`](ApiError::is_too_large)) or no file. See [`ApiError`] for the rest.
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/90254>
    pub async fn download_media(&self, request: &DownloadMedia<'_>) -> Result<Download, ApiError> {
        let call = Call::MediaGet;
        call.checked(required("media_id", request.media_id.as_str()))?;
        let (opening, in_parts) = match (self.part(request.media_id, request.range).await, request.range) {
            (Err(ApiError::Rejected { code, .. }), None) if code == ErrCode::DOWNLOAD_TOO_LARGE => {
                let first = ByteRange::blocks(0, PART_BLOCKS);
                (self.part(request.media_id, Some(first)).await?, true)
            }
            (opening, _) => (opening?, false),
        };
        let download = Download {
            client: self.clone(),
            media_id: request.media_id.clone(),
            limit_bytes: request.limit_bytes,
            in_parts,
            position: opening.part.map_or(0, |part| part.first),
            received: 0,
            opening,
        };
        match download.length() {
            Some(length) if length > request.limit_bytes => Err(download.too_large()),
            _ => Ok(download),
        }
    }

    /// Asks for one part of a file, or for the whole, and makes sure that it is what comes.
    async fn part(&self, media_id: &MediaId, range: Option<ByteRange>) -> Result<Opening, ApiError> {
        let call = Call::MediaGet;
        let query = [("media_id", media_id.as_str())];
        let ask = Ask {
            payload: range.map_or(Payload::None, Payload::Range),
            ..Ask::get(call, &query)
        };
        let opening = self.open(&ask).await?;
        let fits = match (range, opening.part) {
            (Some(range), Some(part)) => part.answers(range),
            (None, None) => true,
            _ => false,
        };
        if fits {
            return Ok(opening);
        }
        let problem = Problem::OtherRange;
        Err(ApiError::Unreadable { call, problem })
    }
}

impl Download {
    /// Its type, as WeCom tells it. Not to be trusted.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.opening.content_type.as_deref()
    }

    /// Its name without any path, control character or dot at an end, at most 200 bytes: fit to be a file's. Whoever
    /// sent the file chose it.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        self.opening.file_name.as_deref()
    }

    /// How many bytes will come, if WeCom tells.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        match self.opening.part {
            Some(part) if self.in_parts => Some(part.size),
            _ => self.opening.length,
        }
    }

    /// How many bytes the whole file has, if WeCom tells: more than will come when a part was asked for.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.opening.part.map(|part| part.size).or(self.opening.length)
    }

    /// The next piece, or `None` at the end.
    ///
    /// # Errors
    ///
    /// [`ApiError::Transport`] when the line broke or nothing came for too long; [`ApiError::Unreadable`] when there is
    /// more than the limit. See [`ApiError`] for the rest.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            if let Some(piece) = self.opening.next().await? {
                self.received += piece.len() as u64;
                self.position += piece.len() as u64;
                if self.received > self.limit_bytes {
                    return Err(self.too_large());
                }
                return Ok(Some(piece));
            }
            let Some(part) = self.opening.part else {
                return Ok(None);
            };
            if self.position != part.last + 1 {
                return Err(unreadable(Problem::Truncated));
            }
            if !self.in_parts || self.position == part.size {
                return Ok(None);
            }
            self.opening = self.next_part(part).await?;
        }
    }

    /// Reads it to its end.
    ///
    /// # Errors
    ///
    /// As [`chunk`](Self::chunk).
    pub async fn bytes(mut self) -> Result<Vec<u8>, ApiError> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.chunk().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    async fn next_part(&self, part: ContentRange) -> Result<Opening, ApiError> {
        let range = ByteRange::blocks(self.position, PART_BLOCKS);
        let next = self.client.part(&self.media_id, Some(range)).await?;
        match next.part {
            Some(next_part) if next_part.size == part.size => Ok(next),
            _ => Err(unreadable(Problem::OtherRange)),
        }
    }

    fn too_large(&self) -> ApiError {
        let limit_bytes = self.limit_bytes;
        unreadable(Problem::TooLarge { limit_bytes })
    }
}

fn unreadable(problem: Problem) -> ApiError {
    let call = Call::MediaGet;
    ApiError::Unreadable { call, problem }
}
