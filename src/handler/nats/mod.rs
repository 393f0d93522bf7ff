//! Publishes messages to a stream of NATS JetStream.
//!
//! One message is published per attempt, with the body that [`forward`](super::forward) posts, and the attempt succeeds
//! when the stream has confirmed it. Headers are
//!
//! | header | value |
//! |---|---|
//! | `Nats-Msg-Id` | id of the delivery, the same on every attempt and replica: what `forward` calls `webhook-id` |
//! | `Nats-Expected-Stream` | the stream, if one is named in the settings |
//! | `Content-Type` | `application/json` |
//! | `traceparent` | span that the attempt belongs to, where traces are sent |
//!
//! # Guarantees
//!
//! At least once, in order per customer: the next message of a customer is published when the stream has confirmed the
//! last. When a confirmation gets lost the message is published again, and the stream, which knows the `Nats-Msg-Id`,
//! keeps one. It knows an id only for its `duplicate_window`, two minutes unless it was made with another. We go on for as
//! long as `give_up_after`: after an outage that is longer than the window a message whose confirmation was lost stands in
//! the stream twice, and whoever reads should know the ids it has seen.
//!
//! A confirmation says that the server has the message, not that it is on its disk: a server syncs every two minutes unless
//! it was told otherwise (`sync_interval`), and what a power cut takes from it we have counted as done. A stream with three
//! replicas survives that.
//!
//! # Failures
//!
//! What keeps every message from the stream uses up no attempt once three in a row have failed: no server, wrong
//! credentials, no stream that takes the subject, a stream that is full, no answer in time. A message larger than the
//! server or the stream takes becomes a dead letter at once. Messages of types that no stream takes are better not handed
//! to this handler: see its [`Filter`](super::Filter).
//!
//! Sources: <https://docs.nats.io/reference/reference-protocols/nats-protocol>,
//! <https://docs.nats.io/nats-concepts/jetstream/headers>,
//! <https://docs.nats.io/using-nats/developer/develop_jetstream/model_deep_dive>

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_nats::header::{NATS_EXPECTED_STREAM, NATS_MESSAGE_ID};
use async_nats::{HeaderMap, Request, RequestError, jetstream};
use tokio::time::Instant;
use url::Url;

use super::{Context, Handler, HandlerError, Outcome, envelope};
use crate::authority::{Authorities, client_config};
use crate::clock::Clock;
use crate::message::Message;
use link::{ConnectFailure, Link};

mod ack;
mod credentials;
mod link;
mod subject;

pub use credentials::{Credentials, Key, KeyError};
pub use subject::{SubjectTemplate, SubjectTemplateError};

/// Longest name of a stream, in bytes.
const LONGEST_STREAM_NAME: usize = 255;

/// Part of an attempt's time that is kept back, so that a server that does not answer is told from a handler that hangs.
const RESERVE: u32 = 10;

/// Where and how to publish.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Servers of one cluster, any of which will do: `nats://host:4222`, which is TLS if the server asks for it, or
    /// `tls://host:4222`, which is never anything else. All of the same scheme, without credentials.
    pub servers: Vec<Url>,
    /// Stream that must be the one which takes the messages; any if `None`.
    pub stream: Option<StreamName>,
    /// Subjects to publish on.
    pub subject: SubjectTemplate,
    /// How we make ourselves known.
    pub credentials: Credentials,
    /// Who alone is believed to vouch for the servers; `None` for those whom this machine trusts.
    pub authorities: Option<Authorities>,
    /// Longest time one attempt may take, as in the handler's [`Policy`](super::Policy). Connecting may take half of it.
    pub timeout: Duration,
}

/// Name of a stream: 1 to 255 printable characters of ASCII without space, `.`, `*`, `>`, `/` and `\`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamName(Box<str>);

/// The text is no name of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("must be 1 to {LONGEST_STREAM_NAME} characters of ASCII without space, '.', '*', '>', '/' and '\\'")]
pub struct StreamNameError;

impl StreamName {
    /// Parses a name.
    ///
    /// # Errors
    ///
    /// [`StreamNameError`].
    pub fn new(name: &str) -> Result<Self, StreamNameError> {
        let is_legal = |byte: u8| byte.is_ascii_graphic() && !b".*>/\\".contains(&byte);
        if (1..=LONGEST_STREAM_NAME).contains(&name.len()) && name.bytes().all(is_legal) {
            Ok(Self(name.into()))
        } else {
            Err(StreamNameError)
        }
    }
}

