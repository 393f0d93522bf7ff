//! The shared store: one PostgreSQL database, any number of processes that serve from it.
//!
//! Whatever matters is one statement in one round trip, so a process that stops half way holds no lock, a pooler in
//! transaction mode may stand in between, and whether a page was committed when its answer was lost is seen from the
//! account's cursor. Who pulls and who hands out is decided by [leases](lease), whose clock is the database's.
//!
//! With [`Durability::Relaxed`] commits do not wait for the server's disk
//! (`synchronous_commit = off`): a crash of the server takes the last moments, all of them together.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use rand::RngExt as _;
use tokio::sync::watch;
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;

use self::connector::Connector;
use self::link::Link;
use self::signal::{CHANNEL, Cry, Happened, Signals};
use super::{
    AccountState, Backlog, Blanked, Census, Claim, Commit, DeadLetter, DeadSelect, Durability, Fence, Finish,
    HandlerId, Lane, Lease, News, Page, Pending, Position, Quota, Room, SentReply, Seq, Settings, Shared, SharedTokens,
    Store, StoreError, StoredToken, Tenure, TokenAsk, TokenDenied, TokenFound, TokenRight, WakeUp,
};
use crate::authority::client_config;
use crate::clock::{SetClock, UnixMillis};
use crate::id::{AccountKey, HandlerName, Msgid};

mod account;
mod address;
mod arrival;
mod connector;
mod dead;
mod delivery;
mod failure;
mod lease;
mod link;
mod page;
mod prune;
mod reply;
mod row;
mod schema;
mod signal;
mod token;

pub(super) use self::address::Problem;
pub(super) use self::arrival::Arrival;

/// A store in one PostgreSQL database.
#[derive(Debug)]
pub(super) struct PostgresStore {
    link: Arc<Link>,
    signals: Arc<Signals>,
    /// Set by the database, if anybody goes by it.
    clock: OnceLock<SetClock>,
    /// They end with the store. An operator's command has none.
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl PostgresStore {
    /// Looks at the address alone.
    pub(super) fn review(settings: &Settings) -> Result<(), Problem> {
        address::parse(settings).map(|_| ())
    }

    /// Opens the database to serve from it; creates its tables if need be.
    pub(super) async fn open(settings: &Settings) -> Result<Self, Problem> {
        let connector = connector(settings, settings.durability)?;
        schema::bring_up_to_date(&connector).await?;
        let mut store = Self::over(connector, settings)?;
        let (link, signals) = (&store.link, &store.signals);
        store._tasks = vec![
            AbortOnDropHandle::new(tokio::spawn(Arc::clone(signals).keep_crying(Arc::clone(link)))),
            AbortOnDropHandle::new(tokio::spawn(Arc::clone(signals).keep_listening(Arc::clone(link)))),
            AbortOnDropHandle::new(tokio::spawn(Arc::clone(signals).keep_looking(Arc::clone(link)))),
        ];
        Ok(store)
    }

    /// Opens the database beside processes that may be serving from it.
    pub(super) async fn open_operator(settings: &Settings) -> Result<Self, Problem> {
        // What an operator decided is not undone, whatever the server risks.
        let connector = connector(settings, Durability::Full)?;
        schema::require_current(&connector).await?;
        Self::over(connector, settings)
    }

    fn over(connector: Connector, settings: &Settings) -> Result<Self, Problem> {
        let owner: u128 = rand::rng().random();
        Ok(Self {
            link: Arc::new(Link::new(connector, settings.connections).map_err(Problem::Pool)?),
            signals: Arc::new(Signals::new(format!("{owner:032x}"))),
            clock: OnceLock::new(),
            _tasks: Vec::new(),
        })
    }
}

fn connector(settings: &Settings, durability: Durability) -> Result<Connector, Problem> {
    let tls = client_config(settings.authorities.as_ref()).map_err(Problem::Tls)?;
    let tls = MakeRustlsConnect::new(tls);
    Ok(Connector::new(address::parse(settings)?, tls, durability))
}

#[async_trait]
impl Store for PostgresStore {
    async fn register_handlers(&self, names: &[HandlerName]) -> Result<Vec<HandlerId>, StoreError> {
        Ok(delivery::register_handlers(&self.link, names).await?)
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        Ok(delivery::backlog(&self.link).await?)
    }

    async fn accounts(&self) -> Result<Vec<AccountState>, StoreError> {
        Ok(account::all(&self.link).await?)
    }

    async fn record_wake_ups(&self, wake_ups: Vec<WakeUp>) -> Result<Vec<u64>, StoreError> {
        let numbers = account::record_wake_ups(&self.link, &wake_ups).await?;
        if !numbers.is_empty() {
            self.signals.cry(Cry {
                wake_ups: Happened::Yes,
                ..Cry::default()
            });
        }
        Ok(numbers)
    }

    async fn claim(&self, account: &AccountKey, under: Fence, now: UnixMillis) -> Result<Option<Claim>, StoreError> {
        Ok(account::claim(&self.link, account, under, now).await?)
    }

    async fn commit_page(&self, page: Page) -> Result<Commit, StoreError> {
        let committed = page::commit(&self.link, &page).await?;
        self.signals.work(committed.shards, committed.newest);
        Ok(committed.commit)
    }

    async fn reset_cursor(&self, claim: Claim) -> Result<Option<Claim>, StoreError> {
        Ok(account::reset_cursor(&self.link, &claim).await?)
    }

