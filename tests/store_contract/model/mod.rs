//! Any sequence of operations, crashes among them, leaves a store in the state that a simple model is in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use wecom_kf::clock::UnixMillis;
use wecom_kf::id::{AccountKey, CallbackToken, Msgid};
use wecom_kf::store::{
    Claim, Commit, DeadSelect, Fence, Finish, FirstPull, HandlerId, Intake, Lane, NewMessage, Page, PageEnds, Seq,
    Store, Verdict, WakeUp,
};

use self::operation::{Draft, Fate, Operation, Selection, Which, operation};
use crate::bench::{Bench, account, handler, json, neighbours, stranger};

mod compare;
mod operation;

const HANDLERS: [&str; 2] = ["bot", "crm"];
const ACCOUNTS: [&str; 2] = ["wk1", "wk2"];

pub(crate) fn any_sequence_of_operations_agrees_with_the_model<B: Bench>() {
    let config = ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    proptest!(config, |(operations in prop::collection::vec(operation(), 1..50))| {
        runtime.block_on(agree::<B>(&operations));
    });
}

/// What a store must be in the state of.
#[derive(Default)]
struct Model {
    /// Moves on with every operation.
    now: i64,
    accounts: BTreeMap<usize, Account>,
    /// In the order of commits.
    messages: Vec<Message>,
    deliveries: BTreeMap<(usize, Key), Delivery>,
    dead: BTreeMap<(usize, Key), Death>,
    replays: u64,
    /// Numbers that the store gave. Kept when messages are pruned.
    numbers: BTreeMap<Key, Seq>,
    /// Messages ever stored.
    stored: usize,
}

/// A message by how many were stored before it.
type Key = usize;

#[derive(Default)]
struct Account {
    fence: u64,
    cursor: Option<String>,
    began: Option<i64>,
    pulled: Option<i64>,
    wake_ups: u64,
    answered: u64,
    token: Option<String>,
    woken: i64,
    /// Claims the store gave, with the fence and cursor they stand for.
    claims: Vec<(Claim, u64, Option<String>)>,
}

struct Message {
    key: Key,
    account: usize,
    draft: Draft,
    lane: Lane,
    received: i64,
}

#[derive(Clone, PartialEq, Debug)]
struct Delivery {
    attempts: u32,
    due: i64,
}

#[derive(Clone, PartialEq, Debug)]
struct Death {
    at: i64,
    attempts: u32,
}

fn key_of(account_number: usize) -> AccountKey {
    account(ACCOUNTS[account_number])
}

fn lane_of(account_number: usize, customer: usize) -> Lane {
    // Three customers share a shard, the fourth stands apart.
    let name = neighbours(3).get(customer).cloned().unwrap_or_else(stranger);
    Lane::of(&key_of(account_number), &name)
}

fn body_of(draft: &Draft) -> String {
    format!("[{},{}]", draft.msgid, draft.body)
}

fn msgid_of(draft: &Draft) -> Msgid {
    Msgid::from(format!("m{}", draft.msgid).as_str())
}

async fn agree<B: Bench>(operations: &[Operation]) {
    let mut bench = B::default();
    let mut store = bench.open().await;
    let names = HANDLERS.map(handler);
    let ids = store.register_handlers(&names).await.unwrap();
    let mut model = Model::default();
    for operation in operations {
        model.now += 1;
        match operation {
            Operation::Reopen => {
                drop(store);
                store = bench.open().await;
            }
            Operation::Crash => {
                let left = bench.killed();
                drop(store);
                bench = left;
                store = bench.open().await;
            }
            _ => model.apply(&store, &ids, operation).await,
        }
        model.compare(&store, &ids).await;
    }
}

