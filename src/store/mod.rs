//! What must survive: cursors, messages, and the deliveries still owed.
//!
//! [`Store`] speaks in verbs of the domain; SQL stays inside its implementations. The rules every implementation
//! keeps are written down once, as the conformance suite in `tests/store_contract/`:
//!
//! * a page's messages, their deliveries and the cursor that follows them become durable together or not at all;
//! * a page commits only over the cursor and under the fence it was pulled with;
//! * a retry and a burial are recorded only under the fence of the shard they were decided under;
//! * one row per app, account and msgid, however often WeCom repeats it;
//! * a delivery row exists only while work is owed: no row means done;
//! * sequence numbers grow, within a shard, in the order of commits and are never given twice, also after pruning.
//!
//! A store that several processes share also tells them who does what: see [`Shared`].

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::value::RawValue;

use crate::clock::UnixMillis;
use crate::id::{AccountKey, CallbackToken, HandlerName, Msgid};

mod error;
#[cfg(test)]
pub(crate) mod joint;
mod lane;
mod lease;
mod letter;
mod moving;
mod news;
mod open;
mod page;
mod postgres;
mod recent;
mod reply;
mod room;
mod shared;
mod sqlite;
mod token;

pub use crate::authority::{Authorities, AuthoritiesError};
pub use error::StoreError;
pub use lane::{Lane, Shard, ShardSet};
pub use lease::{Census, Fence, Lease, Quota, Right, Tenure};
pub use letter::Letter;
pub use moving::{MoveError, Moved, move_all};
pub use news::{Bell, News};
pub use open::{CONNECTIONS, Durability, Settings, open, open_operator};
pub use page::{Claim, Commit, FirstPull, Intake, NewMessage, Page, PageEnds, Stored};
pub use reply::SentReply;
pub use room::Room;
pub use shared::Shared;
pub use token::{SharedTokens, Spent, StoredToken, TokenAsk, TokenDenied, TokenFound, TokenRight};

/// How many deliveries of one customer [`Store::pending_urgent`] reads at most.
pub const URGENT_REACH: usize = 100;

