//! Whoever is handed messages: the trait to implement, and the handlers that come with the server.
//!
//! Implement [`Handler`] with an `async fn`, or wrap a closure with [`from_fn`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::message::Message;

mod context;

pub use context::Context;

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
/// Deliberately no `std::error::Error` itself, so that `?` turns any error into a [`Retry`](Self::Retry).
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
    /// Whoever stands behind the handler cannot be reached, whatever the message. Uses up no attempt: the message waits
    /// until it is reached again or is too old.
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

impl<E: std::error::Error + Send + Sync + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self::Retry {
            after: None,
            source: Box::new(error),
        }
    }
}

/// A handler whose future is boxed, so that different ones can stand in one list.
pub(crate) trait ErasedHandler: Send + Sync + 'static {
    fn handle<'a>(
        &'a self,
        cx: &'a Context,
        message: &'a Message,
    ) -> Pin<Box<dyn Future<Output = Result<Outcome, HandlerError>> + Send + 'a>>;
}

impl<H: Handler> ErasedHandler for H {
    fn handle<'a>(
        &'a self,
        cx: &'a Context,
        message: &'a Message,
    ) -> Pin<Box<dyn Future<Output = Result<Outcome, HandlerError>> + Send + 'a>> {
        Box::pin(Handler::handle(self, cx, message))
    }
}

/// Makes a handler of a closure.
///
/// ```
/// use wecom_kf::handler::{Outcome, from_fn};
///
/// let handler = from_fn(|cx, message| async move {
///     println!("{} for {}", message.msgid, cx.account());
///     Ok(Outcome::Done)
/// });
/// # fn is_handler(_: impl wecom_kf::handler::Handler) {}
/// # is_handler(handler);
/// ```
pub fn from_fn<F, Fut>(act: F) -> FromFn<F>
where
    F: Fn(Context, Arc<Message>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Outcome, HandlerError>> + Send,
{
    FromFn(act)
}

/// See [`from_fn`].
pub struct FromFn<F>(F);

impl<F> fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FromFn")
    }
}

impl<F, Fut> Handler for FromFn<F>
where
    F: Fn(Context, Arc<Message>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Outcome, HandlerError>> + Send,
{
    async fn handle(&self, cx: &Context, message: &Message) -> Result<Outcome, HandlerError> {
        (self.0)(cx.clone(), Arc::new(message.clone())).await
    }
}
