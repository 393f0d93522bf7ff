//! Messages that came in or were read lately, kept for the handlers that are owed them.

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::HashMap;

use super::{HandlerId, Letter, Seq};

/// Bytes of bodies that are kept. Decoded, a message takes about as much again.
const MOST_BYTES: usize = 8 << 20;

/// The last messages that were stored or read. A stored message does not change while it is owed to anybody, and nobody
/// asks for a number that is not stored.
#[derive(Default, Debug)]
pub(super) struct Recent {
    letters: HashMap<Seq, Arc<Letter>>,
    /// Oldest first.
    order: VecDeque<Seq>,
    bytes: usize,
    readers: Readers,
}

/// Handlers that had to read something.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Readers {
    #[default]
    None,
    One(HandlerId),
    Several,
}

impl Recent {
    /// The message numbered `seq`, if it is here.
    pub(super) fn find(&self, seq: Seq) -> Option<Arc<Letter>> {
        self.letters.get(&seq).map(Arc::clone)
    }

    /// Keeps what `reader` read as the message numbered `seq`, unless nobody else reads: none asks for it twice. Returns the
    /// one that was here before, if another was quicker.
    pub(super) fn keep(&mut self, seq: Seq, letter: Letter, reader: HandlerId) -> Arc<Letter> {
        if let Some(letter) = self.find(seq) {
            return letter;
        }
        let letter = Arc::new(letter);
        self.readers = match self.readers {
            Readers::None => Readers::One(reader),
            Readers::One(first) if first != reader => Readers::Several,
            readers => readers,
        };
        if self.readers == Readers::Several {
            self.insert(seq, Arc::clone(&letter));
        }
        letter
    }

    /// Keeps what is stored in this moment as the message numbered `seq`, in place of one that bore the number and was
    /// undone.
    pub(super) fn renew(&mut self, seq: Seq, letter: Letter) {
        self.insert(seq, Arc::new(letter));
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn insert(&mut self, seq: Seq, letter: Arc<Letter>) {
        self.bytes += letter.body.get().len();
        match self.letters.insert(seq, letter) {
            Some(before) => self.bytes -= before.body.get().len(),
            None => self.order.push_back(seq),
        }
        while self.bytes > MOST_BYTES
            && let Some(oldest) = self.order.pop_front()
            && let Some(gone) = self.letters.remove(&oldest)
        {
            self.bytes -= gone.body.get().len();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::clock::UnixMillis;
    use crate::id::{AccountKey, AppName, Msgid, OpenKfid};

    fn letter(msgid: &str, bytes: usize) -> Letter {
        let account = AccountKey::new(AppName::new("main").unwrap(), OpenKfid::from("wk1"));
        let body = RawValue::from_string("1".repeat(bytes)).unwrap();
        Letter::new(account.into(), Msgid::from(msgid), UnixMillis(0), body.into())
    }

    fn found(recent: &Recent, seq: i64) -> Option<String> {
        recent.find(Seq(seq)).map(|letter| letter.msgid.to_string())
    }

    #[test]
    fn what_is_stored_takes_the_place_of_what_was_undone() {
        let mut recent = Recent::default();
        recent.renew(Seq(7), letter("undone", 10));
        recent.renew(Seq(7), letter("stored", 10));
        assert_eq!(found(&recent, 7).unwrap(), "stored");
        let kept = recent.keep(Seq(7), letter("read", 10), HandlerId(1));
        assert_eq!(kept.msgid.as_str(), "stored");
        recent.clear();
        assert_eq!(found(&recent, 7), None);
    }

    #[test]
    fn the_oldest_go_when_the_bodies_are_too_many_bytes_however_often_one_is_renewed() {
        let mut recent = Recent::default();
        for _ in 0..3 {
            recent.renew(Seq(1), letter("first", MOST_BYTES / 2));
        }
        recent.renew(Seq(2), letter("second", MOST_BYTES / 2));
        assert_eq!([1, 2].map(|seq| found(&recent, seq).is_some()), [true, true]);
        recent.renew(Seq(3), letter("third", 1));
        assert_eq!([1, 2, 3].map(|seq| found(&recent, seq).is_some()), [false, true, true]);
        recent.renew(Seq(4), letter("fourth", MOST_BYTES / 2));
        assert_eq!([2, 3, 4].map(|seq| found(&recent, seq).is_some()), [false, true, true]);
    }

    #[test]
    fn what_is_read_is_kept_once_several_handlers_read() {
        let mut recent = Recent::default();
        let mut keep = |seq, reader| {
            let kept = recent.keep(Seq(seq), letter("read", 1), HandlerId(reader));
            assert_eq!(kept.msgid.as_str(), "read");
            recent.find(Seq(seq)).is_some()
        };
        assert!(!keep(1, 1));
        assert!(!keep(2, 1));
        assert!(keep(1, 2), "the first may be yet to come");
        assert!(keep(3, 2));
        assert!(keep(4, 1));
    }
}
