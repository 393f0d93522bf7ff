//! What callbacks said of one account, and how much of that is in the store.

use std::time::Duration;

use tracing::Span;

use crate::clock::UnixMillis;
use crate::id::CallbackToken;
use crate::span;
use crate::store::UnansweredWakeUp;

/// WeCom honours a callback's token for ten minutes by its own clock; we stop using it a little earlier by ours.
const TOKEN_LIFETIME: Duration = Duration::from_secs(570);

/// Wake-ups of one account, as one.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// Ticket of the newest callback that brought one, and when it came.
    token: Option<(CallbackToken, UnixMillis)>,
    /// Not yet in the store.
    unsaved: Option<UnixMillis>,
    /// Number of the newest wake-up that is in the store.
    number: u64,
    /// Number of the newest wake-up acted on, while the account is this process's to pull and others may record its
    /// wake-ups as well.
    acted: Option<u64>,
    /// Is being written down: it has a number already, or will have in a moment, that is not known here.
    saving: bool,
    /// Newest number heard of meanwhile. It may be the one that is not known here.
    heard: u64,
    /// Span of the newest callback, if anybody collects it.
    callback: Option<Span>,
}

impl Entry {
    /// A callback came.
    pub(super) fn wake(&mut self, token: Option<CallbackToken>, now: UnixMillis) {
        self.unsaved = Some(now);
        let current = Span::current();
        if current
            .metadata()
            .is_some_and(|metadata| metadata.target() == span::TARGET)
        {
            self.callback = Some(current);
        }
        if let Some(token) = token {
            self.token = Some((token, now));
        }
    }

    /// Whether one came that nobody has begun to write down.
    pub(super) fn is_unsaved(&self) -> bool {
        self.unsaved.is_some()
    }

    /// An earlier process left `wake_up` in the store.
    pub(super) fn restore(&mut self, wake_up: UnansweredWakeUp) {
        self.number = self.number.max(wake_up.number);
        if self.token.is_none() {
            self.token = wake_up.token.map(|token| (token, wake_up.at));
        }
    }

    /// The account is this process's to pull; wake-ups up to `newest` are acted on.
    pub(super) fn take_up(&mut self, newest: u64) {
        self.acted = Some(newest.max(self.number));
        self.heard = 0;
    }

    /// Somebody else pulls it.
    pub(super) fn let_go(&mut self) {
        self.acted = None;
    }

    /// The store tells of `wake_up`. Returns whether the account is to be pulled for it.
    pub(super) fn hear(&mut self, wake_up: UnansweredWakeUp) -> bool {
        if self.acted.is_none() {
            return false;
        }
        let UnansweredWakeUp { number, token, at } = wake_up;
        self.number = self.number.max(number);
        self.heard = self.heard.max(number);
        // The number tells which is newer: clocks of other machines may be wrong.
        if self.acted < Some(number)
            && let Some(token) = token
        {
            self.token = Some((token, at));
        }
        !self.saving && self.has_missed(self.heard)
    }

    /// Number of the newest one in the store.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Takes the span of the newest callback.
    pub(super) fn take_callback(&mut self) -> Option<Span> {
        self.callback.take()
    }

    /// Ticket to pull with, if there is one that WeCom still honours.
    pub(super) fn token(&self, now: UnixMillis) -> Option<CallbackToken> {
        let (token, at) = self.token.as_ref()?;
        (now.since(*at) < TOKEN_LIFETIME).then(|| token.clone())
    }

    /// WeCom does not honour `refused`.
    pub(super) fn token_refused(&mut self, refused: &CallbackToken) {
        self.token.take_if(|(token, _)| token.expose() == refused.expose());
    }

    /// Takes what is not in the store yet, which is being written down from now on: a ticket, and a moment.
    pub(super) fn take_unsaved(&mut self) -> Option<(Option<CallbackToken>, UnixMillis)> {
        let woken = self.unsaved.take()?;
        self.saving = true;
        // A token is as old as the callback that brought it, whatever came after.
        let token = self.token.clone();
        Some(token.map_or((None, woken), |(token, came)| (Some(token), came)))
    }

    /// The store gave `number` to what was taken. They grow by one: a gap means that somebody else recorded a wake-up
    /// before ours, and maybe after we acted. Returns whether the account is to be pulled for that.
    pub(super) fn saved(&mut self, number: u64) -> bool {
        self.saving = false;
        self.number = self.number.max(number);
        // Ours was acted on when it came.
        self.acted = self.acted.map(|acted| if acted + 1 == number { number } else { acted });
        self.has_missed(self.heard.max(number))
    }

    /// The store did not take what came at `at`.
    pub(super) fn not_saved(&mut self, at: UnixMillis) {
        self.saving = false;
        self.unsaved.get_or_insert(at);
    }

    /// Whether a wake-up up to `number` was not acted on yet. It is from now on: whoever asks wakes the account.
    fn has_missed(&mut self, number: u64) -> bool {
        let missed = self.acted.is_some_and(|acted| acted < number);
        if missed {
            self.acted = Some(number);
        }
        missed
    }
}
