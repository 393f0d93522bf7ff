//! Why a handler could not speak, and what that makes of its message.

use std::time::Duration;

use crate::api::{ApiError, ErrorClass, FieldError};
use crate::handler::{BoxError, HandlerError};
use crate::id::{AppName, ServicerUserid};
use crate::store::StoreError;

/// Messages that WeCom takes after each of the customer's.
pub(in crate::handler) const BUDGET: usize = 5;

/// Why something was not said.
///
/// `?` makes a [`HandlerError`] of it: what will never be said is rejected, and so kept as a dead letter at once; what
/// WeCom cannot take now counts as [`Unavailable`](HandlerError::Unavailable), so that an outage uses up no attempts.
/// Whoever can do without an answer looks for the variant:
///
/// ```
/// use wecom_kf::handler::{Context, HandlerError, Outcome, ReplyError};
///
/// async fn greet(cx: &Context) -> Result<Outcome, HandlerError> {
///     match cx.welcome("您好，请问有什么可以帮您？").await {
///         Ok(_) => Ok(Outcome::Done),
///         Err(ReplyError::NoCode | ReplyError::CodeExpired) => Ok(Outcome::Skip),
///         Err(error) => Err(error.into()),
///     }
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// There is no client to speak through: the handler is tried outside of an [`App`](crate::app::App), without a
    /// [`Desk`](super::Desk) for this application.
    #[error("there is no client for app {0}")]
    NoClient(AppName),
    /// The message concerns no customer, so there is nobody to answer.
    #[error("the message concerns no customer")]
    NoCustomer,
    /// The message brought no code: it is no event that may be answered so, or the customer has been welcomed lately.
    #[error("the message brought no code to answer with")]
    NoCode,
    /// What is to be said is beyond WeCom's limits. Nothing was sent.
    #[error("cannot be sent")]
    Invalid(#[source] FieldError),
    /// More than WeCom takes before the customer writes again.
    #[error("{needed} more messages where {left} of {BUDGET} are left until the customer writes again")]
    OverBudget {
        /// Messages that were to be sent.
        needed: usize,
        /// Messages that could be sent.
        left: usize,
    },
    /// The customer last wrote more than 48 hours ago.
    #[error("the customer last wrote more than 48 hours ago")]
    WindowClosed,
    /// A colleague answers this customer, or will: what a handler says would come between them.
    #[error("the session is with a colleague, or waits for one")]
    SessionWithHuman {
        /// Which colleague; `None` while the session waits in the pool.
        servicer_userid: Option<ServicerUserid>,
    },
    /// The session is over, until the customer writes again.
    #[error("the session is over")]
    SessionEnded,
    /// The event's code is of no use any more: older than its 20 seconds (or 48 hours), used by somebody else, or the
    /// session has moved on.
    #[error("the event's code has expired, or was used")]
    CodeExpired,
    /// WeCom says no, for a reason that stays.
    #[error("WeCom refuses it")]
    Refused {
        /// What it says.
        source: ApiError,
    },
    /// WeCom cannot take it now: it is busy or out of reach, has been called too often, or refuses this app altogether.
    #[error("WeCom cannot take it now")]
    Unavailable {
        /// What went wrong.
        source: ApiError,
    },
    /// It cannot be looked up or remembered what was said.
    #[error("what was said cannot be remembered")]
    Store(#[from] StoreError),
}

impl From<ApiError> for ReplyError {
    fn from(error: ApiError) -> Self {
        match (Fate::of(&error), error) {
            (_, ApiError::Invalid { source, .. }) => Self::Invalid(source),
            (Fate::Never, source) => Self::Refused { source },
            (Fate::Later(_), source) => Self::Unavailable { source },
        }
    }
}

impl ReplyError {
    fn fate(&self) -> Fate {
        match self {
            Self::Unavailable { source } => Fate::of(source),
            Self::Store(_) => Fate::Later(None),
            _ => Fate::Never,
        }
    }
}

/// Whether it is worth trying again.
enum Fate {
    /// It is not: the same will fail again.
    Never,
    /// It is, whatever the message. Not before this long, if given.
    Later(Option<Duration>),
}

impl Fate {
    fn of(error: &ApiError) -> Self {
        match error.class() {
            ErrorClass::Permanent => Self::Never,
            // Also where a person has to change something: nothing is buried while they do.
            _ => Self::Later(error.retry_after()),
        }
    }
}

/// What `?` makes of an error: errors of replies and of WeCom's API know what they mean, any other is tried again.
impl<E: std::error::Error + Send + Sync + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        let source: BoxError = Box::new(error);
        let of_reply = source.downcast_ref().map(ReplyError::fate);
        match of_reply.or_else(|| source.downcast_ref().map(Fate::of)) {
            None => Self::Retry { after: None, source },
            Some(Fate::Never) => Self::Reject { source },
            Some(Fate::Later(after)) => Self::Unavailable { after, source },
        }
    }
}
