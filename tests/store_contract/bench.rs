//! What a rule needs: a place for stores, and short ways to say what happens there.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use wecom_kf::clock::UnixMillis;
use wecom_kf::id::{AccountKey, AppName, HandlerName, Msgid, OpenKfid};
use wecom_kf::store::{
    Claim, Commit, Fence, Finish, HandlerId, Intake, Lane, NewMessage, News, Page, PageEnds, Pending, Position, Seq,
    Shard, ShardSet, Store, Stored, Verdict,
};

/// A place where one kind of store can be opened, closed and opened again.
pub(crate) trait Bench: Default + Send + Sync {
    /// Opens the store to serve from it.
    fn open(&self) -> impl Future<Output = Arc<dyn Store>> + Send;

    /// Opens it as an operator's command would, beside the server.
    fn open_operator(&self) -> impl Future<Output = Arc<dyn Store>> + Send;

    /// What another process would find if all those that have the store open were killed now.
    fn killed(&self) -> Self;
}

/// The moment most things happen.
pub(crate) const NOW: UnixMillis = UnixMillis(1_785_571_212_000);

pub(crate) fn account(open_kfid: &str) -> AccountKey {
    AccountKey::new(AppName::new("main").unwrap(), OpenKfid::from(open_kfid))
}

pub(crate) fn handler(name: &str) -> HandlerName {
    HandlerName::new(name).unwrap()
}

pub(crate) async fn register(store: &Arc<dyn Store>, name: &str) -> HandlerId {
    store.register_handlers(&[handler(name)]).await.unwrap()[0]
}

/// A text of `customer` to `wk1`, owed to `owed_to`.
pub(crate) fn text(msgid: &str, customer: &str, owed_to: &[HandlerId]) -> NewMessage {
    NewMessage {
        msgid: Msgid::from(msgid),
        send_time: 1_785_571_212,
        lane: Lane::of(&account("wk1"), customer),
        kind: "text".into(),
        urgent: false,
        body: json(&serde_json::json!({ "msgid": msgid, "msgtype": "text" }).to_string()),
        decoded: None,
        owed_to: owed_to.to_vec(),
    }
}

pub(crate) fn urgent(msgid: &str, customer: &str, owed_to: &[HandlerId]) -> NewMessage {
    NewMessage {
        kind: "event.enter_session".into(),
        urgent: true,
        ..text(msgid, customer, owed_to)
    }
}

pub(crate) fn json(body: &str) -> Arc<RawValue> {
    RawValue::from_string(body.to_owned()).unwrap().into()
}

/// A page in the middle of a pull.
pub(crate) fn page(claim: &Claim, next_cursor: &str, messages: Vec<NewMessage>) -> Page {
    Page {
        claim: claim.clone(),
        next_cursor: Some(next_cursor.into()),
        messages,
        received: NOW,
        ends: PageEnds::More,
    }
}

/// The last page of a pull.
pub(crate) fn last_page(claim: &Claim, next_cursor: &str, answers: u64) -> Page {
    Page {
        ends: PageEnds::Pull { answers },
        ..page(claim, next_cursor, Vec::new())
    }
}

/// Commits a page that must be taken.
pub(crate) async fn commit(store: &Arc<dyn Store>, page: Page) -> Stored {
    match store.commit_page(page).await.unwrap() {
        Commit::Stored(stored) => stored,
        other => panic!("not stored: {other:?}"),
    }
}

/// Commits a page that must be refused.
pub(crate) async fn assert_superseded(store: &Arc<dyn Store>, page: Page) {
    let commit = store.commit_page(page).await.unwrap();
    assert!(matches!(commit, Commit::Superseded), "{commit:?}");
}

/// Stores `messages` on `wk1`, whatever its cursor.
pub(crate) async fn store_messages(store: &Arc<dyn Store>, messages: Vec<NewMessage>) -> Vec<Intake> {
    let claim = store.claim(&account("wk1"), Fence::FIRST, NOW).await.unwrap().unwrap();
    let again = claim
        .cursor
        .as_deref()
        .map_or_else(String::new, |cursor| format!("{cursor}."));
    commit(store, page(&claim, &format!("{again}c"), messages))
        .await
        .messages
}

/// The beginning of every shard.
pub(crate) fn beginning() -> Vec<Position> {
    let after = Seq::default();
    Shard::all().map(|shard| Position { shard, after }).collect()
}

/// Everything owed to `handler`, in the order of commits.
pub(crate) async fn owed(store: &Arc<dyn Store>, handler: HandlerId) -> Vec<Pending> {
    let mut all = store.pending(handler, &beginning(), usize::MAX).await.unwrap();
    all.sort_by_key(|delivery| delivery.seq);
    all
}

pub(crate) fn msgids(deliveries: &[Pending]) -> Vec<&str> {
    deliveries
        .iter()
        .map(|delivery| delivery.letter.msgid.as_str())
        .collect()
}

/// The news that must have come.
pub(crate) async fn heard(news: &News) -> ShardSet {
    let patience = Duration::from_secs(30);
    tokio::time::timeout(patience, news.next())
        .await
        .expect("the bell rings")
}

/// How an attempt at `delivery` ended.
pub(crate) fn finish(handler: HandlerId, delivery: &Pending, verdict: Verdict) -> Finish {
    Finish {
        handler,
        shard: delivery.lane.shard(),
        seq: delivery.seq,
        under: Fence::FIRST,
        verdict,
    }
}

pub(crate) fn dead(at: UnixMillis) -> Verdict {
    Verdict::Dead {
        attempts: 6,
        at,
        reason: "status 500".into(),
    }
}

/// Names of `count` customers of `wk1` who share a shard.
pub(crate) fn neighbours(count: usize) -> Vec<String> {
    let shard = Lane::of(&account("wk1"), "wm0").shard();
    let customers = (0..).map(|number| format!("wm{number}"));
    customers
        .filter(|customer| Lane::of(&account("wk1"), customer).shard() == shard)
        .take(count)
        .collect()
}

/// A customer of `wk1` in another shard than [`neighbours`].
pub(crate) fn stranger() -> String {
    let shard = Lane::of(&account("wk1"), "wm0").shard();
    let mut customers = (0..).map(|number| format!("wm{number}"));
    customers
        .find(|customer| Lane::of(&account("wk1"), customer).shard() != shard)
        .unwrap()
}
