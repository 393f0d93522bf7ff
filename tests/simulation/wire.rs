//! The way from a replica to the database, and what goes wrong on it.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep};
use wecom_kf::clock::UnixMillis;
use wecom_kf::id::{AccountKey, HandlerName, Msgid};
use wecom_kf::store::{
    AccountState, Backlog, Blanked, Census, Claim, Commit, DeadLetter, DeadSelect, Fence, Finish, HandlerId, Lane,
    Lease, News, Page, Pending, Position, Quota, Room, SentReply, Seq, Shared, Store, StoreError, Tenure, WakeUp,
};

use crate::chance::{Chance, digest};
use crate::life::Life;
use crate::turns::Turns;
use crate::weather::Weather;

/// What the database is asked to do.
type Op<T> = Box<dyn FnOnce(Arc<dyn Store>) -> Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>> + Send>;

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Fate {
    Answered,
    /// It never reached the database.
    Refused,
    /// It was carried out, and the answer was lost.
    AnswerLost,
    /// The connection broke; what was asked for is carried out when nobody waits for it any more.
    CarriedOutLate,
}

/// A replica's store, at the other end of a wire.
pub(crate) struct Wire {
    database: Arc<dyn Store>,
    turns: Arc<Turns>,
    life: Life,
    chance: Chance,
    weather: Arc<Weather>,
    /// How often each question was asked: the same one may be answered otherwise the next time.
    asked: Mutex<BTreeMap<u64, u64>>,
}

impl Wire {
    pub(crate) fn new(
        database: Arc<dyn Store>,
        turns: Arc<Turns>,
        life: Life,
        chance: Chance,
        weather: Arc<Weather>,
    ) -> Self {
        Self {
            database,
            turns,
            life,
            chance,
            weather,
            asked: Mutex::default(),
        }
    }

    /// Has `op` carried out, as far as it gets there. What was sent may be carried out whatever becomes of the sender.
    async fn ask<T: Send + 'static>(&self, subject: impl Hash, op: Op<T>) -> Result<T, StoreError> {
        self.life.running().await;
        let subject = digest((self.life.owner(), subject));
        let key = digest((subject, self.count(subject)));
        let (fate, there, back) = self.fate(key);
        if fate == Fate::Refused {
            sleep(there).await;
            self.life.running().await;
            return Err(broken());
        }
        let (answer, answered) = oneshot::channel();
        let (database, turns, life) = (Arc::clone(&self.database), Arc::clone(&self.turns), self.life.clone());
        let arrives_anyway = self.chance.happens(500, (key, "arrives though its sender died"));
        let late = match fate {
            Fate::CarriedOutLate => self.chance.millis(200..=8_000, (key, "late")),
            _ => Duration::ZERO,
        };
        tokio::spawn(async move {
            sleep(there + late).await;
            turns.of(key).await;
            if !life.is_dead() || arrives_anyway {
                // Nobody may be left to hear it.
                let _ = answer.send(op(database).await);
            }
        });
        let answer = match fate {
            Fate::CarriedOutLate => {
                sleep(there).await;
                None
            }
            _ => answered.await.ok(),
        };
        sleep(back).await;
        self.life.running().await;
        match answer {
            Some(answer) if fate == Fate::Answered => answer,
            _ => Err(broken()),
        }
    }

    fn count(&self, subject: u64) -> u64 {
        let mut asked = self.asked.lock().unwrap();
        let count = asked.entry(subject).or_default();
        *count += 1;
        *count
    }

    /// What becomes of a call, and how long it takes there and back.
    fn fate(&self, key: u64) -> (Fate, Duration, Duration) {
        let weather = self.weather.of_store(self.life.owner(), Instant::now());
        let slow = self.chance.happens(weather.slow, (key, "slow"));
        let longest = if slow { 1_500 } else { 8 };
        let there = self.chance.millis(0..=longest, (key, "there"));
        let back = self.chance.millis(0..=longest / 2, (key, "back"));
        let mut dice = u32::try_from(self.chance.millis(0..=999, (key, "fate")).as_millis()).unwrap_or(0);
        for (per_mille, fate) in [
            (weather.refused, Fate::Refused),
            (weather.answer_lost, Fate::AnswerLost),
            (weather.late, Fate::CarriedOutLate),
        ] {
            if dice < per_mille {
                return (fate, there, back);
            }
            dice -= per_mille;
        }
        (Fate::Answered, there, back)
    }
}

fn broken() -> StoreError {
    StoreError::Backend("the connection broke".into())
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("life", &self.life).finish_non_exhaustive()
    }
}

/// `$op` on the store at the other end, about `$subject`.
macro_rules! ask {
    ($wire:ident, $subject:expr, $store:ident => $op:expr) => {
        $wire
            .ask(
                $subject,
                Box::new(move |$store: Arc<dyn Store>| Box::pin(async move { $op.await })),
            )
            .await
    };
}

#[async_trait]
impl Store for Wire {
    async fn register_handlers(&self, names: &[HandlerName]) -> Result<Vec<HandlerId>, StoreError> {
        let names = names.to_vec();
        ask!(self, "register", store => store.register_handlers(&names))
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        ask!(self, "backlog", store => store.backlog())
    }

    async fn accounts(&self) -> Result<Vec<AccountState>, StoreError> {
        ask!(self, "accounts", store => store.accounts())
    }

