//! What a stream's answer says about the message, and what a failure says about whom.
//!
//! Hardly anything that can go wrong is the message's fault: a server that is down, a stream that is full or does not
//! exist fails them all alike. Only a message that is too large fails alone, and for ever.

use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::{self, ErrorCode};

use super::Failure;
use crate::handler::HandlerError;

/// Reads a stream's answer.
pub(super) fn read(answer: &[u8]) -> Result<PublishAck, Failure> {
    match serde_json::from_slice(answer) {
        Ok(Response::Ok(ack)) => Ok(ack),
        Ok(Response::Err { error }) => Err(Failure::Refused(error)),
        Err(error) => Err(Failure::NoAck(error)),
    }
}

impl Failure {
    /// What should become of the message.
    pub(super) fn judged(self) -> HandlerError {
        let blame = match &self {
            Self::TooLarge(_) => Blame::Message,
            Self::Refused(error) => blame(error),
            // Somebody answers, but no stream: nobody can tell whom else that concerns.
            Self::NoAck(_) => Blame::Unclear,
            Self::NoConnection(_) | Self::Lost | Self::NoStream | Self::NoAnswer(_) => Blame::Server,
        };
        let source = Box::new(self);
        match blame {
            Blame::Message => HandlerError::Reject { source },
            Blame::Unclear => HandlerError::Retry { after: None, source },
            Blame::Server => HandlerError::Unavailable { after: None, source },
        }
    }
}

/// Whose fault a failure is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Blame {
    Message,
    Server,
    Unclear,
}

/// Codes are like those of HTTP: the server's faults are 5xx. Limits of an account or stream are not always, though they
/// are met by every message.
fn blame(error: &jetstream::Error) -> Blame {
    match error.error_code() {
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM => Blame::Message,
        ErrorCode::ACCOUNT_RESOURCES_EXCEEDED | ErrorCode::STREAM_NOT_MATCH => Blame::Server,
        _ if error.code() >= 500 => Blame::Server,
        _ => Blame::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server answers with, as a failure.
    fn refused(code: u16, err_code: u16, description: &str) -> Failure {
        let error = serde_json::json!({ "code": code, "err_code": err_code, "description": description });
        let answer = serde_json::json!({ "error": error, "stream": "KF", "seq": 0 });
        read(answer.to_string().as_bytes()).unwrap_err()
    }

    fn word(failure: Failure) -> &'static str {
        match failure.judged() {
            HandlerError::Retry { .. } => "retry",
            HandlerError::Unavailable { .. } => "unavailable",
            HandlerError::Reject { .. } => "reject",
        }
    }

    #[test]
    fn an_ack_is_read_also_that_of_a_duplicate() {
        let ack = read(br#"{"stream":"KF","seq":7}"#).unwrap();
        assert_eq!((&*ack.stream, ack.sequence, ack.duplicate), ("KF", 7, false));
        let ack = read(br#"{"stream":"KF","domain":"hub","seq":7,"duplicate":true,"later":1}"#).unwrap();
        assert!(ack.duplicate);
    }

    /// Codes and texts of `server/errors.json` and `server/store.go` of nats-server.
    #[test]
    fn only_a_message_that_is_too_large_is_to_blame() {
        for (code, err_code, description, verdict) in [
            (400, 10_054, "message size exceeds maximum allowed", "reject"),
            (400, 10_097, "header size exceeds maximum allowed of 64k", "reject"),
            (503, 10_077, "maximum messages exceeded", "unavailable"),
            (503, 10_077, "maximum bytes exceeded", "unavailable"),
            (503, 10_023, "insufficient resources", "unavailable"),
            (503, 10_076, "jetstream not enabled", "unavailable"),
            (503, 10_008, "jetstream system temporarily unavailable", "unavailable"),
            (500, 10_047, "insufficient storage resources available", "unavailable"),
            (400, 10_002, "resource limits exceeded for account", "unavailable"),
            (400, 10_060, "expected stream does not match", "unavailable"),
            (400, 10_109, "invalid operation on sealed stream", "retry"),
            (400, 10_071, "wrong last sequence: 7", "retry"),
        ] {
            let failure = refused(code, err_code, description);
            let text = std::error::Error::source(&failure)
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(text.contains(description), "{text}");
            assert_eq!(word(failure), verdict, "{description}");
        }
    }

    #[test]
    fn whoever_answers_without_an_ack_has_not_stored_the_message() {
        for answer in [
            &b""[..],
            b"ok",
            b"{}",
            b"null",
            br#"{"stream":"KF"}"#,
            br#"{"seq":7}"#,
            b"\xff",
        ] {
            let failure = read(answer).unwrap_err();
            assert!(matches!(failure, Failure::NoAck(_)), "{failure:?}");
            assert_eq!(word(failure), "retry");
        }
    }

    #[test]
    fn what_keeps_every_message_from_the_stream_uses_up_no_attempt() {
        for failure in [Failure::Lost, Failure::NoStream, Failure::NoAnswer(None)] {
            assert_eq!(word(failure), "unavailable");
        }
    }

    #[test]
    fn a_server_that_does_not_answer_is_told_with_what_it_complained_about() {
        let failure = Failure::NoAnswer(Some("Permissions Violation for Publish".into()));
        assert!(
            failure.to_string().ends_with("said: Permissions Violation for Publish"),
            "{failure}"
        );
        assert!(!Failure::NoAnswer(None).to_string().contains("said"));
    }
}
