//! Tells an outage from a poison message. Pure: time and chance come in as arguments.
//!
//! While a handler fails for everybody, trying costs load and proves nothing about any one message. The breaker
//! then opens: one probe at a time is let through, and no attempt is used up. One message that fails alone never
//! opens it, so that message uses up its attempts and is buried.

use std::collections::HashSet;
use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::store::Lane;

/// Failures without a success between them, from at least [`LANES_TO_OPEN`] customers, that open the breaker.
const FAILURES_TO_OPEN: u32 = 5;
/// How many customers must have failed: fewer may just as well be poison.
const LANES_TO_OPEN: usize = 3;
/// Times in a row that the handler was unavailable, whoever the customers were, that open the breaker.
const UNAVAILABLE_TO_OPEN: u32 = 3;

/// How an attempt failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    /// The handler failed at the message.
    Message,
    /// The handler could not be reached. Not before this long, if it said so.
    Unavailable(Option<Duration>),
}

/// What an attempt was when it started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trial {
    /// One of many, while the handler was taken to work. Its failure says nothing about an outage that was noticed since.
    Regular,
    /// The probe of this number.
    Probe(u64),
}

/// Whether attempts may start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Gate {
    /// As many as there is room for.
    Open,
    /// One, to see whether the handler is back.
    Probe,
    /// None before this moment.
    ClosedUntil(Instant),
    /// None until the probe that runs has ended.
    Probing,
}

/// Watches one handler's outcomes.
#[derive(Debug)]
pub(crate) struct Breaker {
    probe: Backoff,
    state: State,
    /// Probes ever started; the last one has this number.
    probes_started: u64,
}

#[derive(Debug)]
enum State {
    /// The handler works, as far as we know.
    Healthy {
        failures: u32,
        unavailable: u32,
        lanes: HashSet<Lane>,
    },
    /// The handler fails for everybody. Probed at `probe_at`, for the `probes`-th time.
    Failing {
        probes: u32,
        probe_at: Instant,
        probing: bool,
    },
}

impl Breaker {
    /// A breaker that probes at first after `probe_min`, then at growing intervals up to `probe_max`.
    pub(crate) fn new(probe_min: Duration, probe_max: Duration) -> Self {
        Self {
            probe: Backoff::new(probe_min, probe_max),
            state: State::healthy(),
            probes_started: 0,
        }
    }

    /// Whether attempts may start now.
    pub(crate) fn gate(&self, now: Instant) -> Gate {
        match self.state {
            State::Healthy { .. } => Gate::Open,
            State::Failing { probing: true, .. } => Gate::Probing,
            State::Failing { probe_at, .. } if probe_at > now => Gate::ClosedUntil(probe_at),
            State::Failing { .. } => Gate::Probe,
        }
    }

    /// Whether the handler is taken to fail for everybody.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Failing { .. })
    }

    /// An attempt that [`gate`](Self::gate) let through has started.
    pub(crate) fn started(&mut self) -> Trial {
        let State::Failing { probing, .. } = &mut self.state else {
            return Trial::Regular;
        };
        *probing = true;
        self.probes_started += 1;
        Trial::Probe(self.probes_started)
    }

    /// An attempt got an answer, be it a refusal of its message: the handler works.
    pub(crate) fn answered(&mut self) {
        self.state = State::healthy();
    }

    /// An attempt had no interest in its message, which says nothing about whether the handler works. If it was the probe,
    /// the next attempt is.
    pub(crate) fn skipped(&mut self, trial: Trial) {
        let is_probe = self.is_probe(trial);
        if let State::Failing { probing, .. } = &mut self.state {
            *probing &= !is_probe;
        }
    }

    fn is_probe(&self, trial: Trial) -> bool {
        trial == Trial::Probe(self.probes_started)
    }

    /// An attempt for a customer in `lane` failed.
    pub(crate) fn failed(&mut self, failure: Failure, trial: Trial, lane: Lane, now: Instant, rng: &mut impl Rng) {
        let is_probe = self.is_probe(trial);
        let opens = match &mut self.state {
            State::Healthy {
                failures,
                unavailable,
                lanes,
            } => {
                *failures += 1;
                lanes.insert(lane);
                match failure {
                    Failure::Message => *unavailable = 0,
                    Failure::Unavailable(_) => *unavailable += 1,
                }
                let everybody = *failures >= FAILURES_TO_OPEN && lanes.len() >= LANES_TO_OPEN;
                (everybody || *unavailable >= UNAVAILABLE_TO_OPEN).then_some(1)
            }
            State::Failing { probes, probing, .. } => (*probing && is_probe).then(|| probes.saturating_add(1)),
        };
        if let Some(probes) = opens {
            let mut wait = self.probe.bound(probes).mul_f64(jitter(rng));
            if let Failure::Unavailable(Some(after)) = failure {
                wait = wait.max(after);
            }
            self.state = State::Failing {
                probes,
                probe_at: now + wait,
                probing: false,
            };
        }
    }
}

/// A probe comes up to a fifth early, so that several handlers of one endpoint do not probe together.
fn jitter(rng: &mut impl Rng) -> f64 {
    use rand::RngExt as _;
    rng.random_range(0.8..=1.0)
}