    async fn record_wake_ups(&self, wake_ups: Vec<WakeUp>) -> Result<Vec<u64>, StoreError> {
        let app = wake_ups.first().map(|wake_up| wake_up.account.app.clone());
        ask!(self, ("wake-ups", app), store => store.record_wake_ups(wake_ups))
    }

    async fn claim(&self, account: &AccountKey, under: Fence, now: UnixMillis) -> Result<Option<Claim>, StoreError> {
        let account = account.clone();
        ask!(self, ("claim", account.clone()), store => store.claim(&account, under, now))
    }

    async fn commit_page(&self, page: Page) -> Result<Commit, StoreError> {
        ask!(self, ("commit", page.claim.account.clone()), store => store.commit_page(page))
    }

    async fn reset_cursor(&self, claim: Claim) -> Result<Option<Claim>, StoreError> {
        ask!(self, ("reset", claim.account.clone()), store => store.reset_cursor(claim))
    }

    async fn pending(&self, handler: HandlerId, after: &[Position], each: usize) -> Result<Vec<Pending>, StoreError> {
        let after = after.to_vec();
        ask!(self, ("pending", handler), store => store.pending(handler, &after, each))
    }

    async fn pending_urgent(
        &self,
        handler: HandlerId,
        after: &[Position],
        each: usize,
    ) -> Result<Vec<Pending>, StoreError> {
        let after = after.to_vec();
        ask!(self, ("urgent", handler), store => store.pending_urgent(handler, &after, each))
    }

    async fn finish(&self, finished: Vec<Finish>) -> Result<u64, StoreError> {
        let handler = finished.first().map(|finish| finish.handler);
        ask!(self, ("finish", handler), store => store.finish(finished))
    }

    async fn forget_owed(&self, handler: &HandlerName, limit: usize) -> Result<u64, StoreError> {
        let handler = handler.clone();
        ask!(self, "forget", store => store.forget_owed(&handler, limit))
    }

    async fn dead_letters(&self, select: DeadSelect, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        ask!(self, "dead", store => store.dead_letters(select, limit))
    }

    async fn replay_dead(&self, select: DeadSelect, now: UnixMillis) -> Result<u64, StoreError> {
        ask!(self, "replay", store => store.replay_dead(select, now))
    }

    async fn drop_dead(&self, select: DeadSelect) -> Result<u64, StoreError> {
        ask!(self, "drop", store => store.drop_dead(select))
    }

    async fn replays(&self) -> Result<u64, StoreError> {
        ask!(self, "replays", store => store.replays())
    }

    async fn prune(&self, before: UnixMillis, limit: usize) -> Result<u64, StoreError> {
        ask!(self, "prune", store => store.prune(before, limit))
    }

    async fn blank(&self, before: UnixMillis, after: Seq, limit: usize) -> Result<Blanked, StoreError> {
        ask!(self, "blank", store => store.blank(before, after, limit))
    }

    async fn record_reply(&self, reply: SentReply) -> Result<(), StoreError> {
        ask!(self, "record reply", store => store.record_reply(reply))
    }

    async fn replies_to(&self, lane: Lane, msgid: &Msgid) -> Result<Vec<SentReply>, StoreError> {
        let msgid = msgid.clone();
        ask!(self, "replies", store => store.replies_to(lane, &msgid))
    }

    async fn reply(&self, lane: Lane, msgid: &str) -> Result<Option<SentReply>, StoreError> {
        let msgid = msgid.to_owned();
        ask!(self, "reply", store => store.reply(lane, &msgid))
    }

    async fn prune_replies(&self, before: UnixMillis, limit: usize) -> Result<u64, StoreError> {
        ask!(self, "prune replies", store => store.prune_replies(before, limit))
    }

    async fn check(&self) -> Result<(), StoreError> {
        ask!(self, "check", store => store.check())
    }

    async fn room(&self) -> Result<Option<Room>, StoreError> {
        // Asked every second, and answered without the database.
        self.database.room().await
    }

    fn news(&self) -> News {
        self.database.news()
    }

    fn shared(&self) -> Option<&dyn Shared> {
        self.database.shared().map(|_| self as &dyn Shared)
    }
}

/// The sharing side of the store at the other end.
fn shared(store: &Arc<dyn Store>) -> &dyn Shared {
    store.shared().expect("asked only where leases are")
}

#[async_trait]
impl Shared for Wire {
    async fn renew(&self, term: Duration) -> Result<Tenure, StoreError> {
        ask!(self, "renew", store => shared(&store).renew(term))
    }

    async fn take(&self, most: Quota, term: Duration) -> Result<Vec<Lease>, StoreError> {
        ask!(self, "take", store => shared(&store).take(most, term))
    }

    async fn give_back(&self, leases: Vec<Lease>) -> Result<(), StoreError> {
        ask!(self, "give back", store => shared(&store).give_back(leases))
    }

    async fn census(&self) -> Result<Census, StoreError> {
        ask!(self, "census", store => shared(&store).census())
    }

    async fn leave(&self) -> Result<(), StoreError> {
        ask!(self, "leave", store => shared(&store).leave())
    }

    async fn woken(&self) -> Result<Vec<AccountState>, StoreError> {
        ask!(self, "woken", store => shared(&store).woken())
    }

    fn wake_ups_elsewhere(&self) -> watch::Receiver<()> {
        shared(&self.database).wake_ups_elsewhere()
    }

    fn vacancies(&self) -> watch::Receiver<()> {
        shared(&self.database).vacancies()
    }
}
