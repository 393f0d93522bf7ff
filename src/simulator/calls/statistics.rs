//! How much was said, day by day: counted when somebody asks, from what was said.
//!
//! Days are those of China. A day's numbers are there from six the next morning.
//!
//! Sources: <https://developer.work.weixin.qq.com/document/path/95489> (corporation),
//! <https://developer.work.weixin.qq.com/document/path/95490> (colleague).

use std::collections::HashSet;
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Answer;
use super::customers::UpgradeTo;
use super::fields::{Fields, number, text};
use crate::clock::UnixMillis;
use crate::id::OpenKfid;
use crate::simulator::conversation::Occasion;
use crate::simulator::refusal::Refusal;
use crate::simulator::wecom::Wecom;

const DAY: u64 = 24 * 60 * 60;
/// How far China's midnight lies before that of UTC, in seconds.
const CHINA: u64 = 8 * 60 * 60;
/// When in a day the numbers of the day before are there, in seconds.
const SIX: u64 = 6 * 60 * 60;
/// Most days in one call, and how many days back numbers are kept.
const MAX_DAYS: u64 = 31;
const KEPT_DAYS: u64 = 180;

/// What the numbers are taken from.
#[derive(Deserialize)]
struct Item {
    send_time: u64,
    external_userid: Option<String>,
    servicer_userid: Option<String>,
    event: Option<Event>,
}

#[derive(Deserialize)]
struct Event {
    external_userid: Option<String>,
    new_servicer_userid: Option<String>,
    reject_switch: Option<u64>,
}

/// What one item says about a day.
struct Fact {
    day: u64,
    customer: Option<String>,
    what: What,
}

enum What {
    CustomerWrote,
    ServicerWrote(String),
    SessionTo(String),
    Rejected,
}

/// What happened on an account.
struct Facts(Vec<Fact>);

/// Number of the day, in China, in which a moment lies.
fn day_of(secs: u64) -> u64 {
    (secs + CHINA) / DAY
}

/// When a day begins, in seconds since 1970.
fn midnight(day: u64) -> u64 {
    day * DAY - CHINA
}

impl Wecom {
    /// `POST /cgi-bin/kf/get_corp_statistic`.
    pub(super) fn corp_statistic(&self, request: &Fields, now: UnixMillis) -> Answer {
        let open_kfid = self.granted_account(text(request, "open_kfid")?)?;
        let (days, facts) = (days(request, now)?, self.facts(&open_kfid));
        let list: Vec<_> = days
            .map(|day| stat(day, now, || self.corp_day(&open_kfid, &facts, day)))
            .collect();
        Ok(json!({ "statistic_list": list }))
    }

    /// `POST /cgi-bin/kf/get_servicer_statistic`.
    pub(super) fn servicer_statistic(&self, request: &Fields, now: UnixMillis) -> Answer {
        let open_kfid = self.granted_account(text(request, "open_kfid")?)?;
        let servicer = text(request, "servicer_userid")?;
        let (days, facts) = (days(request, now)?, self.facts(&open_kfid));
        let list: Vec<_> = days
            .map(|day| stat(day, now, || self.servicer_day(&open_kfid, servicer, &facts, day)))
            .collect();
        Ok(json!({ "statistic_list": list }))
    }

    fn corp_day(&self, open_kfid: &OpenKfid, facts: &Facts, day: u64) -> Option<Value> {
        let sessions = self.conversations.begun(open_kfid);
        let sessions = sessions.filter(|at| day_of(at.as_secs()) == day).count();
        let written = facts.on(day, |what| matches!(what, What::CustomerWrote));
        let rejected = facts.on(day, |what| matches!(what, What::Rejected));
        let replies = self.replies.all().iter().filter(|seen| {
            seen.open_kfid == *open_kfid && seen.occasion == Occasion::Reply && day_of(seen.send_time) == day
        });
        let replies = replies.count();
        (sessions + written.len() + replies > 0).then(|| {
            json!({
                "session_cnt": sessions, "customer_cnt": distinct(&written), "customer_msg_cnt": written.len(),
                "upgrade_service_customer_cnt": self.upgrades_on(open_kfid, day).count(),
                "ai_session_reply_cnt": replies, "msg_rejected_customer_cnt": distinct(&rejected)
            })
        })
    }

