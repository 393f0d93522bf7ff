//! Whoever is handed messages: the trait to implement, and the handlers that come with the server.
//!
//! Implement [`Handler`] with an `async fn`, wrap a closure with [`from_fn`], or implement [`TypedHandler`] to have one
//! method per type of message. A [`Registration`] then gives the handler its durable name, says which messages it wants
//! and how patiently it is tried. A handler answers through its [`Context`]. Built in are [`LogHandler`],
//! [`Forward`], [`AutoReply`], and with the feature `nats` one that publishes to a JetStream stream.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::message::Message;

mod attempt;
pub mod auto_reply;
mod closure;
mod context;
mod envelope;
mod filter;
pub mod forward;
mod log;
#[cfg(feature = "nats")]
pub mod nats;
mod registration;
mod roster;
mod typed;

#[cfg(test)]
mod samples;

pub use attempt::Attempt;
pub use auto_reply::AutoReply;
pub use closure::{FromFn, from_fn};
pub use context::{Budget, Context, Desk, FailedReply, ReplyError, Sent};
pub use filter::Filter;
pub use forward::{Forward, ForwardError, SigningSecret};
pub use log::LogHandler;
pub use registration::{Policy, Registration};
pub use roster::{Member, Roster};
pub use typed::{Typed, TypedHandler};

/// Is handed messages.
///
/// ```no_run
/// use wecom_kf::handler::{Context, Handler, HandlerError, Outcome};
/// use wecom_kf::message::Message;
///
/// struct Greeter;
///
/// impl Handler for Greeter {
///     async fn handle(&self, cx: &Context, message: &Message) -> Result<Outcome, HandlerError> {
///         println!("{} on attempt {}", message.msgid, cx.attempt());
///         Ok(Outcome::Done)
///     }
/// }
/// ```
pub trait Handler: Send + Sync + 'static {
    /// Acts on `message`. Messages of one customer come one at a time, in order; those of different customers come
    /// concurrently.
    ///
    /// The same message comes again after a failure, a timeout or a crash: acting twice on one
    /// [`delivery_id`](Context::delivery_id) is for the handler to avoid.
    ///
    /// The future is dropped at the [`deadline`](Context::deadline).
    ///
    /// It may block its thread: an attempt that takes time has one to itself, unless the handler was registered
    /// [`on_shared_threads`](Registration::on_shared_threads). But a blocked thread cannot be interrupted. Beyond the
    /// deadline it counts as failing, yet its customer waits until it returns, because two messages of one customer are
    /// never handled at once, and it takes up one of the handler's [`concurrency`](Policy::concurrency) until then. What
    /// it returns late still counts.
    ///
    /// # Errors
    ///
    /// See [`HandlerError`]: any error is tried again unless it is a [`HandlerError::Reject`].
    fn handle(&self, cx: &Context, message: &Message) -> impl Future<Output = Result<Outcome, HandlerError>> + Send;
}

/// How a handler took a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Acted on it.
    Done,
    /// Had no interest in it. Counted apart, otherwise the same.
    Skip,
}

/// Source of a [`HandlerError`].
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a handler could not take a message, and what should become of it.
///
/// Deliberately no `std::error::Error` itself, so that `?` makes one of any error: a [`Retry`](Self::Retry), unless it is a
/// [`ReplyError`] or an [`ApiError`](crate::api::ApiError), which know better.
///
/// The text of the source and of its causes ends up in logs and dead letters: keep message texts, customer ids and
/// secrets out of it.
#[derive(Debug)]
#[non_exhaustive]
pub enum HandlerError {
    /// This message failed; try it again. Uses up an attempt, unless the handler is failing for everybody.
    Retry {
        /// Not before this long, if given; else by the retry schedule.
        after: Option<Duration>,
        /// What went wrong.
        source: BoxError,
    },
    /// Whoever stands behind the handler cannot be reached, probably whatever the message. Three in a row are taken for an
    /// outage: from then on no attempt is used up, and messages wait until it is over or they are too old.
    Unavailable {
        /// Not before this long, if given.
        after: Option<Duration>,
        /// What went wrong.
        source: BoxError,
    },
    /// This message will never be taken: keep it as a dead letter at once.
    Reject {
        /// What is wrong with it.
        source: BoxError,
    },
}

/// A handler whose future is boxed, so that different ones can stand in one list.
pub(crate) trait ErasedHandler: Send + Sync + 'static {
    fn handle<'a>(&'a self, cx: &'a Context, message: &'a Message) -> Handling<'a>;
}

/// A handler at work on one message.
type Handling<'a> = Pin<Box<dyn Future<Output = Result<Outcome, HandlerError>> + Send + 'a>>;

impl<H: Handler> ErasedHandler for H {
    fn handle<'a>(&'a self, cx: &'a Context, message: &'a Message) -> Handling<'a> {
        Box::pin(Handler::handle(self, cx, message))
    }
}
