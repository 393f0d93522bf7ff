//! The rows, and what is done with accounts and replies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::value::RawValue;
use tokio::time::Instant;
use wecom_kf::clock::UnixMillis;
use wecom_kf::id::{AccountKey, CallbackToken, HandlerName, Msgid};
use wecom_kf::store::{
    AccountState, Claim, Fence, FirstPull, HandlerId, Lane, SentReply, Seq, Shard, StoreError, UnansweredWakeUp, WakeUp,
};

use super::leases::Holder;

#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    /// Ids are places in this list, from 1.
    pub(super) handlers: Vec<HandlerName>,
    pub(super) accounts: BTreeMap<AccountKey, Account>,
    pub(super) messages: BTreeMap<Seq, Message>,
    pub(super) known: BTreeMap<(AccountKey, u64, Msgid), Seq>,
    pub(super) last_seq: i64,
    pub(super) owed: BTreeMap<(HandlerId, Shard, Seq), Owed>,
    pub(super) dead: BTreeMap<(HandlerId, Seq), Death>,
    pub(super) replays: u64,
    pub(super) shards: BTreeMap<Shard, Holder>,
    /// Replicas, and until when each is taken to live.
    pub(super) replicas: BTreeMap<u64, Instant>,
    /// In the order of acceptance.
    pub(super) replies: Vec<SentReply>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    pub(super) holder: Holder,
    /// Number of the newest claim.
    pub(super) claim: i64,
    pub(super) cursor: Option<Box<str>>,
    pub(super) began: Option<UnixMillis>,
    pub(super) pulled_at: Option<UnixMillis>,
    pub(super) wake_ups: u64,
    pub(super) answered: u64,
    pub(super) token: Option<CallbackToken>,
    pub(super) woken_at: UnixMillis,
}

#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) account: AccountKey,
    pub(super) msgid: Msgid,
    pub(super) send_time: u64,
    pub(super) lane: Lane,
    pub(super) kind: Box<str>,
    pub(super) urgent: bool,
    pub(super) received: UnixMillis,
    /// `None` once it was taken.
    pub(super) body: Option<Arc<RawValue>>,
    pub(super) quarantine: BTreeSet<Box<str>>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Owed {
    pub(super) attempts: u32,
    pub(super) due: UnixMillis,
}

#[derive(Clone, Debug)]
pub(super) struct Death {
    pub(super) attempts: u32,
    pub(super) at: UnixMillis,
    pub(super) reason: Box<str>,
}

impl Tables {
    pub(super) fn register(&mut self, names: &[HandlerName]) -> Vec<HandlerId> {
        for name in names {
            if !self.handlers.contains(name) {
                self.handlers.push(name.clone());
            }
        }
        names.iter().filter_map(|name| self.handler(name)).collect()
    }

    pub(super) fn handler(&self, name: &HandlerName) -> Option<HandlerId> {
        let place = self.handlers.iter().position(|known| known == name)?;
        Some(HandlerId(place as i64 + 1))
    }

    pub(super) fn accounts(&self) -> Vec<AccountState> {
        self.accounts.iter().map(|(key, account)| account.state(key)).collect()
    }

    pub(super) fn record_wake_ups(&mut self, wake_ups: Vec<WakeUp>) -> Vec<u64> {
        let record = |WakeUp { account, token, at }| {
            let account = self.accounts.entry(account).or_default();
            account.wake_ups += 1;
            (account.token, account.woken_at) = (token, at);
            account.wake_ups
        };
        wake_ups.into_iter().map(record).collect()
    }

    pub(super) fn claim(&mut self, key: &AccountKey, under: Fence, now: UnixMillis) -> Option<Claim> {
        let account = self.accounts.entry(key.clone()).or_default();
        if account.holder.fence != under {
            return None;
        }
        account.claim += 1;
        account.began.get_or_insert(now);
        Some(account.claimed(key))
    }

    /// The account of `claim`, unless that is out of date.
    pub(super) fn claimed(&mut self, claim: &Claim) -> Option<&mut Account> {
        let account = self.accounts.get_mut(&claim.account)?;
        (account.claim == claim.fence && account.cursor == claim.cursor).then_some(account)
    }

    pub(super) fn reset_cursor(&mut self, claim: Claim) -> Option<Claim> {
        let account = self.claimed(&claim)?;
        account.cursor = None;
        Some(account.claimed(&claim.account))
    }

    pub(super) fn record_reply(&mut self, reply: SentReply) -> Result<(), StoreError> {
        if self.handler(&reply.handler).is_none() {
            return Err(StoreError::Backend("nobody of that name is registered".into()));
        }
        if self.reply(reply.lane, reply.msgid.as_str()).is_none() {
            self.replies.push(reply);
        }
        Ok(())
    }

    pub(super) fn replies_to(&self, lane: Lane, msgid: &Msgid) -> Vec<SentReply> {
        let replies = self.replies.iter();
        let mut found: Vec<_> = replies
            .filter(|reply| reply.lane == lane && reply.in_reply_to == *msgid)
            .cloned()
            .collect();
        found.sort_by_key(|reply| reply.at);
        found
    }

    pub(super) fn reply(&self, lane: Lane, msgid: &str) -> Option<SentReply> {
        let mut replies = self.replies.iter();
        replies
            .find(|reply| reply.lane == lane && reply.msgid.as_str() == msgid)
            .cloned()
    }

    pub(super) fn prune_replies(&mut self, before: UnixMillis, limit: usize) -> u64 {
        let mut gone = 0;
        self.replies.retain(|reply| {
            let goes = reply.at < before && gone < limit;
            gone += usize::from(goes);
            !goes
        });
        gone as u64
    }
}

impl Account {
    pub(super) fn state(&self, key: &AccountKey) -> AccountState {
        AccountState {
            account: key.clone(),
            pulled_at: self.pulled_at,
            newest_wake_up: self.wake_ups,
            wake_up: (self.wake_ups > self.answered).then(|| UnansweredWakeUp {
                number: self.wake_ups,
                token: self.token.clone(),
                at: self.woken_at,
            }),
        }
    }

    /// The newest claim of it.
    pub(super) fn claimed(&self, key: &AccountKey) -> Claim {
        let first_pull = self.began.filter(|_| self.pulled_at.is_none());
        Claim {
            account: key.clone(),
            cursor: self.cursor.clone(),
            first_pull: first_pull.map(|began| FirstPull { began }),
            account_id: 0,
            fence: self.claim,
        }
    }
}
