//! Retention: what is old and owed to nobody goes, nothing else.

use std::sync::Arc;
use std::time::Duration;

use wecom_kf::clock::UnixMillis;
use wecom_kf::store::{DeadSelect, Fence, Intake, NewMessage, Page, Seq, Store, Verdict};

use crate::bench::{Bench, NOW, account, commit, dead, finish, json, owed, page, register, store_messages, text};

async fn store_at(store: &Arc<dyn Store>, received: UnixMillis, messages: Vec<NewMessage>) {
    let claim = store.claim(&account("wk1"), Fence::FIRST, NOW).await.unwrap().unwrap();
    let page = Page {
        received,
        ..page(&claim, "c", messages)
    };
    commit(store, page).await;
}

fn later(secs: u64) -> UnixMillis {
    NOW.plus(Duration::from_secs(secs))
}

pub(crate) async fn only_old_messages_are_pruned_and_no_more_than_asked(bench: &impl Bench) {
    let store = bench.open().await;
    let old: Vec<_> = (0..5).map(|n| text(&format!("old{n}"), "wm1", &[])).collect();
    store_at(&store, NOW, old.clone()).await;
    store_at(&store, later(60), vec![text("young", "wm1", &[])]).await;
    assert_eq!(store.prune(NOW, 10).await.unwrap(), 0, "received then, not before");
    assert_eq!(store.prune(later(60), 3).await.unwrap(), 3);
    assert_eq!(store.prune(later(60), 3).await.unwrap(), 2);
    assert_eq!(store.prune(later(60), 3).await.unwrap(), 0);
    let again = store_messages(&store, vec![text("young", "wm1", &[])]).await;
    assert_eq!(again, [Intake::Repeated]);
}

pub(crate) async fn what_is_owed_or_dead_is_kept(bench: &impl Bench) {
    let store = bench.open().await;
    let [bot, crm] = [register(&store, "bot").await, register(&store, "crm").await];
    let both = [bot, crm];
    let messages = ["waiting", "dead", "done"].map(|msgid| text(msgid, msgid, &both));
    store_messages(&store, messages.to_vec()).await;
    for handler in both {
        let deliveries = owed(&store, handler).await;
        let mut finished = vec![finish(handler, &deliveries[2], Verdict::Done)];
        if handler == bot {
            finished.push(finish(handler, &deliveries[0], Verdict::Done));
            finished.push(finish(handler, &deliveries[1], dead(NOW)));
        } else {
            finished.push(finish(handler, &deliveries[1], Verdict::Done));
        }
        store.finish(finished).await.unwrap();
    }
    assert_eq!(store.prune(later(60), 10).await.unwrap(), 1);
    assert_eq!(store.dead_letters(DeadSelect::default(), 10).await.unwrap().len(), 1);

    let waiting = &owed(&store, crm).await[0];
    assert_eq!(waiting.letter.msgid.as_str(), "waiting");
    store.finish(vec![finish(crm, waiting, Verdict::Done)]).await.unwrap();
    store.drop_dead(DeadSelect::default()).await.unwrap();
    assert_eq!(store.prune(later(60), 10).await.unwrap(), 2);
}

pub(crate) async fn one_message_from_a_clock_that_was_ahead_does_not_keep_the_others(bench: &impl Bench) {
    let store = bench.open().await;
    store_at(&store, later(86_400), vec![text("ahead", "wm1", &[])]).await;
    store_at(&store, NOW, vec![text("m1", "wm1", &[])]).await;
    assert_eq!(store.prune(later(60), 10).await.unwrap(), 1);
    let again = store_messages(&store, vec![text("ahead", "wm1", &[])]).await;
    assert_eq!(again, [Intake::Repeated]);
}

pub(crate) async fn a_pruned_message_counts_as_new(bench: &impl Bench) {
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    store_messages(&store, vec![text("m1", "wm1", &[])]).await;
    assert_eq!(store.prune(later(60), 10).await.unwrap(), 1);
    let again = store_messages(&store, vec![text("m1", "wm1", &[bot])]).await;
    assert_eq!(again, [Intake::New]);
    assert_eq!(owed(&store, bot).await.len(), 1);
}

/// WeCom repeats three days, and a day on top is for clocks and outages.
pub(crate) async fn a_message_within_its_retention_is_known_however_often_one_prunes(bench: &impl Bench) {
    let store = bench.open().await;
    let retention = Duration::from_hours(96);
    for hour in 0..200 {
        let now = later(hour * 3600);
        store_at(&store, now, vec![text(&format!("m{hour}"), "wm1", &[])]).await;
        while store.prune(now.minus(retention), 10).await.unwrap() > 0 {}
        let youngest_gone = hour.checked_sub(97).map(|hour| format!("m{hour}"));
        let oldest_kept = format!("m{}", hour.saturating_sub(96));
        assert_eq!(
            store_messages(&store, vec![text(&oldest_kept, "wm1", &[])]).await,
            [Intake::Repeated],
            "{oldest_kept} at hour {hour}"
        );
        if let Some(gone) = youngest_gone.filter(|_| hour == 199) {
            let again = store_messages(&store, vec![text(&gone, "wm1", &[])]).await;
            assert_eq!(again, [Intake::New], "{gone} at hour {hour}");
        }
    }
}

pub(crate) async fn a_body_goes_before_its_message_which_is_known_all_the_same(bench: &impl Bench) {
    let store = bench.open().await;
    let old: Vec<_> = (0..5).map(|n| text(&format!("old{n}"), "wm1", &[])).collect();
    store_at(&store, NOW, old.clone()).await;
    store_at(&store, later(60), vec![text("young", "wm1", &[])]).await;

    let first = store.blank(later(60), Seq::default(), 3).await.unwrap();
    assert_eq!(first.bodies, 3);
    let second = store.blank(later(60), first.next.unwrap(), 3).await.unwrap();
    assert_eq!((second.bodies, second.next), (2, None));
    let again = store.blank(later(60), Seq::default(), 10).await.unwrap();
    assert_eq!((again.bodies, again.next), (0, None), "what is gone is not taken again");

    let changed = NewMessage {
        body: json("{}"),
        ..text("young", "wm1", &[])
    };
    let mut repeated = old;
    repeated.push(changed);
    let mut intake = store_messages(&store, repeated).await;
    assert_eq!(
        intake.pop(),
        Some(Intake::Conflicting),
        "a body that is there is compared"
    );
    assert_eq!(intake, [Intake::Repeated; 5]);
    assert_eq!(store.prune(later(60), 10).await.unwrap(), 5);
}

pub(crate) async fn what_is_owed_or_dead_keeps_its_body(bench: &impl Bench) {
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    let messages = ["waiting", "dead", "done"].map(|msgid| text(msgid, msgid, &[bot]));
    store_messages(&store, messages.to_vec()).await;
    let deliveries = owed(&store, bot).await;
    store
        .finish(vec![
            finish(bot, &deliveries[1], dead(NOW)),
            finish(bot, &deliveries[2], Verdict::Done),
        ])
        .await
        .unwrap();
    let blank = async || store.blank(later(60), Seq::default(), 10).await.unwrap().bodies;
    assert_eq!(blank().await, 1);

    store.replay_dead(DeadSelect::default(), later(60)).await.unwrap();
    assert_eq!(blank().await, 0);
    let owed = owed(&store, bot).await;
    let bodies: Vec<_> = owed.iter().map(|delivery| delivery.letter.body.get()).collect();
    assert_eq!(bodies, [messages[0].body.get(), messages[1].body.get()]);
}
