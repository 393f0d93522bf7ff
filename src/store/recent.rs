//! Messages read lately, kept for the other handlers that are owed them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::{Letter, Seq};

/// Bytes of bodies that are kept. Decoded, a message takes about as much again.
const MOST_BYTES: usize = 4 << 20;

/// The last messages that were read. A stored message does not change while it is owed to anybody, and no sequence
/// number is given twice, so what is here is true.
#[derive(Default, Debug)]
pub(super) struct Recent {
    letters: HashMap<Seq, Arc<Letter>>,
    /// Oldest first.
    order: VecDeque<Seq>,
    bytes: usize,
}

impl Recent {
    /// The message numbered `seq`, if it is here.
    pub(super) fn find(&self, seq: Seq) -> Option<Arc<Letter>> {
        self.letters.get(&seq).map(Arc::clone)
    }

    /// Keeps what was read as the message numbered `seq`. Returns the one that was here before, if another was quicker.
    pub(super) fn keep(&mut self, seq: Seq, letter: Letter) -> Arc<Letter> {
        if let Some(letter) = self.find(seq) {
            return letter;
        }
        let letter = Arc::new(letter);
        self.bytes += letter.body.get().len();
        self.letters.insert(seq, Arc::clone(&letter));
        self.order.push_back(seq);
        while self.bytes > MOST_BYTES
            && let Some(oldest) = self.order.pop_front()
            && let Some(gone) = self.letters.remove(&oldest)
        {
            self.bytes -= gone.body.get().len();
        }
        letter
    }
}
