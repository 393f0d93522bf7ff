use super::*;

#[tokio::test(start_paused = true)]
async fn a_lease_is_handed_over_only_when_the_work_under_it_is_done() {
    let house = House::with_accounts(0).await;
    let a = house.join();
    a.until_it_holds(64).await;
    let in_hand = Shard::all().map(|shard| a.title(shard.number())).collect::<Vec<_>>();
    let b = house.join();
    until("half is withdrawn", || a.shards().len() == 32).await;
    sleep(10 * TERM).await;
    assert_eq!(b.shards().len(), 0, "renewed until the work is recorded");
    assert!(!in_hand[63].stands(), "but nothing more begins");
    let (done, rest) = (in_hand[63].clone(), in_hand);
    drop(rest);
    until("all but one are handed over", || b.shards().len() == 31).await;
    assert_eq!(house.owner_of_shard(63), Some(a.handle.owner()));
    drop(done);
    b.until_it_holds(32).await;
    assert_eq!(house.owner_of_shard(63), Some(b.handle.owner()));
}

#[tokio::test(start_paused = true)]
async fn a_stop_hands_over_at_once_what_is_idle_and_the_rest_when_it_is_done() {
    let house = House::with_accounts(8).await;
    let (a, b) = (house.join(), house.join());
    until("both have half", || (a.shards().len(), b.shards().len()) == (32, 32)).await;
    let number = *a.shards().first().unwrap();
    let in_hand = a.title(number);
    let stopped = Instant::now();
    a.stop.cancel();
    b.until_it_holds(63).await;
    assert!(stopped.elapsed() <= SECOND, "{:?}", stopped.elapsed());
    assert_eq!(b.accounts(), 8);
    sleep(3 * TERM).await;
    assert_eq!(house.owner_of_shard(number), Some(a.handle.owner()));
    assert!(!a.task.is_finished());
    drop(in_hand);
    b.until_it_holds(64).await;
    a.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_when_the_term_is_over_though_the_store_never_answers() {
    let house = House::with_accounts(1).await;
    let a = house.join();
    a.until_it_holds(64).await;
    a.handle.cut();
    let stopped = Instant::now();
    a.stop.cancel();
    a.task.await.unwrap();
    assert!(stopped.elapsed() <= TERM + 10 * SECOND, "{:?}", stopped.elapsed());
}

#[tokio::test(start_paused = true)]
async fn work_under_a_lease_that_was_lost_and_had_again_holds_the_hand_over_up_too() {
    let house = House::with_accounts(0).await;
    let a = house.join();
    a.until_it_holds(64).await;
    let old = a.title(63);
    a.handle.cut();
    until("everything fell", || a.shards().is_empty()).await;
    a.handle.mend();
    a.until_it_holds(64).await;
    assert!(a.title(63).stands() && !old.stands());
    let b = house.join();
    b.until_it_holds(31).await;
    sleep(3 * TERM).await;
    assert_eq!(house.owner_of_shard(63), Some(a.handle.owner()));
    drop(old);
    b.until_it_holds(32).await;
}
