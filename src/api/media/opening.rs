//! Tells a file from a refusal, both of which come with HTTP status 200.
//!
//! A file has a `Content-Disposition`, also if it is a customer's own JSON. What has none is looked into: JSON with an
//! `errcode` is WeCom's answer, a web page is some gateway's.

use std::collections::VecDeque;

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName};

use super::file_name;
use super::range::ContentRange;
use crate::api::answer::Answer;
use crate::api::wire::{Chunks, accept};
use crate::api::{ApiError, Call, Problem};

/// Longest JSON that is looked into. WeCom's refusals have a few hundred bytes.
const REFUSAL_BYTES: usize = 64 * 1024;

/// A file that has begun to arrive.
#[derive(Debug)]
pub(in crate::api) struct Opening {
    pub(super) content_type: Option<Box<str>>,
    pub(super) file_name: Option<Box<str>>,
    /// Bytes of the body, if the answer told.
    pub(super) length: Option<u64>,
    /// Which part it is; `None` if it is the whole.
    pub(super) part: Option<ContentRange>,
    /// What was read in order to look into it.
    read: VecDeque<Bytes>,
    chunks: Chunks,
}

impl Opening {
    /// Reads as much of an answer as it takes to know that it is a file.
    pub(in crate::api) async fn read(call: Call, mut chunks: Chunks, secrets: &[&str]) -> Result<Self, ApiError> {
        let unreadable = |problem| ApiError::Unreadable { call, problem };
        let header = |name: HeaderName| chunks.response().headers().get(name);
        let text = |name| header(name).and_then(|value| value.to_str().ok());
        let disposition = header(CONTENT_DISPOSITION).map(|value| value.as_bytes().to_vec());
        let content_type = text(CONTENT_TYPE).map(Box::from);
        let length = text(CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let part = match chunks.response().status() {
            StatusCode::PARTIAL_CONTENT => {
                let part = text(CONTENT_RANGE).and_then(ContentRange::parse);
                Some(part.ok_or(unreadable(Problem::OtherRange))?)
            }
            _ => None,
        };
        let read = match &disposition {
            Some(_) => VecDeque::new(),
            None if is_web_page(content_type.as_deref()) => return Err(unreadable(Problem::NotAFile)),
            None => look_into(call, &mut chunks, secrets).await?,
        };
        Ok(Self {
            content_type,
            file_name: disposition.and_then(|disposition| file_name::of(&disposition)),
            length,
            part,
            read,
            chunks,
        })
    }

    /// The next piece, or `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        match self.read.pop_front() {
            Some(piece) => Ok(Some(piece)),
            None => self.chunks.next().await,
        }
    }
}

fn is_web_page(content_type: Option<&str>) -> bool {
    content_type.is_some_and(|content_type| content_type.trim_start().to_ascii_lowercase().starts_with("text/html"))
}

/// Reads on while it may be WeCom's refusal. Returns what was read if it is none.
async fn look_into(call: Call, chunks: &mut Chunks, secrets: &[&str]) -> Result<VecDeque<Bytes>, ApiError> {
    let (mut read, mut seen) = (VecDeque::new(), Vec::new());
    while matches!(seen.trim_ascii_start().first(), None | Some(b'{')) && seen.len() <= REFUSAL_BYTES {
        if let Some(piece) = chunks.next().await? {
            seen.extend_from_slice(&piece);
            read.push_back(piece);
            continue;
        }
        let problem = Problem::NotAFile;
        let answered = Answer::parse(seen.clone())
            .ok()
            .filter(|answer| answer.errcode.is_some());
        if let Some(answer) = &answered {
            accept(call, answer, secrets)?;
        }
        if answered.is_some() || seen.trim_ascii().is_empty() {
            return Err(ApiError::Unreadable { call, problem });
        }
        break;
    }
    Ok(read)
}
