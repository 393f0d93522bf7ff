//! Deliveries: who is owed what, in which order, until when.

use std::time::Duration;

use wecom_kf::store::{Finish, Pending, Position, Seq, Shard, URGENT_REACH, Verdict};

use crate::bench::{
    Bench, NOW, account, beginning, dead, finish, handler, msgids, neighbours, owed, register, store_messages,
    stranger, text, urgent,
};

pub(crate) async fn handlers_keep_their_ids(bench: &impl Bench) {
    let store = bench.open().await;
    let ids = store
        .register_handlers(&[handler("bot"), handler("crm")])
        .await
        .unwrap();
    assert_ne!(ids[0], ids[1]);
    drop(store);
    let store = bench.open().await;
    let again = store
        .register_handlers(&[handler("new"), handler("crm"), handler("bot")])
        .await
        .unwrap();
    assert_eq!(again[1..], [ids[1], ids[0]]);
    assert!(!ids.contains(&again[0]));
}

pub(crate) async fn a_new_handler_gets_only_what_is_stored_later(bench: &impl Bench) {
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    store_messages(&store, vec![text("m1", "wm1", &[bot])]).await;
    let crm = register(&store, "crm").await;
    assert!(owed(&store, crm).await.is_empty());
    // Pulled again with the new handler among those who want it, it is still not new.
    store_messages(
        &store,
        vec![text("m1", "wm1", &[bot, crm]), text("m2", "wm1", &[bot, crm])],
    )
    .await;
    assert_eq!(msgids(&owed(&store, bot).await), ["m1", "m2"]);
    assert_eq!(msgids(&owed(&store, crm).await), ["m2"]);
}

/// What was found of `shard`, in the order it came. Which shard comes first is the store's to choose.
fn msgids_of(shard: Shard, found: &[Pending]) -> Vec<&str> {
    let of_it = found.iter().filter(|delivery| delivery.lane.shard() == shard);
    of_it.map(|delivery| delivery.letter.msgid.as_str()).collect()
}

pub(crate) async fn pending_comes_in_order_behind_each_position(bench: &impl Bench) {
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    let (near, far) = (neighbours(2), stranger());
    let messages = vec![
        text("a1", &near[0], &[bot]),
        text("z1", &far, &[bot]),
        text("b1", &near[1], &[bot]),
        text("a2", &near[0], &[bot]),
        text("z2", &far, &[bot]),
    ];
    let [near, far] = [messages[0].lane.shard(), messages[1].lane.shard()];
    store_messages(&store, messages).await;
    let at = |shard: Shard, after: Seq| Position { shard, after };
    let start = Seq::default();

    let all = store
        .pending(bot, &[at(near, start), at(far, start)], 10)
        .await
        .unwrap();
    assert_eq!(msgids_of(near, &all), ["a1", "b1", "a2"]);
    assert_eq!(msgids_of(far, &all), ["z1", "z2"]);
    let two_each = store.pending(bot, &[at(far, start), at(near, start)], 2).await.unwrap();
    assert_eq!(msgids_of(near, &two_each), ["a1", "b1"]);
    assert_eq!(msgids_of(far, &two_each), ["z1", "z2"]);
    let seq = |msgid: &str| {
        let named = |delivery: &&Pending| delivery.letter.msgid.as_str() == msgid;
        all.iter().find(named).unwrap().seq
    };
    for (positions, limit_each, in_near, in_far) in [
        (vec![at(near, seq("b1"))], 2, vec!["a2"], vec![]),
        (vec![at(near, start), at(far, seq("b1"))], 1, vec!["a1"], vec!["z2"]),
        (vec![at(near, seq("a2")), at(far, start)], 1, vec![], vec!["z1"]),
        (
            vec![at(near, seq("a1")), at(far, seq("z1"))],
            9,
            vec!["b1", "a2"],
            vec!["z2"],
        ),
    ] {
        let rest = store.pending(bot, &positions, limit_each).await.unwrap();
        assert_eq!((msgids_of(near, &rest), msgids_of(far, &rest)), (in_near, in_far));
    }
    assert!(store.pending(bot, &[], 10).await.unwrap().is_empty());
    assert!(store.pending(bot, &[at(near, start)], 0).await.unwrap().is_empty());
}

pub(crate) async fn pending_tells_what_was_stored(bench: &impl Bench) {
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    let (plain, welcome) = (text("m1", "wm1", &[bot]), urgent("m2", "wm2", &[bot]));
    store_messages(&store, vec![plain.clone(), welcome.clone()]).await;
    let deliveries = owed(&store, bot).await;
    assert!(deliveries[0].seq < deliveries[1].seq);
    for (delivery, message) in deliveries.iter().zip([plain, welcome]) {
        assert_eq!(delivery.letter.msgid, message.msgid);
        assert_eq!(delivery.lane, message.lane);
        assert_eq!(*delivery.letter.account, account("wk1"));
        assert_eq!(delivery.letter.received, NOW);
        assert_eq!(delivery.letter.body.get(), message.body.get());
        assert_eq!(delivery.attempts, 0);
        assert!(delivery.due <= NOW);
        assert_eq!(delivery.urgent, message.urgent);
    }
}

