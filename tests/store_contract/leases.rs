//! Leases: who may pull and hand out, where several processes share a store. Each process is a handle of its own.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use wecom_kf::clock::{Clock as _, ManualClock, SetClock, SystemClock, UnixMillis};
use wecom_kf::store::{
    Census, Commit, DeadSelect, Fence, Finish, HandlerId, Lane, Lease, NewMessage, Position, Quota, Right, Seq, Shard,
    Shared, Store, Verdict, WakeUp,
};

use crate::bench::{
    Bench, NOW, account, assert_superseded, beginning, commit, dead, last_page, msgids, owed, page, register,
    store_messages, text,
};

/// A term that no test outlives.
const LONG: Duration = Duration::from_hours(1);

/// A term that ends while one waits.
const SHORT: Duration = Duration::from_millis(50);

const EVERYTHING: Quota = Quota {
    pulls: usize::MAX,
    shards: usize::MAX,
};

fn shared(store: &Arc<dyn Store>) -> &dyn Shared {
    store.shared().expect("a store that is shared")
}

async fn wake(store: &Arc<dyn Store>, open_kfid: &str) {
    let account = account(open_kfid);
    let wake_up = WakeUp {
        account,
        token: None,
        at: NOW,
    };
    store.record_wake_ups(vec![wake_up]).await.unwrap();
}

async fn take(store: &Arc<dyn Store>, most: Quota, term: Duration) -> Vec<Lease> {
    shared(store).take(most, term).await.unwrap()
}

async fn held(store: &Arc<dyn Store>) -> Vec<Lease> {
    shared(store).renew(LONG).await.unwrap().leases
}

