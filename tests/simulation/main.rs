//! A deterministic simulation: the syncer, the dispatcher and the leases of several replicas in one thread and in no
//! time, with everything around them played by a seed.
//!
//! The database is in memory, and the wire to it delays, breaks, and loses answers; WeCom repeats itself and fails;
//! handlers fail and hang; replicas are killed, stopped for longer than a lease lasts, and replaced. What took effect is
//! watched by an audit, which finds what must never be.
//!
//! A seed takes the same course every time: chance is asked by subject, never drawn from a sequence that two tasks share;
//! what happens within the same millisecond has an order of its own; and the engines look at what is ready in one order.

#![expect(clippy::unwrap_used, reason = "a run whose steps fail has failed")]

mod audit;
mod chance;
mod database;
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

use database::Sharing;
use plan::Plan;

#[test]
fn one_seed() {
    let n = |name: &str| std::env::var(name).ok().and_then(|s| s.parse::<u64>().ok());
    let sharing = if n("ALONE").is_some() {
        Sharing::Alone
    } else {
        Sharing::Leases
    };
    if let Some(seed) = n("WECOM_KF_SEED") {
        let report = world::run(&Plan::of(seed, sharing), Box::new(|store| store), true);
        println!("{report:?}");
        return;
    }
    let (mut bad, mut differ) = (0, 0);
    for seed in n("FROM").unwrap_or(0)..n("TO").unwrap_or(1000) {
        let report = world::run(&Plan::of(seed, sharing), Box::new(|store| store), false);
        if seed < 100 {
            let again = world::run(&Plan::of(seed, sharing), Box::new(|store| store), false);
            differ += u64::from(again.course != report.course);
        }
        if let Some(finding) = report.findings.first() {
            bad += 1;
            println!(
                "{seed}: {:x} {} {} {:?} {} {:?}",
                report.course,
                report.messages,
                report.duplicates,
                report.took,
                report.findings.len(),
                finding
            );
        }
    }
    println!("{bad} bad, {differ} of 100 differ");
}
