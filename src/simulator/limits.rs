//! How often one may ask, and what happens to whoever asks more often.
//!
//! Every limit is a [`Quota`]: so many in a window, and a block as long as the window for going over it.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/90312>

use std::time::Duration;

use crate::clock::UnixMillis;

/// How often WeCom's calls may be made. The defaults are WeCom's where WeCom says, else a guess on the strict side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Calls of one API in a minute: 10,000.
    pub per_minute: u32,
    /// Calls of one API in an hour: 150,000.
    pub per_hour: u32,
    /// `sync_msg` calls without a valid callback token in a minute: 10. One more blocks `sync_msg` for a minute.
    pub tokenless_per_minute: u32,
    /// `gettoken` calls in a minute: 30. WeCom only says "not frequently".
    pub gettoken_per_minute: u32,
    /// Wrong secrets in an hour: 5. One more bans the caller from `gettoken` for an hour. WeCom gives no number.
    pub wrong_secrets_per_hour: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_minute: 10_000,
            per_hour: 150_000,
            tokenless_per_minute: 10,
            gettoken_per_minute: 30,
            wrong_secrets_per_hour: 5,
        }
    }
}

pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(60 * 60);

/// Whether one more is allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Grant {
    Granted,
    /// One too many: a block begins.
    Exceeded,
    /// Asked within a block, which a well-behaved client never does.
    Blocked,
}

/// So many in a window of time.
#[derive(Debug)]
pub(super) struct Quota {
    limit: u32,
    window: Duration,
    opened: UnixMillis,
    used: u32,
    blocked_until: Option<UnixMillis>,
}

impl Quota {
    pub(super) fn new(limit: u32, window: Duration) -> Self {
        Self {
            limit,
            window,
            opened: UnixMillis::default(),
            used: 0,
            blocked_until: None,
        }
    }

    /// Uses one up.
    pub(super) fn take(&mut self, now: UnixMillis) -> Grant {
        if self.is_blocked(now) {
            return Grant::Blocked;
        }
        if now.since(self.opened) >= self.window {
            self.opened = now;
            self.used = 0;
        }
        if self.used >= self.limit {
            self.block(now);
            return Grant::Exceeded;
        }
        self.used += 1;
        Grant::Granted
    }

    /// Blocks for one window.
    pub(super) fn block(&mut self, now: UnixMillis) {
        self.blocked_until = Some(now.plus(self.window));
        self.used = 0;
    }

    pub(super) fn is_blocked(&self, now: UnixMillis) -> bool {
        self.blocked_until.is_some_and(|until| now < until)
    }
}

/// Quotas of one API: by the minute and by the hour.
#[derive(Debug)]
pub(super) struct Budget {
    minute: Quota,
    hour: Quota,
}

impl Budget {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            minute: Quota::new(limits.per_minute, MINUTE),
            hour: Quota::new(limits.per_hour, HOUR),
        }
    }

    pub(super) fn take(&mut self, now: UnixMillis) -> Grant {
        match self.minute.take(now) {
            Grant::Granted => self.hour.take(now),
            refused => refused,
        }
    }

    /// Blocks for a minute.
    pub(super) fn block(&mut self, now: UnixMillis) {
        self.minute.block(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_too_many_blocks_for_a_window() {
        let mut quota = Quota::new(2, MINUTE);
        let start = UnixMillis::from_secs(1_000_000);
        assert_eq!(
            [0; 4].map(|_| quota.take(start)),
            [Grant::Granted, Grant::Granted, Grant::Exceeded, Grant::Blocked]
        );
        assert_eq!(
            quota.take(start.plus(MINUTE).minus(Duration::from_millis(1))),
            Grant::Blocked
        );
        assert_eq!(quota.take(start.plus(MINUTE)), Grant::Granted);
    }

    #[test]
    fn a_new_window_starts_afresh() {
        let mut quota = Quota::new(1, MINUTE);
        let start = UnixMillis::from_secs(1_000_000);
        assert_eq!(quota.take(start), Grant::Granted);
        assert_eq!(quota.take(start.plus(MINUTE)), Grant::Granted);
    }

    #[test]
    fn the_hour_runs_out_though_no_minute_does() {
        let mut budget = Budget::new(&Limits {
            per_minute: 2,
            per_hour: 3,
            ..Limits::default()
        });
        let start = UnixMillis::from_secs(1_000_000);
        let [second, third] = [1, 2].map(|n| start.plus(MINUTE * n));
        assert_eq!(
            [start, start, second, second].map(|now| budget.take(now)),
            [Grant::Granted, Grant::Granted, Grant::Granted, Grant::Exceeded]
        );
        assert_eq!(budget.take(third), Grant::Blocked);
        assert_eq!(budget.take(second.plus(HOUR)), Grant::Granted);
    }
}
