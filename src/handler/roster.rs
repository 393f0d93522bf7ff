//! The handlers of this process, each with its number in the store.

use super::Registration;
use crate::id::{AccountKey, HandlerName};
use crate::message::Message;
use crate::store::HandlerId;

/// Every handler of this process. The syncer asks it whom a message is owed to, the dispatcher runs its members.
#[derive(Debug)]
pub struct Roster(Vec<Member>);

impl Roster {
    /// Lists handlers under the numbers that [`register_handlers`](crate::store::Store::register_handlers) gave their
    /// names.
    pub fn new(members: impl IntoIterator<Item = (HandlerId, Registration)>) -> Self {
        let members = members
            .into_iter()
            .map(|(id, registration)| Member { id, registration });
        Self(members.collect())
    }

    /// All of them, in the order they were listed.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.0
    }

    /// Whether one of them has this name.
    #[must_use]
    pub fn has(&self, name: &HandlerName) -> bool {
        self.0.iter().any(|member| member.name() == name)
    }

    /// Those that want `message`, which came in on `account`.
    #[must_use]
    pub fn wanted_by(&self, account: &AccountKey, message: &Message) -> Vec<HandlerId> {
        let wanting = self
            .0
            .iter()
            .filter(|member| member.registration.wants(account, message));
        wanting.map(Member::id).collect()
    }
}

/// A handler with its number in the store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Member {
    id: HandlerId,
    registration: Registration,
}

impl Member {
    /// Its number in the store.
    #[must_use]
    pub fn id(&self) -> HandlerId {
        self.id
    }

    /// Its durable name.
    #[must_use]
    pub fn name(&self) -> &HandlerName {
        self.registration.name()
    }

    /// The handler itself.
    #[must_use]
    pub fn registration(&self) -> &Registration {
        &self.registration
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::samples::read;
    use crate::handler::{Filter, LogHandler};
    use crate::id::{AppName, OpenKfid};

    fn name(name: &str) -> HandlerName {
        HandlerName::new(name).unwrap()
    }

    #[test]
    fn a_message_is_owed_to_exactly_those_who_want_it() {
        let events = Filter {
            types: Some(vec!["event".into()]),
            ..Filter::default()
        };
        let roster = Roster::new([
            (HandlerId(3), Registration::new(name("all"), LogHandler)),
            (
                HandlerId(8),
                Registration::new(name("events"), LogHandler).with_filter(events),
            ),
        ]);
        let account = AccountKey::new(AppName::new("main").unwrap(), OpenKfid::from("wk1"));
        assert_eq!(roster.wanted_by(&account, &read("text")), [HandlerId(3)]);
        assert_eq!(
            roster.wanted_by(&account, &read("event_enter_session")),
            [HandlerId(3), HandlerId(8)]
        );
        assert_eq!(roster.wanted_by(&account, &read("text_from_servicer")), []);
        assert!(roster.has(&name("all")) && !roster.has(&name("other")));
    }
}
