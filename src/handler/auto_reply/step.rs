//! What to do about a message: everything is decided here, and nothing done.

use super::{Answer, Hours, Notice, Settings, rule};
use crate::api::EventMessage;
use crate::clock::UnixMillis;
use crate::message::{Content, Event, Message, Origin};

/// What to do about a message. The words name the occasion: they are a metric's label, and a notice's topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step<'a> {
    /// Welcome whoever came.
    Welcome(&'a EventMessage),
    /// Say this.
    Reply(&'static str, &'a EventMessage),
    /// Say this, unless it was said lately.
    Notice(&'static str, &'a Notice),
    /// Hand the session to a person.
    HandOver,
}

/// What is said while nobody is there.
const CLOSED: &str = "closed";

impl Settings {
    /// What to do about `message`, if anything.
    pub(super) fn step(&self, message: &Message) -> Option<Step<'_>> {
        let text = match &message.content {
            Content::Event(Event::EnterSession(_)) => return self.welcome.as_ref().map(Step::Welcome),
            Content::Event(_) => return None,
            Content::Text(text) => Some(text),
            _ => None,
        };
        // What colleagues wrote is not for us to answer.
        if message.origin != Origin::Customer {
            return None;
        }
        let closed = self.closed_at(UnixMillis::from_secs(message.send_time));
        let rule = text.and_then(|text| rule::deciding(&self.rules, text));
        match (rule.map(|rule| &rule.answer), closed) {
            (Some(Answer::Say(content)), _) => Some(Step::Reply("rule", content)),
            (Some(Answer::HandOver), Some(closed)) => Some(Step::Reply(CLOSED, &closed.content)),
            (Some(Answer::HandOver), None) => Some(Step::HandOver),
            (None, Some(closed)) => Some(Step::Notice(CLOSED, closed)),
            (None, None) => self
                .fallback
                .as_ref()
                .map(|fallback| Step::Notice("fallback", fallback)),
        }
    }

    /// What is said because nobody is there `at` that moment.
    fn closed_at(&self, at: UnixMillis) -> Option<&Notice> {
        let Hours { open, closed } = self.hours.as_ref()?;
        (!open.is_open(at)).then_some(closed)
    }
}
