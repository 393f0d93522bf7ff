//! Answers as they leave: whole, or damaged on the way.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use bytes::Bytes;
use hyper::body::Frame;
use rand::RngExt;
use rand::seq::IndexedRandom;

use super::calls::Api;
use super::fault::Fault;
use super::wecom::Wecom;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=UTF-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html");

const GATEWAY_ERRORS: [StatusCode; 4] = [
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::BAD_GATEWAY,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::GATEWAY_TIMEOUT,
];

const WEB_PAGE: &str = "<!DOCTYPE html><html><head><title>Welcome</title></head><body>Please log in.</body></html>";

/// What happens to an answer on its way.
#[derive(Clone, Copy, Debug)]
pub(super) enum Damage {
    GatewayError(StatusCode),
    ResetBeforeBody,
    ResetInBody,
    Truncated,
    WebPage,
    /// `Content-Length` is this many percent of the truth.
    WrongLength(usize),
}

impl Wecom {
    /// What happens to the next answer, if anything.
    pub(super) fn damage(&mut self, api: Api) -> Option<Damage> {
        if !self.faults.concern(api) {
            return None;
        }
        if self.suffers(Fault::Http5xx) {
            let status = GATEWAY_ERRORS.choose(&mut self.rng)?;
            return Some(Damage::GatewayError(*status));
        }
        if self.suffers(Fault::WrongContentLength) {
            return Some(Damage::WrongLength(if self.rng.random() { 50 } else { 150 }));
        }
        let others = [
            (Fault::ResetBeforeBody, Damage::ResetBeforeBody),
            (Fault::ResetInBody, Damage::ResetInBody),
            (Fault::TruncatedJson, Damage::Truncated),
            (Fault::Html, Damage::WebPage),
        ];
        others
            .into_iter()
            .find(|(fault, _)| self.suffers(*fault))
            .map(|(_, damage)| damage)
    }
}

/// An answer before it leaves.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Reply {
    pub(super) fn of(content_type: HeaderValue, body: Bytes) -> Self {
        Self {
            status: StatusCode::OK,
            headers: HeaderMap::from_iter([(CONTENT_TYPE, content_type)]),
            body,
        }
    }

    fn with(self, body: impl Into<Body>) -> Response<Body> {
        let mut response = Response::new(body.into());
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

impl From<String> for Reply {
    fn from(json: String) -> Self {
        Self::of(JSON, json.into())
    }
}

fn web_page(status: StatusCode) -> Response<Body> {
    let mut response = Reply::of(HTML, Bytes::new()).with(WEB_PAGE);
    *response.status_mut() = status;
    response
}

/// Closes the connection without a byte of an answer.
pub(super) fn hang_up() -> Response<Body> {
    Response::new(Body::new(Unsteady::broken(Bytes::new())))
}

/// Puts an answer on the wire: status 200 or 206, whatever it says, unless it is damaged.
pub(super) fn respond(mut reply: Reply, damage: Option<Damage>) -> Response<Body> {
    let half = reply.body.len() / 2;
    match damage {
        None => {
            let whole = std::mem::take(&mut reply.body);
            reply.with(whole)
        }
        Some(Damage::GatewayError(status)) => web_page(status),
        Some(Damage::WebPage) => web_page(StatusCode::OK),
        Some(Damage::Truncated) => {
            let first_half = reply.body.slice(..half);
            reply.with(first_half)
        }
        Some(Damage::ResetBeforeBody) => hang_up(),
        Some(Damage::ResetInBody) => {
            let first_half = reply.body.slice(..half);
            reply.with(Body::new(Unsteady::broken(first_half)))
        }
        Some(Damage::WrongLength(percent)) => {
            let length = reply.body.len() * percent / 100;
            let whole = std::mem::take(&mut reply.body);
            let mut response = reply.with(Body::new(Unsteady::whole(whole)));
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
            response
        }
    }
}

/// A body whose length the server cannot know, and which may break off.
struct Unsteady {
    part: Option<Bytes>,
    pause: Pause,
    end: End,
}

/// Whether the server has had the chance to send what it was given.
enum Pause {
    Due,
    Over,
}

enum End {
    Clean,
    Broken,
}

impl Unsteady {
    fn whole(part: Bytes) -> Self {
        Self {
            part: Some(part),
            pause: Pause::Over,
            end: End::Clean,
        }
    }

    /// Breaks off after `part`. If that is empty, not even the head of the answer is sent.
    fn broken(part: Bytes) -> Self {
        let pause = if part.is_empty() { Pause::Over } else { Pause::Due };
        Self {
            part: Some(part).filter(|part| !part.is_empty()),
            pause,
            end: End::Broken,
        }
    }
}

impl hyper::body::Body for Unsteady {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(part) = self.part.take() {
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        if let Pause::Due = self.pause {
            // The server flushes when there is nothing to write; without this it would drop the part unsent.
            self.pause = Pause::Over;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.end {
            End::Clean => Poll::Ready(None),
            End::Broken => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
        }
    }
}