impl State {
    fn healthy() -> Self {
        Self::Healthy {
            failures: 0,
            unavailable: 0,
            lanes: HashSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;
    use crate::id::{AccountKey, AppName, OpenKfid};

    fn lane(customer: &str) -> Lane {
        Lane::of(
            &AccountKey::new(AppName::new("main").unwrap(), OpenKfid::from("wk")),
            customer,
        )
    }

    fn breaker() -> (Breaker, SmallRng, Instant) {
        let breaker = Breaker::new(Duration::from_secs(5), Duration::from_secs(60));
        (breaker, SmallRng::seed_from_u64(1), Instant::now())
    }

    #[tokio::test]
    async fn one_poison_message_never_opens_it() {
        let (mut breaker, mut rng, now) = breaker();
        for _ in 0..100 {
            breaker.failed(Failure::Message, Trial::Regular, lane("a"), now, &mut rng);
        }
        assert_eq!(breaker.gate(now), Gate::Open);
    }

    #[tokio::test]
    async fn failing_for_everybody_opens_it_and_one_success_resets_the_count() {
        let (mut breaker, mut rng, now) = breaker();
        for customer in ["a", "b", "c", "d"] {
            breaker.failed(Failure::Message, Trial::Regular, lane(customer), now, &mut rng);
        }
        breaker.answered();
        for customer in ["a", "b", "c", "d"] {
            breaker.failed(Failure::Message, Trial::Regular, lane(customer), now, &mut rng);
        }
        assert!(!breaker.is_open());
        breaker.failed(Failure::Message, Trial::Regular, lane("e"), now, &mut rng);
        assert!(breaker.is_open());
    }

    #[tokio::test]
    async fn an_unreachable_handler_opens_it_even_with_one_customer() {
        let (mut breaker, mut rng, now) = breaker();
        for _ in 0..3 {
            assert!(!breaker.is_open());
            breaker.failed(Failure::Unavailable(None), Trial::Regular, lane("a"), now, &mut rng);
        }
        assert!(breaker.is_open());
    }

    #[tokio::test]
    async fn an_open_breaker_lets_one_probe_through_at_growing_intervals() {
        let (mut breaker, mut rng, mut now) = breaker();
        for _ in 0..3 {
            breaker.failed(Failure::Unavailable(None), Trial::Regular, lane("a"), now, &mut rng);
        }
        let mut waits = Vec::new();
        for _ in 0..6 {
            let Gate::ClosedUntil(probe_at) = breaker.gate(now) else {
                panic!("closed: {breaker:?}")
            };
            waits.push((probe_at - now).as_secs_f64());
            now = probe_at;
            assert_eq!(breaker.gate(now), Gate::Probe);
            let probe = breaker.started();
            assert_eq!(breaker.gate(now), Gate::Probing);
            breaker.failed(Failure::Unavailable(None), probe, lane("b"), now, &mut rng);
        }
        for (wait, step) in waits.iter().zip([5.0, 10.0, 20.0, 40.0, 60.0, 60.0]) {
            assert!((step * 0.8..=step).contains(wait), "{waits:?}");
        }
        breaker.answered();
        assert_eq!(breaker.gate(now), Gate::Open);
    }

    #[tokio::test]
    async fn handlers_that_fail_together_are_not_probed_together() {
        let ((mut one, mut rng, now), (mut other, ..)) = (breaker(), breaker());
        for breaker in [&mut one, &mut other] {
            for _ in 0..3 {
                breaker.failed(Failure::Unavailable(None), Trial::Regular, lane("a"), now, &mut rng);
            }
        }
        assert_ne!(one.gate(now), other.gate(now));
    }

    #[tokio::test]
    async fn an_attempt_older_than_the_outage_does_not_pass_for_the_probe() {
        let (mut breaker, mut rng, now) = breaker();
        let old = breaker.started();
        for _ in 0..3 {
            breaker.failed(Failure::Unavailable(None), Trial::Regular, lane("a"), now, &mut rng);
        }
        let Gate::ClosedUntil(probe_at) = breaker.gate(now) else {
            panic!("closed: {breaker:?}")
        };
        let skipped = breaker.started();
        breaker.skipped(skipped);
        let probe = breaker.started();
        for other in [old, skipped] {
            breaker.failed(Failure::Unavailable(None), other, lane("b"), probe_at, &mut rng);
            assert_eq!(breaker.gate(probe_at), Gate::Probing, "the probe still runs");
        }
        breaker.failed(Failure::Unavailable(None), probe, lane("b"), probe_at, &mut rng);
        assert!(matches!(breaker.gate(probe_at), Gate::ClosedUntil(_)));
    }

    #[tokio::test]
    async fn messages_that_are_skipped_prove_nothing() {
        let (mut breaker, mut rng, now) = breaker();
        for customer in ["a", "b", "c", "d", "e"] {
            breaker.skipped(Trial::Regular);
            breaker.failed(Failure::Message, Trial::Regular, lane(customer), now, &mut rng);
        }
        let Gate::ClosedUntil(probe_at) = breaker.gate(now) else {
            panic!("closed: {breaker:?}")
        };
        let probe = breaker.started();
        breaker.skipped(Trial::Regular);
        assert_eq!(breaker.gate(probe_at), Gate::Probing, "only the probe itself");
        breaker.skipped(probe);
        assert_eq!(breaker.gate(probe_at), Gate::Probe, "the next attempt is the probe");
    }

    #[tokio::test]
    async fn a_handler_that_says_when_it_is_back_is_not_probed_earlier() {
        let (mut breaker, mut rng, now) = breaker();
        for _ in 0..3 {
            breaker.failed(
                Failure::Unavailable(Some(Duration::from_secs(300))),
                Trial::Regular,
                lane("a"),
                now,
                &mut rng,
            );
        }
        assert_eq!(breaker.gate(now), Gate::ClosedUntil(now + Duration::from_secs(300)));
    }
}