impl FromStr for StreamName {
    type Err = StreamNameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a publisher could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NatsError {
    /// There is no server, or the address of one has another scheme or carries credentials.
    #[error("addresses of servers must all begin with nats://, or all with tls://, and carry no credentials")]
    Servers,
    /// The machine offers no usable TLS, for want of root certificates for example.
    #[error("cannot set up TLS")]
    Tls(#[source] async_nats::rustls::Error),
}

/// Publishes messages. See the [module](self).
pub struct Nats {
    link: Link,
    stream: Option<StreamName>,
    subject: SubjectTemplate,
    /// Kept back of each attempt's time.
    reserve: Duration,
    clock: Arc<dyn Clock>,
    traceparent: fn() -> Option<String>,
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nats({} on {})", self.subject, self.link)
    }
}

impl Nats {
    /// Publishes as `settings` say; messages without a time of their own are dated by `clock`. Connects to no server yet.
    ///
    /// # Errors
    ///
    /// See [`NatsError`].
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, NatsError> {
        let Settings {
            servers,
            stream,
            subject,
            credentials,
            authorities,
            timeout,
        } = settings;
        let servers = link::servers(&servers).ok_or(NatsError::Servers)?;
        let tls = client_config(authorities.as_ref()).map_err(NatsError::Tls)?;
        Ok(Self {
            link: Link::new(servers, credentials, tls, timeout / 2),
            stream,
            subject,
            reserve: timeout / RESERVE,
            clock,
            traceparent: || None,
        })
    }

    /// Sends what `traceparent` returns, if it does, as the header of that name: the span that the attempt belongs to.
    #[must_use]
    pub fn with_traceparent(self, traceparent: fn() -> Option<String>) -> Self {
        Self { traceparent, ..self }
    }

    /// Makes sure that a server can be reached and lets us in.
    ///
    /// # Errors
    ///
    /// What keeps us out.
    pub async fn check(&self) -> Result<(), super::BoxError> {
        self.link.connection().await.map(drop).map_err(Into::into)
    }

    fn headers(&self, cx: &Context) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, cx.delivery_id());
        if let Some(StreamName(stream)) = &self.stream {
            headers.insert(NATS_EXPECTED_STREAM, &**stream);
        }
        headers.insert("Content-Type", "application/json");
        if let Some(traceparent) = (self.traceparent)() {
            headers.insert("traceparent", traceparent);
        }
        headers
    }

    async fn publish(&self, cx: &Context, subject: String, body: Vec<u8>) -> Result<(), Failure> {
        let connection = self.link.connection().await?;
        let left = (cx.deadline() - self.reserve).saturating_duration_since(Instant::now());
        let request = Request::new()
            .headers(self.headers(cx))
            .payload(body.into())
            .timeout(Some(left));
        let answer = connection.ask(subject, request).await?;
        let ack = ack::read(&answer.payload)?;
        tracing::debug!(
            handler = %cx.handler(),
            stream = ack.stream,
            sequence = ack.sequence,
            duplicate = ack.duplicate,
            "stream has the message"
        );
        Ok(())
    }
}

impl Handler for Nats {
    async fn handle(&self, cx: &Context, message: &Message) -> Result<Outcome, HandlerError> {
        let app = &cx.account().app;
        let body = envelope::of(message, app, self.clock.now()).map_err(|error| HandlerError::Reject {
            source: Box::new(error),
        })?;
        let published = self.publish(cx, self.subject.of(app, message), body).await;
        published.map(|()| Outcome::Done).map_err(Failure::judged)
    }
}

/// Why a message is not known to be in the stream.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no connection to NATS")]
    NoConnection(#[source] Arc<ConnectFailure>),
    #[error("connection to NATS was lost before the stream confirmed the message")]
    Lost,
    #[error("no stream takes the subject of this message, or it has no leader now")]
    NoStream,
    #[error("stream did not confirm the message in time{}", complaint(.0.as_deref()))]
    NoAnswer(Option<Box<str>>),
    #[error("message is larger than the NATS server takes")]
    TooLarge(#[source] RequestError),
    #[error("stream refused the message")]
    Refused(#[source] jetstream::Error),
    #[error("somebody answered on the subject who is no stream")]
    NoAck(#[source] serde_json::Error),
}

fn complaint(said: Option<&str>) -> String {
    said.map(|said| format!("; the server last said: {said}"))
        .unwrap_or_default()
}
