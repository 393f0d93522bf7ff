//! Replies: remembered for a while, found again by what they answer and by their own ids.

use std::time::Duration;

use wecom_kf::clock::UnixMillis;
use wecom_kf::id::Msgid;
use wecom_kf::store::{Lane, SentReply};

use crate::bench::{Bench, NOW, account, handler, register, store_messages, text};

fn lane(customer: &str) -> Lane {
    Lane::of(&account("wk1"), customer)
}

/// What `handler` said as `msgid`, in answer to `m1`.
pub(crate) fn reply(by: &str, msgid: &str) -> SentReply {
    SentReply {
        lane: lane("wm1"),
        in_reply_to: Msgid::from("m1"),
        msgid: Msgid::from(msgid),
        handler: handler(by),
        index: 3,
        part: 1,
        at: NOW,
    }
}

fn at(msgid: &str, at: UnixMillis) -> SentReply {
    SentReply {
        at,
        ..reply("bot", msgid)
    }
}

fn later(secs: u64) -> UnixMillis {
    NOW.plus(Duration::from_secs(secs))
}

fn ids(replies: &[SentReply]) -> Vec<&str> {
    replies.iter().map(|reply| reply.msgid.as_str()).collect()
}

pub(crate) async fn a_reply_is_found_by_what_it_answers_and_by_its_own_id(bench: &impl Bench) {
    let store = bench.open().await;
    register(&store, "bot").await;
    let said = reply("bot", "r1");
    store.record_reply(said.clone()).await.unwrap();
    assert_eq!(
        store.replies_to(lane("wm1"), &Msgid::from("m1")).await.unwrap(),
        std::slice::from_ref(&said)
    );
    assert_eq!(store.reply(lane("wm1"), "r1").await.unwrap(), Some(said));
    assert_eq!(store.replies_to(lane("wm1"), &Msgid::from("m2")).await.unwrap(), []);
    assert_eq!(store.reply(lane("wm1"), "r2").await.unwrap(), None);
}

pub(crate) async fn a_reply_is_remembered_once_as_it_was_first(bench: &impl Bench) {
    let store = bench.open().await;
    register(&store, "bot").await;
    store.record_reply(at("r1", NOW)).await.unwrap();
    store.record_reply(at("r1", later(60))).await.unwrap();
    assert_eq!(
        store.replies_to(lane("wm1"), &Msgid::from("m1")).await.unwrap(),
        [at("r1", NOW)]
    );
}

pub(crate) async fn replies_are_told_in_the_order_of_acceptance(bench: &impl Bench) {
    let store = bench.open().await;
    let _ = [register(&store, "crm").await, register(&store, "bot").await];
    for (by, msgid) in [("bot", "z"), ("crm", "y"), ("bot", "a"), ("crm", "b")] {
        store.record_reply(reply(by, msgid)).await.unwrap();
    }
    let said = store.replies_to(lane("wm1"), &Msgid::from("m1")).await.unwrap();
    assert_eq!(ids(&said), ["z", "y", "a", "b"]);
    assert_eq!(said[1].handler, handler("crm"));
}

pub(crate) async fn a_reply_belongs_to_its_customer_alone(bench: &impl Bench) {
    let store = bench.open().await;
    register(&store, "bot").await;
    let elsewhere = SentReply {
        lane: lane("wm2"),
        ..reply("bot", "r2")
    };
    store.record_reply(reply("bot", "r1")).await.unwrap();
    store.record_reply(elsewhere.clone()).await.unwrap();
    for (customer, own, other) in [("wm1", "r1", "r2"), ("wm2", "r2", "r1")] {
        let said = store.replies_to(lane(customer), &Msgid::from("m1")).await.unwrap();
        assert_eq!(ids(&said), [own]);
        assert_eq!(store.reply(lane(customer), other).await.unwrap(), None);
    }
}

pub(crate) async fn a_reply_outlives_the_process_and_the_message_it_answers(bench: &impl Bench) {
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    store_messages(&store, vec![text("m1", "wm1", &[])]).await;
    store.record_reply(reply("bot", "r1")).await.unwrap();
    let left = bench.killed();
    drop(store);
    for bench in [&left, bench] {
        let store = bench.open().await;
        store.prune(later(60), 10).await.unwrap();
        assert_eq!(register(&store, "bot").await, bot);
        assert_eq!(store.reply(lane("wm1"), "r1").await.unwrap(), Some(reply("bot", "r1")));
    }
}

pub(crate) async fn only_old_replies_are_forgotten_and_no_more_than_asked(bench: &impl Bench) {
    let store = bench.open().await;
    register(&store, "bot").await;
    for msgid in ["r1", "r2", "r3"] {
        store.record_reply(at(msgid, NOW)).await.unwrap();
    }
    store.record_reply(at("young", later(60))).await.unwrap();
    assert_eq!(store.prune_replies(NOW, 10).await.unwrap(), 0, "said then, not before");
    assert_eq!(store.prune_replies(later(60), 2).await.unwrap(), 2);
    assert_eq!(store.prune_replies(later(60), 2).await.unwrap(), 1);
    assert_eq!(store.prune_replies(later(60), 2).await.unwrap(), 0);
    let left = store.replies_to(lane("wm1"), &Msgid::from("m1")).await.unwrap();
    assert_eq!(ids(&left), ["young"]);
}

pub(crate) async fn a_reply_of_nobody_is_refused(bench: &impl Bench) {
    let store = bench.open().await;
    store.record_reply(reply("stranger", "r1")).await.unwrap_err();
    assert_eq!(store.reply(lane("wm1"), "r1").await.unwrap(), None);
}
