//! What the gateway says when the answer is its own: a status for people and proxies, and a body in WeCom's shape for
//! SDKs, whose `errcode` is the one of WeCom's that asks the same of the caller.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use serde_json::json;

use crate::api::{ApiError, BodyError, ErrCode, PassError};

/// Why a request is not answered by WeCom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// Neither a key nor a ticket came with a call.
    Stranger,
    /// The ticket has ended.
    Ended,
    /// `gettoken` was not shown a key.
    NoKey,
    /// No such app, or a call that is not on the list.
    NotFound,
    /// Neither `GET` nor `POST`.
    Method,
    /// More than WeCom takes.
    TooLarge,
    /// The request did not come whole.
    BrokenOff,
    /// The request took too long to come.
    Slow,
    /// Too many at the same time.
    Crowded,
    /// WeCom wants to be left alone for a while.
    Resting(Duration),
    /// There is no access token for now.
    NoAccessToken(Duration),
    /// WeCom did not answer in time.
    Late,
    /// WeCom cannot be reached, or says nothing that makes sense.
    Upstream,
}

impl From<&PassError> for Refusal {
    fn from(error: &PassError) -> Self {
        match error {
            PassError::Crowded { .. } => Self::Crowded,
            PassError::Body {
                source: BodyError::TooLong,
                ..
            } => Self::TooLarge,
            PassError::Body { .. } => Self::BrokenOff,
            PassError::Late { .. } => Self::Late,
            PassError::Api(ApiError::RateLimited { after, .. }) => Self::Resting(*after),
            PassError::Api(ApiError::NoAccessToken { after, .. }) => Self::NoAccessToken(*after),
            _ => Self::Upstream,
        }
    }
}

impl Refusal {
    /// Its label in the metric, its status, the `errcode`, and what is wrong.
    fn terms(self) -> (&'static str, StatusCode, ErrCode, &'static str) {
        match self {
            Self::Stranger => (
                "unauthorized",
                StatusCode::UNAUTHORIZED,
                ErrCode::INVALID_ACCESS_TOKEN,
                "no valid key: show one as `Authorization: Bearer` or as access_token, once",
            ),
            Self::Ended => (
                "expired",
                StatusCode::UNAUTHORIZED,
                ErrCode::ACCESS_TOKEN_EXPIRED,
                "this access_token has expired: ask gettoken for another",
            ),
            Self::NoKey => (
                "unauthorized",
                StatusCode::UNAUTHORIZED,
                ErrCode::INVALID_SECRET,
                "no valid key: gettoken takes one as corpsecret, once",
            ),
            Self::NotFound => (
                "not_found",
                StatusCode::NOT_FOUND,
                ErrCode::API_FORBIDDEN,
                "no such app, or no call that is passed on",
            ),
            Self::Method => (
                "method",
                StatusCode::METHOD_NOT_ALLOWED,
                ErrCode::INVALID_PARAMETER,
                "calls are made by GET or POST",
            ),
            Self::TooLarge => (
                "too_large",
                StatusCode::PAYLOAD_TOO_LARGE,
                ErrCode::BODY_TOO_LARGE,
                "the request is too large",
            ),
            Self::BrokenOff => (
                "incomplete",
                StatusCode::BAD_REQUEST,
                ErrCode::INVALID_PARAMETER,
                "the request broke off",
            ),
            Self::Slow => (
                "slow",
                StatusCode::REQUEST_TIMEOUT,
                ErrCode::SYSTEM_BUSY,
                "the request took too long to come",
            ),
            Self::Crowded => (
                "crowded",
                StatusCode::SERVICE_UNAVAILABLE,
                ErrCode::CONCURRENCY_LIMIT,
                "too many calls at the same time: try again in a moment",
            ),
            Self::Resting(_) => (
                "rate_limited",
                StatusCode::TOO_MANY_REQUESTS,
                ErrCode::FREQUENCY_LIMIT,
                "WeCom was called too often: see Retry-After",
            ),
            Self::NoAccessToken(_) => (
                "no_access_token",
                StatusCode::SERVICE_UNAVAILABLE,
                ErrCode::SYSTEM_BUSY,
                "WeCom gives no access token: see Retry-After, and the server's log",
            ),
            Self::Late => (
                "timeout",
                StatusCode::GATEWAY_TIMEOUT,
                ErrCode::SYSTEM_BUSY,
                "WeCom did not answer in time",
            ),
            Self::Upstream => (
                "upstream",
                StatusCode::BAD_GATEWAY,
                ErrCode::SYSTEM_BUSY,
                "WeCom cannot be reached, or makes no sense",
            ),
        }
    }

    /// Its label in the metric.
    pub(super) fn result(self) -> &'static str {
        self.terms().0
    }

    fn header(self) -> Option<(HeaderName, HeaderValue)> {
        // Rounded up, since asking too early is of no use.
        let seconds = |after: Duration| HeaderValue::from(after.as_secs() + 1);
        match self {
            Self::Stranger | Self::Ended | Self::NoKey => {
                Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))
            }
            Self::Method => Some((header::ALLOW, HeaderValue::from_static("GET,POST"))),
            Self::Crowded => Some((header::RETRY_AFTER, seconds(Duration::ZERO))),
            Self::Resting(after) | Self::NoAccessToken(after) => Some((header::RETRY_AFTER, seconds(after))),
            _ => None,
        }
    }

    /// Says it.
    pub(super) fn answer(self) -> Response<Bytes> {
        let (_, status, errcode, errmsg) = self.terms();
        let errmsg = format!("wecom-kf gateway: {errmsg}");
        let mut answer = json_answer(&json!({ "errcode": errcode.0, "errmsg": errmsg }));
        *answer.status_mut() = status;
        answer.headers_mut().extend(self.header());
        answer
    }
}

/// `body` as WeCom writes its answers.
pub(super) fn json_answer(body: &serde_json::Value) -> Response<Bytes> {
    let mut answer = Response::new(body.to_string().into());
    let headers = answer.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=UTF-8"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
