//! The truth, kept beside the fake: what was said, in which order, and how the client behaved. And its verdict on
//! what a receiver got.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::calls::Api;
use super::conversation::Seen;
use super::fault::Fault;
use crate::id::{ExternalUserid, Msgid, OpenKfid};

/// Everything that happened in a simulator up to one moment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Ledger {
    /// What was said, in order.
    pub said: Vec<Arc<Said>>,
    /// What faults added to the streams, in order.
    pub odd: Vec<Arc<OddItem>>,
    /// Messages to customers that were accepted, in order: what they saw, and what failed afterwards.
    pub seen: Vec<Arc<Seen>>,
    /// What was called, sent and done wrong.
    pub counts: Counts,
}

/// An item that somebody said, and that a client must not lose.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Said {
    /// Account it was said on.
    pub open_kfid: OpenKfid,
    /// Its id, unique within the account.
    pub msgid: Msgid,
    /// Customer it comes from or is about.
    pub external_userid: Option<ExternalUserid>,
    /// Who said it: 3 the customer, 4 the system, 5 a colleague.
    pub origin: u64,
    /// Its msgtype, or `event.` and its event type.
    pub kind: Box<str>,
    /// Its JSON, as it is served.
    pub raw: Arc<str>,
}

/// An item that a fault added: a client may keep it or leave it, but must get over it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct OddItem {
    /// Account it was added to.
    pub open_kfid: OpenKfid,
    /// Fault that did it.
    pub fault: Fault,
    /// Its id, if it has one. May be that of an earlier item.
    pub msgid: Option<Msgid>,
    /// Its JSON, as it is served.
    pub raw: Arc<str>,
}

/// What was called, sent and done wrong. As JSON it is what `GET /simulator/ledger` answers.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Counts {
    /// Items said.
    pub said: u64,
    /// Items added by faults.
    pub odd: u64,
    /// Calls of `gettoken`.
    pub gettoken: u64,
    /// Calls of `sync_msg`.
    pub sync_msg: u64,
    /// Calls of `sync_msg` without a callback token, or with a wrong one.
    pub tokenless: u64,
    /// Calls of `account/list`.
    pub account_list: u64,
    /// Calls that need an access token, by name, those included that were refused.
    pub calls: BTreeMap<Api, u64>,
    /// Messages to customers that were accepted.
    pub replies: u64,
    /// Calls refused, by errcode.
    pub refused: BTreeMap<i64, u64>,
    /// Pulls that began while another one of the same account was being answered.
    pub overlap: u64,
    /// What a client should never do.
    pub violations: Violations,
    /// What became of the callbacks.
    pub callbacks: Callbacks,
    /// Faults that happened.
    pub faults: BTreeMap<Fault, u64>,
}

/// What a client should never do, and how often it did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Violations {
    /// Calls made while blocked by 45009.
    pub calls_while_blocked: u64,
    /// Callback tokens used after their ten minutes.
    pub stale_tokens: u64,
    /// Optional fields sent as empty strings.
    pub empty_strings: u64,
}

/// What became of the callbacks.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Callbacks {
    /// Callbacks there was reason to send.
    pub rung: u64,
    /// Callbacks that a fault kept back for good.
    pub dropped: u64,
    /// Requests made, repeats included.
    pub sent: u64,
    /// Requests answered, by status.
    pub answered: BTreeMap<u16, u64>,
    /// Requests that got no answer in time.
    pub unanswered: u64,
    /// Callbacks given up after the last repeat.
    pub given_up: u64,
}

/// What a receiver got: one line of its own book.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Received {
    /// Account it came in on.
    pub open_kfid: OpenKfid,
    /// Id it had.
    pub msgid: Msgid,
    /// Customer it was filed under.
    pub external_userid: Option<ExternalUserid>,
}

/// How a receiver's book compares with the truth. All zero is right.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Verdict {
    /// Said, never received.
    pub lost: u64,
    /// Received again: copies beyond the first.
    pub double: u64,
    /// Received after a later item of the same customer.
    pub order: u64,
    /// Pulls of one account that overlapped.
    pub overlap: u64,
    /// Received, but never said; or filed under another customer.
    pub stray: u64,
}

impl Counts {
    pub(super) fn count(&mut self, api: Api) {
        *self.calls.entry(api).or_default() += 1;
        match api {
            Api::SyncMsg => self.sync_msg += 1,
            Api::AccountList => self.account_list += 1,
            _ => {}
        }
    }
}

impl Ledger {
    /// Compares with what was `received`, in the order of arrival. Only the order within one customer matters, and
    /// what nobody pulled before it was three days old is lost like anything else.
    #[must_use]
    pub fn verdict(&self, received: &[Received]) -> Verdict {
        let truth: HashMap<_, _> = (0_u64..)
            .zip(&self.said)
            .map(|(place, said)| ((&said.open_kfid, &said.msgid), (place, &said.external_userid)))
            .collect();
        let odd: HashSet<_> = self
            .odd
            .iter()
            .filter_map(|item| Some((&item.open_kfid, item.msgid.as_ref()?)))
            .collect();
        let mut verdict = Verdict {
            overlap: self.counts.overlap,
            ..Verdict::default()
        };
        let mut seen = HashSet::new();
        let mut found = 0;
        let mut latest = HashMap::new();
        for item in received {
            let id = (&item.open_kfid, &item.msgid);
            if !seen.insert(id) {
                verdict.double += 1;
                continue;
            }
            let Some((place, customer)) = truth.get(&id) else {
                // An item without an id has the digest of its JSON for one.
                if !odd.contains(&id) && !item.msgid.as_str().starts_with("sha256:") {
                    verdict.stray += 1;
                }
                continue;
            };
            found += 1;
            if **customer != item.external_userid {
                verdict.stray += 1;
            }
            let Some(customer) = &item.external_userid else {
                continue;
            };
            let latest = latest.entry((&item.open_kfid, customer)).or_insert(*place);
            if place < latest {
                verdict.order += 1;
            }
            *latest = (*latest).max(*place);
        }
        verdict.lost = truth.len() as u64 - found;
        verdict
    }
}