impl Model {
    async fn apply(&mut self, store: &Arc<dyn Store>, ids: &[HandlerId], operation: &Operation) {
        let now = UnixMillis(self.now);
        match operation {
            Operation::WakeUp { account, token } => {
                let token = token.map(|token| format!("ENC{token}"));
                let wake_up = WakeUp {
                    account: key_of(*account),
                    token: token.clone().map(CallbackToken::new),
                    at: now,
                };
                let of = self.accounts.entry(*account).or_default();
                of.wake_ups += 1;
                (of.token, of.woken) = (token, now.0);
                assert_eq!(store.record_wake_ups(vec![wake_up]).await.unwrap(), [of.wake_ups]);
            }
            Operation::Claim { account } => {
                let claim = store
                    .claim(&key_of(*account), Fence::FIRST, now)
                    .await
                    .unwrap()
                    .unwrap();
                let of = self.accounts.entry(*account).or_default();
                of.fence += 1;
                of.began.get_or_insert(now.0);
                of.take(claim);
            }
            Operation::Commit {
                account,
                claim,
                messages,
                ends,
                moves,
            } => {
                if let Some(claim) = self.pick(*account, *claim) {
                    self.commit(store, ids, *account, claim, messages, *ends, *moves).await;
                }
            }
            Operation::ResetCursor { account, claim } => {
                if let Some((claim, current)) = self.pick(*account, *claim) {
                    let reset = store.reset_cursor(claim).await.unwrap();
                    assert_eq!(reset.is_some(), current);
                    if let Some(claim) = reset {
                        let of = self.accounts.get_mut(account).unwrap();
                        of.cursor = None;
                        of.take(claim);
                    }
                }
            }
            Operation::Finish(fates) => self.finish(store, ids, fates).await,
            Operation::Replay(selection) => {
                let selected = self.selected(*selection);
                let replayed = store.replay_dead(self.select(*selection), now).await.unwrap();
                assert_eq!(replayed, selected.len() as u64);
                self.replays += u64::from(replayed > 0);
                for letter in selected {
                    self.dead.remove(&letter);
                    let due = now.0;
                    self.deliveries.insert(letter, Delivery { attempts: 0, due });
                }
            }
            Operation::Drop(selection) => {
                let selected = self.selected(*selection);
                let dropped = store.drop_dead(self.select(*selection)).await.unwrap();
                assert_eq!(dropped, selected.len() as u64);
                self.dead.retain(|letter, _| !selected.contains(letter));
            }
            Operation::Prune { before, limit } => {
                let kept: BTreeSet<Key> = self
                    .deliveries
                    .keys()
                    .chain(self.dead.keys())
                    .map(|(_, key)| *key)
                    .collect();
                let goes = |message: &&Message| message.received < *before && !kept.contains(&message.key);
                let gone: BTreeSet<Key> = self.messages.iter().filter(goes).take(*limit).map(|m| m.key).collect();
                let pruned = store.prune(UnixMillis(*before), *limit).await.unwrap();
                assert_eq!(pruned, gone.len() as u64);
                self.messages.retain(|message| !gone.contains(&message.key));
            }
            Operation::Reopen | Operation::Crash => unreachable!("done outside"),
        }
    }

