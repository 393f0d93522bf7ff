//! When the floodgate closes and opens. Time is paused: it jumps to the next timer whenever everything waits.

use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::*;
use crate::store::Room;
use crate::syncer::floodgate::Floodgate;

const GIB: u64 = 1 << 30;

/// Sets a floodgate to watch over the store of `house`, which has room and owes nothing unless it says so.
async fn watch_over(house: &House, marks: Marks) -> Arc<Floodgate> {
    house.store.room.lock().unwrap().get_or_insert(Room::new(GIB, GIB));
    house.store.owed.lock().unwrap().get_or_insert(0);
    let store: Arc<dyn Store> = Arc::<Watched>::clone(&house.store);
    let floodgate = Arc::new(Floodgate::new(store, Arc::new(house.clock.clone()), marks));
    floodgate.look().await;
    tokio::spawn(Arc::clone(&floodgate).watch(CancellationToken::new()));
    floodgate
}

/// What holds pulls back `secs` seconds later.
async fn held_after(floodgate: &Floodgate, secs: u64) -> Option<Held> {
    sleep(Duration::from_secs(secs)).await;
    floodgate.held()
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_was_nearly_full_must_have_an_eighth_more_room_before_pulls_go_on() {
    let house = House::new().await;
    let free = |bytes| *house.store.room.lock().unwrap() = Some(Room::new(bytes, 100 * GIB));
    free(GIB);
    let marks = Marks {
        min_free: GIB,
        ..Marks::default()
    };
    let floodgate = watch_over(&house, marks).await;
    assert_eq!(held_after(&floodgate, 60).await, None);
    free(GIB - 1);
    assert_eq!(held_after(&floodgate, 2).await, Some(Held::DiskNearlyFull));
    free(GIB + GIB / 8 - 1);
    assert_eq!(held_after(&floodgate, 60).await, Some(Held::DiskNearlyFull));
    free(GIB + GIB / 8);
    assert_eq!(held_after(&floodgate, 2).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_that_was_too_long_must_be_an_eighth_shorter_before_pulls_go_on() {
    let house = House::new().await;
    let owed = |deliveries| *house.store.owed.lock().unwrap() = Some(deliveries);
    owed(800);
    let marks = Marks {
        max_backlog: 800,
        ..Marks::default()
    };
    let floodgate = watch_over(&house, marks).await;
    assert_eq!(held_after(&floodgate, 60).await, None);
    owed(801);
    assert_eq!(held_after(&floodgate, 20).await, Some(Held::Backlog));
    owed(701);
    assert_eq!(held_after(&floodgate, 60).await, Some(Held::Backlog));
    owed(700);
    assert_eq!(held_after(&floodgate, 20).await, None);
}

#[tokio::test(start_paused = true)]
async fn millions_of_deliveries_are_counted_four_times_a_minute_only() {
    let house = House::new().await;
    *house.store.owed.lock().unwrap() = Some(5_000_000);
    let floodgate = watch_over(&house, Marks::default()).await;
    held_after(&floodgate, 59).await;
    assert_eq!(house.store.counted.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_takes_pages_again_is_given_no_longer_time_at_its_next_failure() {
    let house = House::new().await;
    let marks = Marks {
        backoff: Backoff::new(Duration::from_secs(1), HOUR),
        ..Marks::default()
    };
    let floodgate = watch_over(&house, marks).await;
    let mut held = floodgate.subscribe();
    for _ in 0..20 {
        let failed = Instant::now();
        floodgate.store_failed();
        assert_eq!(floodgate.held(), Some(Held::StoreFails));
        held.wait_for(Option::is_none).await.unwrap();
        assert!(failed.elapsed() < Duration::from_secs(5), "{:?}", failed.elapsed());
        floodgate.stored();
    }
}

#[tokio::test(start_paused = true)]
async fn who_listens_hears_of_every_change_and_of_nothing_else() {
    let house = House::new().await;
    let free = |bytes| *house.store.room.lock().unwrap() = Some(Room::new(bytes, 100 * GIB));
    free(100 * GIB);
    let floodgate = watch_over(&house, Marks::default()).await;
    let mut held = floodgate.subscribe();
    for (bytes, reason) in [(0, Some(Held::DiskNearlyFull)), (100 * GIB, None)] {
        assert_eq!(held_after(&floodgate, 60).await, *held.borrow());
        assert!(!held.has_changed().unwrap());
        free(bytes);
        assert_eq!(held_after(&floodgate, 2).await, reason);
        assert!(held.has_changed().unwrap());
        held.mark_unchanged();
    }
}
