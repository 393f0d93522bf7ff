//! What happens in a run, and when.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::RngExt;
use wecom_kf::id::{AccountKey, AppName};

use crate::chance::Chance;
use crate::database::Sharing;
use crate::world::account;

/// Something that happens to the replicas, or to WeCom.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Event {
    /// A customer writes, or enters a session.
    Message {
        account: AccountKey,
        customer: String,
        urgent: bool,
    },
    /// WeCom tells a replica that an account has news.
    Callback { account: AccountKey, place: usize },
    /// A replica is killed.
    Kill { place: usize },
    /// A replica is stopped by a signal.
    Stop { place: usize },
    /// A replica that was stopped goes on.
    GoOn { place: usize },
    /// A replica is asked to end.
    Retire { place: usize },
    /// A replica is started where there is none.
    Start { place: usize },
}

/// A run, before it begins.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) sharing: Sharing,
    /// Replicas, at most.
    pub(crate) places: usize,
    /// How long there is trouble.
    pub(crate) lasts: Duration,
    pub(crate) fair: bool,
    /// In the order of time.
    pub(crate) events: Vec<(Duration, Event)>,
}

const ACCOUNTS: [(&str, &str); 3] = [("main", "wk1"), ("main", "wk2"), ("shop", "wk1")];

impl Plan {
    /// What `seed` says.
    pub(crate) fn of(seed: u64, sharing: Sharing) -> Self {
        let chance = Chance::new(seed);
        let mut rng = chance.of("plan");
        let lasts = Duration::from_secs(rng.random_range(20..60));
        let places = match sharing {
            Sharing::Alone => 1,
            Sharing::Leases => rng.random_range(2..=3),
        };
        let mut plan = Self {
            seed,
            sharing,
            places,
            lasts,
            fair: rng.random_range(0..8) == 0,
            events: Vec::new(),
        };
        plan.customers_write(chance);
        // In fair weather nothing happens to replicas either: every message is handled exactly once.
        if !plan.fair {
            (0..places).for_each(|place| plan.trouble(chance, place));
        }
        plan.events.sort();
        plan
    }

    /// Applications that have accounts.
    pub(crate) fn apps(&self) -> BTreeSet<AppName> {
        ACCOUNTS.iter().map(|(app, _)| AppName::new(app).unwrap()).collect()
    }

    fn customers_write(&mut self, chance: Chance) {
        let mut rng = chance.of("customers");
        for _ in 0..rng.random_range(5..60) {
            let at = self.lasts.mul_f64(rng.random_range(0.0..1.0));
            let (app, open_kfid) = ACCOUNTS[rng.random_range(0..ACCOUNTS.len())];
            let account = account(app, open_kfid);
            let customer = format!("wm{}", rng.random_range(0..5));
            let urgent = rng.random_range(0..8) == 0;
            for n in 0..rng.random_range(1..4) {
                let message = Event::Message {
                    account: account.clone(),
                    customer: customer.clone(),
                    urgent: urgent && n == 0,
                };
                self.events.push((at + Duration::from_millis(n), message));
            }
            if rng.random_range(0..10) > 0 {
                let after = Duration::from_millis(rng.random_range(5..400));
                let place = rng.random_range(0..self.places);
                self.events.push((at + after, Event::Callback { account, place }));
            }
        }
    }

    /// What becomes of the replica at `place`, one thing after another.
    fn trouble(&mut self, chance: Chance, place: usize) {
        let mut rng = chance.of(("trouble", place));
        let mut at = Duration::from_millis(rng.random_range(0..20_000));
        while at < self.lasts {
            let lasts = Duration::from_millis(rng.random_range(10..20_000));
            let (begins, ends) = match rng.random_range(0..3) {
                0 => (Event::Kill { place }, Event::Start { place }),
                1 => (Event::Stop { place }, Event::GoOn { place }),
                _ => (Event::Retire { place }, Event::Start { place }),
            };
            self.events.push((at, begins));
            self.events.push((at + lasts, ends));
            at += lasts + Duration::from_millis(rng.random_range(100..25_000));
        }
        self.events.retain(|(at, _)| *at < self.lasts);
    }
}
