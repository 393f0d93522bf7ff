//! Which accounts there are, as WeCom tells.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinError;
use tokio::time::Instant;

use super::Schedule;
use crate::api::{ApiError, KfAccount};
use crate::id::OpenKfid;

impl Schedule {
    /// Asks WeCom now and then which accounts there are, so that none waits for its first callback.
    pub(super) fn start_listing(&mut self) {
        if self.listing.is_empty() && Instant::now() >= self.list_at {
            let upstream = Arc::clone(&self.source.upstream);
            self.listing.spawn(async move { upstream.account_list().await });
        }
    }

    pub(super) fn take_listed(&mut self, listed: Result<Result<Vec<KfAccount>, ApiError>, JoinError>) {
        let again = match listed {
            Ok(Ok(accounts)) => {
                self.listing_failures = 0;
                let may_be_read = |account: &KfAccount| account.manage_privilege != Some(false);
                let listed = accounts
                    .into_iter()
                    .filter(may_be_read)
                    .map(|account| account.open_kfid);
                if self.estate.is_shared() {
                    self.taking_up.listed(listed);
                } else {
                    self.want_new(listed);
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

    /// Asks for a pull of those of `listed` that nobody has asked for yet.
    fn want_new(&mut self, listed: impl Iterator<Item = OpenKfid>) {
        for open_kfid in listed {
            self.source.wake_ups.know(&open_kfid);
            if !self.agenda.knows(&open_kfid) {
                self.want(&open_kfid);
            }
        }
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
