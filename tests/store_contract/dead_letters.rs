//! Dead letters: what was given up can be seen, owed again, or forgotten.

use std::sync::Arc;
use std::time::Duration;

use wecom_kf::clock::UnixMillis;
use wecom_kf::store::{DeadSelect, HandlerId, Intake, Seq, ShardSet, Store};

use crate::bench::{
    Bench, NOW, account, beginning, dead, finish, handler, heard, msgids, owed, register, store_messages, text, urgent,
};

const ALL: DeadSelect = DeadSelect {
    handler: None,
    seq: None,
};

/// Gives up everything owed to `handler`, at `NOW` and a millisecond more for each, the newest first.
async fn bury_all(store: &Arc<dyn Store>, handler: HandlerId) -> Vec<Seq> {
    let deliveries = owed(store, handler).await;
    let newest_first = deliveries.iter().rev().zip(0..);
    let deaths = newest_first.map(|(d, n)| finish(handler, d, dead(UnixMillis(NOW.0 + n))));
    store.finish(deaths.collect()).await.unwrap();
    deliveries.iter().map(|delivery| delivery.seq).collect()
}

async fn listed(store: &Arc<dyn Store>, select: DeadSelect) -> Vec<String> {
    let letters = store.dead_letters(select, 100).await.unwrap();
    let name = |letter: &wecom_kf::store::DeadLetter| format!("{} {}", letter.handler, letter.msgid);
    letters.iter().map(name).collect()
}

pub(crate) async fn a_dead_letter_tells_what_was_given_up_and_why(bench: &impl Bench) {
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    let message = text("m1", "wm1", &[bot]);
    store_messages(&store, vec![message.clone()]).await;
    let seqs = bury_all(&store, bot).await;
    assert!(owed(&store, bot).await.is_empty());
    let letters = bench.killed().open().await.dead_letters(ALL, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert_eq!(letter.handler, handler("bot"));
    assert_eq!(letter.seq, seqs[0]);
    assert_eq!(letter.account, account("wk1"));
    assert_eq!(letter.msgid, message.msgid);
    assert_eq!(letter.kind, message.kind);
    assert_eq!(letter.attempts, 6);
    assert_eq!(letter.at, NOW);
    assert_eq!(&*letter.reason, "status 500");
    assert_eq!(letter.body.get(), message.body.get());
}

pub(crate) async fn dead_letters_come_oldest_death_first(bench: &impl Bench) {
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    let messages = ["m1", "m2", "m3"].map(|msgid| text(msgid, msgid, &[bot]));
    store_messages(&store, messages.to_vec()).await;
    bury_all(&store, bot).await;
    assert_eq!(listed(&store, ALL).await, ["bot m3", "bot m2", "bot m1"]);
    let first = store.dead_letters(ALL, 1).await.unwrap();
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].msgid.as_str(), "m3");
}

pub(crate) async fn dead_letters_are_selected_by_handler_and_number(bench: &impl Bench) {
    let store = bench.open().await;
    let [bot, crm] = [register(&store, "bot").await, register(&store, "crm").await];
    store_messages(&store, vec![text("m1", "wm1", &[bot, crm]), text("m2", "wm1", &[bot])]).await;
    let seqs = bury_all(&store, bot).await;
    bury_all(&store, crm).await;
    let select = |handler_name: Option<&str>, seq: Option<Seq>| DeadSelect {
        handler: handler_name.map(handler),
        seq,
    };
    assert_eq!(listed(&store, select(Some("crm"), None)).await, ["crm m1"]);
    assert_eq!(listed(&store, select(None, Some(seqs[0]))).await.len(), 2);
    assert_eq!(listed(&store, select(Some("bot"), Some(seqs[0]))).await, ["bot m1"]);
    assert!(listed(&store, select(Some("crm"), Some(seqs[1]))).await.is_empty());
    assert!(listed(&store, select(Some("nobody"), None)).await.is_empty());

    assert_eq!(store.drop_dead(select(Some("nobody"), None)).await.unwrap(), 0);
    assert_eq!(store.replay_dead(select(Some("crm"), None), NOW).await.unwrap(), 1);
    assert_eq!(store.drop_dead(select(Some("bot"), Some(seqs[0]))).await.unwrap(), 1);
    assert_eq!(listed(&store, ALL).await, ["bot m2"]);
    assert_eq!(msgids(&owed(&store, crm).await), ["m1"]);
    assert!(owed(&store, bot).await.is_empty());
}

pub(crate) async fn a_replayed_letter_is_owed_afresh(bench: &impl Bench) {
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    let messages = vec![text("m1", "wm1", &[bot]), urgent("m2", "wm2", &[bot])];
    let shards: ShardSet = messages.iter().map(|message| message.lane.shard()).collect();
    store_messages(&store, messages).await;
    let before = owed(&store, bot).await;
    bury_all(&store, bot).await;
    let news = store.news();
    assert_eq!(news.take(), ShardSet::ALL);
    let later = NOW.plus(Duration::from_secs(60));
    assert_eq!(store.replay_dead(ALL, later).await.unwrap(), 2);
    assert_eq!(heard(&news).await, shards);

    assert!(listed(&store, ALL).await.is_empty());
    let again = owed(&bench.killed().open().await, bot).await;
    assert_eq!(again.len(), 2);
    for (was, is) in before.iter().zip(&again) {
        assert_eq!((was.seq, was.lane, was.urgent), (is.seq, is.lane, is.urgent));
        assert_eq!((is.attempts, is.due), (0, later));
    }
    let urgent = store.pending_urgent(bot, &beginning(), 10).await.unwrap();
    assert_eq!(msgids(&urgent), ["m2"]);

    // It can be given up a second time.
    bury_all(&store, bot).await;
    assert_eq!(listed(&store, ALL).await, ["bot m2", "bot m1"]);
}

pub(crate) async fn another_process_sees_that_letters_were_replayed(bench: &impl Bench) {
    let server = bench.open().await;
    let bot = register(&server, "bot").await;
    store_messages(&server, vec![text("m1", "wm1", &[bot])]).await;
    bury_all(&server, bot).await;
    let seen = server.replays().await.unwrap();

    let operator = bench.open_operator().await;
    assert_eq!(listed(&operator, ALL).await, ["bot m1"]);
    assert_eq!(operator.replay_dead(ALL, NOW).await.unwrap(), 1);
    drop(operator);
    assert!(server.replays().await.unwrap() > seen);
    assert_eq!(msgids(&owed(&server, bot).await), ["m1"]);

    let seen = server.replays().await.unwrap();
    assert_eq!(server.replay_dead(ALL, NOW).await.unwrap(), 0);
    assert_eq!(server.replays().await.unwrap(), seen, "there was nothing to replay");
}

pub(crate) async fn a_dropped_letter_is_gone_and_its_message_stays(bench: &impl Bench) {
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    store_messages(&store, vec![text("m1", "wm1", &[bot])]).await;
    bury_all(&store, bot).await;
    assert_eq!(store.drop_dead(ALL).await.unwrap(), 1);
    assert!(listed(&store, ALL).await.is_empty());
    assert!(owed(&store, bot).await.is_empty());
    let again = store_messages(&store, vec![text("m1", "wm1", &[bot])]).await;
    assert_eq!(again, [Intake::Repeated]);
}
