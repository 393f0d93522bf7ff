//! The names of things, one type each, so that none can stand in for another.
//!
//! WeCom's own ids are opaque strings; we check nothing about them that the protocol does not promise.
//! Names that an operator chooses ([`AppName`], [`HandlerName`]) are parsed: they end up in URLs, metrics and
//! rows that must still mean the same thing after a restart.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

/// Declares a newtype over an opaque string that WeCom made.
macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(Box<str>);

        impl $name {
            /// Wraps `id` as it came.
            pub fn new(id: impl Into<Box<str>>) -> Self {
                Self(id.into())
            }

            /// The id as it stands on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self(id.into())
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

opaque_id! {
    /// A corporation, `ww…` (older ones `wx…`). Also what stands as `receiveid` in a callback.
    CorpId
}
opaque_id! {
    /// A customer service account, `wk…`.
    OpenKfid
}
opaque_id! {
    /// A WeChat customer as this corporation sees them, `wm…`. Hidden in `Debug`: it names a person.
    ExternalUserid
}
opaque_id! {
    /// An employee who receives sessions.
    ServicerUserid
}
opaque_id! {
    /// One inbound message or event. Opaque, and unique only within its account.
    Msgid
}
opaque_id! {
    /// A file kept by WeCom for three days.
    MediaId
}
opaque_id! {
    /// A group chat of customers, `wr…`.
    ChatId
}
opaque_id! {
    /// A group of questions in the knowledge base.
    KnowledgeGroupId
}
opaque_id! {
    /// A question in the knowledge base.
    IntentId
}

/// Lets an id that names no person show itself in `Debug`.
macro_rules! shown_in_debug {
    ($($name:ident),+) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    )+};
}
shown_in_debug!(
    CorpId,
    OpenKfid,
    ServicerUserid,
    Msgid,
    MediaId,
    ChatId,
    KnowledgeGroupId,
    IntentId
);

impl fmt::Debug for ExternalUserid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExternalUserid(…)")
    }
}

/// Declares a name that an operator chooses in the config.
macro_rules! chosen_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// 1–64 characters of `a-z`, `A-Z`, `0-9`, `_` and `-`.
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize)]
        #[serde(transparent)]
        pub struct $name(Box<str>);

        impl $name {
            /// Parses a name.
            ///
            /// # Errors
            ///
            /// [`NameError`] when it is empty, longer than 64 characters or has another character in it.
            pub fn new(name: &str) -> Result<Self, NameError> {
                check_name(name).map(|()| Self(name.into()))
            }

            /// The name as the operator wrote it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                Self::new(name)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

chosen_name! {
    /// One configured application: the last part of its callback path, and its name in metrics and rows.
    AppName
}
chosen_name! {
    /// One configured handler. Its durable identity: a renamed handler is a new one.
    HandlerName
}

/// Why a chosen name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 64 characters of a-z, A-Z, 0-9, '_' and '-'")]
pub struct NameError;

fn check_name(name: &str) -> Result<(), NameError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if (1..=64).contains(&name.len()) && name.bytes().all(allowed) {
        Ok(())
    } else {
        Err(NameError)
    }
}

/// One customer service account of one configured application: the unit of pulling.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct AccountKey {
    /// Application through which the account is read.
    pub app: AppName,
    /// Account, as WeCom names it.
    pub open_kfid: OpenKfid,
}

impl AccountKey {
    /// Names the account `open_kfid` of `app`.
    #[must_use]
    pub fn new(app: AppName, open_kfid: OpenKfid) -> Self {
        Self { app, open_kfid }
    }
}

impl fmt::Display for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app, self.open_kfid)
    }
}

/// Ticket that a callback carries: lets one account be pulled for ten minutes without the strict limit on
/// tokenless calls. At most 128 bytes.
#[derive(Clone)]
pub struct CallbackToken(SecretString);

impl CallbackToken {
    /// Wraps the token as it came.
    pub fn new(token: impl Into<String>) -> Self {
        Self(SecretString::from(token.into()))
    }

    /// The token itself, for the one request that must carry it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for CallbackToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallbackToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_name_is_short_and_plain() {
        for good in ["main", "a", "Help-desk_2", &"x".repeat(64)] {
            assert_eq!(AppName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a/b", "客服", "a.b", &"x".repeat(65)] {
            assert_eq!(AppName::new(bad), Err(NameError), "{bad:?}");
        }
    }

    #[test]
    fn a_customer_does_not_appear_in_debug_output() {
        assert!(!format!("{:?}", ExternalUserid::from("wmAlice")).contains("Alice"));
    }

    #[test]
    fn a_callback_token_does_not_print_itself() {
        assert!(!format!("{:?}", CallbackToken::new("ENCsecret")).contains("secret"));
    }
}
