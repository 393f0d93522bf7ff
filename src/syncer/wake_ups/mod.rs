//! What callbacks said and no pull has answered yet: one entry per account, however many callbacks come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tracing::Span;

use crate::clock::UnixMillis;
use crate::id::{AccountKey, AppName, CallbackToken, OpenKfid};
use crate::store::{UnansweredWakeUp, WakeUp};

mod entry;
#[cfg(test)]
mod tests;

use entry::Entry;

/// Wake-ups of one application. The answer to a callback waits for nothing but this map.
#[derive(Debug)]
pub struct WakeUps {
    app: AppName,
    told: Mutex<Told>,
    /// Wakes whoever waits in the order of coming, where a `watch` draws lots: so a run can be repeated.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Told {
    entries: BTreeMap<OpenKfid, Entry>,
    /// Woken since the schedule last looked.
    awake: BTreeSet<OpenKfid>,
    /// Granted to the application since the schedule last looked.
    granted: BTreeSet<OpenKfid>,
}

impl Told {
    /// That of `open_kfid`, which is known from now on.
    fn entry(&mut self, open_kfid: &OpenKfid) -> &mut Entry {
        self.entries.entry(open_kfid.clone()).or_default()
    }
}

impl WakeUps {
    pub(super) fn new(app: AppName) -> Self {
        Self {
            app,
            told: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// `open_kfid` has news. Takes no longer than a look into a map.
    pub fn wake(&self, open_kfid: OpenKfid, token: Option<CallbackToken>, now: UnixMillis) {
        let mut told = self.told();
        // While a storm lasts, nearly every callback repeats one that nobody has looked at yet: whoever is to hear of
        // it has been told, and only its token is news.
        if told.awake.contains(&open_kfid)
            && let Some(entry) = told.entries.get_mut(&open_kfid)
            && entry.is_unsaved()
        {
            entry.wake(token, now);
            return;
        }
        told.entry(&open_kfid).wake(token, now);
        told.awake.insert(open_kfid);
        drop(told);
        self.changed.notify_waiters();
    }

    /// Some account has news and the callback does not say which: every account known may be it. Its token belongs to
    /// one of them only, so it is not used.
    pub fn wake_all(&self, now: UnixMillis) {
        let mut told = self.told();
        let Told { entries, awake, .. } = &mut *told;
        for (open_kfid, entry) in entries {
            entry.wake(None, now);
            awake.insert(open_kfid.clone());
        }
        drop(told);
        self.changed.notify_waiters();
    }

    /// The application may read `open_kfid` from now on: if it was refused before, that is over.
    pub fn granted(&self, open_kfid: OpenKfid, now: UnixMillis) {
        self.told().granted.insert(open_kfid.clone());
        self.wake(open_kfid, None, now);
    }

    /// Waits for the next wake-up, counted from this call: who calls before they look miss none.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Makes `open_kfid` known without waking it, so that [`wake_all`](Self::wake_all) reaches it.
    pub(super) fn know(&self, open_kfid: &OpenKfid) {
        self.told().entry(open_kfid);
    }

    /// Takes up a wake-up that an earlier process left in the store.
    pub(super) fn restore(&self, open_kfid: &OpenKfid, wake_up: UnansweredWakeUp) {
        self.told().entry(open_kfid).restore(wake_up);
    }

    /// `open_kfid` is this process's to pull from now on, among others that share the store. Its wake-ups up to `newest`
    /// are acted on.
    pub(super) fn take_up(&self, open_kfid: &OpenKfid, newest: u64) {
        self.told().entry(open_kfid).take_up(newest);
    }

    /// `open_kfid` is somebody else's to pull.
    pub(super) fn let_go(&self, open_kfid: &OpenKfid) {
        if let Some(entry) = self.told().entries.get_mut(open_kfid) {
            entry.let_go();
        }
    }

    /// The store tells of a wake-up, maybe one that another process recorded: `open_kfid` is woken unless it was acted on.
    pub(super) fn hear(&self, open_kfid: &OpenKfid, wake_up: UnansweredWakeUp) {
        let mut told = self.told();
        let entry = told.entries.get_mut(open_kfid);
        if entry.is_some_and(|entry| entry.hear(wake_up)) {
            told.awake.insert(open_kfid.clone());
            drop(told);
            self.changed.notify_waiters();
        }
    }

    /// Takes the accounts woken since the last time.
    pub(super) fn take_awake(&self) -> BTreeSet<OpenKfid> {
        std::mem::take(&mut self.told().awake)
    }

    /// Takes the accounts granted since the last time.
    pub(super) fn take_granted(&self) -> BTreeSet<OpenKfid> {
        std::mem::take(&mut self.told().granted)
    }

    /// Number of the newest wake-up of `open_kfid` in the store: a page asked for from now on answers it.
    pub(super) fn number(&self, open_kfid: &OpenKfid) -> u64 {
        self.told().entries.get(open_kfid).map_or(0, Entry::number)
    }

    /// Takes the span of the callback that woke `open_kfid`.
    pub(super) fn take_callback(&self, open_kfid: &OpenKfid) -> Option<Span> {
        self.told().entries.get_mut(open_kfid)?.take_callback()
    }

    /// Ticket to pull `open_kfid` with, if there is one that WeCom still honours.
    pub(super) fn token(&self, open_kfid: &OpenKfid, now: UnixMillis) -> Option<CallbackToken> {
        self.told().entries.get(open_kfid)?.token(now)
    }

    /// WeCom refused `token`: it is not used again.
    pub(super) fn token_refused(&self, open_kfid: &OpenKfid, refused: &CallbackToken) {
        if let Some(entry) = self.told().entries.get_mut(open_kfid) {
            entry.token_refused(refused);
        }
    }

    /// Takes what is not in the store yet.
    pub(super) fn take_unsaved(&self) -> Vec<WakeUp> {
        let mut told = self.told();
        let unsaved = told.entries.iter_mut().filter_map(|(open_kfid, entry)| {
            let (token, at) = entry.take_unsaved()?;
            let account = AccountKey::new(self.app.clone(), open_kfid.clone());
            Some(WakeUp { account, token, at })
        });
        unsaved.collect()
    }

    /// The store gave `saved` these numbers.
    pub(super) fn saved(&self, saved: &[AccountKey], numbers: &[u64]) {
        let mut told = self.told();
        let Told { entries, awake, .. } = &mut *told;
        let mut missed = false;
        for (AccountKey { open_kfid, .. }, number) in saved.iter().zip(numbers) {
            let entry = entries.get_mut(open_kfid);
            if entry.is_some_and(|entry| entry.saved(*number)) {
                awake.insert(open_kfid.clone());
                missed = true;
            }
        }
        drop(told);
        if missed {
            self.changed.notify_waiters();
        }
    }

    /// The store did not take `wake_ups`: they are to be saved again.
    pub(super) fn not_saved(&self, wake_ups: Vec<WakeUp>) {
        let mut told = self.told();
        for WakeUp { account, at, .. } in wake_ups {
            told.entry(&account.open_kfid).not_saved(at);
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
