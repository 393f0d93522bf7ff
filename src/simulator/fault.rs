//! What can go wrong at WeCom and on the way to it, each with a dial of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::calls::Api;
use crate::id::OpenKfid;

super::named::named! {
    /// One way in which WeCom, or the network before it, lets its client down.
    Fault {
        /// A callback is not sent at all.
        CallbackDropped = "callback_dropped",
        /// A callback is sent two to four times at once.
        CallbackDuplicated = "callback_duplicated",
        /// A callback is held back until a later one has been answered, or [`Faults::slowness`] has passed.
        CallbackReordered = "callback_reordered",
        /// A callback is sent up to [`Faults::slowness`] late.
        CallbackDelayed = "callback_delayed",
        /// Together with a callback, an earlier one is sent again, byte for byte.
        CallbackReplayed = "callback_replayed",
        /// The connection closes before a call has taken any effect.
        CallLost = "call_lost",
        /// The answer to a call takes up to [`Faults::slowness`].
        Latency = "latency",
        /// A call is answered 500, 502, 503 or 504.
        Http5xx = "http_5xx",
        /// The connection closes before a byte of the answer is sent. This and whatever else happens to an answer
        /// happens after the call has taken effect.
        ResetBeforeBody = "reset_before_body",
        /// The connection closes in the middle of the answer.
        ResetInBody = "reset_in_body",
        /// The answer ends in the middle of its JSON, in an otherwise perfect response.
        TruncatedJson = "truncated_json",
        /// A web page is answered, with status 200.
        Html = "html",
        /// `Content-Length` promises more than comes, or less.
        WrongContentLength = "wrong_content_length",
        /// A page of `sync_msg` is filled up with [`Faults::page_bytes`] of an unknown field.
        HugePage = "huge_page",
        /// A call is answered -1, system busy.
        Busy = "busy",
        /// A call is answered 45009, and a block of a minute begins.
        RateLimited = "rate_limited",
        /// A call is answered 45033, too many at once.
        ConcurrencyLimited = "concurrency_limited",
        /// Every access token is revoked (40014) or ended (42001) at the moment one is used.
        AccessTokenRevoked = "access_token_revoked",
        /// A good callback token is answered 95007.
        CallbackTokenRefused = "callback_token_refused",
        /// A good cursor is answered 40058 or 50100; which of the two WeCom would use is not known.
        CursorRefused = "cursor_refused",
        /// A page is empty and its cursor stands at the same place in other words, but there is more. This and the
        /// next two keep a pull from moving on five times in a row at most.
        EmptyPage = "empty_page",
        /// A page is empty and its cursor is the one that was sent, but there is more.
        RepeatedCursor = "repeated_cursor",
        /// A page has an empty `next_cursor`.
        EmptyNextCursor = "empty_next_cursor",
        /// A page holds half as many items as it could, or fewer.
        ShortPage = "short_page",
        /// An earlier item comes again.
        DuplicateItem = "duplicate_item",
        /// An earlier item comes again with another body.
        ChangedItem = "changed_item",
        /// An item is no object.
        NonObjectItem = "non_object_item",
        /// An item has no msgid.
        ItemWithoutMsgid = "item_without_msgid",
        /// An item has a msgtype nobody has heard of.
        UnknownMsgtype = "unknown_msgtype",
        /// The fields of an item are null.
        NullFields = "null_fields",
        /// The fields of an item are larger than any type would expect.
        HugeFields = "huge_fields",
        /// `gettoken` is answered -1.
        GettokenFails = "gettoken_fails",
        /// `gettoken` is answered 45009, and a block of a minute begins.
        GettokenLimited = "gettoken_limited",
    }
}

/// How often a fault happens.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(from = "DialForm", into = "DialForm")]
#[non_exhaustive]
pub enum Dial {
    /// Each time with this probability: 0 is never, 1 is always.
    Chance(f64),
    /// The next so many times, then never.
    Next(u32),
}

/// A dial as JSON: `0.25`, or `{"next": 3}`.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum DialForm {
    Chance(f64),
    Next { next: u32 },
}

impl From<DialForm> for Dial {
    fn from(form: DialForm) -> Self {
        match form {
            DialForm::Chance(chance) => Self::Chance(chance),
            DialForm::Next { next } => Self::Next(next),
        }
    }
}

impl From<Dial> for DialForm {
    fn from(dial: Dial) -> Self {
        match dial {
            Dial::Chance(chance) => Self::Chance(chance),
            Dial::Next(next) => Self::Next { next },
        }
    }
}

/// Replies that are accepted, and fail.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94670>
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SendFail {
    /// How many fail.
    pub dial: Dial,
    /// Why: 4 the session expired, 5 it was closed, 6 more than five messages, 10 the customer refuses, 13 security …
    pub fail_type: u32,
}

