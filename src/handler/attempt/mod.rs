//! Runs one attempt of a handler and makes a plain value of whatever happens.
//!
//! A handler is somebody else's code. It may panic while its future is made, polled or dropped, it may never finish,
//! and it may fail with an error whose text has no end. None of this gets past [`run`].

use std::any::Any;
use std::future::poll_fn;
use std::iter::successors;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tracing::Instrument as _;
use tracing::field::Empty;

use super::{BoxError, Context, ErasedHandler, HandlerError, Outcome};
use crate::message::Message;
use crate::span;

mod tally;

pub(super) use tally::Tally;

/// Longest text kept of what went wrong, in characters.
const REASON_CHARS: usize = 500;

/// Most causes of an error that are told. An error may be its own cause.
const CAUSES: usize = 16;

/// How one attempt ended.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Attempt {
    /// The handler acted on the message.
    Done,
    /// The handler had no interest in the message.
    Skip,
    /// The message failed, by an error, a panic or a timeout, and may be tried again.
    Retry {
        /// Not before this long, if the handler said so.
        after: Option<Duration>,
        /// What went wrong, in one line of at most 500 characters.
        reason: Box<str>,
    },
    /// Whoever stands behind the handler could not be reached, whatever the message.
    Unavailable {
        /// Not before this long, if the handler said so.
        after: Option<Duration>,
        /// What went wrong, in one line of at most 500 characters.
        reason: Box<str>,
    },
    /// The handler will never take the message.
    Reject {
        /// What is wrong with it, in one line of at most 500 characters.
        reason: Box<str>,
    },
}

impl Attempt {
    fn failed(reason: &str) -> Self {
        Self::Retry {
            after: None,
            reason: one_line(reason),
        }
    }

    /// Its name in metrics.
    fn result(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Skip => "skip",
            Self::Retry { .. } => "retry",
            Self::Unavailable { .. } => "unavailable",
            Self::Reject { .. } => "reject",
        }
    }
}

impl From<Result<Outcome, HandlerError>> for Attempt {
    fn from(ended: Result<Outcome, HandlerError>) -> Self {
        match ended {
            Ok(Outcome::Done) => Self::Done,
            Ok(Outcome::Skip) => Self::Skip,
            Err(HandlerError::Retry { after, source }) => Self::Retry {
                after,
                reason: with_causes(&source),
            },
            Err(HandlerError::Unavailable { after, source }) => Self::Unavailable {
                after,
                reason: with_causes(&source),
            },
            Err(HandlerError::Reject { source }) => Self::Reject {
                reason: with_causes(&source),
            },
        }
    }
}

/// Hands `message` to `handler` in an attempt that `began` just now, and waits until it is done or the deadline has come.
pub(super) async fn run(
    handler: &dyn ErasedHandler,
    cx: &Context,
    message: &Message,
    began: Instant,
    tally: &Tally,
) -> Attempt {
    let name = cx.handler().as_str();
    let span = tracing::info_span!(
        target: span::TARGET,
        "attempt",
        handler = name,
        app = %cx.account().app,
        open_kfid = %cx.account().open_kfid,
        msgid = %message.msgid,
        attempt = cx.attempt(),
        result = Empty,
        otel.status_code = Empty,
    );
    let attempt = contained(handler, cx, message, began).instrument(span.clone()).await;
    span.record("result", attempt.result());
    if !matches!(attempt, Attempt::Done | Attempt::Skip) {
        span::failed(&span);
    }
    tally.count(&attempt, began.elapsed());
    attempt
}

async fn contained(handler: &dyn ErasedHandler, cx: &Context, message: &Message, began: Instant) -> Attempt {
    let mut handling = match caught(|| handler.handle(cx, message)) {
        Ok(handling) => handling,
        Err(panicked) => return panicked,
    };
    // The error becomes text inside the net too: its `Display` is also somebody else's code.
    let ended = poll_fn(
        |task| match caught(|| handling.as_mut().poll(task).map(Attempt::from)) {
            Ok(poll) => poll,
            Err(panicked) => Poll::Ready(panicked),
        },
    );
    let attempt = timeout_at(cx.deadline(), ended).await.unwrap_or_else(|_| {
        let after = Duration::from_millis(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
        Attempt::failed(&format!("not done after {after:?}"))
    });
    // Breaking off drops what the future still holds. A panic on the way changes nothing about how it ended.
    let _ = caught(|| drop(handling));
    attempt
}

/// Makes a failed attempt of a panic in `step`.
fn caught<T>(step: impl FnOnce() -> T) -> Result<T, Attempt> {
    // Unwind safety: after a panic the future is dropped and not looked at again; what the handler itself keeps is
    // behind `&self`, and locks in it are poisoned.
    catch_unwind(AssertUnwindSafe(step)).map_err(|payload| Attempt::failed(&format!("panicked: {}", said(&*payload))))
}

fn said(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or(payload.downcast_ref::<&str>().copied())
        .unwrap_or("without a word")
}

/// The error and its causes, outermost first.
fn with_causes(error: &BoxError) -> Box<str> {
    let mut text = error.to_string();
    for cause in successors(error.source(), |cause| cause.source()).take(CAUSES) {
        let cause = cause.to_string();
        // Some errors print their cause as part of themselves.
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    one_line(&text)
}

fn one_line(text: &str) -> Box<str> {
    let mut chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut line: String = chars.by_ref().take(REASON_CHARS).collect();
    if chars.next().is_some() {
        line.pop();
        line.push('…');
    }
    line.into()
}

#[cfg(test)]
mod tests;