    /// A claim of the account, and whether the store must honour it.
    fn pick(&self, account: usize, which: Which) -> Option<(Claim, bool)> {
        let of = self.accounts.get(&account)?;
        let index = match which {
            Which::Current => of.claims.len().checked_sub(1)?,
            Which::Earlier => of.claims.len().checked_sub(2)?,
        };
        let (claim, fence, cursor) = &of.claims[index];
        Some((claim.clone(), (fence, cursor) == (&of.fence, &of.cursor)))
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one operation")]
    async fn commit(
        &mut self,
        store: &Arc<dyn Store>,
        ids: &[HandlerId],
        account: usize,
        (claim, current): (Claim, bool),
        drafts: &[Draft],
        ends: Option<u64>,
        moves: bool,
    ) {
        let next = moves.then(|| format!("c{}", self.now));
        let page = Page {
            claim,
            next_cursor: next.clone().map(Into::into),
            messages: drafts.iter().map(|draft| new_message(ids, account, draft)).collect(),
            received: UnixMillis(self.now),
            ends: ends.map_or(PageEnds::More, |answers| PageEnds::Pull { answers }),
        };
        let stored = match store.commit_page(page).await.unwrap() {
            Commit::Stored(stored) => {
                assert!(current, "a stale page was taken");
                stored
            }
            other => {
                assert!(!current, "a current page was refused: {other:?}");
                return;
            }
        };
        let intake: Vec<Intake> = drafts.iter().map(|draft| self.take_in(account, draft)).collect();
        assert_eq!(stored.messages, intake);
        let now = self.now;
        let of = self.accounts.get_mut(&account).unwrap();
        of.cursor = next.or_else(|| of.cursor.take());
        if let Some(answers) = ends {
            of.pulled = Some(now);
            of.answered = of.answered.max(answers.min(of.wake_ups));
        }
        of.take(stored.claim);
    }

    fn take_in(&mut self, account: usize, draft: &Draft) -> Intake {
        let identity = |draft: &Draft| (draft.msgid, draft.send_time);
        let mut known = self.messages.iter();
        let known = known.find(|known| known.account == account && identity(&known.draft) == identity(draft));
        match known {
            Some(known) if known.draft.body == draft.body => Intake::Repeated,
            Some(_) => Intake::Conflicting,
            None => {
                let key = self.stored;
                self.stored += 1;
                let lane = lane_of(account, draft.customer);
                let (draft, received) = (draft.clone(), self.now);
                for handler in &draft.owed_to {
                    self.deliveries
                        .insert((*handler, key), Delivery { attempts: 0, due: 0 });
                }
                self.messages.push(Message {
                    key,
                    account,
                    draft,
                    lane,
                    received,
                });
                Intake::New
            }
        }
    }

    async fn finish(&mut self, store: &Arc<dyn Store>, ids: &[HandlerId], fates: &[(usize, usize, Fate)]) {
        let mut finished = Vec::new();
        for (handler, index, fate) in fates {
            let Some(message) = self.messages.get(*index) else {
                continue;
            };
            let Some(seq) = self.numbers.get(&message.key) else {
                continue;
            };
            let place = (*handler, message.key);
            let verdict = match fate {
                Fate::Done => Verdict::Done,
                Fate::Retry(attempts) => Verdict::Retry {
                    attempts: *attempts,
                    due: UnixMillis(self.now),
                },
                Fate::Dead => Verdict::Dead {
                    attempts: 9,
                    at: UnixMillis(self.now),
                    reason: "no".into(),
                },
            };
            finished.push(Finish {
                handler: ids[*handler],
                shard: message.lane.shard(),
                seq: *seq,
                under: Fence::FIRST,
                verdict,
            });
            let owed = self.deliveries.remove(&place).is_some();
            match fate {
                Fate::Retry(attempts) if owed => {
                    let (attempts, due) = (*attempts, self.now);
                    self.deliveries.insert(place, Delivery { attempts, due });
                }
                Fate::Dead if owed => {
                    let (at, attempts) = (self.now, 9);
                    self.dead.insert(place, Death { at, attempts });
                }
                _ => {}
            }
        }
        store.finish(finished).await.unwrap();
    }

    fn selected(&self, (handler, index): Selection) -> Vec<(usize, Key)> {
        let key = index.map(|index| self.messages.get(index).map(|message| message.key));
        let meant = |letter: &&(usize, Key)| {
            handler.is_none_or(|handler| handler == letter.0) && key.is_none_or(|key| key == Some(letter.1))
        };
        self.dead.keys().filter(meant).copied().collect()
    }

    fn select(&self, (of, index): Selection) -> DeadSelect {
        let number = |index: usize| self.messages.get(index).and_then(|m| self.numbers.get(&m.key));
        DeadSelect {
            handler: of.map(|of| handler(HANDLERS[of])),
            seq: index.map(|index| number(index).copied().unwrap_or(Seq(i64::MAX))),
        }
    }
}

impl Account {
    /// Keeps a claim that the store has just given, after checking that it says what it must.
    fn take(&mut self, claim: Claim) {
        assert_eq!(claim.cursor.as_deref(), self.cursor.as_deref());
        let began = self.began.filter(|_| self.pulled.is_none());
        assert_eq!(claim.first_pull.map(|FirstPull { began }| began.0), began);
        self.claims.push((claim, self.fence, self.cursor.clone()));
    }
}

fn new_message(ids: &[HandlerId], account: usize, draft: &Draft) -> NewMessage {
    NewMessage {
        msgid: msgid_of(draft),
        send_time: draft.send_time,
        lane: lane_of(account, draft.customer),
        kind: "text".into(),
        urgent: draft.urgent,
        body: json(&body_of(draft)),
        decoded: None,
        owed_to: draft.owed_to.iter().map(|number| ids[*number]).collect(),
    }
}
