//! What is owed, how attempts ended, and what was given up.

use std::collections::BTreeMap;
use std::sync::Arc;

use wecom_kf::clock::UnixMillis;
use wecom_kf::id::HandlerName;
use wecom_kf::store::{
    Backlog, DeadLetter, DeadSelect, Finish, HandlerId, Lane, Letter, Pending, Position, Seq, ShardSet, URGENT_REACH,
    Verdict,
};

use super::tables::{Death, Owed, Tables};

impl Tables {
    pub(super) fn backlog(&self) -> Vec<Backlog> {
        let of = |(place, name): (usize, &HandlerName)| {
            let id = HandlerId(place as i64 + 1);
            let owed = self.owed.keys().filter(|(handler, ..)| *handler == id);
            let oldest = owed.clone().map(|(.., seq)| *seq).min();
            Backlog {
                id,
                handler: name.clone(),
                pending: owed.count() as u64,
                dead: self.dead.keys().filter(|(handler, _)| *handler == id).count() as u64,
                oldest: oldest.map(|seq| self.messages[&seq].received),
            }
        };
        self.handlers.iter().enumerate().map(of).collect()
    }

    pub(super) fn pending(&self, handler: HandlerId, after: &[Position], limit_each: usize) -> Vec<Pending> {
        let read = |position: &Position| {
            let owed = self.owed_behind(handler, *position).take(limit_each);
            owed.map(|(seq, owed)| self.row(seq, owed)).collect::<Vec<_>>()
        };
        after.iter().flat_map(read).collect()
    }

    pub(super) fn pending_urgent(&self, handler: HandlerId, after: &[Position], limit_each: usize) -> Vec<Pending> {
        let mut found = Vec::new();
        for position in after {
            let mut last: BTreeMap<Lane, Seq> = BTreeMap::new();
            for (seq, _) in self.owed_behind(handler, *position) {
                let message = &self.messages[&seq];
                if !message.urgent {
                    continue;
                }
                if last.len() == limit_each && !last.contains_key(&message.lane) {
                    break;
                }
                last.insert(message.lane, seq);
            }
            let up_to_last = |seq: Seq| last.get(&self.messages[&seq].lane).is_some_and(|last| seq <= *last);
            let rows: Vec<_> = self
                .owed_behind(handler, *position)
                .filter(|(seq, _)| up_to_last(*seq))
                .map(|(seq, owed)| self.row(seq, owed))
                .collect();
            let within_reach = |lane| rows.iter().filter(|row| row.lane == lane).count() <= URGENT_REACH;
            found.extend(rows.iter().filter(|row| within_reach(row.lane)).cloned());
        }
        found
    }

    fn owed_behind(
        &self,
        handler: HandlerId,
        Position { shard, after }: Position,
    ) -> impl Iterator<Item = (Seq, Owed)> {
        let behind = (handler, shard, Seq(after.0 + 1))..=(handler, shard, Seq(i64::MAX));
        self.owed.range(behind).map(|((.., seq), owed)| (*seq, *owed))
    }

    fn row(&self, seq: Seq, owed: Owed) -> Pending {
        let message = &self.messages[&seq];
        let body = message.body.clone().expect("what is owed keeps its body");
        Pending {
            seq,
            lane: message.lane,
            letter: Arc::new(Letter::new(
                message.account.clone().into(),
                message.msgid.clone(),
                message.received,
                body,
            )),
            attempts: owed.attempts,
            due: owed.due,
            urgent: message.urgent,
        }
    }

    pub(super) fn finish(&mut self, finished: Vec<Finish>) -> u64 {
        let mut refused = 0;
        for finish in finished {
            let place = (finish.handler, finish.shard, finish.seq);
            let current = self.holder(finish.shard).fence == finish.under;
            match finish.verdict {
                Verdict::Done => drop(self.owed.remove(&place)),
                _ if !current => refused += u64::from(self.owed.contains_key(&place)),
                Verdict::Retry { attempts, due } => {
                    if let Some(owed) = self.owed.get_mut(&place) {
                        *owed = Owed { attempts, due };
                    }
                }
                Verdict::Dead { attempts, at, reason } => {
                    if self.owed.remove(&place).is_some() {
                        let death = Death { attempts, at, reason };
                        self.dead.insert((finish.handler, finish.seq), death);
                    }
                }
                other => unreachable!("no such verdict: {other:?}"),
            }
        }
        refused
    }

    pub(super) fn forget_owed(&mut self, name: &HandlerName, limit: usize) -> u64 {
        let of = self.handler(name);
        let mut gone = 0;
        self.owed.retain(|(handler, ..), _| {
            let goes = Some(*handler) == of && gone < limit;
            gone += usize::from(goes);
            !goes
        });
        gone as u64
    }

    fn is_meant(&self, select: &DeadSelect, (handler, seq): (HandlerId, Seq)) -> bool {
        let named = |name: &HandlerName| self.handler(name) == Some(handler);
        select.handler.as_ref().is_none_or(named) && select.seq.is_none_or(|only| only == seq)
    }

    pub(super) fn dead_letters(&self, select: &DeadSelect, limit: usize) -> Vec<DeadLetter> {
        let mut meant: Vec<_> = self
            .dead
            .iter()
            .filter(|(key, _)| self.is_meant(select, **key))
            .collect();
        meant.sort_by_key(|((_, seq), death)| (death.at, *seq));
        let letter = |((handler, seq), death): (&(HandlerId, Seq), &Death)| {
            let message = &self.messages[seq];
            let body = message.body.as_ref().expect("what is dead keeps its body");
            DeadLetter {
                handler: self.handlers[handler.0 as usize - 1].clone(),
                seq: *seq,
                account: message.account.clone(),
                msgid: message.msgid.clone(),
                kind: message.kind.clone(),
                attempts: death.attempts,
                at: death.at,
                reason: death.reason.clone(),
                body: (**body).to_owned(),
            }
        };
        meant.into_iter().take(limit).map(letter).collect()
    }

    pub(super) fn replay_dead(&mut self, select: &DeadSelect, now: UnixMillis, news: &mut ShardSet) -> u64 {
        let replayed = self.drop_dead(select);
        for (handler, seq) in &replayed {
            let shard = self.messages[seq].lane.shard();
            let owed = Owed { attempts: 0, due: now };
            self.owed.insert((*handler, shard, *seq), owed);
            news.insert(shard);
        }
        self.replays += u64::from(!replayed.is_empty());
        replayed.len() as u64
    }

    pub(super) fn drop_dead(&mut self, select: &DeadSelect) -> Vec<(HandlerId, Seq)> {
        let meant = self.dead.keys().filter(|key| self.is_meant(select, **key));
        let meant: Vec<_> = meant.copied().collect();
        for key in &meant {
            self.dead.remove(key);
        }
        meant
    }
}
