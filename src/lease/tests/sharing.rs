use super::*;

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_alone_takes_everything_at_once() {
    let house = House::with_accounts(7).await;
    let (alone, start) = (house.join(), Instant::now());
    alone.until_it_holds(64).await;
    assert_eq!(alone.accounts(), 7);
    assert!(start.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn replicas_that_join_get_their_share_within_a_second_or_so() {
    let house = House::with_accounts(9).await;
    let a = house.join();
    a.until_it_holds(64).await;
    let (b, joined) = (house.join(), Instant::now());
    b.until_it_holds(32).await;
    assert!(joined.elapsed() <= 2 * SECOND, "{:?}", joined.elapsed());
    assert_eq!((a.shards().len(), a.accounts(), b.accounts()), (32, 5, 4));
    let (c, joined) = (house.join(), Instant::now());
    c.until_it_holds(20).await;
    assert!(joined.elapsed() <= 2 * SECOND, "{:?}", joined.elapsed());
    assert_eq!([a.shards().len(), b.shards().len()], [22, 22]);
    until("three accounts each", || {
        [&a, &b, &c].iter().all(|replica| replica.accounts() == 3)
    })
    .await;
    let everything: BTreeSet<_> = [&a, &b, &c].iter().flat_map(|replica| replica.shards()).collect();
    assert_eq!(everything.len(), 64, "each is held by one of them");
}

#[tokio::test(start_paused = true)]
async fn what_is_in_balance_stays_where_it_is() {
    let house = House::with_accounts(4).await;
    let replicas = [house.join(), house.join(), house.join()];
    until("everything is held", || {
        replicas.iter().map(|replica| replica.shards().len()).sum::<usize>() == 64
    })
    .await;
    sleep(10 * SECOND).await;
    let before = replicas.each_ref().map(Replica::shards);
    sleep(600 * SECOND).await;
    assert_eq!(replicas.each_ref().map(Replica::shards), before);
}

#[tokio::test(start_paused = true)]
async fn a_new_account_is_held_by_somebody_within_a_second() {
    let house = House::with_accounts(2).await;
    let (a, b) = (house.join(), house.join());
    until("both have one", || (a.accounts(), b.accounts()) == (1, 1)).await;
    let born = Instant::now();
    house.joint.know(&account(2));
    until("it is held", || a.accounts() + b.accounts() == 3).await;
    assert!(born.elapsed() <= SECOND, "{:?}", born.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_store_of_ones_own_needs_nobody_to_tend_it() {
    let folder = TempDir::new().unwrap();
    let url = format!("sqlite://{}", folder.path().join("kf.db").display());
    let store = store::open(&store::Settings::new(url)).await.unwrap();
    let (leases, tender) = Leases::of(&store, &clock(), Settings::default());
    assert!(tender.is_none());
    let holdings = leases.holdings().borrow().clone();
    assert!(holdings.is_everything() && holdings.accounts().is_none());
    advance(1_000_000 * SECOND).await;
    assert!(holdings.shard(shard(63)).unwrap().stands());
}
