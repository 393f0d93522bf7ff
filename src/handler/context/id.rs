//! Ids that are computed, so that every attempt, replay and replica comes to the same.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::api::OutgoingMsgid;
use crate::id::{AccountKey, ExternalUserid, HandlerName, Msgid};

/// Id of handing the message `msgid` of `account` to `handler`.
///
/// Fixed for ever: those who are handed messages keep it.
pub(super) fn delivery_id(handler: &HandlerName, account: &AccountKey, msgid: &Msgid) -> String {
    let digest = digest(handler, account, msgid).finalize();
    format!("msg_{}", URL_SAFE_NO_PAD.encode(&digest[..18]))
}

/// Id under which `handler` sends the `part`-th part of its `index`-th reply to the message `msgid` of `account`: 32
/// characters, which is all that WeCom takes.
///
/// Fixed for ever: WeCom refuses an id that it knows, and only that keeps a handler from speaking twice.
pub(super) fn reply_id(
    handler: &HandlerName,
    account: &AccountKey,
    msgid: &Msgid,
    index: u32,
    part: u32,
) -> OutgoingMsgid {
    let mut hash = digest(handler, account, msgid);
    for number in [index, part] {
        hash.update(number.to_be_bytes());
    }
    outgoing(hash)
}

/// Id under which `handler` says something on `topic` to `customer` of `account` in the `window`-th stretch of `every`
/// seconds since 1970: at most once.
///
/// Fixed for ever, like that of a reply.
pub(super) fn notice_id(
    handler: &HandlerName,
    account: &AccountKey,
    customer: &ExternalUserid,
    topic: &str,
    (every, window): (u64, u64),
) -> OutgoingMsgid {
    let mut hash = Sha256::new();
    let (app, open_kfid) = (account.app.as_str(), account.open_kfid.as_str());
    // No reply has as many parts.
    update(&mut hash, [handler.as_str(), app, open_kfid, customer.as_str(), topic]);
    for number in [every, window] {
        hash.update(number.to_be_bytes());
    }
    outgoing(hash)
}

fn outgoing(hash: Sha256) -> OutgoingMsgid {
    let id = URL_SAFE_NO_PAD.encode(&hash.finalize()[..24]);
    // Unwrap safety: 24 bytes are 32 characters of base64url, whose alphabet is the one that ids have.
    OutgoingMsgid::new(&id).expect("a good id")
}

fn digest(handler: &HandlerName, account: &AccountKey, msgid: &Msgid) -> Sha256 {
    let mut hash = Sha256::new();
    let (app, open_kfid) = (account.app.as_str(), account.open_kfid.as_str());
    update(&mut hash, [handler.as_str(), app, open_kfid, msgid.as_str()]);
    hash
}

/// Lengths keep the parts apart: no two different lists hash the same bytes.
fn update<const N: usize>(hash: &mut Sha256, parts: [&str; N]) {
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::id::{AppName, OpenKfid};

    fn of<T>([handler, app, kfid, msgid]: [&str; 4], id: impl FnOnce(&HandlerName, &AccountKey, &Msgid) -> T) -> T {
        let account = AccountKey::new(AppName::new(app).unwrap(), OpenKfid::from(kfid));
        id(&HandlerName::new(handler).unwrap(), &account, &Msgid::from(msgid))
    }

    const ONE: [&str; 4] = ["bot", "main", "wk1", "m1"];
    const OTHERS: [[&str; 4]; 4] = [
        ["crm", "main", "wk1", "m1"],
        ["bot", "mai", "nwk1", "m1"],
        ["bot", "main", "wk1m", "1"],
        ["bot", "main", "wk1", "m2"],
    ];

    #[test]
    fn a_delivery_id_is_fixed_and_no_two_deliveries_share_one() {
        let golden = "msg_13485sv2OdlBB7522y4vI0Hx";
        assert_eq!(of(ONE, delivery_id), golden);
        assert!(OTHERS.iter().all(|other| of(*other, delivery_id) != golden));
    }

    fn reply(of_whom: [&str; 4], index: u32, part: u32) -> String {
        of(of_whom, |handler, account, msgid| {
            reply_id(handler, account, msgid, index, part).to_string()
        })
    }

    #[test]
    fn a_reply_id_is_fixed_and_has_the_32_characters_that_wecom_takes() {
        assert_eq!(reply(ONE, 0, 0), "VI0M5VYa1Z_Cp05O8l8D78BA6y_oCahP");
        assert_eq!(reply(ONE, 2, 1), "TIQC3aQFSztYW0JnB7V1iSKDr3uxsMzF");
        assert_eq!(reply(ONE, u32::MAX, u32::MAX).len(), 32);
    }

    #[test]
    fn a_notice_id_is_fixed() {
        let account = AccountKey::new(AppName::new("main").unwrap(), OpenKfid::from("wk1"));
        let (bot, wm1) = (HandlerName::new("bot").unwrap(), ExternalUserid::from("wm1"));
        let id = notice_id(&bot, &account, &wm1, "closed", (3600, 7)).to_string();
        assert_eq!(id, "pS2Vy3auuvYA1BPu5TzKSl_Y_GXU7qQM");
    }

    #[test]
    fn no_two_replies_share_an_id() {
        let mut ids = HashSet::new();
        let account = AccountKey::new(AppName::new("main").unwrap(), OpenKfid::from("wk1"));
        for (handler, customer, topic, time) in [
            ("bot", "wm1", "closed", (3600, 1)),
            ("crm", "wm1", "closed", (3600, 1)),
            ("bot", "wm1c", "losed", (3600, 1)),
            ("bot", "wm1", "fallback", (3600, 1)),
            ("bot", "wm1", "closed", (3600, 2)),
            ("bot", "wm1", "closed", (1800, 1)),
        ] {
            let customer = ExternalUserid::from(customer);
            let id = notice_id(&HandlerName::new(handler).unwrap(), &account, &customer, topic, time);
            assert!(ids.insert(id.to_string()), "{handler} {customer} {topic} {time:?}");
        }
        for of_whom in OTHERS.into_iter().chain([ONE]) {
            for (index, part) in [(0, 0), (0, 1), (1, 0), (1, 1), (256, 0), (0, 256)] {
                assert!(ids.insert(reply(of_whom, index, part)), "{of_whom:?} {index} {part}");
            }
        }
    }
}
