//! Pages: all or nothing, once, in order.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use wecom_kf::store::{Fence, HandlerId, Intake, NewMessage, Page, Seq, ShardSet, Store, Verdict};

use crate::bench::{
    Bench, NOW, account, assert_superseded, commit, finish, heard, json, msgids, neighbours, owed, page, register,
    store_messages, stranger, text,
};

pub(crate) async fn a_page_and_its_cursor_become_durable_together(bench: &impl Bench) {
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    let claim = store.claim(&account("wk1"), Fence::FIRST, NOW).await.unwrap().unwrap();
    assert_eq!(claim.cursor, None);
    let before = bench.killed();
    let stored = commit(&store, page(&claim, "c1", vec![text("m1", "wm1", &[bot])])).await;
    assert_eq!(stored.claim.cursor.as_deref(), Some("c1"));
    let after = bench.killed();

    let store = before.open().await;
    assert_eq!(
        store
            .claim(&account("wk1"), Fence::FIRST, NOW)
            .await
            .unwrap()
            .unwrap()
            .cursor,
        None
    );
    assert!(owed(&store, bot).await.is_empty());
    let store = after.open().await;
    let claim = store.claim(&account("wk1"), Fence::FIRST, NOW).await.unwrap().unwrap();
    assert_eq!(claim.cursor.as_deref(), Some("c1"));
    assert_eq!(msgids(&owed(&store, bot).await), ["m1"]);
}

pub(crate) async fn a_page_over_another_cursor_changes_nothing(bench: &impl Bench) {
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    let first = store.claim(&account("wk1"), Fence::FIRST, NOW).await.unwrap().unwrap();
    let second = commit(&store, page(&first, "c1", vec![])).await.claim;
    assert_superseded(&store, page(&first, "x", vec![text("late", "wm1", &[bot])])).await;
    assert!(owed(&store, bot).await.is_empty());
    commit(&store, page(&second, "c2", vec![text("m1", "wm1", &[bot])])).await;
    assert_eq!(msgids(&owed(&store, bot).await), ["m1"]);
}

pub(crate) async fn an_older_claim_cannot_commit(bench: &impl Bench) {
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    let old = store.claim(&account("wk1"), Fence::FIRST, NOW).await.unwrap().unwrap();
    let new = store.claim(&account("wk1"), Fence::FIRST, NOW).await.unwrap().unwrap();
    let other = store.claim(&account("wk2"), Fence::FIRST, NOW).await.unwrap().unwrap();
    assert_superseded(&store, page(&old, "c1", vec![text("old", "wm1", &[bot])])).await;
    assert!(owed(&store, bot).await.is_empty());
    commit(&store, page(&new, "c1", vec![text("new", "wm1", &[bot])])).await;
    commit(&store, page(&other, "c1", vec![])).await;
    assert_eq!(msgids(&owed(&store, bot).await), ["new"]);
}

pub(crate) async fn a_page_without_a_next_cursor_leaves_the_cursor(bench: &impl Bench) {
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    let claim = store.claim(&account("wk1"), Fence::FIRST, NOW).await.unwrap().unwrap();
    let claim = commit(&store, page(&claim, "c1", vec![])).await.claim;
    let nowhere = Page {
        next_cursor: None,
        ..page(&claim, "", vec![text("m1", "wm1", &[bot])])
    };
    let stale = Page {
        claim: store.claim(&account("wk2"), Fence::FIRST, NOW).await.unwrap().unwrap(),
        ..nowhere.clone()
    };
    let stored = commit(&store, nowhere).await;
    assert_eq!(stored.claim.cursor.as_deref(), Some("c1"));
    assert_eq!(msgids(&owed(&store, bot).await), ["m1"]);

    store.claim(&account("wk2"), Fence::FIRST, NOW).await.unwrap().unwrap();
    assert_superseded(&store, stale).await;
}

