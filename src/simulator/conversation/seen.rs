//! What customers saw: every message that was accepted, in order, and what became of it.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::code::Occasion;
use crate::clock::UnixMillis;
use crate::id::{ExternalUserid, Msgid, OpenKfid};
use crate::simulator::calls::fields::Fields;

/// A message to a customer that WeCom accepted.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[non_exhaustive]
pub struct Seen {
    /// Account it came from.
    pub open_kfid: OpenKfid,
    /// Customer it was for.
    pub external_userid: ExternalUserid,
    /// Its id, the client's own or one that was made up.
    pub msgid: Msgid,
    /// When it was accepted, in seconds since 1970.
    pub send_time: u64,
    /// What it was sent for.
    pub occasion: Occasion,
    /// Its type.
    pub msgtype: Box<str>,
    /// What can be read in it: its text, its menu line by line, its title.
    pub text: Option<String>,
    /// Its body as the customer sees it, cut where WeCom cuts.
    pub body: Value,
    /// Why it failed after it was accepted (`msg_send_fail`). The customer does not see it then.
    pub fail_type: Option<u32>,
    /// When it was taken back, in seconds since 1970. The customer saw it until then.
    pub recalled: Option<u64>,
}

impl Seen {
    /// Whether it was there for the customer to see.
    #[must_use]
    pub fn arrived(&self) -> bool {
        self.fail_type.is_none()
    }
}

/// Every message that was accepted, in order, findable by its id.
#[derive(Debug, Default)]
pub(in crate::simulator) struct Replies {
    all: Vec<Arc<Seen>>,
    places: HashMap<OpenKfid, HashMap<Msgid, usize>>,
}

impl Replies {
    pub(in crate::simulator) fn all(&self) -> &[Arc<Seen>] {
        &self.all
    }

    /// What `customer` saw of an account, in order.
    pub(super) fn seen_by<'a>(
        &'a self,
        open_kfid: &'a OpenKfid,
        customer: &'a ExternalUserid,
    ) -> impl DoubleEndedIterator<Item = &'a Arc<Seen>> {
        let theirs = move |seen: &&Arc<Seen>| seen.external_userid == *customer && seen.open_kfid == *open_kfid;
        self.all.iter().filter(theirs).filter(|seen| seen.arrived())
    }

    pub(super) fn get(&self, open_kfid: &OpenKfid, msgid: &str) -> Option<&Arc<Seen>> {
        let place = self.places.get(open_kfid)?.get(msgid)?;
        self.all.get(*place)
    }

    pub(super) fn get_mut(&mut self, open_kfid: &OpenKfid, msgid: &str) -> Option<&mut Seen> {
        let place = self.places.get(open_kfid)?.get(msgid)?;
        self.all.get_mut(*place).map(Arc::make_mut)
    }

    pub(super) fn accept(&mut self, seen: Seen) {
        let places = self.places.entry(seen.open_kfid.clone()).or_default();
        places.insert(seen.msgid.clone(), self.all.len());
        self.all.push(Arc::new(seen));
    }
}

/// A message that is about to be accepted.
pub(super) struct Accepted {
    pub(super) open_kfid: OpenKfid,
    pub(super) customer: ExternalUserid,
    pub(super) msgid: Msgid,
    pub(super) occasion: Occasion,
    pub(super) msgtype: String,
    pub(super) body: Fields,
}

impl Accepted {
    pub(super) fn seen(self, now: UnixMillis) -> Seen {
        Seen {
            text: super::content::readable(&self.msgtype, &self.body),
            open_kfid: self.open_kfid,
            external_userid: self.customer,
            msgid: self.msgid,
            send_time: now.as_secs(),
            occasion: self.occasion,
            msgtype: self.msgtype.into(),
            body: Value::Object(self.body),
            fail_type: None,
            recalled: None,
        }
    }
}
