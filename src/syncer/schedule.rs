//! One application's pulls: what callbacks, alarms and errors make of the [`Agenda`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::agenda::Agenda;
use super::deadline::Deadlines;
use super::pull::{End, Ended, Fare, Pull, Source};
use crate::api::{ApiError, ErrCode, ErrorClass, KfAccount};
use crate::id::{AccountKey, AppName, OpenKfid};
use crate::metric;
use crate::store::AccountState;

/// Failures in a row after which fewer messages are asked for at once.
const FAILURES_TO_HALVE: u32 = 5;
/// What WeCom answers for an account that the application has no business with.
const NOT_OURS: [ErrCode; 3] = [
    ErrCode::ACCOUNT_NOT_GRANTED,
    ErrCode::UNKNOWN_OPEN_KFID,
    ErrCode::INVALID_OPEN_KFID,
];
/// How often it is told how long nothing can be lost yet.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// Refusals in a row after which a cursor is given up.
const CURSOR_REFUSALS: u32 = 3;

pub(super) struct Schedule {
    app: AppName,
    source: Arc<Source>,
    agenda: Agenda,
    deadlines: Deadlines,
    pulls: JoinSet<Ended>,
    /// What each pull is of; the task itself may die without telling.
    running: HashMap<Id, OpenKfid>,
    listing: JoinSet<Result<Vec<KfAccount>, ApiError>>,
    listing_failures: u32,
    list_at: Instant,
}

impl Schedule {
    pub(super) fn new(app: AppName, source: Arc<Source>) -> Self {
        Self {
            agenda: Agenda::new(source.settings.pulls_at_once),
            app,
            source,
            deadlines: Deadlines::default(),
            pulls: JoinSet::new(),
            running: HashMap::new(),
            listing: JoinSet::new(),
            listing_failures: 0,
            list_at: Instant::now(),
        }
    }

