//! A handler as the engines know it: its durable name, what it wants, and how patiently it is tried.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use super::attempt::{self, Attempt, Tally};
use super::{Context, Desk, ErasedHandler, Filter, Handler};
use crate::backoff::Schedule;
use crate::id::{AccountKey, HandlerName};
use crate::message::Message;

/// Longest time one attempt may be given, whatever the policy says: keeps deadlines within the clock's range.
const LONGEST_ATTEMPT: Duration = Duration::from_hours(24);

/// A handler with its name, its [`Filter`] and its [`Policy`]. Cheap to clone.
///
/// ```
/// use std::time::Duration;
///
/// use wecom_kf::handler::{LogHandler, Policy, Registration};
/// use wecom_kf::id::HandlerName;
///
/// let patient = Policy {
///     timeout: Duration::from_secs(30),
///     ..Policy::default()
/// };
/// let log = Registration::new(HandlerName::new("log")?, LogHandler).with_policy(patient);
/// assert_eq!(log.name().as_str(), "log");
/// # Ok::<(), wecom_kf::id::NameError>(())
/// ```
#[derive(Clone)]
pub struct Registration {
    name: Arc<HandlerName>,
    filter: Arc<Filter>,
    policy: Arc<Policy>,
    threads: Threads,
    desk: Option<Arc<Desk>>,
    /// Made with the first attempt: a recorder of metrics may be installed until then.
    tally: Arc<OnceLock<Tally>>,
    handler: Arc<dyn ErasedHandler>,
}

/// Where attempts run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Threads {
    /// On threads of the handler's own.
    Own,
    /// On those of the server.
    Shared,
}

impl Registration {
    /// Registers `handler` under `name` for what [`Filter::default`] lets through, to be tried by [`Policy::default`].
    pub fn new(name: HandlerName, handler: impl Handler) -> Self {
        Self {
            name: Arc::new(name),
            filter: Arc::default(),
            policy: Arc::default(),
            threads: Threads::Own,
            desk: None,
            tally: Arc::default(),
            handler: Arc::new(handler),
        }
    }

    /// Hands it only what `filter` lets through.
    #[must_use]
    pub fn with_filter(self, filter: Filter) -> Self {
        let filter = Arc::new(filter);
        Self { filter, ..self }
    }

    /// Tries it by `policy`.
    #[must_use]
    pub fn with_policy(self, policy: Policy) -> Self {
        let policy = Arc::new(policy);
        Self { policy, ..self }
    }

    /// Tries it on the server's threads, among callbacks and pulls, instead of threads of its own. This saves a change of
    /// threads for each message, and is a promise: whoever blocks such a thread, by waiting other than with `await` or by
    /// computing for more than a millisecond, holds everybody up.
    #[must_use]
    pub fn on_shared_threads(self) -> Self {
        let threads = Threads::Shared;
        Self { threads, ..self }
    }

    /// Lets it speak through `desk`. An [`App`](crate::app::App) does this for its handlers.
    #[must_use]
    pub fn at_desk(self, desk: Arc<Desk>) -> Self {
        let desk = Some(desk);
        Self { desk, ..self }
    }

    /// Whether it runs on the server's threads.
    pub(crate) fn shares_threads(&self) -> bool {
        self.threads == Threads::Shared
    }

    /// Its durable identity: under another name it is a new handler.
    #[must_use]
    pub fn name(&self) -> &HandlerName {
        &self.name
    }

    /// How patiently it is tried.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether it is to be handed `message`, which came in on `account`.
    #[must_use]
    pub fn wants(&self, account: &AccountKey, message: &Message) -> bool {
        self.filter.wants(account, message)
    }

    /// Hands it `message`, which came in on `account`, for the `attempt`-th time (1 is the first), and waits for the end:
    /// no longer than the policy's timeout. Counts and times the attempt.
    ///
    /// Never panics on account of the handler, and asks no [`Filter`].
    pub async fn attempt(&self, account: &Arc<AccountKey>, message: &Message, attempt: u32) -> Attempt {
        let began = Instant::now();
        let deadline = self.deadline(began);
        let cx = Context::new(
            Arc::clone(&self.name),
            Arc::clone(account),
            message,
            attempt,
            deadline,
            self.desk.clone(),
        );
        let tally = self.tally.get_or_init(|| Tally::of(&self.name));
        attempt::run(&*self.handler, &cx, message, began, tally).await
    }

    /// When an attempt that starts at `start` is broken off.
    pub(crate) fn deadline(&self, start: Instant) -> Instant {
        start + self.policy.timeout.min(LONGEST_ATTEMPT)
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("name", &self.name)
            .field("filter", &self.filter)
            .field("policy", &self.policy)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// How patiently a handler is tried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Longest time one attempt may take; 10 s. Over a day counts as a day.
    pub timeout: Duration,
    /// Attempts of one message, while the handler is otherwise healthy, before it is buried; 6.
    pub max_attempts: u32,
    /// Age at which a message is buried whatever the reason; 48 h, because WeCom takes no reply after that.
    pub give_up_after: Duration,
    /// Messages the handler works on at the same time, each of another customer; 32. At least 1.
    pub concurrency: usize,
    /// Waits between the attempts of one message; 1, 5, 15, 30 and 60 s.
    pub retry_schedule: Schedule,
    /// Shortest wait between two probes of a handler that fails for everybody; 5 s.
    pub probe_min: Duration,
    /// Longest such wait; 60 s.
    pub probe_max: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            max_attempts: 6,
            give_up_after: Duration::from_hours(48),
            concurrency: 32,
            retry_schedule: Schedule::new([1, 5, 15, 30, 60].map(Duration::from_secs).to_vec()),
            probe_min: Duration::from_secs(5),
            probe_max: Duration::from_secs(60),
        }
    }
}