/// Keeps cursors, messages and owed deliveries. See the [module](self) for the rules.
///
/// Every method waits until its effect is durable. Methods may be called concurrently. A call whose future is dropped
/// may still be carried out, and so may one that failed because a server's answer was lost. Dropping the last handle to a
/// store of this process alone waits until what was asked for is done.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// Makes `names` known and returns their ids in the same order. A name keeps its id for ever; a new one gets only
    /// messages stored from now on.
    async fn register_handlers(&self, names: &[HandlerName]) -> Result<Vec<HandlerId>, StoreError>;

    /// How much each handler ever registered still owes, those no longer configured included.
    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError>;

    /// Every account ever seen, with what is known of its last pull and its unanswered wake-up.
    async fn accounts(&self) -> Result<Vec<AccountState>, StoreError>;

    /// Notes that accounts have news, creating those not yet known. Returns, for each, the number its wake-up got:
    /// numbers grow by one per account.
    async fn record_wake_ups(&self, wake_ups: Vec<WakeUp>) -> Result<Vec<u64>, StoreError>;

    /// Claims `account` to pull it, creating it if it is new. Earlier claims of the same account can no longer commit.
    /// `None` if somebody else has taken the right to pull it since it was taken `under` that fence.
    async fn claim(&self, account: &AccountKey, under: Fence, now: UnixMillis) -> Result<Option<Claim>, StoreError>;

    /// Commits a page: its messages, their deliveries and the cursor after it, together. A message already stored is
    /// left alone and gets no second delivery.
    async fn commit_page(&self, page: Page) -> Result<Commit, StoreError>;

    /// Forgets the cursor of an account, because WeCom refuses it: the next page starts at the oldest message WeCom still
    /// has. A first pull that has ended stays ended, so what was missed is delivered. `None` if somebody else claimed the
    /// account or moved its cursor.
    async fn reset_cursor(&self, claim: Claim) -> Result<Option<Claim>, StoreError>;

    /// Reads owed deliveries of `handler`: for each position up to `limit_each` of its shard, in order of their
    /// sequence numbers, starting after the one given. Which shard comes first, or between others, is left to the store.
    async fn pending(
        &self,
        handler: HandlerId,
        after: &[Position],
        limit_each: usize,
    ) -> Result<Vec<Pending>, StoreError>;

    /// Reads owed urgent deliveries behind the given positions, up to `limit_each` customers of each shard, together
    /// with everything behind the position that is owed to the same customers before them, in order. A customer for
    /// whom that is more than [`URGENT_REACH`] is left out, and waits for [`pending`](Self::pending) to get there.
    async fn pending_urgent(
        &self,
        handler: HandlerId,
        after: &[Position],
        limit_each: usize,
    ) -> Result<Vec<Pending>, StoreError>;

    /// Records how attempts ended, all of them together. Naming a delivery that is no longer owed changes nothing.
    ///
    /// What is done is done, whoever says so; a retry or a burial counts only if nobody else has taken the shard since.
    /// Returns how many were refused for that.
    async fn finish(&self, finished: Vec<Finish>) -> Result<u64, StoreError>;

    /// Forgets up to `limit` deliveries owed to `handler`, as if it had never been owed them. Returns how many there were.
    /// Meant for a handler that nobody runs any more.
    async fn forget_owed(&self, handler: &HandlerName, limit: usize) -> Result<u64, StoreError>;

    /// Dead letters, oldest death first.
    async fn dead_letters(&self, select: DeadSelect, limit: usize) -> Result<Vec<DeadLetter>, StoreError>;

    /// Owes the selected dead letters again, with no attempt used up. Returns how many there were.
    async fn replay_dead(&self, select: DeadSelect, now: UnixMillis) -> Result<u64, StoreError>;

    /// Forgets the selected dead letters; their messages stay until retention ends. Returns how many there were.
    async fn drop_dead(&self, select: DeadSelect) -> Result<u64, StoreError>;

    /// How often dead letters were replayed, ever, by any process on this store. A dispatcher that sees it grow reads
    /// its shards from the beginning again.
    async fn replays(&self) -> Result<u64, StoreError>;

    /// Deletes up to `limit` messages received before `before` that nobody is owed and no dead letter keeps, with what
    /// was put into quarantine because of them. Returns how many messages went.
    ///
    /// A message that is gone counts as new when it comes again: never prune what WeCom may still repeat (it keeps three
    /// days; leave at least 96 hours).
    async fn prune(&self, before: UnixMillis, limit: usize) -> Result<u64, StoreError>;

    /// Takes the bodies of up to `limit` messages behind `after`, received before `before`, that nobody is owed and no
    /// dead letter keeps, and what was put into quarantine because of them. What is left of a message is enough to know
    /// it when it comes again, so this may be done as soon as one likes.
    async fn blank(&self, before: UnixMillis, after: Seq, limit: usize) -> Result<Blanked, StoreError>;

    /// Remembers that WeCom accepted `reply`, whose handler is registered. One that is known already stays as it is.
    async fn record_reply(&self, reply: SentReply) -> Result<(), StoreError>;

    /// What handlers said to the customer of `lane` in answer to the message `msgid`, in order of acceptance.
    async fn replies_to(&self, lane: Lane, msgid: &Msgid) -> Result<Vec<SentReply>, StoreError>;

    /// What was said to the customer of `lane` under the id `msgid`.
    async fn reply(&self, lane: Lane, msgid: &str) -> Result<Option<SentReply>, StoreError>;

    /// Forgets up to `limit` replies accepted before `before`. Returns how many there were.
    async fn prune_replies(&self, before: UnixMillis, limit: usize) -> Result<u64, StoreError>;

    /// Fails unless a write would be taken now.
    async fn check(&self) -> Result<(), StoreError>;

    /// How much more would fit; `None` if its disk is somebody else's matter, as a database server's is.
    async fn room(&self) -> Result<Option<Room>, StoreError>;

    /// Hears of shards that got new work from now on. At first every shard is news.
    fn news(&self) -> News;

    /// How the work is shared with other processes; `None` if nobody else can have the store open, and everything is
    /// this process's to do.
    fn shared(&self) -> Option<&dyn Shared>;
}

/// A handler's number in the store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct HandlerId(pub i64);

/// A message's place in the order of commits. Starts at 1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Seq(pub i64);

/// How far a reader has come in one shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// Shard that is read.
    pub shard: Shard,
    /// Last sequence number already read; [`Seq::default`] to begin.
    pub after: Seq,
}