impl Verdict {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            lost,
            double,
            order,
            overlap,
            stray,
        } = self;
        write!(f, "lost={lost} double={double} order={order} overlap={overlap}")?;
        match stray {
            0 => Ok(()),
            _ => write!(f, " stray={stray}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Customer `n` of three: the last is none, as for events about a colleague.
    fn customer(n: usize) -> Option<ExternalUserid> {
        [Some("wm0"), Some("wm1"), None][n % 3].map(ExternalUserid::from)
    }

    fn ledger(items: usize) -> Ledger {
        let said = |n: usize| {
            Arc::new(Said {
                open_kfid: OpenKfid::from("wk1"),
                msgid: Msgid::new(format!("m{n}")),
                external_userid: customer(n),
                origin: 3,
                kind: "text".into(),
                raw: "{}".into(),
            })
        };
        Ledger {
            said: (0..items).map(said).collect(),
            ..Ledger::default()
        }
    }

    fn book(items: impl IntoIterator<Item = usize>) -> Vec<Received> {
        let received = |n: usize| Received {
            open_kfid: OpenKfid::from("wk1"),
            msgid: Msgid::new(format!("m{n}")),
            external_userid: customer(n),
        };
        items.into_iter().map(received).collect()
    }

    fn verdict(received: impl IntoIterator<Item = usize>) -> String {
        ledger(9).verdict(&book(received)).to_string()
    }

    #[test]
    fn everything_once_in_order_is_clean() {
        assert!(ledger(9).verdict(&book(0..9)).is_clean());
        assert_eq!(verdict(0..9), "lost=0 double=0 order=0 overlap=0");
    }

    #[test]
    fn a_loss_is_found() {
        assert_eq!(verdict((0..9).filter(|n| *n != 4)), "lost=1 double=0 order=0 overlap=0");
        assert_eq!(verdict([]), "lost=9 double=0 order=0 overlap=0");
    }

    #[test]
    fn a_double_is_found() {
        assert_eq!(verdict((0..9).chain([2, 2])), "lost=0 double=2 order=0 overlap=0");
    }

    #[test]
    fn a_disorder_within_one_customer_is_found() {
        assert_eq!(
            verdict([3, 0, 1, 2, 4, 5, 6, 7, 8]),
            "lost=0 double=0 order=1 overlap=0"
        );
    }

    #[test]
    fn what_concerns_no_customer_has_no_order() {
        assert_eq!(
            verdict([8, 5, 2, 0, 1, 3, 4, 6, 7]),
            "lost=0 double=0 order=0 overlap=0"
        );
    }

    #[test]
    fn customers_do_not_wait_for_each_other() {
        assert_eq!(
            verdict([2, 5, 8, 1, 4, 7, 0, 3, 6]),
            "lost=0 double=0 order=0 overlap=0"
        );
    }

    #[test]
    fn an_overlap_is_found() {
        let mut ledger = ledger(0);
        ledger.counts.overlap = 2;
        assert_eq!(ledger.verdict(&[]).to_string(), "lost=0 double=0 order=0 overlap=2");
    }

    #[test]
    fn what_was_never_said_is_found() {
        assert_eq!(verdict(0..10), "lost=0 double=0 order=0 overlap=0 stray=1");
        let mut stolen = book(0..9);
        stolen[0].external_userid = customer(1);
        assert_eq!(ledger(9).verdict(&stolen).stray, 1);
    }

    #[test]
    fn the_same_msgid_on_another_account_is_another_message() {
        let mut elsewhere = book(0..9);
        elsewhere[0].open_kfid = OpenKfid::from("wk2");
        assert_eq!(
            ledger(9).verdict(&elsewhere).to_string(),
            "lost=1 double=0 order=0 overlap=0 stray=1"
        );
    }

    #[test]
    fn odd_items_may_be_kept_or_left_but_not_doubled() {
        let mut ledger = ledger(3);
        ledger.odd = vec![Arc::new(OddItem {
            open_kfid: OpenKfid::from("wk1"),
            fault: Fault::UnknownMsgtype,
            msgid: Some(Msgid::from("m9")),
            raw: "{}".into(),
        })];
        assert!(ledger.verdict(&book([0, 1, 2])).is_clean());
        assert!(ledger.verdict(&book([9, 0, 1, 2])).is_clean());
        assert_eq!(ledger.verdict(&book([9, 0, 1, 2, 9])).double, 1);
        let mut without_id = book(0..4);
        without_id[3].msgid = Msgid::from("sha256:00");
        assert!(ledger.verdict(&without_id).is_clean());
    }

    proptest! {
        #[test]
        fn losses_and_doubles_are_counted_exactly(copies in prop::collection::vec(0usize..4, 1..60)) {
            let received = copies.iter().enumerate().flat_map(|(n, copies)| std::iter::repeat_n(n, *copies));
            let verdict = ledger(copies.len()).verdict(&book(received));
            prop_assert_eq!(verdict.lost, copies.iter().filter(|copies| **copies == 0).count() as u64);
            prop_assert_eq!(verdict.double, copies.iter().map(|copies| copies.saturating_sub(1) as u64).sum::<u64>());
            prop_assert_eq!(verdict.order, 0);
        }
    }
}
