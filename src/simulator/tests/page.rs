use axum::http::Method;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::clock::Clock as _;
use crate::simulator::calls::{Request, parse};
use crate::simulator::refusal::Refusal;
use crate::simulator::wecom::Wecom;

/// WeCom without a wire, and a client inside of it.
struct Office {
    wecom: Wecom,
    clock: ManualClock,
    access_token: String,
}

impl Office {
    fn new() -> Self {
        let clock = ManualClock::default();
        let mut settings = settings(&clock);
        settings.limits.tokenless_per_minute = u32::MAX;
        settings.limits.per_minute = u32::MAX;
        settings.limits.per_hour = u32::MAX;
        settings.access_token_lifetime = 1_000 * HOUR;
        let mut wecom = Wecom::new(settings);
        let (access_token, _) = wecom.access_tokens.issue(START, &mut SmallRng::seed_from_u64(0));
        Self {
            wecom,
            clock,
            access_token,
        }
    }

    fn say(&mut self, text: &str) -> Msgid {
        let draft = Draft::text(&ExternalUserid::from("wm1"), text);
        self.wecom.say(&wk1(), draft, self.clock.now()).unwrap()
    }

    fn try_sync(&mut self, cursor: Option<&str>, limit: u32) -> Result<Value, Refusal> {
        let body = match cursor {
            Some(cursor) => json!({ "open_kfid": "wk1", "cursor": cursor, "limit": limit }),
            None => json!({ "open_kfid": "wk1", "limit": limit }),
        };
        self.ask(&body)
    }

    fn ask(&mut self, body: &Value) -> Result<Value, Refusal> {
        let uri = format!("/cgi-bin/kf/sync_msg?access_token={}", self.access_token);
        let body = body.to_string();
        let request = Request {
            method: &Method::POST,
            uri: &uri.parse().unwrap(),
            body: body.as_bytes(),
        };
        let now = self.clock.now();
        let page = self.wecom.sync_msg(&request, parse(request.body), now)?;
        Ok(serde_json::from_str(&page).unwrap())
    }

    fn sync(&mut self, cursor: Option<&str>, limit: u32) -> Value {
        self.try_sync(cursor, limit).unwrap()
    }

    /// Pulls to the end as a client should, and returns every item in order.
    fn pull(&mut self, mut limits: impl Iterator<Item = u32>) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..10_000 {
            let page = self.sync(cursor.as_deref(), limits.next().unwrap());
            items.extend(page["msg_list"].as_array().cloned().unwrap_or_default());
            let next = page["next_cursor"].as_str().unwrap();
            assert!(!next.is_empty() && next.len() <= 64);
            if page["has_more"] == 0 {
                return items;
            }
            cursor = Some(next.to_owned());
        }
        panic!("the pull does not come to an end");
    }
}

fn ids(items: &[Value]) -> Vec<&str> {
    items.iter().filter_map(|item| item["msgid"].as_str()).collect()
}

