//! How much goes wrong, and when.

use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;

use crate::chance::Chance;

/// How many of a thousand calls of the store come to grief.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct OfStore {
    pub(crate) slow: u32,
    pub(crate) refused: u32,
    pub(crate) answer_lost: u32,
    pub(crate) late: u32,
}

/// How many of a thousand calls of WeCom do.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct OfWecom {
    pub(crate) fails: u32,
    /// Refusals of a callback's token.
    pub(crate) token_refused: u32,
    /// Pages that are empty, repeat what came before, or come back without moving on.
    pub(crate) odd_page: u32,
}

/// How many of a thousand attempts, or messages, go wrong.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct OfHandlers {
    pub(crate) fails: u32,
    pub(crate) unavailable: u32,
    pub(crate) hangs: u32,
    pub(crate) slow: u32,
    /// Messages that fail whenever they are tried.
    pub(crate) poison: u32,
    /// Messages that are rejected.
    pub(crate) rejected: u32,
}

/// The weather of one run: it lasts until the run is to settle, and then everything is fair.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    store: OfStore,
    wecom: OfWecom,
    handlers: OfHandlers,
    /// When nothing gets through to the database, from all replicas or from one.
    cuts: Vec<(Option<u64>, Instant, Instant)>,
    ends: Instant,
}

impl Weather {
    /// Nothing goes wrong.
    pub(crate) fn fair(now: Instant) -> Self {
        Self {
            store: OfStore::default(),
            wecom: OfWecom::default(),
            handlers: OfHandlers::default(),
            cuts: Vec::new(),
            ends: now,
        }
    }

    /// What the seed says, for `lasts` from now on.
    pub(crate) fn of(chance: Chance, now: Instant, lasts: Duration) -> Self {
        let mut rng = chance.of("weather");
        // A rate is none as often as not, so that every kind of trouble also comes alone.
        let mut rate = |most: u32| {
            let share: f64 = rng.random();
            (f64::from(most) * (share * 2.0 - 1.0).max(0.0)) as u32
        };
        let (store, wecom, handlers) = (
            OfStore {
                slow: rate(80),
                refused: rate(100),
                answer_lost: rate(100),
                late: rate(60),
            },
            OfWecom {
                fails: rate(200),
                token_refused: rate(200),
                odd_page: rate(300),
            },
            OfHandlers {
                fails: rate(250),
                unavailable: rate(150),
                hangs: rate(40),
                slow: rate(200),
                poison: rate(60),
                rejected: rate(60),
            },
        );
        let mut rng = chance.of("cuts");
        let cuts = (0..rng.random_range(0..3)).map(|_| {
            let begins = now + lasts.mul_f64(rng.random_range(0.0..0.8));
            let whole = rng.random_range(0..3) == 0;
            let whom = (!whole).then(|| rng.random_range(0..3));
            (
                whom,
                begins,
                begins + Duration::from_millis(rng.random_range(100..12_000)),
            )
        });
        Self {
            store,
            wecom,
            handlers,
            cuts: cuts.collect(),
            ends: now + lasts,
        }
    }

    /// As the replica that is known to the store by the number `owner` has it now.
    pub(crate) fn of_store(&self, owner: u64, now: Instant) -> OfStore {
        if now >= self.ends {
            return OfStore::default();
        }
        let place = crate::replica::place(owner);
        let is_cut = |(whom, from, to): &(Option<u64>, Instant, Instant)| {
            whom.is_none_or(|whom| whom == place) && (*from..*to).contains(&now)
        };
        if self.cuts.iter().any(is_cut) {
            return OfStore {
                refused: 1000,
                ..OfStore::default()
            };
        }
        self.store
    }

    pub(crate) fn of_wecom(&self, now: Instant) -> OfWecom {
        if now < self.ends {
            self.wecom
        } else {
            OfWecom::default()
        }
    }

    /// Poison stays poison in fair weather.
    pub(crate) fn of_handlers(&self, now: Instant) -> OfHandlers {
        if now < self.ends {
            return self.handlers;
        }
        OfHandlers {
            poison: self.handlers.poison,
            rejected: self.handlers.rejected,
            ..OfHandlers::default()
        }
    }
}