    /// Pulls until `stop`, then lets the pages in hand commit.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut changed = self.source.wake_ups.subscribe();
        let mut held = self.source.floodgate.subscribe();
        let mut tell = interval(TELL_EVERY);
        tell.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::select! {
            biased;
            () = self.take_up_known_accounts() => {}
            () = stop.cancelled() => return,
        }
        while !stop.is_cancelled() {
            self.hear_wake_ups();
            for open_kfid in self.agenda.ring(Instant::now()) {
                self.want(&open_kfid);
            }
            self.start_listing();
            self.start_pulls(&stop);
            let list_at = self.listing.is_empty().then_some(self.list_at);
            let alarm = self.agenda.next_alarm().into_iter().chain(list_at).min();
            tokio::select! {
                // In one order, so that a run can be repeated; and what comes most often last.
                biased;
                () = stop.cancelled() => {}
                Some(ended) = self.pulls.join_next_with_id() => self.take_ended(ended).await,
                Some(listed) = self.listing.join_next() => self.take_listed(listed),
                _ = tell.tick() => self.tell_time_left(),
                Ok(()) = changed.changed() => {}
                Ok(()) = held.changed() => {}
                () = sleep_until(alarm.unwrap_or_else(Instant::now)), if alarm.is_some() => {}
            }
        }
        while let Some(ended) = self.pulls.join_next_with_id().await {
            self.take_ended(ended).await;
        }
    }

    /// Asks for a pull of every account in the store: first those whose callback no pull has answered, with its token,
    /// then the least recently pulled.
    async fn take_up_known_accounts(&mut self) {
        let mut failures = 0;
        let mut accounts = loop {
            match self.source.store.accounts().await {
                Ok(accounts) => break accounts,
                Err(error) => {
                    failures += 1;
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "cannot read the accounts, will try again"
                    );
                    let wait = self
                        .source
                        .settings
                        .backoff
                        .wait(failures, &mut self.source.clock.rng());
                    sleep(wait).await;
                }
            }
        };
        accounts.retain(|state| state.account.app == self.app);
        accounts.sort_by_key(|state| (state.wake_up.is_none(), state.pulled_at));
        let now = self.source.clock.now();
        for AccountState {
            account,
            pulled_at,
            wake_up,
            ..
        } in accounts
        {
            let caught_up = pulled_at.or(wake_up.as_ref().map(|wake_up| wake_up.at));
            self.deadlines.assume(&account.open_kfid, caught_up.unwrap_or(now));
            self.source.wake_ups.know(&account.open_kfid);
            if let Some(wake_up) = wake_up {
                self.source.wake_ups.restore(&account.open_kfid, wake_up);
            }
            self.want(&account.open_kfid);
        }
    }

    fn hear_wake_ups(&mut self) {
        for open_kfid in self.source.wake_ups.take_granted() {
            self.agenda.wake(&open_kfid, Instant::now());
        }
        for open_kfid in self.source.wake_ups.take_awake() {
            self.want(&open_kfid);
        }
    }

    fn tell_time_left(&self) {
        let left = self.deadlines.left(self.source.clock.now()).as_secs_f64();
        metrics::gauge!(metric::SECONDS_UNTIL_LOSS, "app" => self.app.to_string()).set(left);
    }

    fn want(&mut self, open_kfid: &OpenKfid) {
        let now = self.source.clock.now();
        self.deadlines.assume(open_kfid, now);
        let token = self.source.wake_ups.token(open_kfid, now);
        let fare = if token.is_some() { Fare::Token } else { Fare::Tokenless };
        self.agenda.want(open_kfid, fare, Instant::now());
    }

    fn start_pulls(&mut self, stop: &CancellationToken) {
        while self.source.floodgate.held().is_none()
            && let Some((open_kfid, fare)) = self.agenda.next()
        {
            let account = self.agenda.account(&open_kfid);
            if account.limit == 0 {
                account.limit = self.source.settings.page_limit;
            }
            let pull = Pull {
                source: Arc::clone(&self.source),
                account: AccountKey::new(self.app.clone(), open_kfid.clone()),
                claim: account.claim.take(),
                limit: account.limit,
                fare,
                pages: 0,
            };
            let task = self.pulls.spawn(pull.run(stop.clone()));
            self.running.insert(task.id(), open_kfid);
        }
    }

    async fn take_ended(&mut self, ended: Result<(Id, Ended), JoinError>) {
        match ended {
            Ok((
                id,
                Ended {
                    account,
                    claim,
                    pages,
                    end,
                },
            )) => {
                self.running.remove(&id);
                self.agenda.account(&account.open_kfid).claim = claim;
                if pages > 0 {
                    self.healthy(&account.open_kfid);
                }
                self.agenda.ended(&account.open_kfid);
                self.conclude(&account, end).await;
            }
            Err(error) => {
                let Some(open_kfid) = self.running.remove(&error.id()) else {
                    return;
                };
                tracing::error!(app = %self.app, %open_kfid, %error, "a pull died");
                self.agenda.ended(&open_kfid);
                self.back_off(&open_kfid);
            }
        }
        metrics::gauge!(metric::ACCOUNTS_PAUSED, "app" => self.app.to_string()).set(self.agenda.paused() as f64);
    }

    /// Decides when the account is pulled again.
    async fn conclude(&mut self, account: &AccountKey, end: End) {
        let (open_kfid, now) = (&account.open_kfid, Instant::now());
        match end {
            End::Reached => {
                self.deadlines.caught_up(open_kfid, self.source.clock.now());
                let poll = self
                    .source
                    .settings
                    .poll_interval
                    .mul_f64(self.source.clock.rng().random_range(0.9..=1.1));
                self.agenda.set_alarm(open_kfid, now + poll);
                self.agenda.wake(open_kfid, now);
            }
            End::Yielded => {
                self.agenda.wake(open_kfid, now);
                self.want(open_kfid);
            }
            // With a token again, if one came meanwhile.
            End::NeedsTokenless => self.want(open_kfid),
            End::NoProgress => {
                tracing::warn!(%account, "WeCom says there is more but does not move the cursor, will ask again later");
                self.count_failure("no_progress");
                self.back_off(open_kfid);
            }
            End::Superseded => {
                tracing::warn!(%account, "somebody else pulled this account, taking it up again");
                self.count_failure("superseded");
                self.back_off(open_kfid);
            }
            End::Store(error) => {
                let cause = &error as &dyn std::error::Error;
                tracing::error!(%account, error = cause, "cannot commit a page, will pull it again");
                self.count_failure("store");
                self.source.floodgate.store_failed();
                // Whether the commit happened is unknown: the next pull asks the store where it stands.
                self.agenda.account(open_kfid).claim = None;
                self.back_off(open_kfid);
            }
            End::Api(error) => self.failed(account, &error).await,
            End::Stopped => {}
        }
    }

    async fn failed(&mut self, account: &AccountKey, error: &ApiError) {
        let (open_kfid, now) = (&account.open_kfid, Instant::now());
        let class = error.class();
        self.count_failure(class.as_str());
        if error.errcode().is_some_and(|code| code.may_mean_a_bad_cursor()) && self.has_cursor(open_kfid) {
            return self.cursor_refused(account, error).await;
        }
        if matches!(class, ErrorClass::Operator | ErrorClass::Permanent) {
            return self.pause(account, error);
        }
        let cause = error as &dyn std::error::Error;
        if let Some(after) = error.retry_after() {
            tracing::warn!(%account, error = cause, ?after, "account rests");
            return self.agenda.rest(open_kfid, now + after);
        }
        tracing::warn!(%account, error = cause, "pull failed, will try again");
        let failures = self.back_off(open_kfid);
        if error.is_too_large() || error.is_no_answer() && failures.is_multiple_of(FAILURES_TO_HALVE) {
            let state = self.agenda.account(open_kfid);
            state.limit = (state.limit / 2).max(1);
            tracing::warn!(%account, limit = state.limit, "asking for smaller pages");
        }
    }

    /// Lets the account rest until an operator may have mended what is wrong.
    fn pause(&mut self, account: &AccountKey, error: &ApiError) {
        let state = self.agenda.account(&account.open_kfid);
        if !std::mem::replace(&mut state.paused, true) {
            let remedy = error.errcode().and_then(|code| code.remedy());
            let (cause, page) = remedy.map_or(("", ""), |remedy| (remedy.cause, remedy.page));
            let error = error as &dyn std::error::Error;
            tracing::error!(%account, error, cause, page, "account cannot be pulled until somebody mends this");
        }
        if error.errcode().is_some_and(|code| NOT_OURS.contains(&code)) {
            self.deadlines.not_ours(&account.open_kfid);
        }
        let pause = error.retry_after().unwrap_or(self.source.settings.operator_pause);
        self.agenda.rest(&account.open_kfid, Instant::now() + pause);
    }

    fn has_cursor(&mut self, open_kfid: &OpenKfid) -> bool {
        self.agenda
            .account(open_kfid)
            .claim
            .as_ref()
            .is_some_and(|claim| claim.cursor.is_some())
    }

    /// WeCom does not accept the cursor. That may pass; if it does not, the account is read again from the oldest message
    /// WeCom still has, and what is stored already is recognised.
    async fn cursor_refused(&mut self, account: &AccountKey, error: &ApiError) {
        let state = self.agenda.account(&account.open_kfid);
        state.cursor_refusals += 1;
        if state.cursor_refusals >= CURSOR_REFUSALS
            && let Some(claim) = state.claim.take()
        {
            tracing::error!(
                %account,
                error = error as &dyn std::error::Error,
                "cursor given up: reading three days again; what is older and was not yet pulled is lost"
            );
            metrics::counter!(metric::CURSOR_RESETS, "app" => self.app.to_string()).increment(1);
            match self.source.store.reset_cursor(claim).await {
                Ok(claim) => self.agenda.account(&account.open_kfid).claim = claim,
                Err(error) => {
                    tracing::error!(%account, error = &error as &dyn std::error::Error, "cannot reset a cursor")
                }
            }
            self.agenda.account(&account.open_kfid).cursor_refusals = 0;
        }
        self.back_off(&account.open_kfid);
    }

    /// The account can be read: what went wrong before is over, and larger pages are asked for again, step by step.
    fn healthy(&mut self, open_kfid: &OpenKfid) {
        let most = self.source.settings.page_limit;
        let account = self.agenda.account(open_kfid);
        (account.failures, account.cursor_refusals, account.paused) = (0, 0, false);
        account.limit = account.limit.saturating_mul(2).min(most);
    }

    /// Rests the account a little longer than last time. Returns its failures in a row.
    fn back_off(&mut self, open_kfid: &OpenKfid) -> u32 {
        let account = self.agenda.account(open_kfid);
        account.failures = account.failures.saturating_add(1);
        let failures = account.failures;
        let wait = self
            .source
            .settings
            .backoff
            .wait(failures, &mut self.source.clock.rng());
        self.agenda.rest(open_kfid, Instant::now() + wait);
        failures
    }

    fn count_failure(&self, class: &'static str) {
        metrics::counter!(metric::SYNC_FAILURES, "app" => self.app.to_string(), "class" => class).increment(1);
    }

    /// Asks WeCom now and then which accounts there are, so that none waits for its first callback.
    fn start_listing(&mut self) {
        if self.listing.is_empty() && Instant::now() >= self.list_at {
            let upstream = Arc::clone(&self.source.upstream);
            self.listing.spawn(async move { upstream.account_list().await });
        }
    }

    fn take_listed(&mut self, listed: Result<Result<Vec<KfAccount>, ApiError>, JoinError>) {
        let again = match listed {
            Ok(Ok(accounts)) => {
                self.listing_failures = 0;
                for account in accounts
                    .iter()
                    .filter(|account| account.manage_privilege != Some(false))
                {
                    self.source.wake_ups.know(&account.open_kfid);
                    if !self.agenda.knows(&account.open_kfid) {
                        self.want(&account.open_kfid);
                    }
                }
                self.source.settings.poll_interval
            }
            Ok(Err(error)) => {
                tracing::warn!(app = %self.app, error = &error as &dyn std::error::Error, "cannot list the accounts");
                let pause = (!error.is_retryable()).then_some(self.source.settings.operator_pause);
                self.listing_wait(error.retry_after().or(pause))
            }
            Err(error) => {
                tracing::error!(app = %self.app, %error, "listing the accounts died");
                self.listing_wait(None)
            }
        };
        self.list_at = Instant::now() + again;
    }

    fn listing_wait(&mut self, after: Option<Duration>) -> Duration {
        self.listing_failures = self.listing_failures.saturating_add(1);
        after.unwrap_or_else(|| {
            self.source
                .settings
                .backoff
                .wait(self.listing_failures, &mut self.source.clock.rng())
        })
    }
}
