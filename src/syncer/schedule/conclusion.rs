//! What the end of a pull makes of its account.

use rand::RngExt as _;
use tokio::time::Instant;

use super::Schedule;
use crate::api::{ApiError, ErrCode, ErrorClass};
use crate::id::{AccountKey, OpenKfid};
use crate::metric;
use crate::syncer::pull::End;

/// Failures in a row after which fewer messages are asked for at once.
const FAILURES_TO_HALVE: u32 = 5;
/// What WeCom answers for an account that the application has no business with.
const NOT_OURS: [ErrCode; 3] = [
    ErrCode::ACCOUNT_NOT_GRANTED,
    ErrCode::UNKNOWN_OPEN_KFID,
    ErrCode::INVALID_OPEN_KFID,
];
/// Refusals in a row after which a cursor is given up.
const CURSOR_REFUSALS: u32 = 3;

impl Schedule {
    /// Decides when the account is pulled again.
    pub(super) async fn conclude(&mut self, account: &AccountKey, end: End) {
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
            // Its title fell; unless the whole process stops, another one may have come meanwhile.
            End::Stopped => match self.estate.title(open_kfid) {
                Some(_) => self.want(open_kfid),
                None => self.let_go(open_kfid),
            },
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
    pub(super) fn healthy(&mut self, open_kfid: &OpenKfid) {
        let most = self.source.settings.page_limit;
        let account = self.agenda.account(open_kfid);
        (account.failures, account.cursor_refusals, account.paused) = (0, 0, false);
        account.limit = account.limit.saturating_mul(2).min(most);
    }

    /// Rests the account a little longer than last time. Returns its failures in a row.
    pub(super) fn back_off(&mut self, open_kfid: &OpenKfid) -> u32 {
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
}
