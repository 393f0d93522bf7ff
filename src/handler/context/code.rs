//! Codes that come with events: each permits one message, for a while.

use std::time::Duration;

use crate::api::{ApiError, ErrCode, TransferTo};
use crate::clock::UnixMillis;
use crate::message::{ChangeType, Content, Event, Message};

/// Life of the code of a welcome and of a farewell.
const SHORT: Duration = Duration::from_secs(20);
/// Life of every other code.
const LONG: Duration = Duration::from_hours(48);
/// WeCom tells when an event happened in whole seconds, rounded down.
const ROUNDED: Duration = Duration::from_secs(1);

/// A code, and until when it may be used. Whoever has it may speak: it is not shown.
pub(super) struct Code {
    pub(super) text: String,
    pub(super) until: UnixMillis,
}

impl Code {
    /// The code that `message` brought, if it brought one.
    pub(super) fn of(message: &Message) -> Option<Self> {
        let Content::Event(event) = &message.content else {
            return None;
        };
        let (text, life) = match event {
            Event::EnterSession(entered) => (entered.welcome_code.as_ref()?, SHORT),
            Event::SessionStatusChange(change) if change.change_type == ChangeType::Ended => {
                (change.msg_code.as_ref()?, SHORT)
            }
            Event::SessionStatusChange(change) => (change.msg_code.as_ref()?, LONG),
            _ => return None,
        };
        (!text.is_empty()).then(|| Self {
            text: text.clone(),
            until: UnixMillis::from_secs(message.send_time).plus(life + ROUNDED),
        })
    }

    /// The code `text`, with which WeCom answered `now` that the session was handed over.
    pub(super) fn of_transfer(text: &str, to: TransferTo<'_>, now: UnixMillis) -> Self {
        let life = match to {
            TransferTo::Ended => SHORT,
            TransferTo::Assistant | TransferTo::Pool | TransferTo::Human(_) => LONG,
        };
        Self {
            text: text.to_owned(),
            until: now.plus(life),
        }
    }
}

/// Whether `error` may mean that a code is of no use any more.
///
/// WeCom does not document which says so. These are what its customer contact API says about welcome codes, and what
/// becomes of a code when the session has moved on.
pub(super) fn is_spent(error: &ApiError) -> bool {
    matches!(
        error.errcode(),
        Some(
            ErrCode::INVALID_WELCOME_CODE
                | ErrCode::CHAT_ALREADY_STARTED
                | ErrCode::WELCOME_ALREADY_SENDING
                | ErrCode::SESSION_ENDED
                | ErrCode::INVALID_TRANSITION
                | ErrCode::SESSION_STATE_FORBIDS
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::samples::{decoded, read};

    fn life(message: &Message) -> Option<u64> {
        let until = Code::of(message)?.until;
        Some(until.since(UnixMillis::from_secs(message.send_time)).as_secs())
    }

    #[test]
    fn each_event_that_may_be_answered_brings_a_code_with_its_life() {
        assert_eq!(life(&read("event_enter_session")), Some(21));
        assert_eq!(life(&read("event_session_status_change")), Some(48 * 3600 + 1));
        assert_eq!(life(&read("event_session_status_change_end")), Some(21));
    }

    #[test]
    fn what_brings_no_code_has_none() {
        for name in [
            "event_enter_session_no_welcome",
            "event_session_status_change_transfer",
            "text",
        ] {
            assert_eq!(life(&read(name)), None, "{name}");
        }
        let empty = decoded(
            r#"{"msgid":"m","origin":4,"msgtype":"event","event":{"event_type":"enter_session","external_userid":"wm1","welcome_code":""}}"#,
        );
        assert_eq!(life(&empty), None);
    }
}