pub(crate) async fn a_page_that_fails_half_way_changes_nothing(bench: &impl Bench) {
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    let claim = store.claim(&account("wk1"), Fence::FIRST, NOW).await.unwrap().unwrap();
    let other = store.claim(&account("wk2"), Fence::FIRST, NOW).await.unwrap().unwrap();
    let unregistered = HandlerId(bot.0 + 1);
    let broken = vec![text("m1", "wm1", &[bot]), text("m2", "wm1", &[unregistered])];
    // Side by side, so that a store that commits in groups may put them into one.
    let (failed, taken) = tokio::join!(
        store.commit_page(page(&claim, "c1", broken)),
        commit(&store, page(&other, "c1", vec![text("m3", "wm1", &[bot])])),
    );
    assert!(failed.is_err(), "{failed:?}");
    assert_eq!(taken.messages, [Intake::New]);
    assert_eq!(msgids(&owed(&store, bot).await), ["m3"]);
    let stored = commit(&store, page(&claim, "c1", vec![text("m1", "wm1", &[bot])])).await;
    assert_eq!(stored.messages, [Intake::New]);
}

pub(crate) async fn a_message_is_stored_once_however_often_it_comes(bench: &impl Bench) {
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    let message = text("m1", "wm1", &[bot]);
    let twice = vec![message.clone(), message.clone(), text("m2", "wm1", &[bot])];
    assert_eq!(
        store_messages(&store, twice).await,
        [Intake::New, Intake::Repeated, Intake::New]
    );
    let deliveries = owed(&store, bot).await;
    assert_eq!(msgids(&deliveries), ["m1", "m2"]);

    store
        .finish(vec![finish(bot, &deliveries[0], Verdict::Done)])
        .await
        .unwrap();
    drop(store);
    let store = bench.open().await;
    assert_eq!(store_messages(&store, vec![message]).await, [Intake::Repeated]);
    assert_eq!(msgids(&owed(&store, bot).await), ["m2"]);
}

pub(crate) async fn a_message_with_another_body_does_not_replace_the_first(bench: &impl Bench) {
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    let first = text("m1", "wm1", &[bot]);
    let second = NewMessage {
        body: json(r#"{"msgid":"m1","changed":true}"#),
        ..first.clone()
    };
    assert_eq!(
        store_messages(&store, vec![first.clone(), second.clone()]).await,
        [Intake::New, Intake::Conflicting]
    );
    assert_eq!(store_messages(&store, vec![second]).await, [Intake::Conflicting]);
    let deliveries = owed(&store, bot).await;
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[0].letter.body.get(), first.body.get());
}

pub(crate) async fn no_id_and_no_type_that_can_come_holds_up_a_page(bench: &impl Bench) {
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    let long: String = (0..512).map(|n| char::from(b'!' + (n * 7 % 90) as u8)).collect();
    let strange = NewMessage {
        kind: "no\0such'type\\".into(),
        send_time: u64::MAX,
        ..text("\u{1f600}'\\\u{7f}\n", "wm1", &[bot])
    };
    let messages = vec![text(&long, "wm1", &[bot]), strange.clone()];
    assert_eq!(store_messages(&store, messages.clone()).await, [Intake::New; 2]);
    assert_eq!(store_messages(&store, messages).await, [Intake::Repeated; 2]);
    assert_eq!(msgids(&owed(&store, bot).await), [&*long, strange.msgid.as_str()]);
}

pub(crate) async fn the_same_msgid_on_two_accounts_is_two_messages(bench: &impl Bench) {
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    for open_kfid in ["wk1", "wk2"] {
        let claim = store
            .claim(&account(open_kfid), Fence::FIRST, NOW)
            .await
            .unwrap()
            .unwrap();
        let stored = commit(&store, page(&claim, "c1", vec![text("m1", "wm1", &[bot])])).await;
        assert_eq!(stored.messages, [Intake::New]);
    }
    let deliveries = owed(&store, bot).await;
    let accounts: Vec<_> = deliveries.iter().map(|delivery| &*delivery.letter.account).collect();
    assert_eq!(accounts, [&account("wk1"), &account("wk2")]);
}

