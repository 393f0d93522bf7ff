//! Answers as they leave: whole, or damaged on the way.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, Response, StatusCode};
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

/// Closes the connection without a byte of an answer.
pub(super) fn hang_up() -> Response<Body> {
    answer(StatusCode::OK, JSON, Body::new(Unsteady::broken(Bytes::new())))
}

/// Puts an answer on the wire: status 200, whatever it says, unless it is damaged.
pub(super) fn respond(json: String, damage: Option<Damage>) -> Response<Body> {
    let half = json.floor_char_boundary(json.len() / 2);
    match damage {
        None => answer(StatusCode::OK, JSON, json.into()),
        Some(Damage::GatewayError(status)) => answer(status, HTML, WEB_PAGE.into()),
        Some(Damage::WebPage) => answer(StatusCode::OK, HTML, WEB_PAGE.into()),
        Some(Damage::Truncated) => answer(StatusCode::OK, JSON, json[..half].to_owned().into()),
        Some(Damage::ResetBeforeBody) => hang_up(),
        Some(Damage::ResetInBody) => {
            let first_half = Bytes::from(json).slice(..half);
            answer(StatusCode::OK, JSON, Body::new(Unsteady::broken(first_half)))
        }
        Some(Damage::WrongLength(percent)) => {
            let length = json.len() * percent / 100;
            let mut response = answer(StatusCode::OK, JSON, Body::new(Unsteady::whole(json.into())));
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
            response
        }
    }
}

fn answer(status: StatusCode, content_type: HeaderValue, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
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
