//! Takes a request to the gateway apart: which app and call, what was shown for it, and the body.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::timeout;
use url::form_urlencoded;

use super::refusal::Refusal;
use crate::api::{BodyError, Call, PassBody};

/// Longest body that is kept, and so can be sent a second time. No call but an upload has a longer one.
pub(super) const KEPT_BYTES: usize = 256 * 1024;

/// Longest upload: WeCom takes 20 MiB, and the form around the file needs some more.
const UPLOAD_BYTES: usize = 20 * 1024 * 1024 + 64 * 1024;

/// For the part of a body that is kept to come.
pub(super) const KEPT_PATIENCE: Duration = Duration::from_secs(15);

/// App and call of a path, as they stand there. Nothing is decoded or tidied up: what does not stand on a list letter by
/// letter is not found.
pub(super) fn address(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix("/apps/")?.split_once("/cgi-bin/")
}

/// A query, decoded. WeCom sees it as we do, because it is encoded again.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// The value of `name`, if it stands there once: of two, another reader might take the other.
    pub(super) fn only(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(key, _)| key == name);
        let (_, value) = values.next()?;
        values.next().is_none().then_some(value)
    }

    /// All but what is for us.
    pub(super) fn passed_on(mut self) -> Vec<(String, String)> {
        self.0.retain(|(key, _)| key != "access_token");
        self.0
    }
}

/// What was shown for a call: the header, or else what SDKs put into the query.
pub(super) fn shown<'a>(headers: &'a HeaderMap, query: &'a Query) -> Option<&'a str> {
    let mut bearers = headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    match (bearers.next(), bearers.next()) {
        (None, _) => query.only("access_token"),
        (only, None) => only,
        (Some(_), Some(_)) => None,
    }
}

/// Reads the body of `call`, or as much of an upload as is kept.
pub(super) async fn body<B>(call: Call, body: B) -> Result<PassBody, Refusal>
where
    B: Body<Data = Bytes> + Send + Sync + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let is_upload = call == Call::MediaUpload;
    let limit = if is_upload { UPLOAD_BYTES } else { KEPT_BYTES };
    // What is announced too long is not read at all.
    if body.size_hint().lower() > limit as u64 {
        return Err(Refusal::TooLarge);
    }
    let mut rest = Limited::new(body, limit);
    let mut kept = BytesMut::new();
    let is_whole = async {
        while let Some(frame) = rest.frame().await {
            let Ok(piece) = frame.map_err(|error| why(&error))?.into_data() else {
                continue;
            };
            kept.extend_from_slice(&piece);
            if is_upload && kept.len() > KEPT_BYTES {
                return Ok(false);
            }
        }
        Ok::<_, BodyError>(true)
    };
    let is_whole = timeout(KEPT_PATIENCE, is_whole).await.map_err(|_| Refusal::Slow)?;
    match is_whole {
        Ok(true) => Ok(PassBody::Whole(kept.freeze())),
        Ok(false) => {
            let first = Some(kept.freeze());
            Ok(PassBody::Streamed(BoxBody::new(Upload { first, rest })))
        }
        Err(BodyError::TooLong) => Err(Refusal::TooLarge),
        Err(_) => Err(Refusal::BrokenOff),
    }
}

fn why(error: &BoxError) -> BodyError {
    if error.is::<LengthLimitError>() {
        BodyError::TooLong
    } else {
        BodyError::BrokenOff
    }
}

/// A body of which the first part has been read.
#[derive(Debug)]
struct Upload<B> {
    first: Option<Bytes>,
    rest: Limited<B>,
}

impl<B> Body for Upload<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
            None => Pin::new(&mut self.rest)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|error| why(&error)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let first = self.first.as_ref().map_or(0, Bytes::len) as u64;
        match self.rest.size_hint().exact() {
            Some(rest) => SizeHint::with_exact(first + rest),
            None => SizeHint::default(),
        }
    }
}
