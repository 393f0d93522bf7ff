//! How long until WeCom forgets a message that nobody has pulled.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::UnixMillis;
use crate::id::OpenKfid;

/// How long WeCom keeps a message.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94670>
pub(super) const HISTORY: Duration = Duration::from_secs(72 * 60 * 60);

/// When each account of one application was last pulled to the end.
#[derive(Debug, Default)]
pub(super) struct Deadlines(HashMap<OpenKfid, UnixMillis>);

impl Deadlines {
    /// Everything that `open_kfid` got before `at` is stored, as far as is known. What is known better stays.
    pub(super) fn assume(&mut self, open_kfid: &OpenKfid, at: UnixMillis) {
        self.0.entry(open_kfid.clone()).or_insert(at);
    }

    /// Everything that `open_kfid` got before `at` is stored.
    pub(super) fn caught_up(&mut self, open_kfid: &OpenKfid, at: UnixMillis) {
        self.0.insert(open_kfid.clone(), at);
    }

    /// `open_kfid` is not ours to pull: nothing of it can be lost.
    pub(super) fn not_ours(&mut self, open_kfid: &OpenKfid) {
        self.0.remove(open_kfid);
    }

    /// Time left to the account that is worst off.
    pub(super) fn left(&self, now: UnixMillis) -> Duration {
        let oldest = self.0.values().min().copied().unwrap_or(now);
        HISTORY.saturating_sub(now.since(oldest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    #[test]
    fn it_counts_down_from_three_days_for_the_account_that_is_worst_off() {
        let [a, b] = ["a", "b"].map(OpenKfid::from);
        let (start, mut deadlines) = (UnixMillis::from_secs(1_785_571_200), Deadlines::default());
        assert_eq!(deadlines.left(start), 72 * HOUR, "nothing to lose");
        deadlines.assume(&a, start);
        deadlines.assume(&b, start);
        deadlines.caught_up(&a, start.plus(HOUR));
        assert_eq!(deadlines.left(start.plus(2 * HOUR)), 70 * HOUR);
        deadlines.assume(&b, start.plus(2 * HOUR));
        assert_eq!(deadlines.left(start.plus(2 * HOUR)), 70 * HOUR, "no more is known");
        deadlines.caught_up(&b, start.plus(2 * HOUR));
        assert_eq!(deadlines.left(start.plus(2 * HOUR)), 71 * HOUR);
        deadlines.not_ours(&a);
        assert_eq!(deadlines.left(start.plus(2 * HOUR)), HISTORY);
        assert_eq!(deadlines.left(start.plus(100 * HOUR)), Duration::ZERO, "and no further");
    }
}
