//! Everything that can be read from a store, held against the model.

use std::collections::BTreeMap;
use std::sync::Arc;

use wecom_kf::clock::UnixMillis;
use wecom_kf::store::{DeadSelect, HandlerId, Lane, Seq, Store};

use super::{ACCOUNTS, HANDLERS, Key, Message, Model, body_of, key_of, msgid_of};
use crate::bench::beginning;

impl Model {
    pub(super) async fn compare(&mut self, store: &Arc<dyn Store>, ids: &[HandlerId]) {
        for (number, id) in ids.iter().enumerate() {
            self.compare_pending(store, number, *id).await;
            self.compare_urgent(store, number, *id).await;
        }
        self.compare_accounts(store).await;
        self.compare_dead(store).await;
        assert_eq!(store.replays().await.unwrap(), self.replays);
        for of in store.backlog().await.unwrap() {
            let number = ids.iter().position(|id| *id == of.id).unwrap();
            let count = |keys: Vec<&(usize, Key)>| keys.iter().filter(|(handler, _)| *handler == number).count() as u64;
            assert_eq!(of.pending, count(self.deliveries.keys().collect()));
            assert_eq!(of.dead, count(self.dead.keys().collect()));
        }
    }

    fn message(&self, key: Key) -> &Message {
        let message = self.messages.iter().find(|message| message.key == key);
        message.expect("what is owed or dead is never pruned")
    }

    async fn compare_pending(&mut self, store: &Arc<dyn Store>, number: usize, id: HandlerId) {
        let mut pending = store.pending(id, &beginning(), usize::MAX).await.unwrap();
        pending.sort_by_key(|delivery| delivery.seq);
        let owed: Vec<Key> = self.owed(number).collect();
        assert_eq!(pending.len(), owed.len());
        for (found, key) in pending.iter().zip(owed) {
            let message = self.message(key);
            let delivery = &self.deliveries[&(number, key)];
            assert_eq!(found.letter.msgid, msgid_of(&message.draft));
            assert_eq!(*found.letter.account, key_of(message.account));
            assert_eq!(found.letter.body.get(), body_of(&message.draft));
            assert_eq!((found.lane, found.urgent), (message.lane, message.draft.urgent));
            assert_eq!(
                (found.letter.received.0, found.attempts),
                (message.received, delivery.attempts)
            );
            assert_eq!(found.due.0, delivery.due);
            let seq = *self.numbers.entry(key).or_insert(found.seq);
            assert_eq!(seq, found.seq, "a number changed");
        }
        assert!(self.numbers.values().is_sorted_by(|a, b| a < b), "{:?}", self.numbers);
    }

    /// What is owed to a handler, in order.
    fn owed(&self, number: usize) -> impl Iterator<Item = Key> {
        let deliveries = self.deliveries.keys();
        deliveries
            .filter(move |(handler, _)| *handler == number)
            .map(|(_, key)| *key)
    }

    async fn compare_urgent(&self, store: &Arc<dyn Store>, number: usize, id: HandlerId) {
        for limit in 1..3 {
            let mut expected: Vec<Seq> = Vec::new();
            for position in beginning() {
                let shard: Vec<&Message> = self
                    .owed(number)
                    .map(|key| self.message(key))
                    .filter(|message| message.lane.shard() == position.shard)
                    .collect();
                let mut lanes: BTreeMap<Lane, Key> = BTreeMap::new();
                for message in shard.iter().filter(|message| message.draft.urgent) {
                    if lanes.len() == limit && !lanes.contains_key(&message.lane) {
                        break;
                    }
                    lanes.insert(message.lane, message.key);
                }
                let reached = shard
                    .iter()
                    .filter(|m| lanes.get(&m.lane).is_some_and(|last| m.key <= *last));
                expected.extend(reached.map(|message| self.numbers[&message.key]));
            }
            let mut found = store.pending_urgent(id, &beginning(), limit).await.unwrap();
            // Which shard comes first is the store's to choose; in each of them there is an order.
            found.sort_by_key(|delivery| delivery.lane.shard().number());
            let found: Vec<Seq> = found.iter().map(|delivery| delivery.seq).collect();
            assert_eq!(found, expected);
        }
    }

    async fn compare_accounts(&self, store: &Arc<dyn Store>) {
        let found = store.accounts().await.unwrap();
        assert_eq!(found.len(), self.accounts.len());
        for state in found {
            let number = (0..ACCOUNTS.len()).find(|n| key_of(*n) == state.account).unwrap();
            let of = &self.accounts[&number];
            assert_eq!(state.pulled_at, of.pulled.map(UnixMillis));
            let wake_up = state.wake_up.map(|wake_up| {
                let token = wake_up.token.map(|token| token.expose().to_owned());
                (wake_up.number, wake_up.at.0, token)
            });
            let unanswered = of.wake_ups > of.answered;
            assert_eq!(wake_up, unanswered.then(|| (of.wake_ups, of.woken, of.token.clone())));
        }
    }

    async fn compare_dead(&self, store: &Arc<dyn Store>) {
        let found = store.dead_letters(DeadSelect::default(), usize::MAX).await.unwrap();
        assert!(found.is_sorted_by_key(|letter| letter.at));
        assert_eq!(found.len(), self.dead.len());
        for letter in found {
            let of = (0..HANDLERS.len())
                .find(|n| HANDLERS[*n] == letter.handler.as_str())
                .unwrap();
            let mut keys = self.numbers.iter();
            let (key, _) = keys.find(|(_, seq)| **seq == letter.seq).expect("its number is known");
            let death = &self.dead[&(of, *key)];
            assert_eq!((letter.at.0, letter.attempts), (death.at, death.attempts));
            assert_eq!(letter.body.get(), body_of(&self.message(*key).draft));
        }
    }
}
