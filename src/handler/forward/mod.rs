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
//! # Answering
//!
//! A 2xx alone completes the message. With a body that is declared as JSON (`Content-Type: application/json`) the
//! endpoint says what it wants said and done:
//!
//! ```json
//! {
//!   "replies": [
//!     { "msgtype": "text", "text": { "content": "您的订单已发货。" } },
//!     { "msgtype": "image", "image": { "media_id": "…" } }
//!   ],
//!   "transfer": { "service_state": 3, "servicer_userid": "LiMing" }
//! }
//! ```
//!
//! * `replies` are messages in WeCom's own form ([`Outgoing`](crate::api::Outgoing)), sent in order: at most five, of
//!   which a text of more than 2,048 bytes takes several. WeCom takes five after each message of the customer's, within
//!   48 hours.
//! * `transfer` then hands the session over: `service_state` 2 to whoever takes it out of the pool, 3 to the colleague
//!   `servicer_userid`, 1 to us. `"end": true` ends it instead.
//! * `enter_session` and `session_status_change` are answered with the code that they brought: by one text or menu, the
//!   welcome, within 20 seconds. If they brought none they cannot be answered: look for `welcome_code` or `msg_code` in
//!   `data.event` before you do. What a colleague said cannot be answered either.
//! * Each field may be missing or `null`, and others are passed over. JSON without any of them says nothing, and neither
//!   does a body that is not declared as JSON: `ok` in plain text still completes the message. A web page does not.
//!
//! The answer is read whole and checked whole before anything is sent: up to 256 KiB, 128 levels deep. One that is
//! broken, too long, or beyond WeCom's limits is a failed attempt whose reason names the field. So is one that WeCom
//! cannot take now. What WeCom will never take becomes a dead letter at once. While a colleague has the session an
//! answer is dropped, and the message counts as skipped.
//!
//! Whatever the failure, the endpoint is asked again, and each place in `replies` is filled once: what WeCom has accepted
//! there stays, even if the endpoint answers something else by then, and the customer sees nothing twice. An attempt
//! ends with its time-out, which runs while the endpoint thinks and while its replies are sent; what it answers later is
//! not heard.
//!
//! [`answer_schema`] is the JSON Schema of it all. `examples/bots` holds a bot in Python and one in Node.
//!
//! # Distrust
//!
//! An endpoint may be hostile, or its address chosen by somebody who is. Its answers are read within limits of size and
//! time and never unpacked, redirects are not followed, and with [`Reach::PublicOnly`] it cannot be anywhere but on the
//! internet.
//!
//! Source: <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use url::{Position, Url};

use super::{Context, Handler, HandlerError, Outcome, envelope};
use crate::authority::client_config;
use crate::clock::Clock;
use crate::message::Message;
use answer::{Answer, AnswerError};
use connect::{Connector, Lookup, Resolver};

mod answer;
mod connect;
mod public;
mod response;
mod schema;
mod signature;

pub use crate::authority::{Authorities, AuthoritiesError};
pub use public::{NotPublic, Reach};
pub use schema::answer_schema;
pub use signature::{SigningSecret, SigningSecretError};

/// Longest head of an answer, in bytes.
const HEAD_BYTES: usize = 64 * 1024;

/// How long an idle connection is kept. Shorter than the 5 s after which common servers (Node, uvicorn) close theirs:
/// a request sent into a closing connection is a failed attempt.
const IDLE_TIME: Duration = Duration::from_secs(4);

/// Who we are, for the endpoint's log.
const USER: &str = concat!("wecom-kf/", env!("CARGO_PKG_VERSION"));

static WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
static WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
static WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Where and how to forward.
#[derive(Clone)]
pub struct Settings {
    /// Endpoint, `http` or `https`. Shown without its query.
    pub url: Url,
    /// Keys that requests are signed with, all of them at once: an endpoint that changes its key takes either.
    pub signing_secrets: Vec<SigningSecret>,
    /// Where the endpoint may be.
    pub reach: Reach,
    /// Who alone is believed to vouch for the endpoint; `None` for those whom this machine trusts.
    pub authorities: Option<Authorities>,
    /// Requests under way at the same time, as in the handler's [`Policy`](super::Policy); so many idle connections are
    /// kept.
    pub concurrency: usize,
    /// Longest time one attempt may take, as in the handler's [`Policy`](super::Policy). Connecting may take half of it,
    /// so that an endpoint that cannot be reached is told from a slow one.
    pub timeout: Duration,
}

