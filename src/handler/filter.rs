//! Which messages a handler wants.

use crate::id::{AccountKey, AppName, OpenKfid};
use crate::message::{Message, Origin};

/// Which messages a handler wants. Every criterion must hold; one that is `None` always does.
///
/// By default everything customers write and every event, of every application and account. What colleagues typed
/// (origin 5) is left out on purpose: a handler that answers it would talk over them.
///
/// ```
/// use wecom_kf::handler::Filter;
///
/// let greetings = Filter {
///     types: Some(vec!["event.enter_session".into()]),
///     ..Filter::default()
/// };
/// # let _ = greetings;
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter {
    /// Only messages of these applications.
    pub apps: Option<Vec<AppName>>,
    /// Only messages of these accounts.
    pub accounts: Option<Vec<OpenKfid>>,
    /// Only messages of these types, named as by [`Message::kind`]: `text`, `event.enter_session`. A plain `event`
    /// stands for every event.
    pub types: Option<Vec<Box<str>>>,
    /// Only messages from these senders.
    pub origins: Option<Vec<Origin>>,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            apps: None,
            accounts: None,
            types: None,
            origins: Some(vec![Origin::Customer, Origin::Event]),
        }
    }
}

impl Filter {
    /// Whether `message`, which came in on `account`, is wanted. One without a [`kind`](Message::kind) never is.
    #[must_use]
    pub fn wants(&self, account: &AccountKey, message: &Message) -> bool {
        let Some(kind) = message.kind() else { return false };
        admits(&self.apps, |app| *app == account.app)
            && admits(&self.accounts, |open_kfid| *open_kfid == account.open_kfid)
            && admits(&self.types, |name| names(name, kind))
            && admits(&self.origins, |origin| *origin == message.origin)
    }
}

fn admits<T>(criterion: &Option<Vec<T>>, is_it: impl Fn(&T) -> bool) -> bool {
    criterion.as_ref().is_none_or(|wanted| wanted.iter().any(is_it))
}

fn names(name: &str, kind: &str) -> bool {
    name == kind || (name == "event" && kind.starts_with("event."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::samples::{decoded, read};

    /// A filter with nothing but its types.
    fn types<const N: usize>(names: [&str; N]) -> Filter {
        Filter {
            types: Some(names.map(Into::into).to_vec()),
            ..Filter::default()
        }
    }

    fn origins<const N: usize>(origins: [Origin; N]) -> Filter {
        Filter {
            origins: Some(origins.to_vec()),
            ..Filter::default()
        }
    }

    fn apps(name: &str) -> Filter {
        Filter {
            apps: Some(vec![AppName::new(name).unwrap()]),
            ..Filter::default()
        }
    }

    fn accounts(open_kfid: &str) -> Filter {
        Filter {
            accounts: Some(vec![OpenKfid::from(open_kfid)]),
            ..Filter::default()
        }
    }

    fn anyone() -> Filter {
        Filter {
            origins: None,
            ..Filter::default()
        }
    }

    #[test]
    fn a_message_is_wanted_when_every_criterion_holds() {
        let account = AccountKey::new(AppName::new("main").unwrap(), OpenKfid::from("wk1"));
        let both = Filter {
            apps: apps("other").apps,
            ..types(["text"])
        };
        let cases = [
            ("anything a customer writes", Filter::default(), "text", true),
            ("any event", Filter::default(), "event_enter_session", true),
            ("no word of a colleague", Filter::default(), "text_from_servicer", false),
            ("types not known yet", Filter::default(), "unknown_msgtype", true),
            (
                "a colleague if asked for",
                origins([Origin::Servicer]),
                "text_from_servicer",
                true,
            ),
            ("a colleague only", origins([Origin::Servicer]), "text", false),
            ("everybody", anyone(), "text_from_servicer", true),
            ("nobody", origins([]), "text", false),
            ("its type", types(["image", "text"]), "text", true),
            ("no other type", types(["image"]), "text", false),
            (
                "the event named",
                types(["event.enter_session"]),
                "event_enter_session",
                true,
            ),
            (
                "no other event",
                types(["event.enter_session"]),
                "event_msg_send_fail",
                false,
            ),
            ("every event", types(["event"]), "event_msg_send_fail", true),
            ("events not known yet", types(["event"]), "unknown_event_type", true),
            ("events only", types(["event"]), "text", false),
            (
                "an event by its full name",
                types(["enter_session"]),
                "event_enter_session",
                false,
            ),
            ("its application", apps("main"), "text", true),
            ("no other application", apps("other"), "text", false),
            ("its account", accounts("wk1"), "text", true),
            ("no other account", accounts("wk2"), "text", false),
            ("all criteria together", both, "text", false),
        ];
        for (wants, filter, sample, expected) in cases {
            assert_eq!(filter.wants(&account, &read(sample)), expected, "wants {wants}");
        }
    }

    #[test]
    fn what_names_no_type_is_never_wanted() {
        let account = AccountKey::new(AppName::new("main").unwrap(), OpenKfid::from("wk1"));
        for item in ["17", "null", "[]", "{}", r#"{"msgid":"m","origin":3}"#] {
            assert!(!anyone().wants(&account, &decoded(item)), "{item}");
        }
    }
}
