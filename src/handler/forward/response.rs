//! What the endpoint's answer says about the message, whatever is in it.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::{Body as _, Incoming};
use hyper::header::RETRY_AFTER;
use tokio::time::{Instant, timeout};

use super::Failure;
use crate::clock::UnixMillis;
use crate::handler::{HandlerError, Outcome};

/// How much of an answer's body is read that nobody wants, so that the connection can serve the next message; in bytes.
const DRAIN_BYTES: usize = 64 * 1024;

/// Longest time that may take.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// Longest wait an endpoint may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);

/// Shortest wait an endpoint may ask for: `Retry-After: 0` must not become a hot loop.
const SHORTEST_RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the status says.
pub(super) fn judge(response: &Response<Incoming>, now: UnixMillis) -> Result<Outcome, HandlerError> {
    let status = response.status();
    let source = Box::new(if status.is_redirection() {
        Failure::Redirect(status)
    } else {
        Failure::Status(status)
    });
    match status.as_u16() {
        200..=299 => Ok(Outcome::Done),
        410 | 422 => Err(HandlerError::Reject { source }),
        429 | 502 | 503 | 504 => Err(HandlerError::Unavailable {
            after: retry_after(response, now),
            source,
        }),
        _ => Err(HandlerError::Retry {
            after: retry_after(response, now),
            source,
        }),
    }
}

/// The wait that `Retry-After` asks for, in seconds or until a date; kept between a second and an hour.
fn retry_after(response: &Response<Incoming>, now: UnixMillis) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    let asked = match value.parse() {
        Ok(secs) => Duration::from_secs(secs),
        Err(_) => {
            let date = httpdate::parse_http_date(value).ok()?;
            date.duration_since(now.into()).unwrap_or_default()
        }
    };
    Some(asked.clamp(SHORTEST_RETRY_AFTER, LONGEST_RETRY_AFTER))
}

/// Reads what is left of an answer that nobody wants, within limits; what exceeds them costs only the connection.
/// Returns how it begins.
pub(super) async fn drain(mut answer: Incoming, deadline: Instant) -> Bytes {
    let mut beginning = Bytes::new();
    if answer.is_end_stream() {
        return beginning;
    }
    let reading = async {
        let mut left = DRAIN_BYTES;
        while let Some(Ok(frame)) = answer.frame().await {
            let read = frame.into_data().unwrap_or_default();
            let Some(rest) = left.checked_sub(read.len()) else {
                break;
            };
            left = rest;
            if beginning.is_empty() {
                beginning = read;
            }
        }
    };
    // Well before the deadline: what the endpoint has taken must not end as a timeout and be sent again.
    let patience = deadline.saturating_duration_since(Instant::now()) / 2;
    let _ = timeout(patience.min(DRAIN_TIME), reading).await;
    beginning
}

/// Whether it is a web page that begins so: no program answers one, but a proxy, a login or a wrong address does.
pub(super) fn is_web_page(beginning: &[u8]) -> bool {
    let text = beginning.trim_ascii_start();
    let begins_with = |tag: &[u8]| text.get(..tag.len()).is_some_and(|is| is.eq_ignore_ascii_case(tag));
    begins_with(b"<!doctype html") || begins_with(b"<html")
}
