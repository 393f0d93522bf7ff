//! Several processes on one database: what one does, the others hear of, and nobody waits for ever.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use wecom_kf::id::HandlerName;
use wecom_kf::store::{Commit, Fence, HandlerId, Lease, News, Quota, Shard, ShardSet, Store, Verdict, WakeUp};

use super::bench::{PostgresBench, cluster, end_sessions, run};
use crate::bench::{Bench, NOW, account, commit, finish, handler, msgids, owed, page, register, store_messages, text};

const LONG: Duration = Duration::from_hours(1);

const EVERYTHING: Quota = Quota {
    pulls: usize::MAX,
    shards: usize::MAX,
};

/// Longer than anything takes, on a machine that does ten other things.
const PATIENCE: Duration = Duration::from_secs(120);

fn wake_up(open_kfid: &str) -> WakeUp {
    WakeUp {
        account: account(open_kfid),
        token: None,
        at: NOW,
    }
}

/// Waits until `shard` is among the news.
async fn hears_of(news: &News, shard: Shard) {
    let heard = async { while !news.next().await.contains(shard) {} };
    tokio::time::timeout(PATIENCE, heard).await.expect("there is news");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_copies_of_one_page_one_is_committed() {
    let bench = PostgresBench::default();
    let replicas = [bench.open().await, bench.open().await];
    let bot = register(&replicas[0], "bot").await;
    let mut claim = replicas[0]
        .claim(&account("wk1"), Fence::FIRST, NOW)
        .await
        .unwrap()
        .unwrap();
    for round in 0..20 {
        let names = [format!("a{round}"), format!("b{round}"), format!("c{round}")];
        let messages = names.each_ref().map(|name| text(name, name, &[bot])).to_vec();
        let copy = page(&claim, &format!("c{round}"), messages);
        let commits = replicas.each_ref().map(|store| {
            let (store, copy) = (Arc::clone(store), copy.clone());
            tokio::spawn(async move { store.commit_page(copy).await.unwrap() })
        });
        let mut taken = Vec::new();
        for commit in commits {
            if let Commit::Stored(stored) = commit.await.unwrap() {
                taken.push(stored);
            }
        }
        assert_eq!(taken.len(), 1, "round {round}");
        claim = taken.remove(0).claim;
        let deliveries = owed(&replicas[1], bot).await;
        assert_eq!(msgids(&deliveries), names);
        let done = deliveries.iter().map(|delivery| finish(bot, delivery, Verdict::Done));
        replicas[0].finish(done.collect()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_sent_again_without_a_cursor_owes_nothing_twice() {
    let bench = PostgresBench::default();
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    let claim = store.claim(&account("wk1"), Fence::FIRST, NOW).await.unwrap().unwrap();
    let mut copy = page(&claim, "", vec![text("m1", "wm1", &[bot]), text("m2", "wm2", &[bot])]);
    copy.next_cursor = None;
    let copies = [(); 4].map(|()| {
        let (store, copy) = (Arc::clone(&store), copy.clone());
        tokio::spawn(async move { commit(&store, copy).await })
    });
    let mut new = 0;
    for copy in copies {
        let intake = copy.await.unwrap().messages;
        new += intake.iter().filter(|intake| format!("{intake:?}") == "New").count();
    }
    assert_eq!(new, 2);
    assert_eq!(msgids(&owed(&store, bot).await), ["m1", "m2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_does_the_others_hear_of() {
    let bench = PostgresBench::default();
    let (store, other) = (bench.open().await, bench.open().await);
    let bot = register(&store, "bot").await;
    let news = other.news();
    assert_eq!(news.next().await, ShardSet::ALL);
    let message = text("m1", "wm1", &[bot]);
    let shard = message.lane.shard();
    store_messages(&store, vec![message]).await;
    hears_of(&news, shard).await;

    // Nothing but a NOTIFY brings these two: they come as soon as the other listens.
    let shared = other.shared().unwrap();
    let (mut wake_ups, mut vacancies) = (shared.wake_ups_elsewhere(), shared.vacancies());
    let leases = store.shared().unwrap().take(EVERYTHING, LONG).await.unwrap();
    let hears = async {
        loop {
            wake_ups.mark_unchanged();
            vacancies.mark_unchanged();
            store.record_wake_ups(vec![wake_up("wk1")]).await.unwrap();
            store.shared().unwrap().give_back(leases.clone()).await.unwrap();
            let both = async { tokio::join!(wake_ups.changed(), vacancies.changed()) };
            if tokio::time::timeout(Duration::from_secs(1), both).await.is_ok() {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, hears).await.expect("the other listens");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_that_nobody_told_of_is_found() {
    let bench = PostgresBench::default();
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    let message = text("m1", "wm1", &[bot]);
    let shard = message.lane.shard();
    store_messages(&store, vec![message]).await;
    let delivery = owed(&store, bot).await.remove(0);
    store.finish(vec![finish(bot, &delivery, Verdict::Done)]).await.unwrap();
    let news = store.news();
    assert_eq!(news.next().await, ShardSet::ALL);
    let owe = format!(
        "INSERT INTO delivery (shard, handler_id, seq, lane, urgent) VALUES ({0}, {1}, {2}, {0}, false)",
        shard.number(),
        bot.0,
        delivery.seq.0 + 1,
    );
    run(bench.database(), &owe).await;
    hears_of(&news, shard).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_was_dropped_leaves_no_session() {
    let bench = PostgresBench::default();
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    store_messages(&store, vec![text("m1", "wm1", &[bot])]).await;
    drop(store);
    let none_left = async {
        while sessions(&bench) > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, none_left)
        .await
        .expect("sessions end with their store");
}

fn sessions(bench: &PostgresBench) -> usize {
    let count = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}'",
        bench.database()
    );
    cluster().sql("postgres", &count).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_was_ended_costs_nothing() {
    let bench = PostgresBench::default();
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    let mut claim = store.claim(&account("wk1"), Fence::FIRST, NOW).await.unwrap().unwrap();
    for round in 0..10 {
        assert!(end_sessions(bench.database()).await > 0);
        let name = format!("m{round}");
        claim = commit(&store, page(&claim, &name, vec![text(&name, "wm1", &[bot])]))
            .await
            .claim;
        assert!(end_sessions(bench.database()).await > 0);
        let deliveries = owed(&store, bot).await;
        assert_eq!(msgids(&deliveries), [name]);
        assert!(end_sessions(bench.database()).await > 0);
        let done = vec![finish(bot, &deliveries[0], Verdict::Done)];
        assert_eq!(store.finish(done).await.unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_a_standby_gives_again_means_the_message_that_has_it_now() {
    let bench = PostgresBench::default();
    let (store, other) = (bench.open().await, bench.open().await);
    let bot = register(&store, "bot").await;
    store_messages(&store, vec![text("lost", "wm1", &[bot])]).await;
    let lost = owed(&store, bot).await;
    assert_eq!(msgids(&lost), ["lost"]);
    // The standby had not heard of it when it took over.
    let seq = lost[0].seq;
    let take_over = format!(
        "DELETE FROM delivery; DELETE FROM message; SELECT setval('message_seq', {}, false)",
        seq.0
    );
    run(bench.database(), &take_over).await;
    assert!(end_sessions(bench.database()).await > 0);
    store_messages(&other, vec![text("stored", "wm1", &[bot])]).await;
    let stored = owed(&store, bot).await;
    assert_eq!(msgids(&stored), ["stored"]);
    assert_eq!(stored[0].seq, seq);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_who_prune_at_once_prune_each_message_once() {
    let bench = PostgresBench::default();
    let replicas = [bench.open().await, bench.open().await, bench.open().await];
    let old: Vec<_> = (0..200).map(|n| text(&format!("m{n}"), "wm1", &[])).collect();
    store_messages(&replicas[0], old).await;
    let later = NOW.plus(Duration::from_secs(60));
    let pruners = replicas.map(|store| {
        tokio::spawn(async move {
            let mut gone = 0;
            for _ in 0..40 {
                gone += store.prune(later, 10).await.unwrap();
            }
            gone
        })
    });
    let mut gone = 0;
    for pruner in pruners {
        gone += pruner.await.unwrap();
    }
    assert_eq!(gone, 200);
}

/// Whoever locks several rows locks them in the same order as everybody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_in_a_ring() {
    const ROUNDS: usize = 60;
    let bench = PostgresBench::default();
    let accounts: Vec<_> = (0..6).map(|n| format!("wk{n}")).collect();
    let first = bench.open().await;
    let bot = register(&first, "bot").await;
    for open_kfid in &accounts {
        first.record_wake_ups(vec![wake_up(open_kfid)]).await.unwrap();
    }
    let mut tasks = Vec::new();
    for n in 0..3 {
        let store = bench.open().await;
        tasks.push(tokio::spawn(holds(Arc::clone(&store), ROUNDS)));
        tasks.push(tokio::spawn(wakes(Arc::clone(&store), accounts.clone(), ROUNDS)));
        tasks.push(tokio::spawn(pulls(
            Arc::clone(&store),
            bot,
            accounts[n].clone(),
            ROUNDS,
        )));
        tasks.push(tokio::spawn(hands_out(store, bot, ROUNDS)));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let said = cluster().said();
    let rings: Vec<_> = said.lines().filter(|line| line.contains("deadlock detected")).collect();
    assert!(rings.is_empty(), "{rings:?}");

    async fn holds(store: Arc<dyn Store>, rounds: usize) {
        let shared = store.shared().unwrap();
        for _ in 0..rounds {
            let most = Quota { pulls: 3, shards: 30 };
            shared.take(most, LONG).await.unwrap();
            let mut leases = shared.renew(LONG).await.unwrap().leases;
            leases.reverse();
            let (some, others): (Vec<Lease>, Vec<Lease>) =
                leases
                    .into_iter()
                    .enumerate()
                    .fold(Default::default(), |mut both, (n, lease)| {
                        if n % 2 == 0 {
                            both.0.push(lease)
                        } else {
                            both.1.push(lease)
                        }
                        both
                    });
            let done = tokio::join!(shared.give_back(some), shared.renew(LONG), shared.give_back(others));
            done.0.unwrap();
            done.1.unwrap();
            done.2.unwrap();
        }
    }

    async fn wakes(store: Arc<dyn Store>, mut accounts: Vec<String>, rounds: usize) {
        for _ in 0..rounds {
            accounts.rotate_left(1);
            let wake_ups = accounts.iter().rev().map(|open_kfid| wake_up(open_kfid)).collect();
            store.record_wake_ups(wake_ups).await.unwrap();
        }
    }

    async fn pulls(store: Arc<dyn Store>, bot: HandlerId, open_kfid: String, rounds: usize) {
        for round in 0..rounds {
            // Whoever holds it at the moment, or nobody.
            for fence in 0..200 {
                let claimed = store.claim(&account(&open_kfid), Fence(fence), NOW).await.unwrap();
                let Some(claim) = claimed else { continue };
                let customers = (0..8).map(|n| (format!("m{round}.{n}"), format!("wm{}", (n * 7 + round) % 40)));
                let messages = customers
                    .map(|(msgid, customer)| text(&msgid, &customer, &[bot]))
                    .collect();
                // It may have been taken by now.
                store
                    .commit_page(page(&claim, &format!("c{round}"), messages))
                    .await
                    .unwrap();
                break;
            }
        }
    }

    async fn hands_out(store: Arc<dyn Store>, bot: HandlerId, rounds: usize) {
        for round in 0..rounds {
            let mut finished: Vec<_> = owed(&store, bot)
                .await
                .iter()
                .zip(
                    [Verdict::Done, Verdict::Retry { attempts: 1, due: NOW }]
                        .into_iter()
                        .cycle(),
                )
                .map(|(delivery, verdict)| finish(bot, delivery, verdict))
                .collect();
            if round % 2 == 0 {
                finished.reverse();
            }
            // Some of it may be refused.
            store.finish(finished).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_register_at_once_agree_on_ids() {
    let bench = PostgresBench::default();
    let names: Vec<HandlerName> = (0..5).map(|n| handler(&format!("h{n}"))).collect();
    let mut tasks = Vec::new();
    for n in 0..4 {
        let (store, mut names) = (bench.open().await, names.clone());
        names.rotate_left(n);
        tasks.push(tokio::spawn(async move {
            let ids = store.register_handlers(&names).await.unwrap();
            names.into_iter().zip(ids).collect::<HashSet<_>>()
        }));
    }
    let mut found = HashSet::new();
    for task in tasks {
        found.extend(task.await.unwrap());
    }
    assert_eq!(found.len(), names.len(), "{found:?}");
}
