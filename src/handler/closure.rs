//! A closure as a handler.

use std::fmt;
use std::future::Future;

use super::{Context, Handler, HandlerError, Outcome};
use crate::message::Message;

/// Makes a handler of a closure.
///
/// The closure gets copies of its own: a future that borrows the arguments of the closure that made it cannot be
/// promised to be `Send` in today's Rust. Implement [`Handler`] where the copy counts.
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
    F: Fn(Context, Message) -> Fut + Send + Sync + 'static,
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
    F: Fn(Context, Message) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Outcome, HandlerError>> + Send,
{
    async fn handle(&self, cx: &Context, message: &Message) -> Result<Outcome, HandlerError> {
        (self.0)(cx.clone(), message.clone()).await
    }
}
