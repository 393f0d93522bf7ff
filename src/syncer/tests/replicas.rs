//! Several syncers on one store.

use super::script::{nothing_new, page};
use super::*;
use crate::store::joint::{Handle, Joint};
use crate::store::{Quota, Right, Shared};

/// Longer than whatever tells of a wake-up takes.
const QUIET: Duration = Duration::from_millis(2500);

/// A store that knows `open_kfids` and can be shared.
async fn shared(open_kfids: &[&str]) -> (House, Arc<Joint>) {
    let house = House::new().await;
    house.know(open_kfids).await;
    let joint = Joint::over(Arc::<Watched>::clone(&house.store));
    open_kfids.iter().for_each(|open_kfid| joint.know(&key(open_kfid)));
    (house, joint)
}

/// One process.
struct Replica {
    handle: Arc<Handle>,
    running: Running,
}

fn join(house: &House, joint: &Arc<Joint>, api_base: &str) -> Replica {
    join_with(house, joint, api_base, |_| {})
}

fn join_with(house: &House, joint: &Arc<Joint>, api_base: &str, change: impl FnOnce(&mut Change)) -> Replica {
    let handle = joint.open();
    let store: Arc<dyn Store> = Arc::<Handle>::clone(&handle);
    let running = house.run_on(&store, api_base, change);
    Replica { handle, running }
}

impl Replica {
    fn holds(&self, joint: &Joint, open_kfid: &str) -> bool {
        joint.owner(&Right::Pull(key(open_kfid))) == Some(self.handle.owner())
    }
}

#[tokio::test]
async fn a_callback_is_pulled_for_once_whichever_replica_it_reaches() {
    let (house, joint) = shared(&["wk1"]).await;
    let script = Script::new(|_, asked| nothing_new(asked)).await;
    let replicas = [
        join(&house, &joint, &script.base_url),
        join(&house, &joint, &script.base_url),
    ];
    until("the owner took it up", async || script.asked().len() == 1).await;
    for n in 0..6 {
        replicas[n % 2].running.wake_with("wk1", &format!("ENC{n}"));
        until("a pull", async || script.asked().len() == n + 2).await;
    }
    sleep(QUIET).await;
    let tokens: Vec<_> = script.asked().into_iter().map(|asked| asked.token).collect();
    let expected = [None].into_iter().chain((0..6).map(|n| Some(format!("ENC{n}"))));
    assert_eq!(
        tokens,
        expected.collect::<Vec<_>>(),
        "one pull for each, with its token"
    );
    for replica in replicas {
        replica.running.stop().await;
    }
}

#[tokio::test]
async fn a_replica_that_could_not_ask_its_store_for_a_while_hears_of_callbacks_again() {
    let (house, joint) = shared(&["wk1"]).await;
    let script = Script::new(|_, asked| nothing_new(asked)).await;
    let owner = join(&house, &joint, &script.base_url);
    until("taken up", async || script.asked().len() == 1).await;
    let other = join(&house, &joint, &script.base_url);
    owner.handle.cut();
    sleep(QUIET).await;
    owner.handle.mend();
    assert!(owner.holds(&joint, "wk1"));
    other.running.wake_with("wk1", "ENC1");
    until("a pull", async || script.asked().len() == 2).await;
    owner.running.stop().await;
    other.running.stop().await;
}

#[tokio::test]
async fn accounts_are_shared_out_and_each_is_pulled_by_one() {
    let names = ["wk0", "wk1", "wk2", "wk3"];
    let (house, joint) = shared(&names).await;
    let script = Script::new(|_, asked| nothing_new(asked)).await;
    let a = join(&house, &joint, &script.base_url);
    until("all are pulled", async || script.asked().len() == 4).await;
    let b = join(&house, &joint, &script.base_url);
    let held_by = |replica: &Replica| names.iter().filter(|name| replica.holds(&joint, name)).count();
    until("two each", async || (held_by(&a), held_by(&b)) == (2, 2)).await;
    until("taken up", async || script.asked().len() == 6).await;
    for name in names {
        a.running.wake(name);
    }
    until("one pull of each", async || script.asked().len() == 10).await;
    sleep(QUIET).await;
    assert_eq!(script.asked().len(), 10);
    a.running.stop().await;
    until("the other has them all", async || held_by(&b) == 4).await;
    until("and took them up", async || script.asked().len() == 12).await;
    assert_eq!(house.store.committed().iter().filter(|page| page.superseded).count(), 0);
    b.running.stop().await;
}

