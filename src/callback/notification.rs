//! What an authentic callback announces.
//!
//! It carries no message: it says that an account has news, and brings a ticket for fetching them. An app's one URL
//! also receives whatever else the operator ticked in the console; that is [`Notification::Other`], because refusing
//! what is authentic would make WeCom repeat it and, in the end, stop.

use super::refusal::ShapeError;
use super::xml::Children;
use crate::id::{CallbackToken, OpenKfid};

/// What is looked at.
const FIELDS: [&str; 8] = [
    "Event",
    "OpenKfId",
    "Token",
    "CreateTime",
    "AuthAddOpenKfId",
    "AuthDelOpenKfId",
    "MsgType",
    "InfoType",
];

/// Longest name in [`Notification::Other`], in characters.
const MAX_NAME_CHARS: usize = 64;

/// What an authentic callback announces.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Notification {
    /// There is something to pull (`kf_msg_or_event`). One may stand for several messages, or for none.
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/94670>
    Message {
        /// Account that has news. `None` if WeCom did not say, as it used not to: then any account may have.
        open_kfid: Option<OpenKfid>,
        /// Ticket for the pull, good for ten minutes from now.
        token: Option<CallbackToken>,
        /// When WeCom rang, Unix seconds. 0 if it did not say.
        create_time: u64,
    },
    /// The accounts we may manage are others now (`kf_account_auth_change`).
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/97712>
    AccountsChanged {
        /// Newly granted.
        added: Vec<OpenKfid>,
        /// Revoked.
        removed: Vec<OpenKfid>,
    },
    /// Authentic, but not about customer service.
    Other {
        /// Its `Event`, `MsgType` or `InfoType`, fit for a log: at most 64 characters of `a-z`, `A-Z`, `0-9`, `_`, `-`
        /// and `.`, any other made `_`. `unnamed` if it has none of them, `unreadable` if it is not the XML it should
        /// be or says a thing twice that can be said once.
        name: Box<str>,
    },
}

impl Notification {
    /// Reads the message inside an authentic callback.
    pub(super) fn read(message: &[u8]) -> Self {
        Children::parse(message, &FIELDS)
            .map_err(ShapeError::from)
            .and_then(|children| Self::from_children(&children))
            .unwrap_or_else(|_| Self::Other {
                name: "unreadable".into(),
            })
    }

    fn from_children(children: &Children<'_>) -> Result<Self, ShapeError> {
        let event = children.single("Event")?;
        match event {
            Some("kf_msg_or_event") => Ok(Self::Message {
                open_kfid: children
                    .single("OpenKfId")?
                    .filter(|id| !id.is_empty())
                    .map(OpenKfid::from),
                token: children
                    .single("Token")?
                    .filter(|token| !token.is_empty())
                    .map(CallbackToken::new),
                create_time: children
                    .single("CreateTime")?
                    .and_then(|secs| secs.trim().parse().ok())
                    .unwrap_or(0),
            }),
            Some("kf_account_auth_change") => {
                let accounts = |field| {
                    children
                        .all(field)
                        .filter(|id| !id.is_empty())
                        .map(OpenKfid::from)
                        .collect()
                };
                Ok(Self::AccountsChanged {
                    added: accounts("AuthAddOpenKfId"),
                    removed: accounts("AuthDelOpenKfId"),
                })
            }
            _ => {
                let name = event.or(children.single("MsgType")?).or(children.single("InfoType")?);
                Ok(Self::Other {
                    name: fit_for_a_log(name.unwrap_or_default()),
                })
            }
        }
    }

    /// What it is in one word, for a metric's label.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Message { .. } => "message",
            Self::AccountsChanged { .. } => "accounts_changed",
            Self::Other { .. } => "other",
        }
    }
}

fn fit_for_a_log(name: &str) -> Box<str> {
    if name.is_empty() {
        return "unnamed".into();
    }
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    name.chars()
        .take(MAX_NAME_CHARS)
        .map(|c| if is_plain(&c) { c } else { '_' })
        .collect::<String>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other(message: &str) -> String {
        match Notification::read(message.as_bytes()) {
            Notification::Other { name } => name.into(),
            notification => panic!("{notification:?}"),
        }
    }

    #[test]
    fn news_may_come_without_account_token_or_time() {
        let read =
            Notification::read(b"<xml><Event>kf_msg_or_event</Event><Token/><CreateTime>soon</CreateTime></xml>");
        assert!(
            matches!(
                read,
                Notification::Message {
                    open_kfid: None,
                    token: None,
                    create_time: 0
                }
            ),
            "{read:?}"
        );
    }

    #[test]
    fn what_is_not_about_customer_service_is_named() {
        assert_eq!(
            other("<xml><MsgType>event</MsgType><Event>enter_agent</Event></xml>"),
            "enter_agent"
        );
        assert_eq!(
            other("<xml><MsgType>text</MsgType><Content>kf_msg_or_event</Content></xml>"),
            "text"
        );
        assert_eq!(
            other("<xml><SuiteId>tj1</SuiteId><InfoType>suite_ticket</InfoType></xml>"),
            "suite_ticket"
        );
        assert_eq!(other("<xml/>"), "unnamed");
        assert_eq!(other("<xml><Event></Event></xml>"), "unnamed");
    }

    #[test]
    fn a_name_cannot_forge_a_log_line() {
        assert_eq!(
            other("<xml><Event>a\nERROR b=\u{1b}[31m客</Event></xml>"),
            "a_ERROR_b___31m_"
        );
        assert_eq!(
            other(&format!("<xml><Event>{}</Event></xml>", "e".repeat(5000))).len(),
            MAX_NAME_CHARS
        );
    }

    #[test]
    fn what_contradicts_itself_is_unreadable() {
        for message in [
            "9223372036854775807",
            "{\"event\":\"kf_msg_or_event\"}",
            "<xml><Event>kf_msg_or_event</Event><Event>enter_agent</Event></xml>",
            "<xml><Event>kf_msg_or_event</Event><OpenKfId>wk1</OpenKfId><OpenKfId>wk2</OpenKfId></xml>",
            "<xml><Event>kf_msg_or_event</Event><Token>t1</Token><Token>t2</Token></xml>",
        ] {
            assert_eq!(other(message), "unreadable", "{message}");
        }
    }
}