    fn servicer_day(&self, open_kfid: &OpenKfid, servicer: Option<&str>, facts: &Facts, day: u64) -> Option<Value> {
        let is_theirs = |userid: &str| servicer.is_none_or(|servicer| servicer == userid);
        let given = facts.on(day, |what| matches!(what, What::SessionTo(userid) if is_theirs(userid)));
        let answered = facts.on(
            day,
            |what| matches!(what, What::ServicerWrote(userid) if is_theirs(userid)),
        );
        let customers: HashSet<_> = given
            .iter()
            .chain(&answered)
            .filter_map(|fact| fact.customer.as_deref())
            .collect();
        if customers.is_empty() {
            return None;
        }
        let written = facts.on(day, |what| matches!(what, What::CustomerWrote));
        let is_of_theirs = |fact: &&&Fact| fact.customer.as_deref().is_some_and(|id| customers.contains(id));
        let written = written.iter().filter(is_of_theirs).count();
        #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 customers in a day")]
        let reply_rate = distinct(&answered) as f64 / customers.len() as f64;
        let upgrades = self.upgrades_on(open_kfid, day);
        let (members, chats): (Vec<_>, Vec<_>) = upgrades.partition(|to| *to == UpgradeTo::Member);
        Some(json!({
            "session_cnt": given.len(), "customer_cnt": customers.len(), "customer_msg_cnt": written,
            "reply_rate": reply_rate, "satisfaction_investgate_cnt": 0,
            "upgrade_service_customer_cnt": members.len() + chats.len(),
            "upgrade_service_member_invite_cnt": members.len(), "upgrade_service_member_customer_cnt": members.len(),
            "upgrade_service_groupchat_invite_cnt": chats.len(), "upgrade_service_groupchat_customer_cnt": chats.len(),
            "msg_rejected_customer_cnt": distinct(&facts.on(day, |what| matches!(what, What::Rejected)))
        }))
    }

    fn upgrades_on<'a>(&'a self, open_kfid: &'a OpenKfid, day: u64) -> impl Iterator<Item = UpgradeTo> + 'a {
        let upgrades = self.upgrades.of(open_kfid);
        upgrades
            .filter(move |(_, at)| day_of(at.as_secs()) == day)
            .map(|(to, _)| to)
    }

    fn facts(&self, open_kfid: &OpenKfid) -> Facts {
        let said = self.said.iter().filter(|said| said.open_kfid == *open_kfid);
        Facts(said.filter_map(|said| fact(said.origin, &said.raw)).collect())
    }
}

impl Facts {
    fn on(&self, day: u64, is_wanted: impl Fn(&What) -> bool) -> Vec<&Fact> {
        let wanted = self.0.iter().filter(|fact| fact.day == day && is_wanted(&fact.what));
        wanted.collect()
    }
}

fn fact(origin: u64, raw: &str) -> Option<Fact> {
    let item: Item = serde_json::from_str(raw).ok()?;
    let (customer, what) = match (origin, item.event) {
        (3, _) => (item.external_userid, What::CustomerWrote),
        (5, _) => (item.external_userid, What::ServicerWrote(item.servicer_userid?)),
        (_, Some(event)) if event.reject_switch == Some(1) => (event.external_userid, What::Rejected),
        (_, Some(event)) => (event.external_userid, What::SessionTo(event.new_servicer_userid?)),
        _ => return None,
    };
    Some(Fact {
        day: day_of(item.send_time),
        customer,
        what,
    })
}

fn distinct(facts: &[&Fact]) -> usize {
    facts.iter().map(|fact| &fact.customer).collect::<HashSet<_>>().len()
}

/// One day of an answer, its numbers left out while they are not there.
fn stat(day: u64, now: UnixMillis, numbers: impl FnOnce() -> Option<Value>) -> Value {
    let mut stat = json!({ "stat_time": midnight(day) });
    let is_ready = now.as_secs() >= midnight(day + 1) + SIX;
    if let Some(numbers) = is_ready.then(numbers).flatten() {
        stat["statistic"] = numbers;
    }
    stat
}

/// The days that a request asks for.
fn days(request: &Fields, now: UnixMillis) -> Result<RangeInclusive<u64>, Refusal> {
    let day = |field| {
        let secs = number(request, field)?;
        Ok(day_of(secs.ok_or_else(|| {
            Refusal::parameter(format!("field `{field}` is missing"))
        })?))
    };
    let (first, last, today) = (day("start_time")?, day("end_time")?, day_of(now.as_secs()));
    if first > last || last - first >= MAX_DAYS || last >= today || first + KEPT_DAYS < today {
        return Err(Refusal::parameter("invalid start_time or end_time"));
    }
    Ok(first..=last)
}
