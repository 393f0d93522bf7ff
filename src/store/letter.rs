//! A stored message, as it is handed to handlers.

use std::sync::{Arc, OnceLock};

use serde_json::value::RawValue;

use super::{NewMessage, bodiless_debug};
use crate::clock::UnixMillis;
use crate::id::{AccountKey, Msgid};
use crate::message::Message;

/// A message as it was stored. All handlers it is owed to share one, and it is decoded once for all of them.
pub struct Letter {
    /// Account it came from.
    pub account: Arc<AccountKey>,
    /// WeCom's id of it.
    pub msgid: Msgid,
    /// When it was pulled.
    pub received: UnixMillis,
    /// WeCom's JSON, as it came.
    pub body: Arc<RawValue>,
    message: OnceLock<Arc<Message>>,
}

impl Letter {
    /// A message `msgid` that was pulled for `account`.
    #[must_use]
    pub fn new(account: Arc<AccountKey>, msgid: Msgid, received: UnixMillis, body: Arc<RawValue>) -> Self {
        Self {
            account,
            msgid,
            received,
            body,
            message: OnceLock::new(),
        }
    }

    /// `message`, as it was pulled for `account` and arrived at `received`.
    pub(super) fn of(message: &NewMessage, account: &Arc<AccountKey>, received: UnixMillis) -> Self {
        Self {
            account: Arc::clone(account),
            msgid: message.msgid.clone(),
            received,
            body: Arc::clone(&message.body),
            message: message.decoded.clone().map(OnceLock::from).unwrap_or_default(),
        }
    }

    /// What it says.
    pub fn message(&self) -> &Message {
        self.message
            .get_or_init(|| Arc::new(Message::decode(Arc::clone(&self.body), &self.account.open_kfid)))
    }
}

bodiless_debug!(Letter: account, msgid);