/// What a handler still owes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Backlog {
    /// Handler's number.
    pub id: HandlerId,
    /// Handler's name.
    pub handler: HandlerName,
    /// Deliveries not yet done.
    pub pending: u64,
    /// Deliveries given up and kept.
    pub dead: u64,
    /// When the oldest message not yet done was stored.
    pub oldest: Option<UnixMillis>,
}

/// How far [`Store::blank`] came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Blanked {
    /// Bodies that went.
    pub bodies: u64,
    /// Where to go on; `None` when all that follow are too young.
    pub next: Option<Seq>,
}

/// What is known of an account when nobody is pulling it.
#[derive(Clone, Debug)]
pub struct AccountState {
    /// The account.
    pub account: AccountKey,
    /// When a pull last reached the end; `None` if none ever did.
    pub pulled_at: Option<UnixMillis>,
    /// Number of its newest wake-up, answered or not; 0 if there was none.
    pub newest_wake_up: u64,
    /// Latest wake-up that no finished pull has answered.
    pub wake_up: Option<UnansweredWakeUp>,
}

/// A wake-up that outlived its process.
#[derive(Clone, Debug)]
pub struct UnansweredWakeUp {
    /// Number given by [`Store::record_wake_ups`].
    pub number: u64,
    /// Ticket of the callback, if it brought one.
    pub token: Option<CallbackToken>,
    /// When the callback arrived, by our clock.
    pub at: UnixMillis,
}

/// News of an account.
#[derive(Clone, Debug)]
pub struct WakeUp {
    /// Account that has news.
    pub account: AccountKey,
    /// Ticket of the callback, if it brought one.
    pub token: Option<CallbackToken>,
    /// When the callback arrived, by our clock.
    pub at: UnixMillis,
}

/// A delivery that is owed.
#[derive(Clone)]
pub struct Pending {
    /// Place in the order.
    pub seq: Seq,
    /// Customer whose order it keeps.
    pub lane: Lane,
    /// What is delivered. Shared by all deliveries of it that are in memory.
    pub letter: Arc<Letter>,
    /// Attempts used up.
    pub attempts: u32,
    /// Not to be attempted before this moment.
    pub due: UnixMillis,
    /// Whether it may overtake other customers' messages.
    pub urgent: bool,
}

/// How an attempt ended, and what that makes of the delivery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finish {
    /// Handler that was tried.
    pub handler: HandlerId,
    /// Shard of the message.
    pub shard: Shard,
    /// Message that was tried.
    pub seq: Seq,
    /// Fence of the shard when the attempt began.
    pub under: Fence,
    /// What becomes of the delivery.
    pub verdict: Verdict,
}

/// What becomes of a delivery after an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// It is no longer owed.
    Done,
    /// It is owed again later.
    Retry {
        /// Attempts used up so far.
        attempts: u32,
        /// Not before this moment.
        due: UnixMillis,
    },
    /// It is given up and kept as a dead letter.
    Dead {
        /// Attempts used up.
        attempts: u32,
        /// When.
        at: UnixMillis,
        /// Why, for people. Holds no message text and no secret.
        reason: Box<str>,
    },
}

/// Which dead letters are meant.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeadSelect {
    /// Only those of this handler.
    pub handler: Option<HandlerName>,
    /// Only this message.
    pub seq: Option<Seq>,
}

/// A delivery that was given up.
#[derive(Clone)]
pub struct DeadLetter {
    /// Handler that could not take it.
    pub handler: HandlerName,
    /// Message, by its place in the order.
    pub seq: Seq,
    /// Account it came from.
    pub account: AccountKey,
    /// WeCom's id of it.
    pub msgid: Msgid,
    /// Its type, `text` or `event.enter_session`.
    pub kind: Box<str>,
    /// Attempts used up.
    pub attempts: u32,
    /// When it was given up.
    pub at: UnixMillis,
    /// Why, for people.
    pub reason: Box<str>,
    /// WeCom's JSON, as it came.
    pub body: Box<RawValue>,
}

/// Shows what is named, and never the body: it holds what people wrote and who they are.
macro_rules! bodiless_debug {
    ($name:ident: $($field:ident),+) => {
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name))
                    $(.field(stringify!($field), &self.$field))+
                    .finish_non_exhaustive()
            }
        }
    };
}
use bodiless_debug;

bodiless_debug!(Pending: seq, letter, attempts, urgent);
bodiless_debug!(DeadLetter: handler, seq, msgid, kind, attempts, reason);
