//! Chance that can be repeated, and series as long as whoever runs them has time for.

use rand::SeedableRng as _;
use rand::rngs::SmallRng;

/// Length of a series: `in_ci`, unless the environment's `variable` says otherwise.
pub(crate) fn rounds(variable: &str, in_ci: usize) -> usize {
    usize::try_from(number(variable).unwrap_or(in_ci as u64)).expect("a number of rounds")
}

/// Dice, and their seed: the one in the environment's `variable`, if it is there.
pub(crate) fn dice(variable: &str) -> (SmallRng, u64) {
    let seed = number(variable).unwrap_or_else(rand::random);
    (SmallRng::seed_from_u64(seed), seed)
}

#[expect(
    clippy::disallowed_methods,
    reason = "it is for whoever runs the test, not a setting of the server"
)]
fn number(name: &str) -> Option<u64> {
    let number = std::env::var(name).ok()?;
    Some(number.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}
