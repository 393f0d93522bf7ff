//! A handler that does what the seed says, and tells the audit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use wecom_kf::backoff::Schedule;
use wecom_kf::handler::{Context, Handler, HandlerError, Outcome, Policy, Registration};
use wecom_kf::id::HandlerName;
use wecom_kf::message::Message;
use wecom_kf::store::{HandlerId, Lane};

use crate::audit::{self, Attempt, Audit};
use crate::chance::{Chance, digest};
use crate::life::Life;
use crate::weather::Weather;

/// How customers are called whose messages are never poison.
pub(crate) const FRESH: &str = "wmfresh";
/// Attempts of one message before it is buried.
const MAX_ATTEMPTS: u32 = 3;

/// Whoever stands behind a handler: the same for all replicas, and it outlives them.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(crate) chance: Chance,
    pub(crate) weather: Arc<Weather>,
    pub(crate) audit: Arc<Audit>,
    /// How often each message came.
    came: Mutex<BTreeMap<u64, u64>>,
}

impl Outside {
    pub(crate) fn new(chance: Chance, weather: Arc<Weather>, audit: Arc<Audit>) -> Arc<Self> {
        Arc::new(Self {
            chance,
            weather,
            audit,
            came: Mutex::default(),
        })
    }

    fn count(&self, subject: u64) -> u64 {
        let mut came = self.came.lock().unwrap();
        let count = came.entry(subject).or_default();
        *count += 1;
        *count
    }
}

/// A handler as one replica runs it.
pub(crate) struct Witness {
    outside: Arc<Outside>,
    id: HandlerId,
    life: Life,
}

impl Witness {
    pub(crate) fn registration(outside: &Arc<Outside>, name: HandlerName, id: HandlerId, life: &Life) -> Registration {
        let policy = Policy {
            timeout: Duration::from_secs(3),
            max_attempts: MAX_ATTEMPTS,
            concurrency: 4,
            retry_schedule: Schedule::new([200, 500, 1_000].map(Duration::from_millis).to_vec()),
            probe_min: Duration::from_millis(500),
            probe_max: Duration::from_secs(4),
            ..Policy::default()
        };
        let witness = Self {
            outside: Arc::clone(outside),
            id,
            life: life.clone(),
        };
        // Threads of its own would run in another time.
        Registration::new(name, witness).with_policy(policy).on_shared_threads()
    }
}

impl Handler for Witness {
    async fn handle(&self, cx: &Context, message: &Message) -> Result<Outcome, HandlerError> {
        let Outside {
            chance, weather, audit, ..
        } = &*self.outside;
        let account = cx.account();
        let attempt = Attempt {
            handler: self.id,
            account: account.clone(),
            msgid: message.msgid.clone(),
            lane: Lane::of(account, &message.party()),
            owner: self.life.owner(),
        };
        let mut under_way = UnderWay {
            audit,
            outcome: match cx.attempt() {
                0..MAX_ATTEMPTS => audit::Outcome::Failed,
                _ => audit::Outcome::FailedAtLast,
            },
            life: &self.life,
            begun: false,
            attempt,
        };
        let held = self.life.running().await;
        audit.begins(&under_way.attempt, held);
        under_way.begun = true;
        let subject = digest((self.id, account, &message.msgid));
        let key = digest((subject, self.outside.count(subject)));
        let weather = weather.of_handlers(Instant::now());
        if chance.happens(weather.hangs, (key, "hangs")) {
            std::future::pending::<()>().await;
        }
        let longest = if chance.happens(weather.slow, (key, "slow")) {
            2_500
        } else {
            40
        };
        sleep(chance.millis(0..=longest, (key, "takes"))).await;
        self.life.running().await;
        if !message.party().starts_with(FRESH) && chance.happens(weather.rejected, (subject, "rejected")) {
            under_way.outcome = audit::Outcome::Rejected;
            return Err(HandlerError::Reject { source: "no".into() });
        }
        if chance.happens(weather.unavailable, (key, "unavailable")) {
            let (after, source) = (None, "nobody answers".into());
            return Err(HandlerError::Unavailable { after, source });
        }
        let poison = !message.party().starts_with(FRESH) && chance.happens(weather.poison, (subject, "poison"));
        if poison || chance.happens(weather.fails, (key, "fails")) {
            let (after, source) = (None, "failed".into());
            return Err(HandlerError::Retry { after, source });
        }
        under_way.outcome = audit::Outcome::Acted;
        Ok(Outcome::Done)
    }
}

/// Tells of the end of an attempt, whatever ends it.
struct UnderWay<'a> {
    audit: &'a Audit,
    life: &'a Life,
    /// Or its process was stopped first, and ran out of time before it went on.
    begun: bool,
    attempt: Attempt,
    outcome: audit::Outcome,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        // With the process its attempts are gone, and nobody has decided anything.
        let outcome = match self.life.is_dead() {
            true => audit::Outcome::Failed,
            false => self.outcome,
        };
        if self.begun {
            self.audit.ends(&self.attempt, outcome);
        } else {
            self.audit.gave_up(&self.attempt, outcome);
        }
    }
}
