//! One application's pulls: what callbacks, alarms and errors make of the [`Agenda`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::agenda::Agenda;
use super::deadline::Deadlines;
use super::pull::{Ended, Fare, Pull, Source};
use crate::api::{ApiError, KfAccount};
use crate::id::{AccountKey, AppName, OpenKfid};
use crate::metric;

mod conclusion;
mod estate;
mod listing;
mod taking_up;

use estate::Estate;
use taking_up::TakingUp;

/// How often it is told how long nothing can be lost yet.
const TELL_EVERY: Duration = Duration::from_secs(5);

pub(super) struct Schedule {
    app: AppName,
    source: Arc<Source>,
    agenda: Agenda,
    estate: Estate,
    taking_up: TakingUp,
    deadlines: Deadlines,
    pulls: JoinSet<Ended>,
    /// What each pull is of; the task itself may die without telling.
    running: HashMap<Id, Running>,
    listing: JoinSet<Result<Vec<KfAccount>, ApiError>>,
    listing_failures: u32,
    list_at: Instant,
}

/// A pull under way.
struct Running {
    open_kfid: OpenKfid,
    /// Stops it after the page in hand.
    let_go: CancellationToken,
}

impl Schedule {
    pub(super) fn new(app: AppName, source: Arc<Source>) -> Self {
        Self {
            agenda: Agenda::new(source.settings.pulls_at_once),
            estate: Estate::of(app.clone(), &source.leases),
            taking_up: TakingUp::default(),
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
        let source = Arc::clone(&self.source);
        let mut tell = interval(TELL_EVERY);
        tell.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let is_shared = self.estate.is_shared();
        if is_shared {
            self.take_holdings();
        } else {
            tokio::select! {
                biased;
                () = self.take_up_known_accounts() => {}
                () = stop.cancelled() => return,
            }
        }
        while !stop.is_cancelled() {
            let (woken, opened) = (source.wake_ups.changed(), source.floodgate.opened());
            self.hear_wake_ups();
            for open_kfid in self.agenda.ring(Instant::now()) {
                self.want(&open_kfid);
            }
            self.start_listing();
            self.taking_up.start(&self.source);
            self.start_pulls(&stop);
            let list_at = self.listing.is_empty().then_some(self.list_at);
            let alarm = self.agenda.next_alarm().into_iter().chain(list_at).min();
            tokio::select! {
                // In one order, so that a run can be repeated; and what comes most often last.
                biased;
                () = stop.cancelled() => {}
                Some(ended) = self.pulls.join_next_with_id() => self.take_ended(ended).await,
                Some(listed) = self.listing.join_next() => self.take_listed(listed),
                () = self.estate.changed(), if is_shared => self.take_holdings(),
                read = self.taking_up.read(), if is_shared => self.take_up_gained(read),
                _ = tell.tick() => {
                    self.tell_time_left();
                    if is_shared {
                        // What was let go of at the very moment of its renewal is still held.
                        self.take_holdings();
                    }
                }
                () = opened => {}
                () = woken => {}
                () = sleep_until(alarm.unwrap_or_else(Instant::now)), if alarm.is_some() => {}
            }
        }
        // What is not pulled can be handed over at once.
        self.estate.clear();
        while let Some(ended) = self.pulls.join_next_with_id().await {
            self.take_ended(ended).await;
        }
    }

    fn hear_wake_ups(&mut self) {
        for open_kfid in self.source.wake_ups.take_granted() {
            if self.estate.fence(&open_kfid).is_some() {
                self.agenda.wake(&open_kfid, Instant::now());
            }
        }
        for open_kfid in self.source.wake_ups.take_awake() {
            self.want(&open_kfid);
        }
    }

    fn tell_time_left(&self) {
        let left = self.deadlines.left(self.source.clock.now()).as_secs_f64();
        metrics::gauge!(metric::SECONDS_UNTIL_LOSS, "app" => self.app.to_string()).set(left);
    }

    /// Asks for a pull of `open_kfid`, if it is ours. If it is not, its owner hears of the wake-up from the store.
    fn want(&mut self, open_kfid: &OpenKfid) {
        if self.estate.fence(open_kfid).is_none() {
            return;
        }
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
            let Some(title) = self.estate.title(&open_kfid) else {
                self.agenda.ended(&open_kfid);
                self.let_go(&open_kfid);
                continue;
            };
            let account = self.agenda.account(&open_kfid);
            if account.limit == 0 {
                account.limit = self.source.settings.page_limit;
            }
            let pull = Pull {
                source: Arc::clone(&self.source),
                account: AccountKey::new(self.app.clone(), open_kfid.clone()),
                title,
                claim: account.claim.take(),
                limit: account.limit,
                fare,
                pages: 0,
            };
            let let_go = stop.child_token();
            let task = self.pulls.spawn(pull.run(let_go.clone()));
            self.running.insert(task.id(), Running { open_kfid, let_go });
        }
    }

    async fn take_ended(&mut self, ended: Result<(Id, Ended), JoinError>) {
        match ended {
            Ok((
                id,
                Ended {
                    account,
                    under,
                    claim,
                    pages,
                    end,
                },
            )) => {
                self.running.remove(&id);
                if self.estate.fence(&account.open_kfid) == Some(under) {
                    self.agenda.account(&account.open_kfid).claim = claim;
                    if pages > 0 {
                        self.healthy(&account.open_kfid);
                    }
                    self.agenda.ended(&account.open_kfid);
                    self.conclude(&account, end).await;
                } else {
                    self.ended_late(&account.open_kfid);
                }
            }
            Err(error) => {
                let Some(Running { open_kfid, .. }) = self.running.remove(&error.id()) else {
                    return;
                };
                tracing::error!(app = %self.app, %open_kfid, %error, "a pull died");
                if self.estate.fence(&open_kfid).is_some() {
                    self.agenda.ended(&open_kfid);
                    self.back_off(&open_kfid);
                } else {
                    self.ended_late(&open_kfid);
                }
            }
        }
        self.tell_of_paused();
    }

    fn tell_of_paused(&self) {
        metrics::gauge!(metric::ACCOUNTS_PAUSED, "app" => self.app.to_string()).set(self.agenda.paused() as f64);
    }
}