impl Settings {
    fn connect_timeout(&self) -> Duration {
        self.timeout / 2
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("url", &format_args!("{}", Shown(&self.url)))
            .field("reach", &self.reach)
            .field("authorities", &self.authorities)
            .field("concurrency", &self.concurrency)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Forwards messages over HTTP. See the [module](self).
pub struct Forward {
    http: Client<Connector, Full<Bytes>>,
    url: Url,
    uri: Uri,
    /// Who is asked, at which port if it is not the scheme's own.
    host: HeaderValue,
    signing_secrets: Vec<SigningSecret>,
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
    /// The endpoint's address has another scheme, carries credentials, or is too long for a request.
    #[error("the endpoint's address must begin with http:// or https:// and carry no credentials")]
    Address,
    /// The endpoint is not where it may be.
    #[error("the endpoint is out of reach")]
    OutOfReach(#[source] NotPublic),
    /// There is nothing to sign with.
    #[error("at least one signing secret is needed")]
    NoSecret,
    /// The machine offers no usable TLS, for want of root certificates for example.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
}

impl Forward {
    /// Forwards as `settings` say, telling endpoints the time of `clock`. Opens no connection yet.
    ///
    /// # Errors
    ///
    /// See [`ForwardError`].
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, ForwardError> {
        Self::with_lookup(settings, clock, connect::system())
    }

    /// The same, asking `lookup` where names lead.
    fn with_lookup(settings: Settings, clock: Arc<dyn Clock>, lookup: Lookup) -> Result<Self, ForwardError> {
        let tcp = connect::tcp(Resolver::new(lookup, settings.reach), settings.connect_timeout());
        Self::over(tcp, settings, clock)
    }

    /// The same, over connections that `tcp` makes.
    fn over(tcp: HttpConnector<Resolver>, settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, ForwardError> {
        let connect_timeout = settings.connect_timeout();
        let Settings {
            url,
            signing_secrets,
            reach,
            authorities,
            concurrency,
            timeout: _,
        } = settings;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ForwardError::Address);
        }
        let tls = match url.scheme() {
            "https" => client_config(authorities.as_ref()),
            // There is no certificate to believe.
            "http" => client_config(Some(&Authorities::none())),
            _ => return Err(ForwardError::Address),
        };
        let tls = tls.map_err(ForwardError::Tls)?;
        reach.check(&url).map_err(ForwardError::OutOfReach)?;
        if signing_secrets.is_empty() {
            return Err(ForwardError::NoSecret);
        }
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(concurrency)
            .http1_max_buf_size(HEAD_BYTES)
            .build(Connector::new(tcp, tls, connect_timeout));
        let host = url[Position::BeforeHost..Position::AfterPort].parse();
        Ok(Self {
            http,
            host: host.map_err(|_| ForwardError::Address)?,
            uri: Uri::try_from(url.as_str()).map_err(|_| ForwardError::Address)?,
            url,
            signing_secrets,
            clock,
            traceparent: || None,
        })
    }

    /// Sends what `traceparent` returns, if it does, as the header of that name: the span that the attempt belongs to.
    #[must_use]
    pub fn with_traceparent(self, traceparent: fn() -> Option<String>) -> Self {
        Self { traceparent, ..self }
    }

    async fn post(&self, cx: &Context, body: Vec<u8>) -> Result<Response<Incoming>, HandlerError> {
        let id = cx.delivery_id();
        let timestamp = self.clock.now().as_secs();
        let signature = signature::of(&self.signing_secrets, id, timestamp, &body);
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.reserve(7);
        headers.insert(HOST, self.host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(USER));
        headers.insert(&WEBHOOK_ID, value(id.to_owned()));
        headers.insert(&WEBHOOK_TIMESTAMP, timestamp.into());
        headers.insert(&WEBHOOK_SIGNATURE, value(signature));
        if let Some(traceparent) = (self.traceparent)() {
            headers.insert(&TRACEPARENT, value(traceparent));
        }
        self.http.request(request).await.map_err(|error| {
            let unreachable = error.is_connect();
            let source = Box::new(Failure::Transport(error));
            if unreachable {
                HandlerError::Unavailable { after: None, source }
            } else {
                HandlerError::Retry { after: None, source }
            }
        })
    }
}

/// Value of a header: `text` is an id or a signature.
fn value(text: String) -> HeaderValue {
    // Unwrap safety: ids, signatures and span ids are letters and digits.
    HeaderValue::try_from(text).expect("letters and digits")
}

impl Handler for Forward {
    async fn handle(&self, cx: &Context, message: &Message) -> Result<Outcome, HandlerError> {
        let now = self.clock.now();
        let body = envelope::of(message, &cx.account().app, now).map_err(|error| HandlerError::Reject {
            source: Box::new(error),
        })?;
        let response = self.post(cx, body).await?;
        let verdict = response::judge(&response, now);
        if verdict.is_ok() && answer::is_json(response.headers()) {
            let answer = Answer::read(response.into_body()).await?;
            return answer.carry_out(cx, message).await;
        }
        let beginning = response::drain(response.into_body(), cx.deadline()).await;
        if verdict.is_ok() && response::is_web_page(&beginning) {
            return Err(AnswerError::WebPage.into());
        }
        verdict
    }
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("endpoint gave no answer")]
    Transport(#[source] legacy::Error),
    #[error("endpoint answered {}", .0.as_u16())]
    Status(StatusCode),
    #[error("endpoint answered {}, and redirects are not followed", .0.as_u16())]
    Redirect(StatusCode),
}

#[cfg(test)]
mod tests;
