//! Customers and the account they talk to: who has the session, and what may still be said.
//!
//! A customer's message opens a session and a window of 48 hours, in which five messages may be sent until the next
//! one. The rooms below answer the calls about it; [`Conversation`] itself is pure.
//!
//! Sources: <https://developer.work.weixin.qq.com/document/path/94669> (sessions),
//! <https://developer.work.weixin.qq.com/document/path/94677> (window and budget),
//! <https://developer.work.weixin.qq.com/document/path/94670> (events).

use std::collections::HashMap;

use serde_json::Value;

use super::draft::Draft;
use super::refusal::Refusal;
use super::settings::ReplyRules;
use super::wecom::Wecom;
use crate::clock::UnixMillis;
use crate::id::{ExternalUserid, OpenKfid, ServicerUserid};

mod code;
mod content;
mod fate;
mod menu;
mod people;
mod seen;
mod send;
mod session;

pub use code::Occasion;
pub use fate::UnknownReply;
pub use people::{Customer, Entry, Servicer, UnknownEntry};
pub use seen::Seen;

pub(super) use code::Codes;
pub(super) use people::Change;
pub(super) use seen::Replies;

/// Who has a session.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94669>
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum ServiceState {
    /// 0: it is new, and nobody has answered yet.
    New,
    /// 1: a program answers.
    Assistant,
    /// 2: it waits in the pool for a colleague.
    Pool,
    /// 3: a colleague has it.
    Servicer,
    /// 4: it has ended, or never began.
    #[default]
    Ended,
}

impl ServiceState {
    /// Its number on the wire.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::New => 0,
            Self::Assistant => 1,
            Self::Pool => 2,
            Self::Servicer => 3,
            Self::Ended => 4,
        }
    }

    pub(super) fn of(number: u64) -> Option<Self> {
        let all = [Self::New, Self::Assistant, Self::Pool, Self::Servicer, Self::Ended];
        all.into_iter().find(|state| u64::from(state.number()) == number)
    }

    /// Whether a program may give the session to `next`. The documents name these; their diagram may know of more.
    fn leads_to(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::New, Self::Assistant | Self::Pool | Self::Servicer)
                | (Self::Assistant, Self::Pool | Self::Servicer)
                | (Self::Pool, Self::Servicer)
                | (Self::Servicer, Self::Servicer | Self::Ended)
        )
    }
}

/// One customer on one account.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    /// As it was last changed; time may have ended it since.
    state: ServiceState,
    began: UnixMillis,
    /// Colleague who has it, or had it last.
    servicer: Option<ServicerUserid>,
    /// States this session was given to by API, each of which brings a code only the first time.
    coded: Vec<ServiceState>,
    last_message: Option<UnixMillis>,
    /// Messages sent since.
    sent: u32,
    last_entry: Option<UnixMillis>,
    last_welcome: Option<UnixMillis>,
    /// When each of its sessions began.
    sessions: Vec<UnixMillis>,
    /// Where the customer last came from.
    context: Option<Value>,
}

impl Conversation {
    pub(super) fn state(&self, rules: &ReplyRules, now: UnixMillis) -> ServiceState {
        if now.since(self.began) >= rules.session {
            ServiceState::Ended
        } else {
            self.state
        }
    }

    /// The customer writes, which opens a session if there is none, and the window anew.
    fn customer_writes(&mut self, rules: &ReplyRules, now: UnixMillis) {
        if self.state(rules, now) == ServiceState::Ended {
            self.begin(ServiceState::New, now);
        }
        self.last_message = Some(now);
        self.sent = 0;
    }

    fn begin(&mut self, state: ServiceState, now: UnixMillis) {
        self.state = state;
        self.began = now;
        self.sessions.push(now);
        self.servicer = None;
        self.coded.clear();
    }

    /// A colleague has it, whoever had it before.
    fn taken_by(&mut self, servicer: Option<&str>, rules: &ReplyRules, now: UnixMillis) {
        if self.state(rules, now) == ServiceState::Ended {
            self.begin(ServiceState::Servicer, now);
        }
        self.state = ServiceState::Servicer;
        self.servicer = servicer.map(ServicerUserid::from);
    }

    /// Whether a program may send one more message.
    fn may_be_answered(&self, rules: &ReplyRules, now: UnixMillis) -> Result<(), Refusal> {
        if self.last_message.is_some_and(|at| now.since(at) >= rules.window) {
            return Err(Refusal::WINDOW_CLOSED);
        }
        match self.state(rules, now) {
            ServiceState::New | ServiceState::Assistant => {}
            ServiceState::Pool | ServiceState::Servicer | ServiceState::Ended => return Err(Refusal::WRONG_STATE),
        }
        if self.sent >= rules.budget {
            return Err(Refusal::BUDGET_SPENT);
        }
        Ok(())
    }