pub(crate) async fn urgent_ones_come_with_what_their_customers_are_owed_before(bench: &impl Bench) {
    let store = bench.open().await;
    let [bot, crm] = [register(&store, "bot").await, register(&store, "crm").await];
    let customers = neighbours(3);
    let [alice, bob, carol] = [0, 1, 2].map(|n| customers[n].as_str());
    let messages = vec![
        text("a1", alice, &[bot]),
        text("b1", bob, &[bot]),
        text("a2", alice, &[bot]),
        urgent("a3", alice, &[bot]),
        text("a4", alice, &[bot]),
        urgent("a5", alice, &[bot]),
        text("a6", alice, &[bot]),
        urgent("b2", bob, &[crm]),
        urgent("c1", carol, &[bot]),
    ];
    store_messages(&store, messages).await;
    let found = store.pending_urgent(bot, &beginning(), 10).await.unwrap();
    assert_eq!(msgids(&found), ["a1", "a2", "a3", "a4", "a5", "c1"]);
    assert_eq!(
        found.iter().map(|d| d.urgent).collect::<Vec<_>>(),
        [false, false, true, false, true, true]
    );

    // What lies before the position has been read already.
    let behind = |after: Seq| Position {
        shard: found[0].lane.shard(),
        after,
    };
    let rest = store.pending_urgent(bot, &[behind(found[2].seq)], 10).await.unwrap();
    assert_eq!(msgids(&rest), ["a4", "a5", "c1"]);
    assert!(
        store
            .pending_urgent(bot, &[behind(found[5].seq)], 10)
            .await
            .unwrap()
            .is_empty()
    );

    // What is done is not owed before them any more.
    let done = [0, 1].map(|n| finish(bot, &found[n], Verdict::Done));
    store.finish(done.to_vec()).await.unwrap();
    let rest = store.pending_urgent(bot, &beginning(), 10).await.unwrap();
    assert_eq!(msgids(&rest), ["a3", "a4", "a5", "c1"]);
}

pub(crate) async fn urgent_ones_are_read_for_so_many_customers_of_each_shard(bench: &impl Bench) {
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    let (near, far) = (neighbours(3), stranger());
    let messages = vec![
        urgent("a1", &near[0], &[bot]),
        urgent("b1", &near[1], &[bot]),
        urgent("c1", &near[2], &[bot]),
        urgent("z1", &far, &[bot]),
    ];
    store_messages(&store, messages).await;
    let found = store.pending_urgent(bot, &beginning(), 2).await.unwrap();
    let mut found = msgids(&found);
    found.sort_unstable();
    assert_eq!(found, ["a1", "b1", "z1"]);
    assert!(store.pending_urgent(bot, &beginning(), 0).await.unwrap().is_empty());
}

pub(crate) async fn a_customer_who_is_owed_too_much_before_is_left_out_of_the_urgent(bench: &impl Bench) {
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    let customers = neighbours(2);
    let mut messages: Vec<_> = (0..URGENT_REACH)
        .map(|n| text(&format!("a{n}"), &customers[0], &[bot]))
        .collect();
    messages.push(urgent("a", &customers[0], &[bot]));
    messages.push(urgent("b", &customers[1], &[bot]));
    store_messages(&store, messages).await;
    let found = store.pending_urgent(bot, &beginning(), 10).await.unwrap();
    assert_eq!(msgids(&found), ["b"]);

    let first = &owed(&store, bot).await[0];
    store.finish(vec![finish(bot, first, Verdict::Done)]).await.unwrap();
    let found = store.pending_urgent(bot, &beginning(), 10).await.unwrap();
    assert_eq!(found.len(), URGENT_REACH + 1);
    assert_eq!(msgids(&found)[URGENT_REACH - 1..], ["a", "b"]);
}

pub(crate) async fn what_is_done_is_no_longer_owed(bench: &impl Bench) {
    let store = bench.open().await;
    let [bot, crm] = [register(&store, "bot").await, register(&store, "crm").await];
    let both = [bot, crm];
    store_messages(&store, vec![text("m1", "wm1", &both), text("m2", "wm2", &both)]).await;
    let deliveries = owed(&store, bot).await;
    store
        .finish(vec![finish(bot, &deliveries[0], Verdict::Done)])
        .await
        .unwrap();
    let left = bench.killed();
    let store = left.open().await;
    assert_eq!(msgids(&owed(&store, bot).await), ["m2"]);
    assert_eq!(msgids(&owed(&store, crm).await), ["m1", "m2"]);
}