    async fn pending(
        &self,
        handler: HandlerId,
        after: &[Position],
        limit_each: usize,
    ) -> Result<Vec<Pending>, StoreError> {
        Ok(delivery::pending(&self.link, handler, after, limit_each).await?)
    }

    async fn pending_urgent(
        &self,
        handler: HandlerId,
        after: &[Position],
        limit_each: usize,
    ) -> Result<Vec<Pending>, StoreError> {
        Ok(delivery::pending_urgent(&self.link, handler, after, limit_each).await?)
    }

    async fn finish(&self, finished: Vec<Finish>) -> Result<u64, StoreError> {
        Ok(delivery::finish(&self.link, &finished).await?)
    }

    async fn forget_owed(&self, handler: &HandlerName, limit: usize) -> Result<u64, StoreError> {
        Ok(delivery::forget_owed(&self.link, handler, limit).await?)
    }

    async fn dead_letters(&self, select: DeadSelect, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        Ok(dead::list(&self.link, &select, limit).await?)
    }

    async fn replay_dead(&self, select: DeadSelect, now: UnixMillis) -> Result<u64, StoreError> {
        let (replayed, shards) = dead::replay(&self.link, &select, now).await?;
        self.signals.work(shards, Seq::default());
        Ok(replayed)
    }

    async fn drop_dead(&self, select: DeadSelect) -> Result<u64, StoreError> {
        Ok(dead::forget(&self.link, &select).await?)
    }

    async fn replays(&self) -> Result<u64, StoreError> {
        Ok(dead::replays(&self.link).await?)
    }

    async fn prune(&self, before: UnixMillis, limit: usize) -> Result<u64, StoreError> {
        Ok(prune::delete(&self.link, before, limit).await?)
    }

    async fn blank(&self, before: UnixMillis, after: Seq, limit: usize) -> Result<Blanked, StoreError> {
        Ok(prune::blank(&self.link, before, after, limit).await?)
    }

    async fn record_reply(&self, reply: SentReply) -> Result<(), StoreError> {
        Ok(reply::record(&self.link, &reply).await?)
    }

    async fn replies_to(&self, lane: Lane, msgid: &Msgid) -> Result<Vec<SentReply>, StoreError> {
        Ok(reply::to(&self.link, lane, msgid).await?)
    }

    async fn reply(&self, lane: Lane, msgid: &str) -> Result<Option<SentReply>, StoreError> {
        Ok(reply::find(&self.link, lane, msgid).await?)
    }

    async fn prune_replies(&self, before: UnixMillis, limit: usize) -> Result<u64, StoreError> {
        Ok(reply::prune(&self.link, before, limit).await?)
    }

    async fn check(&self) -> Result<(), StoreError> {
        // A standby answers questions too, so something is written.
        self.link.ask("UPDATE meta SET checks = checks + 1", &[]).await?;
        Ok(())
    }

    async fn room(&self) -> Result<Option<Room>, StoreError> {
        Ok(None)
    }

    fn news(&self) -> News {
        self.signals.news()
    }

    fn shared(&self) -> Option<&dyn Shared> {
        Some(self)
    }
}

#[async_trait]
impl Shared for PostgresStore {
    async fn renew(&self, term: std::time::Duration) -> Result<Tenure, StoreError> {
        let (tenure, now) = lease::renew(&self.link, self.signals.owner(), term).await?;
        if let Some(clock) = self.clock.get() {
            clock.set(now);
        }
        Ok(tenure)
    }

    async fn set_clock(&self, clock: &SetClock) -> Result<(), StoreError> {
        clock.set(lease::now(&self.link).await?);
        // Whoever asked first is who renews.
        let _ = self.clock.set(clock.clone());
        Ok(())
    }

    async fn take(&self, most: Quota, term: std::time::Duration) -> Result<Vec<Lease>, StoreError> {
        Ok(lease::take(&self.link, self.signals.owner(), most, term).await?)
    }

    async fn census(&self) -> Result<Census, StoreError> {
        Ok(lease::census(&self.link, self.signals.owner()).await?)
    }

    async fn give_back(&self, leases: Vec<Lease>) -> Result<(), StoreError> {
        let owner = self.signals.owner();
        let cry = Cry {
            vacancies: Happened::Yes,
            ..Cry::default()
        };
        Ok(lease::give_back(&self.link, owner, &leases, (CHANNEL, &cry.by(owner))).await?)
    }

    async fn leave(&self) -> Result<(), StoreError> {
        Ok(lease::leave(&self.link, self.signals.owner()).await?)
    }

    async fn woken(&self) -> Result<Vec<AccountState>, StoreError> {
        Ok(account::woken(&self.link, self.signals.owner()).await?)
    }

    fn wake_ups_elsewhere(&self) -> watch::Receiver<()> {
        self.signals.wake_ups()
    }

    fn vacancies(&self) -> watch::Receiver<()> {
        self.signals.vacancies()
    }

    fn tokens(&self) -> Option<&dyn SharedTokens> {
        Some(self)
    }
}

#[async_trait]
impl SharedTokens for PostgresStore {
    async fn ask_token(&self, ask: TokenAsk) -> Result<TokenFound, StoreError> {
        Ok(token::ask(&self.link, &ask).await?)
    }

    async fn put_token(&self, right: TokenRight, token: StoredToken) -> Result<(), StoreError> {
        Ok(token::put(&self.link, &right, &token).await?)
    }

    async fn give_up_token(&self, right: TokenRight, refusal: Option<TokenDenied>) -> Result<(), StoreError> {
        Ok(token::give_up(&self.link, &right, refusal).await?)
    }
}
