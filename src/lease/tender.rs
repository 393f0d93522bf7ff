//! Who takes, renews and gives back the leases of this process.

use std::fmt;
use std::future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::board::Board;
use super::books::{self, Books};
use super::{Leases, Settings};
use crate::clock::Clock;
use crate::metric;
use crate::store::{Census, Lease, Quota, Shared, Store, StoreError};

/// How often it is looked for what is free, and for who came and went.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Tends the leases of this process until it is asked to stop.
///
/// It aims at an even share: of each kind as many leases as there are, divided by the living replicas and rounded up.
pub struct Tender {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    board: Arc<Board>,
    seek: Arc<Notify>,
    books: Books,
    returns: UnboundedReceiver<Lease>,
    /// As last counted.
    census: Census,
    renew_at: Instant,
    look_at: Instant,
}

/// Why the store's answer cannot be used.
#[derive(Debug, thiserror::Error)]
enum TenderError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the store did not answer in time")]
    Late,
}

impl Tender {
    pub(super) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, settings: Settings, leases: &Leases) -> Self {
        let (sender, returns) = unbounded_channel();
        Self {
            store,
            clock,
            settings,
            board: Arc::clone(&leases.board),
            seek: Arc::clone(&leases.seek),
            books: Books::new(sender),
            returns,
            census: Census::default(),
            renew_at: Instant::now(),
            look_at: Instant::now() + LOOK_EVERY,
        }
    }

    /// Tends the leases until `stop`. Then it withdraws them all, gives each back when the work under it is recorded, and
    /// ends with the last one, or when they have run out because the store does not answer.
    pub async fn run(mut self, stop: CancellationToken) {
        let store = Arc::clone(&self.store);
        let Some(shared) = store.shared() else { return };
        let mut vacancies = shared.vacancies();
        self.renew(shared).await;
        while !stop.is_cancelled() {
            let lapse = self.books.next_lapse();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = sleep_until(self.renew_at) => drop(self.renew(shared).await),
                () = sleep_until(self.look_at) => self.look(shared).await,
                Ok(()) = vacancies.changed() => self.look(shared).await,
                () = self.seek.notified() => self.look(shared).await,
                () = at(lapse) => self.lapse(),
                Some(lease) = self.returns.recv() => self.take_back(&lease),
            }
            self.give_back(shared).await;
        }
        self.end(shared).await;
    }

    /// Hands everything over.
    async fn end(mut self, shared: &dyn Shared) {
        self.leave(shared).await;
        let mut runs_out = Instant::now() + self.settings.term;
        while Instant::now() < runs_out {
            if self.books.withdraw_beyond(Quota::default()) > 0 {
                self.publish();
            }
            self.give_back(shared).await;
            if !self.books.has_withdrawn() {
                return;
            }
            tokio::select! {
                biased;
                Some(lease) = self.returns.recv() => self.take_back(&lease),
                () = sleep_until(self.renew_at) => {
                    runs_out = self.renew(shared).await.unwrap_or(runs_out);
                    // To renew is to be counted among the living.
                    self.leave(shared).await;
                }
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Renews what is held, and finds out what that is. Returns when the store lets others have it, if it was renewed.
    async fn renew(&mut self, shared: &dyn Shared) -> Option<Instant> {
        let asked = Instant::now();
        match self.ask(shared.renew(self.settings.term)).await {
            Ok(tenure) => {
                let (interval, early) = (self.settings.term / 3, self.clock.rng().random_range(0.8..=1.0));
                self.renew_at = asked + interval.mul_f64(early);
                (self.census.replicas, self.census.accounts) = (tenure.replicas, tenure.accounts);
                if self.books.renewed(tenure.leases, self.until(asked)) {
                    self.publish();
                }
                self.give_up_surplus();
                self.look_at = Instant::now();
                Some(asked + self.settings.term)
            }
            Err(error) => {
                self.renew_at = Instant::now() + self.retry_after();
                // It would fail, and hold the renewal up.
                self.look_at = self.renew_at + LOOK_EVERY;
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot renew leases, will try again"
                );
                None
            }
        }
    }

    /// Looks who is there, gives up what is theirs, and takes what is free.
    async fn look(&mut self, shared: &dyn Shared) {
        self.look_at = Instant::now() + LOOK_EVERY;
        match self.ask(shared.census()).await {
            Ok(census) => self.census = census,
            Err(error) => return self.cannot_look(&error),
        }
        metrics::gauge!(metric::REPLICAS).set(self.census.replicas as f64);
        self.give_up_surplus();
        let most = self.books.lacks(books::share(self.census), self.census.vacant);
        if most == Quota::default() {
            return;
        }
        let asked = Instant::now();
        match self.ask(shared.take(most, self.settings.term)).await {
            Ok(leases) if leases.is_empty() => {}
            Ok(leases) => {
                tracing::info!(leases = leases.len(), replicas = self.census.replicas, "took leases");
                self.books.taken(leases, self.until(asked));
                self.publish();
            }
            Err(error) => self.cannot_look(&error),
        }
    }

    /// Renewals fail for the same reason, and say so.
    fn cannot_look(&self, error: &TenderError) {
        tracing::debug!(error = error as &dyn std::error::Error, "cannot look for free leases");
    }

    fn give_up_surplus(&mut self) {
        let surplus = self.books.withdraw_beyond(books::share(self.census));
        if surplus > 0 {
            tracing::info!(
                leases = surplus,
                replicas = self.census.replicas,
                "handing leases over to other replicas"
            );
            self.publish();
        }
    }

    /// Notes which titles were dropped.
    fn take_back(&mut self, lease: &Lease) {
        self.books.returned(lease);
        while let Ok(lease) = self.returns.try_recv() {
            self.books.returned(&lease);
        }
    }

    /// Gives back what was withdrawn and is idle. What the store does not take now is offered again with the next look.
    async fn give_back(&mut self, shared: &dyn Shared) {
        // What was just withdrawn is idle at once, unless an engine has it.
        while let Ok(lease) = self.returns.try_recv() {
            self.books.returned(&lease);
        }
        let leases = self.books.to_give_back();
        if leases.is_empty() {
            return;
        }
        match self.ask(shared.give_back(leases.clone())).await {
            Ok(()) => {
                self.books.given_back(&leases);
                self.tell_how_many();
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot give leases back, will try again"
                );
            }
        }
    }

    async fn leave(&mut self, shared: &dyn Shared) {
        if let Err(error) = self.ask(shared.leave()).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "cannot leave the other replicas: they count this one until its term is over"
            );
        }
    }

    fn lapse(&mut self) {
        let lapsed = self.books.lapse();
        if lapsed > 0 {
            tracing::error!(
                leases = lapsed,
                "leases ran out before they were renewed: others may take them"
            );
            self.publish();
        }
    }

    fn publish(&self) {
        self.board.tell(self.books.holdings());
        self.tell_how_many();
    }

    fn tell_how_many(&self) {
        let owned = self.books.owned();
        metrics::gauge!(metric::LEASES, "kind" => "pull").set(owned.pulls as f64);
        metrics::gauge!(metric::LEASES, "kind" => "shard").set(owned.shards as f64);
    }

    /// Until when that is held which was asked for at `asked`.
    fn until(&self, asked: Instant) -> Instant {
        asked + self.settings.term - self.margin()
    }

    /// How much earlier this process lets go than the store does.
    fn margin(&self) -> Duration {
        self.settings.term / 5
    }

    fn retry_after(&self) -> Duration {
        let term = self.settings.term;
        (term / 30).mul_f64(self.clock.rng().random_range(0.5..=1.0))
    }

    /// Waits for the store, but neither for long nor beyond the moment at which something runs out.
    async fn ask<T>(&mut self, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, TenderError> {
        let mut call = pin!(timeout(self.margin(), call));
        loop {
            let lapse = self.books.next_lapse();
            tokio::select! {
                biased;
                answer = &mut call => return Ok(answer.map_err(|_| TenderError::Late)??),
                () = at(lapse) => self.lapse(),
            }
        }
    }
}

/// Waits until `moment`, or for ever.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => future::pending().await,
    }
}

impl fmt::Debug for Tender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tender")
            .field("settings", &self.settings)
            .field("census", &self.census)
            .finish_non_exhaustive()
    }
}