#[tokio::test]
async fn a_wake_up_that_a_stopping_replica_wrote_down_is_answered_by_the_next_owner_with_its_token() {
    let (house, joint) = shared(&["wk1"]).await;
    let script = Script::new(|n, asked| if n == 1 { None } else { nothing_new(asked) }).await;
    let a = join(&house, &joint, &script.base_url);
    until("taken up", async || script.asked().len() == 1).await;
    until("answered", async || house.store.committed().len() == 1).await;
    a.running.wake_with("wk1", "ENC1");
    until("a pull that gets no answer", async || script.asked().len() == 2).await;
    a.running.stop().await;
    let b = join(&house, &joint, &script.base_url);
    until("another pull", async || script.asked().len() == 3).await;
    assert_eq!(script.asked()[2].token.as_deref(), Some("ENC1"));
    b.running.stop().await;
}

#[tokio::test]
async fn accounts_that_only_the_list_names_are_made_known_so_that_somebody_pulls_them() {
    let list = json!([{ "open_kfid": "wkNew", "name": "", "manage_privilege": true }]);
    let (house, joint) = shared(&["wk1"]).await;
    let script = Script::listing(list, |_, asked| nothing_new(asked)).await;
    let replicas = [
        join(&house, &joint, &script.base_url),
        join(&house, &joint, &script.base_url),
    ];
    until("both are pulled", async || {
        !script.asked_of("wk1").is_empty() && !script.asked_of("wkNew").is_empty()
    })
    .await;
    assert!(replicas.iter().any(|replica| replica.holds(&joint, "wkNew")));
    for replica in replicas {
        replica.running.stop().await;
    }
}

#[tokio::test]
async fn an_account_that_a_callback_names_first_is_taken_and_pulled_within_a_second() {
    let (house, joint) = shared(&[]).await;
    let script = Script::new(|_, asked| nothing_new(asked)).await;
    let a = join(&house, &joint, &script.base_url);
    until("it is there", async || {
        joint
            .owner(&Right::HandOut(crate::store::Shard::new(0).unwrap()))
            .is_some()
    })
    .await;
    a.running.wake_with("wkNew", "ENC1");
    until("a pull", async || script.asked().len() == 1).await;
    assert_eq!(script.asked()[0].token.as_deref(), Some("ENC1"));
    a.running.stop().await;
}

#[tokio::test]
async fn whoever_loses_an_account_lets_go_of_its_pull_and_commits_nothing() {
    let (house, joint) = shared(&["wk1"]).await;
    let script = Script::new(|n, asked| match n {
        0 => None,
        1 => page(&[text("m1", 1)], "c1", 0),
        _ => nothing_new(asked),
    })
    .await;
    let short = |change: &mut Change| change.lease.term = Duration::from_secs(2);
    let a = join_with(&house, &joint, &script.base_url, short);
    until("a pull without an answer", async || script.asked().len() == 1).await;
    a.handle.cut();
    let b = join_with(&house, &joint, &script.base_url, short);
    until("the other pulls it", async || house.store.rows() == 1).await;
    assert!(b.holds(&joint, "wk1"));
    a.handle.mend();
    a.running.wake("wk1");
    until("the owner hears of it", async || script.asked().len() == 3).await;
    sleep(QUIET).await;
    assert_eq!((script.asked().len(), house.store.rows(), joint.refused()), (3, 1, 0));
    a.running.stop().await;
    b.running.stop().await;
}

#[tokio::test]
async fn a_page_that_comes_after_the_account_was_taken_is_refused() {
    let (house, joint) = shared(&["wk1"]).await;
    let script = Script::new(|_, _| page(&[text("m1", 1)], "c1", 0)).await;
    let (first, second) = (joint.open(), joint.open());
    let one = Quota { pulls: 1, shards: 0 };
    let term = Duration::from_millis(50);
    let lease = first.take(one, term).await.unwrap().remove(0);
    let claim = first.claim(&key("wk1"), lease.fence, START).await.unwrap();
    assert!(claim.is_some());
    until("it is taken", async || {
        !second.take(one, term).await.unwrap().is_empty()
    })
    .await;
    assert!(first.claim(&key("wk1"), lease.fence, START).await.unwrap().is_none());
    until("it is free again", async || {
        joint.owner(&Right::Pull(key("wk1"))).is_none()
    })
    .await;
    let replica = join(&house, &joint, &script.base_url);
    until("it is pulled all the same", async || house.store.rows() == 1).await;
    replica.running.stop().await;
}
