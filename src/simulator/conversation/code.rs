//! Codes that come with an event, each good for one message.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/95122>

use std::collections::HashMap;

use rand::Rng;

use super::{Conversation, ServiceState};
use crate::clock::UnixMillis;
use crate::id::{ExternalUserid, OpenKfid};
use crate::simulator::refusal::Refusal;
use crate::simulator::samples::alphanumeric;
use crate::simulator::settings::ReplyRules;

crate::simulator::named::named! {
    /// What a message to a customer was sent for.
    Occasion {
        /// It answers what the customer wrote (`send_msg`).
        Reply = "reply",
        /// The customer entered (`welcome_code`).
        Welcome = "welcome",
        /// The session was put into the pool.
        Pooled = "pooled",
        /// A colleague was given the session, or took it.
        Assigned = "assigned",
        /// The session ended.
        Ended = "ended",
    }
}

/// Every code that was ever given.
#[derive(Debug, Default)]
pub(in crate::simulator) struct Codes(HashMap<Box<str>, Code>);

/// Permission to send one message.
#[derive(Debug)]
pub(super) struct Code {
    pub(super) open_kfid: OpenKfid,
    pub(super) customer: ExternalUserid,
    pub(super) occasion: Occasion,
    issued: UnixMillis,
    used: bool,
}

impl Codes {
    /// Takes note of a code that somebody was given.
    pub(super) fn issue(
        &mut self,
        code: &str,
        open_kfid: &OpenKfid,
        customer: &ExternalUserid,
        occasion: Occasion,
        now: UnixMillis,
    ) {
        let permission = Code {
            open_kfid: open_kfid.clone(),
            customer: customer.clone(),
            occasion,
            issued: now,
            used: false,
        };
        self.0.insert(code.into(), permission);
    }

    pub(super) fn get(&self, code: &str) -> Option<&Code> {
        self.0.get(code)
    }

    pub(super) fn use_up(&mut self, code: &str) {
        if let Some(code) = self.0.get_mut(code) {
            code.used = true;
        }
    }
}

impl Code {
    /// Whether it may be used now, in this conversation.
    pub(super) fn check(
        &self,
        conversation: Option<&Conversation>,
        rules: &ReplyRules,
        now: UnixMillis,
    ) -> Result<(), Refusal> {
        let lifetime = match self.occasion {
            Occasion::Pooled | Occasion::Assigned => rules.msg_code,
            _ => rules.welcome_code,
        };
        if self.used || now.since(self.issued) > lifetime {
            return Err(Refusal::BAD_CODE);
        }
        let needed = match self.occasion {
            Occasion::Pooled => ServiceState::Pool,
            Occasion::Assigned => ServiceState::Servicer,
            Occasion::Ended => ServiceState::Ended,
            Occasion::Reply | Occasion::Welcome => return Ok(()),
        };
        let state = conversation.map(|conversation| conversation.state(rules, now));
        if state.unwrap_or_default() == needed {
            Ok(())
        } else {
            Err(Refusal::WRONG_STATE)
        }
    }

    /// Whether a message of `msgtype` may be sent with it.
    pub(super) fn allows(&self, msgtype: &str) -> bool {
        match self.occasion {
            Occasion::Pooled | Occasion::Assigned => msgtype == "text",
            _ => matches!(msgtype, "text" | "msgmenu"),
        }
    }
}

/// A code that nobody was given before.
pub(in crate::simulator) fn new_code(rng: &mut impl Rng) -> String {
    alphanumeric(24, rng)
}
