//! Why a call failed.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Call, ErrCode, ErrorClass, FieldError};

/// Why a call failed. Never holds a URL, a secret, a token or a body.
///
/// Clones are cheap: everybody who waited for one access token is told the same reason.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// A setting makes no sense.
    #[error("{name} {problem}")]
    Setting {
        /// Field of [`Settings`](super::Settings).
        name: &'static str,
        /// What is wrong with it, as the rest of a sentence.
        problem: &'static str,
    },
    /// The HTTP client could not be made, for want of root certificates for example.
    #[error("the HTTPS client cannot be set up")]
    Setup {
        /// What went wrong.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// Not called: WeCom would not take the request.
    #[error("{call} was not called: {source}")]
    Invalid {
        /// What was to be called.
        call: Call,
        /// Which field is wrong, and how.
        source: FieldError,
    },
    /// WeCom says no.
    #[error("{call} was refused with errcode {code}: {errmsg}")]
    Rejected {
        /// What was called.
        call: Call,
        /// WeCom's reason, to decide by.
        code: ErrCode,
        /// WeCom's explanation, for people only: at most 300 characters, secrets struck out.
        errmsg: Box<str>,
    },
    /// No complete answer came: connection refused or cut, time-out.
    #[error("{call} got no complete answer")]
    Transport {
        /// What was called.
        call: Call,
        /// What went wrong, without the URL.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// An answer came with an HTTP status of failure, so not from the API itself. Redirects are such an answer.
    #[error("{call} was answered with HTTP status {status}")]
    Status {
        /// What was called.
        call: Call,
        /// HTTP status.
        status: u16,
    },
    /// An answer came that is not what the API documents.
    #[error("{call} was answered with {problem}")]
    Unreadable {
        /// What was called.
        call: Call,
        /// What is wrong with it.
        problem: Problem,
    },
    /// Not called: WeCom said 45009 lately, or gettoken was asked in vain too often within a minute.
    #[error("{call} rests for another {} s because it was called too often", after.as_secs_f32().ceil())]
    RateLimited {
        /// What was to be called.
        call: Call,
        /// When it is worth trying again.
        after: Duration,
    },
    /// Not called: no access token could be got, and another is not asked for yet.
    #[error("no access token, and none is asked for within {} s", after.as_secs_f32().ceil())]
    NoAccessToken {
        /// When it is worth trying again.
        after: Duration,
        /// Why there is none.
        source: Box<Self>,
    },
}

/// What is wrong with an answer. Positions, never content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Problem {
    /// Longer than we are willing to read.
    TooLarge {
        /// Most bytes we read.
        limit_bytes: u64,
    },
    /// JSON that ends too early.
    Truncated,
    /// No JSON object.
    NotJson,
    /// No media file, where one should be.
    NotAFile,
    /// Another part of a file than was asked for.
    OtherRange,
    /// JSON, but a field is missing or of another type than documented.
    Shape {
        /// Line where reading stopped, from 1.
        line: usize,
        /// Column where reading stopped.
        column: usize,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { limit_bytes } => write!(f, "more than {limit_bytes} bytes"),
            Self::Truncated => f.write_str("JSON that ends too early"),
            Self::NotJson => f.write_str("something that is no JSON object"),
            Self::NotAFile => f.write_str("something that is no media file"),
            Self::OtherRange => f.write_str("another part of the file than was asked for"),
            Self::Shape { line, column } => {
                write!(
                    f,
                    "JSON of another shape than documented, at line {line} column {column}"
                )
            }
        }
    }
}

impl ApiError {
    /// What this failure asks of the caller.
    ///
    /// Never [`Refresh`](ErrorClass::Refresh): by the time an error comes out, the access token has been replaced and
    /// the call repeated, and all that is left is to wait.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Setting { .. } | Self::Setup { .. } => ErrorClass::Operator,
            Self::Invalid { .. } => ErrorClass::Permanent,
            Self::Rejected { code, .. } => match code.class() {
                ErrorClass::Refresh => ErrorClass::Retry,
                class => class,
            },
            Self::Transport { .. } | Self::Status { .. } | Self::Unreadable { .. } => ErrorClass::Retry,
            Self::RateLimited { .. } => ErrorClass::RetryLong,
            Self::NoAccessToken { source, .. } => source.class(),
        }
    }

    /// Whether the same call may succeed later without anybody doing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.class(), ErrorClass::Retry | ErrorClass::RetryLong)
    }

    /// WeCom's reason, if it gave one: for this call, or for refusing the access token it needed.
    #[must_use]
    pub fn errcode(&self) -> Option<ErrCode> {
        match self {
            Self::Rejected { code, .. } => Some(*code),
            Self::NoAccessToken { source, .. } => source.errcode(),
            _ => None,
        }
    }

    /// Whether the answer was longer than we are willing to read: asking for less helps.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        let Self::Unreadable { problem, .. } = self else {
            return false;
        };
        matches!(problem, Problem::TooLarge { .. })
    }

    /// Whether no whole answer of the API came: if that goes on, asking for less may help.
    #[must_use]
    pub fn is_no_answer(&self) -> bool {
        matches!(
            self,
            Self::Transport { .. } | Self::Status { .. } | Self::Unreadable { .. }
        )
    }

    /// How long calling again is known to be of no use, if it is.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { after, .. } | Self::NoAccessToken { after, .. } => Some(*after),
            _ => None,
        }
    }
}
