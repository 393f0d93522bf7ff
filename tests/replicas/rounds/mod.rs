//! Series of blows while customers talk and WeCom fails too, and what is left to complain of afterwards.
//!
//! Each series prints one line. `WECOM_KF_REPLICA_ROUNDS` makes every one as long as you have time for;
//! `WECOM_KF_REPLICA_SEED` throws the same dice again, though not the threads.

use std::sync::Arc;

use wecom_kf::simulator::Faults;

use crate::blow::Blow;
use crate::dice;
use crate::proxy::Wire;
use crate::receiver::Manners;
use crate::stage::{LEASE, Scene, Stage, Way, all_faults, no_callbacks};
use crate::talk::Talk;
use crate::verdict::Verdict;

/// Accounts that customers talk to.
const ACCOUNTS: usize = 6;

/// What a series is made of.
struct Series<'a> {
    /// For people.
    name: &'static str,
    scene: Scene,
    /// What goes wrong at WeCom.
    faults: Faults,
    /// Dealt in turn …
    blows: &'a [Blow],
    /// … so many in all, unless whoever runs it says otherwise.
    rounds: usize,
}

impl<'a> Series<'a> {
    fn of(name: &'static str, blows: &'a [Blow], rounds: usize) -> Self {
        Self {
            name,
            scene: Scene::PLAIN,
            faults: all_faults(),
            blows,
            rounds,
        }
    }

    /// Deals the blows and compares everything afterwards.
    async fn run(self) -> Verdict {
        let rounds = dice::rounds("WECOM_KF_REPLICA_ROUNDS", self.rounds);
        let (mut dice, seed) = dice::dice("WECOM_KF_REPLICA_SEED");
        let mut stage = Stage::set(self.scene, ACCOUNTS).await;
        stage.wecom.set_faults(self.faults);
        // Somebody is talking already when the first pull begins.
        let talk = Talk::begin(Arc::clone(&stage.wecom), &stage.accounts, seed);
        stage.start_all().await;
        for blow in self.blows.iter().cycle().take(rounds) {
            stage.suffer(*blow, &mut dice).await;
        }
        talk.end().await;
        // What the last callbacks were about must be found though nobody calls again.
        stage.wecom.set_faults(no_callbacks());
        stage.all_arrived().await;
        let verdict = stage.verdict().await;
        let said = stage.wecom.counts().said;
        println!(
            "{rounds} rounds of {}, {said} messages, seed {seed}: {verdict}",
            self.name
        );
        verdict.assert_flawless();
        verdict
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_replica_is_missed_for_a_moment_only() {
    let verdict = Series::of("kill -9", &[Blow::Kill], 6).run().await;
    let longest = verdict.takeovers.last().copied().expect("it held something");
    // The lease and a second; and far more for a machine that has other things to do.
    assert!(longest < LEASE * 10, "{longest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_replica_that_wakes_does_no_harm() {
    let mut series = Series::of("SIGSTOP", &[Blow::Pause], 4);
    series.scene.manners = Manners::outlasting(LEASE);
    series.run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_nothing_and_repeats_nothing() {
    let verdict = Series::of("SIGTERM", &[Blow::RollingRestart], 4).run().await;
    assert_eq!((verdict.dup_deliveries, verdict.bound), (0, 0), "{verdict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_crashes_takes_nothing_with_it() {
    let blows = [Blow::KillDatabase, Blow::StopDatabase];
    Series::of("a crashing database", &blows, 6).run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_wire_to_the_database_does_no_harm() {
    let blows = [
        Blow::Unwire(Wire::Silent),
        Blow::Blip,
        Blow::Unwire(Wire::DeafReplica),
        Blow::Unwire(Wire::Cut),
        Blow::Blip,
        Blow::Unwire(Wire::DeafDatabase),
    ];
    let mut series = Series::of("broken wires", &blows, 6);
    series.scene.manners = Manners::outlasting(LEASE);
    series.run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_whose_clock_is_an_hour_ahead_is_as_good_as_any() {
    let mut series = Series::of("an hour's skew", &[Blow::RollingRestart, Blow::Kill], 4);
    // It is the one that starts first, so the first pulls are its.
    series.scene.clocks = [Some("+1h"), None, None];
    // WeCom's clock is right, so its blocks last: it had better not go wrong.
    series.scene.speed = 1;
    series.faults = Faults::default();
    series.run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_it_goes_through_pgbouncer() {
    let blows = [
        Blow::Kill,
        Blow::KillDatabase,
        Blow::Pause,
        Blow::RollingRestart,
        Blow::Unwire(Wire::Silent),
    ];
    let mut series = Series::of("everything through pgbouncer", &blows, 5);
    series.scene.way = Way::ThroughPgbouncer;
    series.run().await;
}
