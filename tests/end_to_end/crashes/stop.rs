//! `SIGTERM` under load: a stop that nobody downstream notices.

use std::num::NonZeroUsize;
use std::time::Duration;

use rand::RngExt as _;
use tokio::time::{Instant, sleep};
use wecom_kf::simulator::Bells;

use super::{CUSTOMERS, Lives, all_faults, dice, double_rows, rounds};
use crate::stage::{Pace, Stage};

/// `server.shutdown_grace` as it is by default.
const GRACE: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_at_any_moment_ends_within_the_grace_and_nothing_comes_twice() {
    let (rounds, (mut dice, seed)) = (rounds(20), dice());
    let stage = Stage::with_accounts(4, Pace::Fast).await;
    stage.wecom.set_faults(all_faults());
    let (mut lives, mut longest) = (Lives::default(), Duration::ZERO);
    for _ in 0..rounds {
        let server = stage.start();
        let bells = Bells::Every(NonZeroUsize::new(dice.random_range(1..40)).unwrap());
        stage.say_among(CUSTOMERS, dice.random_range(100..400), bells);
        sleep(Duration::from_millis(dice.random_range(0..150))).await;
        let asked = Instant::now();
        let status = server.stop();
        longest = longest.max(asked.elapsed());
        assert!(status.success(), "{status}, seed {seed}");
        lives.ended(&stage.receiver).await;
    }
    let server = stage.start();
    stage.all_arrived().await;
    assert!(server.stop().success());
    stage.wecom.quiet().await;

    let verdict = stage.verdict();
    println!(
        "{rounds} SIGTERM rounds, {} messages, seed {seed}: {verdict}, the longest took {longest:?}",
        stage.wecom.counts().said
    );
    assert!(verdict.is_clean(), "{verdict}");
    assert!(longest < GRACE, "{longest:?}");
    assert_eq!(double_rows(&stage), 0);
    stage.receiver.assert_contract_kept();
}
