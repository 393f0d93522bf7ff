//! The checks, checked: each wrong store must be found out by the check that is there for it.

use std::sync::Arc;

use wecom_kf::store::Store;

use crate::audit::Check;
use crate::database::Sharing;
use crate::flaws::{
    CursorFirst, DedupeWithoutAccount, ForgetfulRetry, ForgottenDeath, ForgottenDelivery, LeasesForEverybody,
    LostWakeUp, NoCompareAndSwap, NoFenceOnOutcomes, NoFenceOnPages, OutcomeFirst, SkippingReader, StoredTwice,
};
use crate::layer::{Layer, Layered};
use crate::plan::Plan;
use crate::world::{Flaw, Report, run};

/// Runs after which a flaw counts as not found.
const RUNS: u64 = 60;

/// A store of every replica that has the flaw `layer`.
fn flaw<L: Layer>(layer: impl Fn() -> L + 'static) -> Flaw {
    Box::new(move |under: Arc<dyn Store>| Layered::over(under, layer()))
}

/// A flaw, made anew for every run: what it remembers belongs to one run.
type Make = fn() -> Flaw;

/// What is wrong with a store, the check that is to find it, and how it is made.
const FLAWS: [(&str, Check, Make); 13] = [
    ("cursor first", Check::Lost, || flaw(CursorFirst::default)),
    ("no compare-and-swap", Check::StaleCommits, || flaw(|| NoCompareAndSwap)),
    ("no fence on pages", Check::StaleCommits, || flaw(|| NoFenceOnPages)),
    ("no fence on outcomes", Check::StaleCommits, || {
        flaw(|| NoFenceOnOutcomes)
    }),
    ("a delivery forgotten", Check::Owed, || flaw(ForgottenDelivery::default)),
    ("an outcome before its attempt", Check::Owed, || flaw(|| OutcomeFirst)),
    ("dedupe without the account", Check::Lost, || {
        let shared = DedupeWithoutAccount::default();
        flaw(move || shared.clone())
    }),
    ("a lost wake-up", Check::Lost, || flaw(|| LostWakeUp)),
    ("leases for everybody", Check::Overlap, || {
        let shared = LeasesForEverybody::default();
        flaw(move || shared.clone())
    }),
    ("a reader that skips", Check::Lost, || flaw(|| SkippingReader)),
    ("a retry that forgets its attempts", Check::Attempts, || {
        flaw(|| ForgetfulRetry)
    }),
    ("a message stored twice", Check::DoubleRows, || {
        flaw(StoredTwice::default)
    }),
    ("no dead letters", Check::Owed, || flaw(|| ForgottenDeath)),
];

fn finds(report: &Report, check: Check) -> bool {
    report.findings.iter().any(|finding| finding.check == check)
}

#[test]
fn every_wrong_store_is_found_out_by_the_check_that_is_there_for_it() {
    let mut missed = Vec::new();
    for (name, check, make) in FLAWS {
        let mut seeds = 0..RUNS;
        match seeds.find(|seed| finds(&run(&Plan::of(*seed, Sharing::Leases), make(), false), check)) {
            Some(seed) => println!("{name}: {check}, by seed {seed}"),
            None => missed.push(name),
        }
    }
    println!("caught={} of {}", FLAWS.len() - missed.len(), FLAWS.len());
    assert!(missed.is_empty(), "not found out: {missed:?}");
}

#[test]
fn a_store_that_grants_leases_to_everybody_loses_and_doubles_nothing() {
    let mut overlaps = 0;
    for seed in 0..RUNS {
        let shared = LeasesForEverybody::default();
        let report = run(&Plan::of(seed, Sharing::Leases), flaw(move || shared.clone()), false);
        overlaps += u64::from(finds(&report, Check::Overlap));
        let wrong = |check| matches!(check, Check::Lost | Check::DoubleRows);
        let found = report.findings.iter().find(|finding| wrong(finding.check));
        assert!(found.is_none(), "seed {seed}: {found:?}");
    }
    assert!(overlaps > 0, "the leases did nothing wrong");
}
