//! Why a request was refused, sorted by what it deserves as an answer. The peer is told none of the detail.

use super::cipher::FrameError;
use super::xml::XmlError;

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is no callback at all.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// It has the shape of a callback, but is not one of ours.
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

impl Refusal {
    /// The reason in one word, for a metric's label.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Shape(ShapeError::Missing { .. }) => "missing",
            Self::Shape(ShapeError::Repeated { .. }) => "repeated",
            Self::Shape(ShapeError::Misshapen { .. }) => "misshapen",
            Self::Shape(ShapeError::Envelope(_)) => "envelope",
            Self::Verify(VerifyError::Signature) => "signature",
            Self::Verify(VerifyError::Stale) => "stale",
            Self::Verify(VerifyError::Frame(_)) => "frame",
            Self::Verify(VerifyError::Receiver) => "receiver",
            Self::Verify(VerifyError::Echo) => "echo",
        }
    }
}

/// What a request lacks to be a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// A query parameter, or the `Encrypt` of the body, is not there.
    #[error("{field} is missing")]
    Missing {
        /// Name on the wire.
        field: &'static str,
    },
    /// A query parameter, or the `Encrypt` of the body, is there more than once, so that readers could differ about it.
    #[error("{field} is repeated")]
    Repeated {
        /// Name on the wire.
        field: &'static str,
    },
    /// A query parameter, or the `Encrypt` of the body, does not look like one.
    #[error("{field} does not have the documented shape")]
    Misshapen {
        /// Name on the wire.
        field: &'static str,
    },
    /// The body is not the XML that it should be.
    #[error("body is no envelope")]
    Envelope(#[from] XmlError),
}

/// Which check a well-shaped request failed, in the order in which they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The signature does not match. Carries nothing on purpose.
    #[error("signature does not match")]
    Signature,
    /// Signed at a time too far from ours.
    #[error("timestamp is too far from our clock")]
    Stale,
    /// What was signed does not decrypt to the documented frame: with the right token, a sign of a wrong key.
    #[error("decrypted frame is malformed")]
    Frame(#[from] FrameError),
    /// Correctly signed, but for another receiver.
    #[error("message is for another receiver")]
    Receiver,
    /// Asks for a notification to be decrypted as if it were the check of a URL.
    #[error("echostr holds a notification")]
    Echo,
}