/// Takes all there is once the terms of others have run out.
async fn take_over(store: &Arc<dyn Store>, count: usize) -> Vec<Lease> {
    let mut taken = Vec::new();
    for _ in 0..6000 {
        taken.extend(take(store, EVERYTHING, LONG).await);
        if taken.len() == count {
            return taken;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("only {} of {count} leases ran out", taken.len());
}

fn fence(leases: &[Lease], right: &Right) -> Fence {
    let lease = leases.iter().find(|lease| lease.right == *right);
    lease.unwrap_or_else(|| panic!("{right:?} is not held")).fence
}

fn pull(open_kfid: &str) -> Right {
    Right::Pull(account(open_kfid))
}

fn under(fence: Fence, handler: HandlerId, shard: Shard, seq: Seq, verdict: Verdict) -> Finish {
    Finish {
        handler,
        shard,
        seq,
        under: fence,
        verdict,
    }
}

pub(crate) async fn a_take_over_raises_the_fence_and_a_renewal_keeps_it(bench: &impl Bench) {
    let (old, new) = (bench.open().await, bench.open().await);
    wake(&old, "wk1").await;
    let taken = take(&old, EVERYTHING, SHORT).await;
    assert_eq!(taken.len(), 1 + usize::from(Shard::COUNT));
    assert!(taken.iter().all(|lease| lease.fence > Fence::FIRST));
    let same = |mut leases: Vec<Lease>| {
        leases.sort_by_key(|lease| format!("{lease:?}"));
        leases
    };
    let renewed = shared(&old).renew(SHORT).await.unwrap().leases;
    assert_eq!(same(renewed), same(taken.clone()));

    let after = take_over(&new, taken.len()).await;
    for lease in &after {
        assert!(lease.fence > fence(&taken, &lease.right), "{lease:?}");
    }
    assert_eq!(held(&old).await, [], "what was taken is held no more");
    assert_eq!(same(held(&new).await), same(after));
}

pub(crate) async fn what_ran_out_and_nobody_took_is_held_again(bench: &impl Bench) {
    let (store, other) = (bench.open().await, bench.open().await);
    wake(&store, "wk1").await;
    let taken = take(&store, EVERYTHING, Duration::ZERO).await;
    assert_eq!(held(&store).await.len(), taken.len());
    assert_eq!(take(&other, EVERYTHING, LONG).await, [], "is held until its new end");
    let claim = store
        .claim(&account("wk1"), fence(&taken, &pull("wk1")), NOW)
        .await
        .unwrap();
    assert!(claim.is_some(), "its fence is the same");
}

pub(crate) async fn a_late_owner_can_neither_claim_nor_commit(bench: &impl Bench) {
    let (old, new) = (bench.open().await, bench.open().await);
    let bot = register(&old, "bot").await;
    wake(&old, "wk1").await;
    let mine = fence(&take(&old, EVERYTHING, SHORT).await, &pull("wk1"));
    let first = old.claim(&account("wk1"), mine, NOW).await.unwrap().expect("is held");
    let claim = commit(&old, page(&first, "c1", vec![text("m1", "wm1", &[bot])]))
        .await
        .claim;

    let after = take_over(&new, 1 + usize::from(Shard::COUNT)).await;
    // The new owner has not even claimed the account yet.
    assert_superseded(&old, page(&claim, "c2", vec![text("late", "wm1", &[bot])])).await;
    assert!(old.reset_cursor(claim).await.unwrap().is_none());
    assert!(old.claim(&account("wk1"), mine, NOW).await.unwrap().is_none());
    assert!(
        new.claim(&account("wk1"), Fence::FIRST, NOW).await.unwrap().is_none(),
        "as if nobody had taken it"
    );
    let theirs = fence(&after, &pull("wk1"));
    let claim = new.claim(&account("wk1"), theirs, NOW).await.unwrap().expect("is held");
    assert_eq!(claim.cursor.as_deref(), Some("c1"));
    commit(&new, page(&claim, "c2", vec![text("m2", "wm1", &[bot])])).await;
    assert_eq!(msgids(&owed(&new, bot).await), ["m1", "m2"]);
}

pub(crate) async fn nobody_claims_an_unknown_account_under_a_fence_it_never_had(bench: &impl Bench) {
    let store = bench.open().await;
    assert!(store.claim(&account("wk1"), Fence(7), NOW).await.unwrap().is_none());
    assert!(store.accounts().await.unwrap().is_empty());
}

pub(crate) async fn a_late_owner_can_neither_put_off_nor_bury_but_what_is_done_counts(bench: &impl Bench) {
    let (old, new) = (bench.open().await, bench.open().await);
    let bot = register(&old, "bot").await;
    let messages = ["m1", "m2", "m3"].map(|msgid| text(msgid, "wm1", &[bot]));
    let (shard, right) = (messages[0].lane.shard(), Right::HandOut(messages[0].lane.shard()));
    store_messages(&old, messages.to_vec()).await;
    let seqs: Vec<_> = owed(&old, bot).await.iter().map(|delivery| delivery.seq).collect();
    let mine = fence(&take(&old, EVERYTHING, SHORT).await, &right);
    let retry = Verdict::Retry { attempts: 1, due: NOW };
    let refused = old
        .finish(vec![under(mine, bot, shard, seqs[0], retry.clone())])
        .await
        .unwrap();
    assert_eq!(refused, 0, "is held");

    let theirs = fence(&take_over(&new, 1 + usize::from(Shard::COUNT)).await, &right);
    let late = Verdict::Retry { attempts: 5, due: NOW };
    let refused = old
        .finish(vec![
            under(mine, bot, shard, seqs[0], late),
            under(mine, bot, shard, seqs[1], dead(NOW)),
            under(mine, bot, shard, seqs[2], Verdict::Done),
        ])
        .await
        .unwrap();
    assert_eq!(refused, 2);
    let left = owed(&new, bot).await;
    assert_eq!(msgids(&left), ["m1", "m2"]);
    assert_eq!((left[0].attempts, left[1].attempts), (1, 0));
    let letters = new.dead_letters(DeadSelect::default(), 10).await.unwrap();
    assert!(letters.is_empty(), "{letters:?}");

    let both = vec![
        under(theirs, bot, shard, seqs[0], retry),
        under(theirs, bot, shard, seqs[1], dead(NOW)),
    ];
    assert_eq!(new.finish(both).await.unwrap(), 0);
    assert_eq!(msgids(&owed(&new, bot).await), ["m1"]);
    assert_eq!(new.dead_letters(DeadSelect::default(), 10).await.unwrap().len(), 1);
}

pub(crate) async fn replicas_that_take_at_once_never_hold_the_same_right(bench: &impl Bench) {
    const REPLICAS: usize = 4;
    const ACCOUNTS: usize = 20;
    let mut replicas = Vec::new();
    for _ in 0..REPLICAS {
        replicas.push(bench.open().await);
    }
    for n in 0..ACCOUNTS {
        wake(&replicas[0], &format!("wk{n}")).await;
    }
    let few = Quota { pulls: 2, shards: 3 };
    let all = ACCOUNTS + usize::from(Shard::COUNT);
    let takers: Vec<_> = replicas
        .iter()
        .map(|replica| {
            let replica = Arc::clone(replica);
            tokio::spawn(async move {
                let mut mine = Vec::new();
                // What another has in hand is passed over, so one empty answer does not mean that there is nothing left.
                for _ in 0..100 {
                    let taken = take(&replica, few, LONG).await;
                    let pulls = taken.iter().filter(|lease| matches!(lease.right, Right::Pull(_)));
                    let pulls = pulls.count();
                    assert!(pulls <= few.pulls && taken.len() - pulls <= few.shards, "{taken:?}");
                    mine.extend(taken);
                }
                mine
            })
        })
        .collect();
    let mut rights = HashSet::new();
    for (taker, replica) in takers.into_iter().zip(&replicas) {
        let mine = taker.await.unwrap();
        let now: HashSet<_> = held(replica).await.into_iter().map(|lease| lease.right).collect();
        assert_eq!(now, mine.iter().map(|lease| lease.right.clone()).collect());
        for lease in mine {
            assert!(rights.insert(lease.right.clone()), "{:?} was taken twice", lease.right);
        }
    }
    assert_eq!(rights.len(), all);
}

pub(crate) async fn what_is_given_back_is_free_at_once(bench: &impl Bench) {
    let (store, other) = (bench.open().await, bench.open().await);
    wake(&store, "wk1").await;
    wake(&store, "wk2").await;
    let taken = take(&store, EVERYTHING, LONG).await;
    assert_eq!(take(&other, EVERYTHING, LONG).await, []);
    let [wk1, wk2] = ["wk1", "wk2"].map(|open_kfid| Lease {
        right: pull(open_kfid),
        fence: fence(&taken, &pull(open_kfid)),
    });
    let shard = Right::HandOut(Shard::new(7).unwrap());
    let seven = Lease {
        fence: fence(&taken, &shard),
        right: shard.clone(),
    };
    let older = Lease {
        fence: Fence(wk2.fence.0 - 1),
        ..wk2.clone()
    };
    shared(&store)
        .give_back(vec![wk1.clone(), seven.clone(), older])
        .await
        .unwrap();
    shared(&other).give_back(vec![wk2.clone()]).await.unwrap();
    let free = take(&other, EVERYTHING, LONG).await;
    assert_eq!(free.len(), 2, "{free:?}");
    assert!(fence(&free, &pull("wk1")) > wk1.fence && fence(&free, &shard) > seven.fence);
    assert_eq!(held(&store).await.len(), taken.len() - 2);
}

pub(crate) async fn a_replica_counts_from_its_first_renewal_until_it_leaves(bench: &impl Bench) {
    let (store, other) = (bench.open().await, bench.open().await);
    let living = async |store: &Arc<dyn Store>, term| shared(store).renew(term).await.unwrap().replicas;
    assert_eq!(living(&store, LONG).await, 1, "the other has done nothing yet");
    assert_eq!(living(&other, LONG).await, 2);
    assert_eq!(living(&store, LONG).await, 2);
    shared(&other).leave().await.unwrap();
    assert_eq!(living(&store, LONG).await, 1);
    assert_eq!(living(&other, Duration::ZERO).await, 2);
    assert_eq!(living(&store, LONG).await, 1, "its term is over");
    wake(&store, "wk1").await;
    wake(&other, "wk2").await;
    assert_eq!(shared(&store).renew(LONG).await.unwrap().accounts, 2);
}

pub(crate) async fn whoever_asks_is_told_what_nobody_does(bench: &impl Bench) {
    let (store, other) = (bench.open().await, bench.open().await);
    wake(&store, "wk1").await;
    wake(&store, "wk2").await;
    assert!(held(&store).await.is_empty());
    take(&other, Quota { pulls: 1, shards: 4 }, LONG).await;
    let census = Census {
        replicas: 1,
        accounts: 2,
        vacant: Quota { pulls: 1, shards: 60 },
    };
    assert_eq!(shared(&store).census().await.unwrap(), census);
}

pub(crate) async fn a_clock_goes_by_the_stores(bench: &impl Bench) {
    let store = bench.open().await;
    let wrong = ManualClock::new(UnixMillis(0));
    let clock = SetClock::new(Arc::new(wrong.clone()));
    // The store is on this very machine.
    let is_right = || clock.now().0.abs_diff(SystemClock.now().0) < 60_000;
    shared(&store).set_clock(&clock).await.unwrap();
    assert!(is_right());
    wrong.advance(LONG);
    assert!(!is_right());
    held(&store).await;
    assert!(is_right(), "each renewal sets it");
}

pub(crate) async fn only_the_holder_is_told_of_a_wake_up(bench: &impl Bench) {
    let (store, other) = (bench.open().await, bench.open().await);
    wake(&other, "wk1").await;
    let fence = fence(&take(&store, EVERYTHING, LONG).await, &pull("wk1"));
    let woken = shared(&store).woken().await.unwrap();
    assert_eq!(woken.len(), 1);
    assert_eq!(woken[0].account, account("wk1"));
    assert_eq!(woken[0].wake_up.as_ref().expect("is unanswered").number, 1);
    assert!(shared(&other).woken().await.unwrap().is_empty());
    // Nobody's yet.
    wake(&store, "wk2").await;
    assert_eq!(shared(&store).woken().await.unwrap().len(), 1);

    let claim = store.claim(&account("wk1"), fence, NOW).await.unwrap().unwrap();
    commit(&store, last_page(&claim, "c1", 1)).await;
    assert!(shared(&store).woken().await.unwrap().is_empty(), "it is answered");
    wake(&other, "wk1").await;
    assert_eq!(shared(&store).woken().await.unwrap().len(), 1);
}

pub(crate) async fn no_clock_but_the_stores_ends_a_lease(bench: &impl Bench) {
    let (store, other) = (bench.open().await, bench.open().await);
    let taken = take(&store, EVERYTHING, LONG).await;
    let far_ahead = NOW.plus(Duration::from_hours(24 * 365));
    other.claim(&account("wk1"), Fence::FIRST, far_ahead).await.unwrap();
    assert_eq!(take(&other, EVERYTHING, LONG).await.len(), 1, "the new account alone");
    assert_eq!(held(&store).await.len(), taken.len());
}

/// Commits from several processes at once, each of an account of its own, all into the same shard; and a reader of that
/// shard that goes on from where it was.
pub(crate) async fn a_reader_skips_nothing_whoever_commits(bench: &impl Bench) {
    const WRITERS: usize = 4;
    const PAGES: usize = 40;
    let reader = bench.open().await;
    let bot = register(&reader, "bot").await;
    let mut writers = Vec::new();
    for n in 0..WRITERS {
        let store = bench.open().await;
        writers.push(tokio::spawn(write(store, bot, format!("wk{n}"))));
    }
    let (mut seen, mut position) = (Vec::new(), beginning()[0]);
    while seen.len() < WRITERS * PAGES * 2 {
        for delivery in reader.pending(bot, &[position], 7).await.unwrap() {
            assert!(delivery.seq > position.after);
            position = Position {
                after: delivery.seq,
                ..position
            };
            seen.push(delivery.seq);
        }
        if writers.iter().all(tokio::task::JoinHandle::is_finished) {
            let all: Vec<_> = owed(&reader, bot).await.iter().map(|delivery| delivery.seq).collect();
            assert!(all.starts_with(&seen), "skipped something: read {seen:?} of {all:?}");
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }

    async fn write(store: Arc<dyn Store>, bot: HandlerId, open_kfid: String) {
        let account = account(&open_kfid);
        let (first, second) = (in_first_shard(&open_kfid, 0), in_first_shard(&open_kfid, 1));
        let mut claim = store.claim(&account, Fence::FIRST, NOW).await.unwrap().unwrap();
        for n in 0..PAGES {
            let message = |lane: Lane, name: &str| NewMessage {
                lane,
                ..text(&format!("{name}{n}"), "", &[bot])
            };
            let messages = vec![message(first, "a"), message(second, "b")];
            match store
                .commit_page(page(&claim, &format!("c{n}"), messages))
                .await
                .unwrap()
            {
                Commit::Stored(stored) => claim = stored.claim,
                other => panic!("not stored: {other:?}"),
            }
        }
    }

    /// The `nth` customer of an account whose shard is the first.
    fn in_first_shard(open_kfid: &str, nth: usize) -> Lane {
        let lanes = (0..).map(|n| Lane::of(&account(open_kfid), &format!("wm{n}")));
        lanes.filter(|lane| lane.shard().number() == 0).nth(nth).unwrap()
    }
}