/// Which faults happen, and how badly. As JSON it is what `PUT /simulator/faults` takes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Faults {
    /// Faults that happen; one that is missing does not.
    pub dials: BTreeMap<Fault, Dial>,
    /// How long [`Fault::Latency`] and [`Fault::CallbackDelayed`] take at most: half a second. In JSON `slowness_ms`.
    #[serde(rename = "slowness_ms", with = "milliseconds")]
    pub slowness: Duration,
    /// How much [`Fault::HugePage`] adds: 10 MiB.
    pub page_bytes: usize,
    /// Calls that the faults of calls happen to; every call, if there is none here. What happens to callbacks, and
    /// what only one call can suffer, is not concerned.
    pub calls: BTreeSet<Api>,
    /// How many replies are accepted and then never reach the customer, and what `msg_send_fail` says about it.
    pub send_fail: Option<SendFail>,
    /// Accounts that cannot be pulled, and the errcode that says why: 95000, 48007, 60020 …
    pub refusals: BTreeMap<OpenKfid, i64>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            dials: BTreeMap::new(),
            slowness: Duration::from_millis(500),
            page_bytes: 10 << 20,
            calls: BTreeSet::new(),
            send_fail: None,
            refusals: BTreeMap::new(),
        }
    }
}

impl Faults {
    /// Nothing goes wrong but `fault`, as often as `dial` says.
    #[must_use]
    pub fn only(fault: Fault, dial: Dial) -> Self {
        Self::default().with(fault, dial)
    }

    /// Every fault happens with probability `chance`.
    #[must_use]
    pub fn all(chance: f64) -> Self {
        Fault::ALL.iter().fold(Self::default(), |faults, fault| {
            faults.with(*fault, Dial::Chance(chance))
        })
    }

    /// The same, with one dial turned.
    #[must_use]
    pub fn with(mut self, fault: Fault, dial: Dial) -> Self {
        self.dials.insert(fault, dial);
        self
    }

    /// The same, with `open_kfid` answered `errcode` whenever it is pulled.
    #[must_use]
    pub fn refusing(mut self, open_kfid: OpenKfid, errcode: i64) -> Self {
        self.refusals.insert(open_kfid, errcode);
        self
    }

    /// The same, but only for `api`, and whatever else was named so.
    #[must_use]
    pub fn on(mut self, api: Api) -> Self {
        self.calls.insert(api);
        self
    }

    /// The same, with as many accepted replies as `dial` says failing afterwards, for the reason `fail_type`.
    #[must_use]
    pub fn failing_replies(mut self, dial: Dial, fail_type: u32) -> Self {
        self.send_fail = Some(SendFail { dial, fail_type });
        self
    }

    /// Whether the faults of calls happen to `api`.
    pub(super) fn concern(&self, api: Api) -> bool {
        self.calls.is_empty() || self.calls.contains(&api)
    }

    /// What a reply that was just accepted fails with, if it does.
    pub(super) fn fails(&mut self, rng: &mut impl Rng) -> Option<u32> {
        let SendFail { dial, fail_type } = self.send_fail.as_mut()?;
        dial.strikes(rng).then_some(*fail_type)
    }

    /// Whether `fault` happens this time.
    pub(super) fn happens(&mut self, fault: Fault, rng: &mut impl Rng) -> bool {
        self.dials.get_mut(&fault).is_some_and(|dial| dial.strikes(rng))
    }
}

impl Dial {
    /// Whether it happens this time.
    fn strikes(&mut self, rng: &mut impl Rng) -> bool {
        match self {
            Self::Next(0) => false,
            Self::Next(left) => {
                *left -= 1;
                true
            }
            Self::Chance(chance) => rng.random::<f64>() < *chance,
        }
    }
}

mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn a_dial_at_next_two_turns_itself_off() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut faults = Faults::only(Fault::Busy, Dial::Next(2));
        assert_eq!(
            [0; 4].map(|_| faults.happens(Fault::Busy, &mut rng)),
            [true, true, false, false]
        );
        assert!(!faults.happens(Fault::Html, &mut rng));
    }

    #[test]
    fn a_chance_is_kept() {
        let mut rng = SmallRng::seed_from_u64(1);
        for (chance, expected) in [(0.0, 0..=0), (0.25, 200..=300), (1.0, 1000..=1000)] {
            let mut faults = Faults::all(chance);
            let times = (0..1000).filter(|_| faults.happens(Fault::Busy, &mut rng)).count();
            assert!(expected.contains(&times), "{times} of 1000 at {chance}");
        }
    }

    #[test]
    fn a_setting_survives_json() {
        let json = r#"{"dials":{"busy":0.5,"http_5xx":{"next":3}},"slowness_ms":20,"refusals":{"wk1":95000},
            "calls":["kf/send_msg"],"send_fail":{"dial":{"next":1},"fail_type":4}}"#;
        let faults: Faults = serde_json::from_str(json).unwrap();
        let mut expected = Faults::only(Fault::Busy, Dial::Chance(0.5))
            .with(Fault::Http5xx, Dial::Next(3))
            .refusing(OpenKfid::from("wk1"), 95000)
            .on(Api::SendMsg)
            .failing_replies(Dial::Next(1), 4);
        expected.slowness = Duration::from_millis(20);
        assert_eq!(faults, expected);
        let again = serde_json::to_string(&faults).unwrap();
        assert_eq!(serde_json::from_str::<Faults>(&again).unwrap(), faults);
    }

    #[test]
    fn an_unknown_fault_is_named() {
        let error = serde_json::from_str::<Faults>(r#"{"dials":{"gremlins":1}}"#).unwrap_err();
        assert!(error.to_string().contains("gremlins"), "{error}");
    }

    #[test]
    fn names_are_read_back() {
        for fault in Fault::ALL {
            assert_eq!(fault.name().parse::<Fault>().unwrap(), *fault);
        }
    }
}
