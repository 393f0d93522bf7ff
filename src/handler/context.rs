//! What a handler is told beside the message.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::id::{AccountKey, HandlerName, Msgid};

/// One attempt to hand one message to one handler. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Context {
    handler: Arc<HandlerName>,
    account: AccountKey,
    delivery_id: Arc<str>,
    attempt: u32,
    deadline: Instant,
}

impl Context {
    /// The `attempt`-th try (1 is the first) of `handler` at the message `msgid` of `account`, to be over by `deadline`.
    #[must_use]
    pub fn new(handler: Arc<HandlerName>, account: AccountKey, msgid: &Msgid, attempt: u32, deadline: Instant) -> Self {
        let delivery_id = delivery_id(&handler, &account, msgid).into();
        Self {
            handler,
            account,
            delivery_id,
            attempt,
            deadline,
        }
    }

    /// Handler that is being tried.
    #[must_use]
    pub fn handler(&self) -> &HandlerName {
        &self.handler
    }

    /// Application and account the message came in on.
    #[must_use]
    pub fn account(&self) -> &AccountKey {
        &self.account
    }

    /// Id of this delivery: the same for every attempt, replay and replica, and different for every other message or
    /// handler. Whoever keeps the ids they have seen never acts twice.
    #[must_use]
    pub fn delivery_id(&self) -> &str {
        &self.delivery_id
    }

    /// Which attempt this is, counted from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// When the attempt is broken off and counted as failed.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}

fn delivery_id(handler: &HandlerName, account: &AccountKey, msgid: &Msgid) -> String {
    let mut hash = Sha256::new();
    // Lengths keep the parts apart: no two different quadruples hash the same bytes.
    for part in [
        handler.as_str(),
        account.app.as_str(),
        account.open_kfid.as_str(),
        msgid.as_str(),
    ] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    format!("msg_{}", URL_SAFE_NO_PAD.encode(&hash.finalize()[..18]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{AppName, OpenKfid};

    fn id(handler: &str, app: &str, kfid: &str, msgid: &str) -> String {
        let account = AccountKey::new(AppName::new(app).unwrap(), OpenKfid::from(kfid));
        delivery_id(&HandlerName::new(handler).unwrap(), &account, &Msgid::from(msgid))
    }

    #[test]
    fn a_delivery_id_is_fixed_and_no_two_deliveries_share_one() {
        assert_eq!(id("bot", "main", "wk1", "m1"), GOLDEN);
        let others = [
            id("crm", "main", "wk1", "m1"),
            id("bot", "mai", "nwk1", "m1"),
            id("bot", "main", "wk1m", "1"),
        ];
        assert!(others.iter().all(|other| other != GOLDEN));
    }

    const GOLDEN: &str = "msg_13485sv2OdlBB7522y4vI0Hx";
}
