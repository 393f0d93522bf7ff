//! Accounts that come to be this process's to pull: all at the start, or, where several processes share a store, now and
//! then.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;

use tokio::time::{Instant, sleep};

use super::Schedule;
use crate::id::OpenKfid;
use crate::metric;
use crate::store::AccountState;
use crate::syncer::pull::Source;

/// What the store is asked about accounts, where several processes share it.
#[derive(Default)]
pub(super) struct TakingUp {
    /// Held since the store was last asked.
    gained: HashSet<OpenKfid>,
    /// Named by WeCom since then.
    listed: Option<Vec<OpenKfid>>,
    reading: Option<Reading>,
}

/// The store is being asked, about these.
struct Reading {
    gained: HashSet<OpenKfid>,
    listed: Vec<OpenKfid>,
    accounts: Pin<Box<dyn Future<Output = Vec<AccountState>> + Send>>,
}

/// What the store answered.
pub(super) struct Read {
    gained: HashSet<OpenKfid>,
    listed: Vec<OpenKfid>,
    accounts: Vec<AccountState>,
}

impl TakingUp {
    /// WeCom named these accounts. Those that the store does not know are to be made known to it, so that somebody pulls
    /// them.
    pub(super) fn listed(&mut self, listed: impl Iterator<Item = OpenKfid>) {
        self.listed.get_or_insert_default().extend(listed);
    }

    /// Asks the store if there is something to ask.
    pub(super) fn start(&mut self, source: &Arc<Source>) {
        if self.reading.is_none() && (!self.gained.is_empty() || self.listed.is_some()) {
            self.reading = Some(Reading {
                gained: std::mem::take(&mut self.gained),
                listed: self.listed.take().unwrap_or_default(),
                accounts: Box::pin(read_accounts(Arc::clone(source))),
            });
        }
    }

    /// Waits for the store's answer; for ever if it was not asked.
    pub(super) async fn read(&mut self) -> Read {
        let Some(reading) = &mut self.reading else {
            return std::future::pending().await;
        };
        let accounts = reading.accounts.as_mut().await;
        let (gained, listed) = match self.reading.take() {
            Some(Reading { gained, listed, .. }) => (gained, listed),
            None => Default::default(),
        };
        Read {
            gained,
            listed,
            accounts,
        }
    }
}

/// Reads every account there is, however long the store takes.
async fn read_accounts(source: Arc<Source>) -> Vec<AccountState> {
    let mut failures = 0;
    loop {
        match source.store.accounts().await {
            Ok(accounts) => return accounts,
            Err(error) => {
                failures += 1;
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "cannot read the accounts, will try again"
                );
                let wait = source.settings.backoff.wait(failures, &mut source.clock.rng());
                sleep(wait).await;
            }
        }
    }
}

impl Schedule {
    /// Takes up every account in the store.
    pub(super) async fn take_up_known_accounts(&mut self) {
        let accounts = read_accounts(Arc::clone(&self.source)).await;
        self.take_up(accounts, |_| true);
    }

    /// Takes up the accounts that have come to be held, and makes those known that only WeCom knew.
    pub(super) fn take_up_gained(&mut self, read: Read) {
        let Read {
            gained,
            listed,
            accounts,
        } = read;
        let known = accounts.iter().filter(|state| state.account.app == self.app);
        let known: HashSet<_> = known.map(|state| state.account.open_kfid.clone()).collect();
        let now = self.source.clock.now();
        for open_kfid in listed.into_iter().filter(|open_kfid| !known.contains(open_kfid)) {
            self.source.wake_ups.wake(open_kfid, None, now);
        }
        self.take_up(accounts, |open_kfid| gained.contains(open_kfid));
    }

    /// Asks for a pull of those of `accounts` that are `ours`: first those whose callback no pull has answered, with its
    /// token, then the least recently pulled.
    fn take_up(&mut self, mut accounts: Vec<AccountState>, ours: impl Fn(&OpenKfid) -> bool) {
        accounts.retain(|state| state.account.app == self.app);
        accounts.sort_by_key(|state| (state.wake_up.is_none(), state.pulled_at));
        let now = self.source.clock.now();
        for state in accounts {
            let open_kfid = &state.account.open_kfid;
            self.source.wake_ups.know(open_kfid);
            if !ours(open_kfid) || self.estate.title(open_kfid).is_none() {
                continue;
            }
            let caught_up = state.pulled_at.or(state.wake_up.as_ref().map(|wake_up| wake_up.at));
            self.deadlines.assume(open_kfid, caught_up.unwrap_or(now));
            if self.estate.is_shared() {
                self.source.wake_ups.take_up(open_kfid, state.newest_wake_up);
            }
            let open_kfid = open_kfid.clone();
            if let Some(wake_up) = state.wake_up {
                self.source.wake_ups.restore(&open_kfid, wake_up);
            }
            self.want(&open_kfid);
        }
    }

    /// Takes note of what is held now.
    pub(super) fn take_holdings(&mut self) {
        let changes = self.estate.look();
        for open_kfid in &changes.lost {
            self.let_go(open_kfid);
        }
        self.taking_up.gained.extend(changes.gained);
        self.tell_of_paused();
        if self.estate.is_empty() {
            // What was last seen of an account says nothing any more, and nobody would ever say better.
            metrics::gauge!(metric::SYNC_LAG_SECONDS, "app" => self.app.to_string()).set(0.0);
        }
    }

    /// Somebody else is to pull `open_kfid`. A page in hand may still be committed, unless they were quicker.
    pub(super) fn let_go(&mut self, open_kfid: &OpenKfid) {
        self.taking_up.gained.remove(open_kfid);
        self.deadlines.not_ours(open_kfid);
        self.source.wake_ups.let_go(open_kfid);
        self.agenda.forget(open_kfid);
        let pulls = self.running.values().filter(|pull| pull.open_kfid == *open_kfid);
        pulls.for_each(|pull| pull.let_go.cancel());
    }

    /// The pull of an account that was let go of is over. It may be ours again.
    pub(super) fn ended_late(&mut self, open_kfid: &OpenKfid) {
        self.agenda.ended(open_kfid);
        if self.estate.fence(open_kfid).is_some() {
            self.agenda.wake(open_kfid, Instant::now());
        } else {
            self.agenda.forget(open_kfid);
        }
    }
}