pub(crate) async fn history_is_stored_without_being_owed(bench: &impl Bench) {
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    assert_eq!(
        store_messages(&store, vec![text("old", "wm1", &[])]).await,
        [Intake::New]
    );
    assert!(owed(&store, bot).await.is_empty());
    // It counts as seen: pulled again, it is still nobody's.
    let again = store_messages(&store, vec![text("old", "wm1", &[bot])]).await;
    assert_eq!(again, [Intake::Repeated]);
    assert!(owed(&store, bot).await.is_empty());
}

pub(crate) async fn numbers_grow_and_are_never_given_twice(bench: &impl Bench) {
    let mut given: Vec<Seq> = Vec::new();
    for round in 0..3 {
        let store = bench.open().await;
        let bot = register(&store, "bot").await;
        let messages = (0..3).map(|n| text(&format!("m{round}{n}"), &format!("wm{n}"), &[bot]));
        store_messages(&store, messages.collect()).await;
        let deliveries = owed(&store, bot).await;
        given.extend(deliveries.iter().map(|delivery| delivery.seq));
        let done = deliveries.iter().map(|d| finish(bot, d, Verdict::Done));
        store.finish(done.collect()).await.unwrap();
        let tomorrow = NOW.plus(Duration::from_secs(86_400));
        assert_eq!(store.prune(tomorrow, 100).await.unwrap(), 3);
    }
    assert_eq!(given.len(), 9);
    assert!(given[0] > Seq::default());
    assert!(given.is_sorted_by(|a, b| a < b), "{given:?}");
}

pub(crate) async fn concurrent_commits_are_all_durable(bench: &impl Bench) {
    const ACCOUNTS: usize = 40;
    const PAGES: usize = 5;
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    let pullers: Vec<_> = (0..ACCOUNTS)
        .map(|n| tokio::spawn(pull(Arc::clone(&store), bot, format!("wk{n}"))))
        .collect();
    for puller in pullers {
        puller.await.unwrap();
    }
    let left = bench.killed();
    let store = left.open().await;
    let deliveries = owed(&store, bot).await;
    let seqs: HashSet<_> = deliveries.iter().map(|delivery| delivery.seq).collect();
    assert_eq!(seqs.len(), ACCOUNTS * PAGES);
    for n in 0..ACCOUNTS {
        let account = account(&format!("wk{n}"));
        let of_account = deliveries.iter().filter(|delivery| *delivery.letter.account == account);
        let order: Vec<_> = of_account.map(|delivery| delivery.letter.msgid.as_str()).collect();
        assert_eq!(order, ["m0", "m1", "m2", "m3", "m4"]);
        let claim = store.claim(&account, Fence::FIRST, NOW).await.unwrap().unwrap();
        assert_eq!(claim.cursor.as_deref(), Some("c4"));
    }

    async fn pull(store: Arc<dyn Store>, bot: HandlerId, open_kfid: String) {
        let mut claim = store
            .claim(&account(&open_kfid), Fence::FIRST, NOW)
            .await
            .unwrap()
            .unwrap();
        for n in 0..PAGES {
            let messages = vec![text(&format!("m{n}"), "wm1", &[bot])];
            claim = commit(&store, page(&claim, &format!("c{n}"), messages)).await.claim;
        }
    }
}

pub(crate) async fn only_shards_that_got_work_are_news(bench: &impl Bench) {
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    let news = store.news();
    assert_eq!(heard(&news).await, ShardSet::ALL);

    let (neighbour, stranger) = (&neighbours(1)[0], &stranger());
    let claim = store.claim(&account("wk1"), Fence::FIRST, NOW).await.unwrap().unwrap();
    let owed_and_history = vec![text("m1", neighbour, &[bot]), text("m2", stranger, &[])];
    let shard = owed_and_history[0].lane.shard();
    commit(&store, page(&claim, "c1", owed_and_history)).await;
    assert_eq!(heard(&news).await, [shard].into_iter().collect());

    assert_superseded(&store, page(&claim, "c1", vec![text("m3", stranger, &[bot])])).await;
    store_messages(&store, vec![text("m1", neighbour, &[bot])]).await;
    assert!(news.take().is_empty());
}
