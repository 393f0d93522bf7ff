//! Items that nobody said: repeated, changed, or not what the protocol says.

use rand::Rng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

use super::fault::Fault;
use crate::clock::UnixMillis;
use crate::id::{Msgid, OpenKfid};

/// Faults that make up an item.
pub(super) const ODD_ITEMS: [Fault; 7] = [
    Fault::DuplicateItem,
    Fault::ChangedItem,
    Fault::NonObjectItem,
    Fault::ItemWithoutMsgid,
    Fault::UnknownMsgtype,
    Fault::NullFields,
    Fault::HugeFields,
];

/// What stands in a list of objects without being one.
const NO_OBJECTS: [&str; 5] = ["null", "42", "true", "[]", "\"你好\""];

/// Where an odd item is made: an account, a moment, an unused id, and something that was said before.
pub(super) struct Occasion<'a> {
    pub(super) open_kfid: &'a OpenKfid,
    pub(super) now: UnixMillis,
    pub(super) new_msgid: Msgid,
    pub(super) earlier: Option<&'a str>,
}

/// Whether `fault` can happen only where something was said before.
pub(super) fn needs_earlier(fault: Fault) -> bool {
    matches!(fault, Fault::DuplicateItem | Fault::ChangedItem)
}

/// Makes the item up. `None` for a fault that makes none, or none here.
pub(super) fn make_up(fault: Fault, occasion: &Occasion<'_>, rng: &mut impl Rng) -> Option<String> {
    let Occasion {
        open_kfid,
        now,
        new_msgid,
        earlier,
    } = occasion;
    let item = match fault {
        Fault::DuplicateItem => return earlier.map(str::to_owned),
        Fault::ChangedItem => {
            let mut item: Value = serde_json::from_str((*earlier)?).ok()?;
            item["changed_by"] = "simulator".into();
            item
        }
        Fault::NonObjectItem => NO_OBJECTS.choose(rng)?.parse().ok()?,
        Fault::ItemWithoutMsgid => json!({
            "open_kfid": open_kfid, "external_userid": "wmNobody", "send_time": now.as_secs(), "origin": 3,
            "msgtype": "text", "text": { "content": "which message am I?" }
        }),
        Fault::UnknownMsgtype => json!({
            "msgid": new_msgid, "open_kfid": open_kfid, "external_userid": "wmNobody", "send_time": now.as_secs(),
            "origin": 3, "msgtype": "hologram", "hologram": { "depth": 3 }
        }),
        Fault::NullFields => json!({
            "msgid": new_msgid, "open_kfid": null, "external_userid": null, "send_time": null, "origin": null,
            "msgtype": "text", "text": null
        }),
        Fault::HugeFields => json!({
            "msgid": new_msgid, "open_kfid": open_kfid, "external_userid": "wmNobody", "send_time": 1e30,
            "origin": u64::MAX, "msgtype": "text", "text": { "content": "长".repeat(20_000) }
        }),
        _ => return None,
    };
    Some(item.to_string())
}

/// Id of an item, if it has one.
pub(super) fn msgid_of(raw: &str) -> Option<Msgid> {
    let item: Value = serde_json::from_str(raw).ok()?;
    item.get("msgid")?.as_str().map(Msgid::from)
}