pub(crate) async fn a_retry_is_owed_later_also_after_a_restart(bench: &impl Bench) {
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    store_messages(&store, vec![text("m1", "wm1", &[bot]), text("m2", "wm1", &[bot])]).await;
    let deliveries = owed(&store, bot).await;
    let due = NOW.plus(Duration::from_secs(30));
    let retry = Verdict::Retry { attempts: 3, due };
    store.finish(vec![finish(bot, &deliveries[0], retry)]).await.unwrap();
    drop(store);
    let store = bench.open().await;
    let again = owed(&store, bot).await;
    assert_eq!((again[0].attempts, again[0].due), (3, due));
    assert_eq!((again[1].attempts, again[1].due), (0, deliveries[1].due));
    assert_eq!(again[0].seq, deliveries[0].seq);
}

pub(crate) async fn naming_what_is_not_owed_changes_nothing(bench: &impl Bench) {
    let store = bench.open().await;
    let [bot, crm] = [register(&store, "bot").await, register(&store, "crm").await];
    store_messages(&store, vec![text("m1", "wm1", &[bot])]).await;
    let deliveries = owed(&store, bot).await;
    let done = finish(bot, &deliveries[0], Verdict::Done);
    store.finish(vec![done.clone(), done]).await.unwrap();

    let retry = Verdict::Retry { attempts: 1, due: NOW };
    let unknown = Finish {
        seq: Seq(deliveries[0].seq.0 + 1),
        ..finish(bot, &deliveries[0], dead(NOW))
    };
    let all = vec![
        finish(bot, &deliveries[0], dead(NOW)),
        finish(bot, &deliveries[0], retry),
        finish(crm, &deliveries[0], dead(NOW)),
        unknown,
    ];
    store.finish(all).await.unwrap();
    store.finish(Vec::new()).await.unwrap();
    let owed: Vec<Pending> = owed(&store, bot).await;
    assert!(owed.is_empty(), "{owed:?}");
    let letters = store.dead_letters(Default::default(), 10).await.unwrap();
    assert!(letters.is_empty(), "{letters:?}");
}

pub(crate) async fn backlog_counts_handlers_no_longer_configured(bench: &impl Bench) {
    let store = bench.open().await;
    let [bot, gone] = [register(&store, "bot").await, register(&store, "gone").await];
    let both = [bot, gone];
    let messages = vec![
        text("m1", "wm1", &both),
        text("m2", "wm2", &both),
        text("m3", "wm3", &[gone]),
    ];
    store_messages(&store, messages).await;
    let deliveries = owed(&store, gone).await;
    store
        .finish(vec![finish(gone, &deliveries[0], dead(NOW))])
        .await
        .unwrap();
    drop(store);

    let store = bench.open().await;
    store
        .register_handlers(&[handler("bot"), handler("idle")])
        .await
        .unwrap();
    let mut backlog: Vec<_> = store.backlog().await.unwrap();
    backlog.sort_by(|a, b| a.handler.cmp(&b.handler));
    let counts: Vec<_> = backlog
        .iter()
        .map(|of| (of.handler.as_str(), of.pending, of.dead))
        .collect();
    assert_eq!(counts, [("bot", 2, 0), ("gone", 2, 1), ("idle", 0, 0)]);
    assert_eq!((backlog[0].id, backlog[1].id), (bot, gone));
    let oldest: Vec<_> = backlog.iter().map(|of| of.oldest).collect();
    assert_eq!(oldest, [Some(NOW), Some(NOW), None]);
}

pub(crate) async fn what_is_owed_to_one_handler_can_be_forgotten_step_by_step(bench: &impl Bench) {
    let store = bench.open().await;
    let [bot, gone] = [register(&store, "bot").await, register(&store, "gone").await];
    let both = [bot, gone];
    let near = neighbours(3);
    let messages = vec![
        text("m1", &near[0], &both),
        text("m2", &near[1], &both),
        text("m3", &near[2], &both),
        text("m4", &stranger(), &both),
    ];
    store_messages(&store, messages).await;
    let deliveries = owed(&store, gone).await;
    store
        .finish(vec![finish(gone, &deliveries[0], dead(NOW))])
        .await
        .unwrap();
    assert_eq!(store.forget_owed(&handler("nobody"), 10).await.unwrap(), 0);
    assert_eq!(store.forget_owed(&handler("gone"), 2).await.unwrap(), 2);
    assert_eq!(owed(&store, gone).await.len(), 1);
    assert_eq!(store.forget_owed(&handler("gone"), 2).await.unwrap(), 1);
    assert_eq!(store.forget_owed(&handler("gone"), 2).await.unwrap(), 0);
    assert_eq!(msgids(&owed(&store, bot).await), ["m1", "m2", "m3", "m4"]);
    assert_eq!(
        store.dead_letters(Default::default(), 10).await.unwrap().len(),
        1,
        "the dead are kept"
    );
}
