//! Hands messages to an HTTP endpoint, signed so that it can tell them from anybody else's.
//!
//! One `POST` per attempt. The endpoint answers 2xx when it has the message, 410 or 422 when it will never take it, and
//! anything else to be asked again. `webhook-id` is the same on every attempt: an endpoint that keeps the ids it has
//! seen acts once.
//!
//! Whether a failure is the message's or the endpoint's decides who waits. An endpoint that cannot be reached, or says
//! itself that it is overloaded, probably fails every message alike: three in a row are taken for an outage, in which no
//! message uses up an attempt.
//!
//! Source: <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url, redirect};
use tokio::time::{Instant, timeout};

use super::{Context, Handler, HandlerError, Outcome};
use crate::clock::{Clock, UnixMillis};
use crate::message::Message;

mod body;
mod signature;

pub use signature::{SigningSecret, SigningSecretError};

/// How much of an answer's body is read, so that the connection can serve the next message; in bytes.
const DRAIN_BYTES: usize = 64 * 1024;

/// Longest time that may take.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// How long an idle connection is kept. Shorter than the 5 s after which common servers (Node, uvicorn) close theirs:
/// a request sent into a closing connection is a failed attempt.
const IDLE_TIME: Duration = Duration::from_secs(4);

/// Longest wait an endpoint may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);

/// Shortest wait an endpoint may ask for: `Retry-After: 0` must not become a hot loop.
const SHORTEST_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Where and how to forward.
#[derive(Clone)]
pub struct Settings {
    /// Endpoint, `http` or `https`. Shown without its query.
    pub url: Url,
    /// Key that requests are signed with.
    pub signing_secret: SigningSecret,
    /// Requests under way at the same time, as in the handler's [`Policy`](super::Policy); so many idle connections are
    /// kept.
    pub concurrency: usize,
    /// Longest time one attempt may take, as in the handler's [`Policy`](super::Policy). Connecting may take half of it,
    /// so that an endpoint that cannot be reached is told from a slow one.
    pub timeout: Duration,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("url", &format_args!("{}", Shown(&self.url)))
            .field("concurrency", &self.concurrency)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Forwards messages over HTTP. See the [module](self).
pub struct Forward {
    http: reqwest::Client,
    url: Url,
    signing_secret: SigningSecret,
    clock: Arc<dyn Clock>,
    traceparent: fn() -> Option<String>,
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Forward({})", Shown(&self.url))
    }
}

/// An address without user, password and query, which may hold secrets.
struct Shown<'a>(&'a Url);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0.origin().ascii_serialization(), self.0.path())
    }
}

/// Why a forwarder could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// The endpoint's address has another scheme.
    #[error("the endpoint's address must begin with http:// or https://")]
    Scheme,
    /// The machine offers no usable TLS, for want of root certificates for example.
    #[error("cannot set up the HTTP client")]
    Client(#[source] reqwest::Error),
}

impl Forward {
    /// Forwards as `settings` say, telling endpoints the time of `clock`. Opens no connection yet.
    ///
    /// # Errors
    ///
    /// See [`ForwardError`].
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, ForwardError> {
        if !matches!(settings.url.scheme(), "http" | "https") {
            return Err(ForwardError::Scheme);
        }
        let http = reqwest::Client::builder()
            .user_agent(concat!("wecom-kf/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(settings.timeout / 2)
            .pool_max_idle_per_host(settings.concurrency)
            .pool_idle_timeout(IDLE_TIME)
            .build()
            .map_err(ForwardError::Client)?;
        Ok(Self {
            http,
            url: settings.url,
            signing_secret: settings.signing_secret,
            clock,
            traceparent: || None,
        })
    }

    /// Sends what `traceparent` returns, if it does, as the header of that name: the span that the attempt belongs to.
    #[must_use]
    pub fn with_traceparent(self, traceparent: fn() -> Option<String>) -> Self {
        Self { traceparent, ..self }
    }

    async fn post(&self, cx: &Context, body: Vec<u8>) -> Result<Response, HandlerError> {
        let id = cx.delivery_id();
        let timestamp = self.clock.now().as_secs();
        let signature = self.signing_secret.sign(id, timestamp, &body);
        let mut request = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(body);
        if let Some(traceparent) = (self.traceparent)() {
            request = request.header("traceparent", traceparent);
        }
        request.send().await.map_err(|error| {
            let unreachable = error.is_connect();
            let source = Box::new(Failure::Transport(error.without_url()));
            if unreachable {
                HandlerError::Unavailable { after: None, source }
            } else {
                HandlerError::Retry { after: None, source }
            }
        })
    }
}

impl Handler for Forward {
    async fn handle(&self, cx: &Context, message: &Message) -> Result<Outcome, HandlerError> {
        let now = self.clock.now();
        let body = body::of(message, &cx.account().app, now).map_err(|failure| HandlerError::Reject {
            source: Box::new(failure),
        })?;
        let response = self.post(cx, body).await?;
        let verdict = judge(&response, now);
        drain(response, cx.deadline()).await;
        verdict
    }
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("message cannot be forwarded: it is no JSON object with a msgtype")]
    NoMessage,
    #[error("endpoint gave no answer")]
    Transport(#[source] reqwest::Error),
    #[error("endpoint answered {}", .0.as_u16())]
    Status(StatusCode),
    #[error("endpoint answered {}, and redirects are not followed", .0.as_u16())]
    Redirect(StatusCode),
}

fn judge(response: &Response, now: UnixMillis) -> Result<Outcome, HandlerError> {
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
fn retry_after(response: &Response, now: UnixMillis) -> Option<Duration> {
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

/// Reads what is left of the answer, within limits. The status has said all there is to know; what exceeds the limits
/// costs only the connection.
async fn drain(mut response: Response, deadline: Instant) {
    let reading = async {
        let mut left = DRAIN_BYTES;
        while let Ok(Some(chunk)) = response.chunk().await {
            let Some(rest) = left.checked_sub(chunk.len()) else {
                break;
            };
            left = rest;
        }
    };
    // Well before the deadline: what the endpoint has taken must not end as a timeout and be sent again.
    let patience = deadline.saturating_duration_since(Instant::now()) / 2;
    let _ = timeout(patience.min(DRAIN_TIME), reading).await;
}

#[cfg(test)]
mod tests;
