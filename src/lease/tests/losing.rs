use super::*;

#[tokio::test(start_paused = true)]
async fn what_a_crashed_replica_held_is_taken_over_within_the_term_and_a_second() {
    for phase in 0..10 {
        let house = House::with_accounts(6).await;
        let (a, b, c) = (house.join(), house.join(), house.join());
        until("everything is held", || {
            [&a, &b, &c].iter().map(|replica| replica.shards().len()).sum::<usize>() == 64
        })
        .await;
        sleep(Duration::from_millis(700 * phase)).await;
        let crashed = Instant::now();
        a.crash();
        until("taken over", || b.shards().len() + c.shards().len() == 64).await;
        assert!(crashed.elapsed() <= TERM + SECOND, "{phase}: {:?}", crashed.elapsed());
        until("evenly", || [&b, &c].iter().all(|replica| replica.shards().len() == 32)).await;
        until("accounts too", || {
            [&b, &c].iter().all(|replica| replica.accounts() == 3)
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_cannot_renew_begins_nothing_before_anybody_else_may() {
    let house = House::with_accounts(1).await;
    let (a, b) = (house.join(), house.join());
    until("both have half", || (a.shards().len(), b.shards().len()) == (32, 32)).await;
    let number = *a.shards().first().unwrap();
    let title = a.title(number);
    let cut = Instant::now();
    a.handle.cut();
    until("a lets go", || a.shards().is_empty()).await;
    assert!(!title.stands());
    assert!(cut.elapsed() <= TERM - TERM / 5);
    assert_ne!(
        house.owner_of_shard(number),
        Some(b.handle.owner()),
        "earlier than the store does"
    );
    b.until_it_holds(64).await;
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_stopped_begins_nothing_stale_before_its_timers_have_run() {
    let house = House::with_accounts(1).await;
    let a = house.join();
    a.until_it_holds(64).await;
    let title = a.title(0);
    // Of all tasks only this one has run since.
    let before = Instant::now();
    advance_without_a_turn_for_others(TERM - TERM / 5 + SECOND);
    assert!(before.elapsed() > TERM - TERM / 5);
    assert!(!title.stands());
    a.until_it_holds(64).await;
    assert!(!title.stands(), "one that fell does not rise again");
    assert!(a.title(0).stands());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_somebody_else_took_is_lost_with_the_next_renewal() {
    let house = House::with_accounts(0).await;
    let a = house.join();
    a.until_it_holds(64).await;
    let title = a.title(5);
    a.handle.cut();
    sleep(TERM + SECOND).await;
    let b = house.join();
    b.until_it_holds(64).await;
    let fence = b.title(5).fence();
    a.handle.mend();
    a.until_it_holds(32).await;
    assert!(fence > title.fence());
    assert!(
        [&a, &b]
            .iter()
            .flat_map(|replica| replica.shards())
            .collect::<BTreeSet<_>>()
            .len()
            == 64
    );
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ran_out_and_nobody_took_comes_back_under_its_fence() {
    let house = House::with_accounts(3).await;
    let a = house.join();
    a.until_it_holds(64).await;
    let fence = a.title(9).fence();
    a.handle.cut();
    until("everything fell", || a.shards().is_empty()).await;
    sleep(10 * TERM).await;
    a.handle.mend();
    a.until_it_holds(64).await;
    assert_eq!(a.title(9).fence(), fence);
    assert_eq!(a.accounts(), 3);
}

/// Lets time pass as it does for a process that is stopped: nobody has a turn meanwhile.
fn advance_without_a_turn_for_others(by: Duration) {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    let mut advancing = pin!(advance(by));
    // The hands move with the first poll; what follows only lets others run.
    let _ = advancing.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}