proptest! {
    #[test]
    fn cursors_lead_to_every_item_exactly_once(
        count in 0usize..120,
        limits in prop::collection::vec(1u32..40, 1..10),
        faults in prop::sample::subsequence(vec![Fault::ShortPage, Fault::EmptyPage, Fault::RepeatedCursor], 0..=3),
    ) {
        let mut office = Office::new();
        for fault in faults {
            office.wecom.faults.dials.insert(fault, Dial::Chance(0.3));
        }
        let said: Vec<_> = (0..count).map(|n| office.say(&n.to_string())).collect();
        let items = office.pull(limits.into_iter().cycle());
        prop_assert_eq!(ids(&items), said.iter().map(Msgid::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn a_pull_with_odd_items_comes_to_an_end_and_loses_nothing(count in 0usize..60, limit in 1u32..10) {
        let mut office = Office::new();
        for fault in crate::simulator::odd::ODD_ITEMS {
            office.wecom.faults.dials.insert(fault, Dial::Chance(1.0));
        }
        let said: Vec<_> = (0..count).map(|n| office.say(&n.to_string())).collect();
        let items = office.pull(std::iter::repeat(limit));
        prop_assert_eq!(&ids(&items)[..count], said.iter().map(Msgid::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn the_cursor_at_the_end_waits_there() {
    let mut office = Office::new();
    office.say("before");
    let page = office.sync(None, 10);
    let end = page["next_cursor"].as_str().unwrap();
    let nothing = office.sync(Some(end), 10);
    assert_eq!(
        (&nothing["next_cursor"], &nothing["has_more"]),
        (&page["next_cursor"], &json!(0))
    );
    assert_eq!(nothing["msg_list"], json!([]));
    let later = office.say("after");
    assert_eq!(msgids(&office.sync(Some(end), 10)), [later]);
}

#[test]
fn history_goes_back_three_days() {
    let mut office = Office::new();
    let first = office.say("first");
    let early = office.sync(None, 10)["next_cursor"].as_str().unwrap().to_owned();
    let second = office.say("second");
    office.clock.advance(24 * HOUR);
    let third = office.say("third");
    office.clock.advance(48 * HOUR);
    assert_eq!(
        msgids(&office.sync(None, 10)),
        [first, second, third.clone()],
        "72 h to the minute"
    );
    office.clock.advance(MINUTE);
    assert_eq!(
        msgids(&office.sync(None, 10)),
        std::slice::from_ref(&third),
        "without a cursor"
    );
    assert_eq!(
        msgids(&office.sync(Some(&early), 10)),
        [third],
        "a cursor that is too old goes on at the oldest"
    );
}

#[test]
fn a_page_holds_a_thousand_by_default_and_at_most() {
    let mut office = Office::new();
    for _ in 0..1_001 {
        office.say("x");
    }
    let page = office.ask(&json!({ "open_kfid": "wk1" })).unwrap();
    assert_eq!((msgids(&page).len(), &page["has_more"]), (1_000, &json!(1)));
    assert_eq!(office.try_sync(None, 1_001).unwrap_err().errcode, 40058);
}

#[test]
fn an_item_is_dated_by_the_clock() {
    let mut office = Office::new();
    office.clock.advance(MINUTE);
    office.say("x");
    assert_eq!(
        office.sync(None, 1)["msg_list"][0]["send_time"],
        START.plus(MINUTE).as_secs()
    );
}

#[test]
fn a_recall_names_the_last_message_of_whoever_recalls() {
    let mut office = Office::new();
    let customer = ExternalUserid::from("wm1");
    let mut rng = SmallRng::seed_from_u64(1);
    let script = samples::conversation(&customer, &mut rng);
    for draft in script {
        office.wecom.say(&wk1(), draft, START).unwrap();
    }
    let items = office.pull(std::iter::repeat(1_000));
    let find = |kind: &str| {
        items
            .iter()
            .find(|item| item["event"]["event_type"] == kind || item["msgtype"] == kind)
    };
    for (recall, recalled) in [("user_recall_msg", "note"), ("servicer_recall_msg", "msgmenu")] {
        assert_eq!(
            find(recall).unwrap()["event"]["recall_msgid"],
            find(recalled).unwrap()["msgid"]
        );
    }
}

#[test]
fn what_a_fault_adds_is_in_the_ledger_and_stays_in_the_stream() {
    let mut office = Office::new();
    office.say("x");
    office.wecom.faults = Faults::only(Fault::UnknownMsgtype, Dial::Next(1));
    let page = office.sync(None, 10);
    assert_eq!(msgids(&page).len(), 2);
    assert_eq!(page, office.sync(None, 10), "the same page again");
    let ledger = office.wecom.ledger();
    assert_eq!((ledger.said.len(), ledger.odd.len()), (1, 1));
    assert_eq!(ledger.odd[0].msgid.as_ref(), msgids(&page).last());
}

#[test]
fn a_hundred_thousand_messages_are_served_in_pages_of_a_thousand() {
    let mut office = Office::new();
    let chatter = samples::Chatter::new(1, samples::customers(1, 100));
    for draft in chatter.take(100_000) {
        office.wecom.say(&wk1(), draft, START).unwrap();
    }
    let mut served = 0;
    let mut cursor = None;
    for _ in 0..100 {
        let page = office.sync(cursor.as_deref(), 1_000);
        served += page["msg_list"].as_array().unwrap().len();
        cursor = page["next_cursor"].as_str().map(str::to_owned);
    }
    assert_eq!((served, office.wecom.counts.sync_msg), (100_000, 100));
}

#[test]
fn a_client_has_come_as_far_as_it_asks_to_go_on_from() {
    let mut office = Office::new();
    for n in 0..5 {
        office.say(&n.to_string());
    }
    let cursor = office.sync(None, 2)["next_cursor"].as_str().unwrap().to_owned();
    assert_eq!(office.wecom.place(&wk1(), &cursor), Some(2));
    assert_eq!(office.wecom.acknowledged.get(&wk1()), None, "it may not have arrived");
    office.sync(Some(&cursor), 2);
    office.sync(None, 2);
    assert_eq!(
        office.wecom.acknowledged.get(&wk1()),
        Some(&2),
        "whatever it asks later"
    );
}
