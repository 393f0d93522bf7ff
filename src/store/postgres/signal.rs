//! What processes on one database tell each other, and how each sees for itself.
//!
//! A process tells the others by NOTIFY, which takes a lock of the whole database at commit: so at most one in 50 ms, with
//! all that happened since. It hears them by LISTEN, on a connection of its own. Both may fail, and a pooler may swallow
//! them: once a second it looks what the highest number in each shard is, and that is the truth.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_postgres::AsyncMessage;
use tokio_postgres::types::Type;
use tracing::debug;

use super::failure::Failure;
use super::link::Link;
use super::row::{self, get};
use crate::backoff::Backoff;
use crate::store::{Bell, News, Seq, Shard, ShardSet};

/// What processes on one database listen to.
pub(super) const CHANNEL: &str = "wecom_kf";

/// Between two NOTIFYs of one process.
const QUIET: Duration = Duration::from_millis(50);

/// Between two looks at the database.
const LOOK: Duration = Duration::from_secs(1);

/// Between two attempts to listen.
const RELISTEN: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));

/// What others may have done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Cry {
    /// These shards got work.
    pub(super) shards: ShardSet,
    /// Wake-ups were recorded.
    pub(super) wake_ups: Happened,
    /// Leases were given back.
    pub(super) vacancies: Happened,
}

/// Whether something happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Happened {
    #[default]
    No,
    Yes,
}

impl Happened {
    fn or(self, other: Self) -> Self {
        if self == Self::Yes { self } else { other }
    }
}

impl Cry {
    /// As NOTIFY carries it: who cries, and what.
    pub(super) fn by(self, owner: &str) -> String {
        let mark = |happened, mark| if happened == Happened::Yes { mark } else { "" };
        let (wake_ups, vacancies) = (mark(self.wake_ups, "w"), mark(self.vacancies, "v"));
        format!("{owner} {:x} {wake_ups}{vacancies}", self.shards.bits())
    }

    /// Reads what somebody cried, and who it was. Another version may say more.
    fn read(payload: &str) -> Option<(&str, Self)> {
        let mut words = payload.split(' ');
        let (owner, shards) = (words.next()?, words.next()?);
        let marks = words.next().unwrap_or_default();
        let happened = |mark| {
            if marks.contains(mark) {
                Happened::Yes
            } else {
                Happened::No
            }
        };
        let cry = Self {
            shards: ShardSet::from_bits(u64::from_str_radix(shards, 16).ok()?),
            wake_ups: happened('w'),
            vacancies: happened('v'),
        };
        Some((owner, cry))
    }

    fn and(self, other: Self) -> Self {
        Self {
            shards: self.shards.union(other.shards),
            wake_ups: self.wake_ups.or(other.wake_ups),
            vacancies: self.vacancies.or(other.vacancies),
        }
    }
}

/// What one process hears and tells.
#[derive(Debug)]
pub(super) struct Signals {
    owner: String,
    bell: Bell,
    wake_ups: watch::Sender<()>,
    vacancies: watch::Sender<()>,
    /// Highest number of each shard that the bell was rung for.
    rung: Mutex<[Seq; Shard::COUNT as usize]>,
    /// Not cried yet.
    untold: Mutex<Cry>,
    stirred: Notify,
}

impl Signals {
    pub(super) fn new(owner: String) -> Self {
        Self {
            owner,
            bell: Bell::default(),
            wake_ups: watch::Sender::new(()),
            vacancies: watch::Sender::new(()),
            rung: Mutex::new([Seq::default(); Shard::COUNT as usize]),
            untold: Mutex::default(),
            stirred: Notify::new(),
        }
    }

    /// Who this process is to the others.
    pub(super) fn owner(&self) -> &str {
        &self.owner
    }

    pub(super) fn news(&self) -> News {
        self.bell.listen()
    }

    pub(super) fn wake_ups(&self) -> watch::Receiver<()> {
        self.wake_ups.subscribe()
    }

    pub(super) fn vacancies(&self) -> watch::Receiver<()> {
        self.vacancies.subscribe()
    }