    /// Counts a message that was sent; a program that answers has the session.
    fn answered(&mut self) {
        self.sent += 1;
        if self.state == ServiceState::New {
            self.state = ServiceState::Assistant;
        }
    }

    /// Whether an entry now would bring a welcome code: the customer never wrote, and was not welcomed for so long.
    fn may_be_welcomed(&self, rules: &ReplyRules, now: UnixMillis) -> bool {
        let is_long_ago = |at: UnixMillis| now.since(at) >= rules.window;
        self.last_message.is_none() && self.last_welcome.is_none_or(is_long_ago)
    }

    /// Whether the customer entered or wrote lately.
    pub(super) fn is_recent(&self, rules: &ReplyRules, now: UnixMillis) -> bool {
        let contacts = [self.last_message, self.last_entry];
        contacts.into_iter().flatten().any(|at| now.since(at) < rules.window)
    }

    pub(super) fn context(&self) -> Option<&Value> {
        self.context.as_ref()
    }
}

/// Every conversation there ever was.
#[derive(Debug, Default)]
pub(super) struct Conversations(HashMap<OpenKfid, HashMap<ExternalUserid, Conversation>>);

impl Conversations {
    pub(super) fn get(&self, open_kfid: &OpenKfid, customer: &str) -> Option<&Conversation> {
        self.0.get(open_kfid)?.get(customer)
    }

    fn get_mut(&mut self, open_kfid: &OpenKfid, customer: &str) -> Option<&mut Conversation> {
        self.0.get_mut(open_kfid)?.get_mut(customer)
    }

    /// The conversation of these two, begun if there is none.
    fn between(&mut self, open_kfid: &OpenKfid, customer: &ExternalUserid) -> &mut Conversation {
        let customers = self.0.entry(open_kfid.clone()).or_default();
        customers.entry(customer.clone()).or_default()
    }

    /// When every session of an account began.
    pub(super) fn begun(&self, open_kfid: &OpenKfid) -> impl Iterator<Item = UnixMillis> {
        let customers = self.0.get(open_kfid).into_iter().flat_map(HashMap::values);
        customers.flat_map(|conversation| conversation.sessions.iter().copied())
    }

    /// Every account's conversation with `customer`.
    pub(super) fn with<'a>(&'a self, customer: &'a str) -> impl Iterator<Item = &'a Conversation> {
        self.0.values().filter_map(move |customers| customers.get(customer))
    }
}

impl Wecom {
    /// Lets what somebody says change the conversation it belongs to.
    pub(super) fn witness(&mut self, open_kfid: &OpenKfid, draft: &Draft, now: UnixMillis) {
        if let Some((kind, media_id)) = draft.file() {
            self.media.keep_example(media_id, kind, now);
        }
        let text = |name| draft.field(name).and_then(Value::as_str);
        let Some(customer) = draft.external_userid() else {
            self.colleagues.witness(open_kfid, draft);
            return;
        };
        let rules = self.settings.replies;
        let conversation = self.conversations.between(open_kfid, &customer);
        match draft.origin() {
            3 => conversation.customer_writes(&rules, now),
            5 => conversation.taken_by(text("servicer_userid"), &rules, now),
            _ => {}
        }
        let code = match (text("event_type"), draft.field("change_type").and_then(Value::as_u64)) {
            (Some("enter_session"), _) => {
                conversation.last_entry = Some(now);
                conversation.context = Some(draft.entry());
                text("welcome_code").map(|code| (code, Occasion::Welcome))
            }
            (Some("session_status_change"), Some(1)) => {
                conversation.taken_by(text("new_servicer_userid"), &rules, now);
                text("msg_code").map(|code| (code, Occasion::Assigned))
            }
            (Some("session_status_change"), Some(2 | 4)) => {
                conversation.taken_by(text("new_servicer_userid"), &rules, now);
                None
            }
            (Some("session_status_change"), Some(3)) => {
                conversation.state = ServiceState::Ended;
                text("msg_code").map(|code| (code, Occasion::Ended))
            }
            _ => None,
        };
        if let Some((code, occasion)) = code {
            self.codes.issue(code, open_kfid, &customer, occasion, now);
        }
    }
}
