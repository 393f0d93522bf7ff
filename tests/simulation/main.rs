//! A deterministic simulation: the syncer, the dispatcher and the leases of several replicas in one thread and in no
//! time, with everything around them played by a seed.
//!
//! The database is in memory, and the wire to it delays, breaks, and loses answers; WeCom repeats itself and fails;
//! handlers fail and hang; replicas are killed, stopped for longer than a lease lasts, and replaced. What took effect is
//! watched by an audit, which finds what must never be.
//!
//! A seed takes the same course every time, event for event: chance is asked by subject, never drawn from a sequence that
//! two tasks share; what is asked of the database or of WeCom within the same millisecond has an order of its own; and the
//! engines do without whatever leaves an order to chance: a `select!` that is not `biased`, a walk through a `HashMap`, and
//! a `watch` for which several tasks wait, because tokio draws lots whom to wake first.
//!
//! `WECOM_KF_SEED=n` runs one seed and prints what happens; `WECOM_KF_SEEDS=n` says how many seeds are run.

#![expect(clippy::unwrap_used, reason = "a run whose steps fail has failed")]

mod audit;
mod chance;
mod checks;
mod database;
mod flaws;
mod layer;
mod life;
mod plan;
mod replica;
mod turns;
mod weather;
mod wecom;
mod wire;
mod witness;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use audit::Check;
use database::Sharing;
use plan::Plan;
use world::Report;

/// Seeds run, unless `WECOM_KF_SEEDS` says otherwise: 200,000 of them take as many minutes as these take seconds.
const SEEDS: u64 = 2_000;

/// Seeds that once found something, and who shared the store.
const ONCE_FAILED: [(u64, Sharing); 9] = [
    // A handler that works again was probed with two customers' urgent poison only, for ever.
    (15, Sharing::Alone),
    (103, Sharing::Alone),
    // Handlers were owed nothing but poison, which looks like an outage until somebody else writes, on each replica.
    (143, Sharing::Alone),
    (1747, Sharing::Leases),
    // Customers who had written poison filled a handler's window, so that nobody else was read, and each probe failed.
    (82145, Sharing::Leases),
    (86351, Sharing::Alone),
    (166375, Sharing::Alone),
    (181081, Sharing::Leases),
    (182055, Sharing::Alone),
];

#[expect(
    clippy::disallowed_methods,
    reason = "which seeds are run is for whoever runs them to say"
)]
fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Every eighth run has one replica, and the others two or three.
fn sharing(seed: u64) -> Sharing {
    match seed % 8 {
        7 => Sharing::Alone,
        _ => Sharing::Leases,
    }
}

fn run(seed: u64, sharing: Sharing, loud: bool) -> Report {
    world::run(&Plan::of(seed, sharing), Box::new(|store| store), loud)
}

/// Runs every seed below `seeds`, on a few threads.
fn run_all(seeds: u64) -> Vec<(u64, Report)> {
    let (next, reports) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return;
            }
            let report = run(seed, sharing(seed), false);
            reports.lock().unwrap().push((seed, report));
        }
    };
    let threads = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut reports = reports.into_inner().unwrap();
    reports.sort_by_key(|(seed, _)| *seed);
    reports
}

#[test]
fn no_seed_finds_what_must_not_be() {
    if let Some(seed) = number_of("WECOM_KF_SEED") {
        let report = run(seed, sharing(seed), true);
        println!("seed={seed} course={:016x}", report.course);
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
        return;
    }
    let reports = run_all(number_of("WECOM_KF_SEEDS").unwrap_or(SEEDS));
    let mut failed = Vec::new();
    for (seed, report) in &reports {
        if let Some(finding) = report.findings.first() {
            println!("WECOM_KF_SEED={seed} finds {}: {}", finding.check, finding.what);
            failed.push(*seed);
        }
    }
    let found = |check: Check| {
        let findings = reports.iter().flat_map(|(_, report)| &report.findings);
        findings.filter(|finding| finding.check == check).count()
    };
    let counts: Vec<String> = Check::ALL
        .iter()
        .map(|check| format!("{check}={}", found(*check)))
        .collect();
    let days = reports
        .iter()
        .map(|(_, report)| report.took)
        .sum::<Duration>()
        .as_secs_f64()
        / 86_400.0;
    println!(
        "seeds={} messages={} duplicates={} simulated_days={days:.1} {}",
        reports.len(),
        reports.iter().map(|(_, report)| report.messages).sum::<usize>(),
        reports.iter().map(|(_, report)| report.duplicates).sum::<u64>(),
        counts.join(" ")
    );
    assert!(failed.is_empty(), "seeds that fail: {failed:?}");
}

#[test]
fn seeds_that_once_failed_find_nothing() {
    for (seed, sharing) in ONCE_FAILED {
        let findings = run(seed, sharing, false).findings;
        assert!(findings.is_empty(), "seed {seed}, {sharing:?}: {findings:#?}");
    }
}

#[test]
fn a_seed_takes_the_same_course_every_time() {
    for sharing in [Sharing::Alone, Sharing::Leases] {
        for seed in 0..60 {
            let [once, again] = [(); 2].map(|()| run(seed, sharing, false).course);
            assert_eq!(once, again, "seed {seed}, {sharing:?}");
        }
    }
}

#[test]
fn where_nothing_fails_every_message_is_handled_exactly_once() {
    let fair = (0..100)
        .map(|seed| Plan::of(seed, sharing(seed)))
        .filter(|plan| plan.fair);
    let mut runs = 0;
    for plan in fair {
        let report = world::run(&plan, Box::new(|store| store), false);
        assert!(report.findings.is_empty(), "seed {}: {:#?}", plan.seed, report.findings);
        assert_eq!(report.duplicates, 0, "seed {}", plan.seed);
        runs += 1;
    }
    assert!(runs > 0);
}
