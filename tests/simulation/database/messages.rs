//! Pages, and what becomes of messages that nobody needs any more.

use wecom_kf::clock::UnixMillis;
use wecom_kf::store::{Blanked, Commit, Intake, NewMessage, Page, PageEnds, Seq, ShardSet, Stored};

use super::tables::{Message, Owed, Tables};

impl Tables {
    pub(super) fn commit(&mut self, page: Page, news: &mut ShardSet) -> Commit {
        let Some(account) = self.claimed(&page.claim) else {
            return Commit::Superseded;
        };
        if page.next_cursor.is_some() {
            account.cursor = page.next_cursor.clone();
        }
        if let PageEnds::Pull { answers } = page.ends {
            account.pulled_at = Some(page.received);
            account.answered = account.answered.max(answers.min(account.wake_ups));
            if answers >= account.wake_ups {
                account.token = None;
            }
        }
        let claim = account.claimed(&page.claim.account);
        let messages = page.messages.iter().map(|message| self.take_in(&page, message, news));
        let messages = messages.collect();
        Commit::Stored(Stored { claim, messages })
    }

    fn take_in(&mut self, page: &Page, message: &NewMessage, news: &mut ShardSet) -> Intake {
        let identity = (page.claim.account.clone(), message.send_time, message.msgid.clone());
        if let Some(seq) = self.known.get(&identity) {
            let known = self.messages.get_mut(seq).expect("what is known has a row");
            let same = known.body.as_ref().is_none_or(|body| body.get() == message.body.get());
            if same {
                return Intake::Repeated;
            }
            known.quarantine.insert(message.body.get().into());
            return Intake::Conflicting;
        }
        self.last_seq += 1;
        let (seq, shard) = (Seq(self.last_seq), message.lane.shard());
        self.known.insert(identity, seq);
        let row = Message {
            account: page.claim.account.clone(),
            msgid: message.msgid.clone(),
            send_time: message.send_time,
            lane: message.lane,
            kind: message.kind.clone(),
            urgent: message.urgent,
            received: page.received,
            body: Some(message.body.clone()),
            quarantine: Default::default(),
        };
        self.messages.insert(seq, row);
        for handler in &message.owed_to {
            self.owed.insert((*handler, shard, seq), Owed::default());
            news.insert(shard);
        }
        Intake::New
    }

    pub(super) fn prune(&mut self, before: UnixMillis, limit: usize) -> u64 {
        let old = self.messages.iter().filter(|(_, message)| message.received < before);
        let free = old.map(|(seq, _)| *seq).filter(|seq| !self.is_kept(*seq));
        let gone: Vec<Seq> = free.take(limit).collect();
        for seq in &gone {
            if let Some(message) = self.messages.remove(seq) {
                self.known.remove(&(message.account, message.send_time, message.msgid));
            }
        }
        gone.len() as u64
    }

    pub(super) fn blank(&mut self, before: UnixMillis, after: Seq, limit: usize) -> Blanked {
        let behind = self.messages.range(Seq(after.0 + 1)..);
        let old = behind.filter(|(_, message)| message.received < before && message.body.is_some());
        let free = old.map(|(seq, _)| *seq).filter(|seq| !self.is_kept(*seq));
        let blanked: Vec<Seq> = free.take(limit).collect();
        for seq in &blanked {
            if let Some(message) = self.messages.get_mut(seq) {
                message.body = None;
                message.quarantine.clear();
            }
        }
        Blanked {
            bodies: blanked.len() as u64,
            next: blanked.last().copied().filter(|_| blanked.len() == limit),
        }
    }

    /// Whether somebody is owed the message, or buried it.
    fn is_kept(&self, seq: Seq) -> bool {
        self.owed.keys().any(|(_, _, owed)| *owed == seq) || self.dead.keys().any(|(_, dead)| *dead == seq)
    }
}