    /// Tells everybody that `shards` got work up to the number `newest`.
    pub(super) fn work(&self, shards: ShardSet, newest: Seq) {
        if !shards.is_empty() {
            let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
            for shard in shards.iter() {
                let highest = &mut rung[usize::from(shard.number())];
                *highest = newest.max(*highest);
            }
            drop(rung);
            self.bell.ring(shards);
            self.cry(Cry {
                shards,
                ..Cry::default()
            });
        }
    }

    /// Tells the others.
    pub(super) fn cry(&self, cry: Cry) {
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        *untold = untold.and(cry);
        drop(untold);
        self.stirred.notify_one();
    }

    /// Takes what another process cried.
    fn hear(&self, payload: &str) {
        match Cry::read(payload) {
            Some((owner, cry)) if owner != self.owner => {
                self.bell.ring(cry.shards);
                if cry.wake_ups == Happened::Yes {
                    self.wake_ups.send_replace(());
                }
                if cry.vacancies == Happened::Yes {
                    self.vacancies.send_replace(());
                }
            }
            _ => {}
        }
    }

    /// Cries what there is to tell, for ever.
    pub(super) async fn keep_crying(self: Arc<Self>, link: Arc<Link>) {
        loop {
            self.stirred.notified().await;
            let untold = std::mem::take(&mut *self.untold.lock().unwrap_or_else(PoisonError::into_inner));
            let payload = untold.by(&self.owner);
            let told = link
                .all_once(
                    "SELECT pg_notify($1, $2)",
                    &[(&CHANNEL, Type::TEXT), (&payload.as_str(), Type::TEXT)],
                )
                .await;
            if let Err(failure) = told {
                // They will see for themselves.
                debug!(
                    error = &failure as &dyn std::error::Error,
                    "other replicas were not told"
                );
            }
            sleep(QUIET).await;
        }
    }

    /// Listens for what others cry, for ever.
    pub(super) async fn keep_listening(self: Arc<Self>, link: Arc<Link>) {
        let mut failures = 0;
        loop {
            if let Err(failure) = self.listen(&link, &mut failures).await {
                debug!(
                    error = &failure as &dyn std::error::Error,
                    "not listening to other replicas"
                );
            }
            failures += 1;
            let wait = RELISTEN.wait(failures, &mut rand::rng());
            sleep(wait).await;
        }
    }

    /// Listens until the connection ends.
    async fn listen(&self, link: &Link, failures: &mut u32) -> Result<(), Failure> {
        let (client, mut connection) = link.connector().connect().await.map_err(Failure::to_connect)?;
        let ask = format!("LISTEN {CHANNEL}");
        let mut asking = pin!(client.batch_execute(&ask));
        let mut listening = Happened::No;
        loop {
            tokio::select! {
                asked = &mut asking, if listening == Happened::No => {
                    asked?;
                    listening = Happened::Yes;
                    *failures = 0;
                    // What was cried before is not heard any more.
                    self.wake_ups.send_replace(());
                    self.vacancies.send_replace(());
                }
                message = poll_fn(|cx| connection.poll_message(cx)) => match message {
                    Some(Ok(AsyncMessage::Notification(notification))) => self.hear(notification.payload()),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error.into()),
                    None => return Ok(()),
                },
            }
        }
    }

    /// Looks for work that nobody told of, for ever.
    pub(super) async fn keep_looking(self: Arc<Self>, link: Arc<Link>) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(failure) = self.look(&link).await {
                debug!(error = &failure as &dyn std::error::Error, "could not look for work");
            }
        }
    }

    async fn look(&self, link: &Link) -> Result<(), Failure> {
        // One step down an index for each shard and handler. Within a shard, numbers grow in the order of commits.
        let sql = "
            SELECT shard.shard, max(newest.seq) FROM shard CROSS JOIN handler CROSS JOIN LATERAL (
                SELECT seq FROM delivery AS d
                WHERE d.shard = shard.shard AND d.handler_id = handler.handler_id
                ORDER BY d.seq DESC LIMIT 1
            ) AS newest
            GROUP BY shard.shard";
        let mut unheard = ShardSet::default();
        for row in link.ask(sql, &[]).await? {
            let (shard, newest) = (row::shard(&row, 0)?, Seq(get(&row, 1)?));
            let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
            let highest = &mut rung[usize::from(shard.number())];
            if newest > *highest {
                *highest = newest;
                unheard.insert(shard);
            }
        }
        self.bell.ring(unheard);
        Ok(())
    }
}
