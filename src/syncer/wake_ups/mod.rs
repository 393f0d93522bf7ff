//! What callbacks said and no pull has answered yet: one entry per account, however many callbacks come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tracing::Span;

use crate::clock::UnixMillis;
use crate::id::{AccountKey, AppName, CallbackToken, OpenKfid};
use crate::span;
use crate::store::{UnansweredWakeUp, WakeUp};

/// WeCom honours a callback's token for ten minutes by its own clock; we stop using it a little earlier by ours.
const TOKEN_LIFETIME: Duration = Duration::from_secs(570);

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

#[derive(Debug, Default)]
struct Entry {
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
            && entry.unsaved.is_some()
        {
            entry.wake(token, now);
            return;
        }
        told.entries.entry(open_kfid.clone()).or_default().wake(token, now);
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
        self.told().entries.entry(open_kfid.clone()).or_default();
    }

    /// Takes up a wake-up that an earlier process left in the store.
    pub(super) fn restore(&self, open_kfid: &OpenKfid, wake_up: UnansweredWakeUp) {
        let mut told = self.told();
        let entry = told.entries.entry(open_kfid.clone()).or_default();
        entry.number = entry.number.max(wake_up.number);
        if entry.token.is_none() {
            entry.token = wake_up.token.map(|token| (token, wake_up.at));
        }
    }

    /// `open_kfid` is this process's to pull from now on, among others that share the store. Its wake-ups up to `newest`
    /// are acted on.
    pub(super) fn take_up(&self, open_kfid: &OpenKfid, newest: u64) {
        let mut told = self.told();
        let entry = told.entries.entry(open_kfid.clone()).or_default();
        entry.acted = Some(newest.max(entry.number));
        entry.heard = 0;
    }

    /// `open_kfid` is somebody else's to pull.
    pub(super) fn let_go(&self, open_kfid: &OpenKfid) {
        if let Some(entry) = self.told().entries.get_mut(open_kfid) {
            entry.acted = None;
        }
    }

    /// The store tells of a wake-up, maybe one that another process recorded: `open_kfid` is woken unless it was acted on.
    pub(super) fn hear(&self, open_kfid: &OpenKfid, wake_up: UnansweredWakeUp) {
        let mut told = self.told();
        let Told { entries, awake, .. } = &mut *told;
        let Some(entry) = entries.get_mut(open_kfid).filter(|entry| entry.acted.is_some()) else {
            return;
        };
        let UnansweredWakeUp { number, token, at } = wake_up;
        entry.number = entry.number.max(number);
        entry.heard = entry.heard.max(number);
        // The number tells which is newer: clocks of other machines may be wrong.
        if entry.acted < Some(number)
            && let Some(token) = token
        {
            entry.token = Some((token, at));
        }
        if !entry.saving && entry.has_missed(entry.heard) {
            awake.insert(open_kfid.clone());
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
        self.told().entries.get(open_kfid).map_or(0, |entry| entry.number)
    }

    /// Takes the span of the callback that woke `open_kfid`.
    pub(super) fn take_callback(&self, open_kfid: &OpenKfid) -> Option<Span> {
        self.told().entries.get_mut(open_kfid)?.callback.take()
    }

    /// Ticket to pull `open_kfid` with, if there is one that WeCom still honours.
    pub(super) fn token(&self, open_kfid: &OpenKfid, now: UnixMillis) -> Option<CallbackToken> {
        let told = self.told();
        let (token, at) = told.entries.get(open_kfid)?.token.as_ref()?;
        (now.since(*at) < TOKEN_LIFETIME).then(|| token.clone())
    }

    /// WeCom refused `token`: it is not used again.
    pub(super) fn token_refused(&self, open_kfid: &OpenKfid, refused: &CallbackToken) {
        if let Some(entry) = self.told().entries.get_mut(open_kfid)
            && entry
                .token
                .as_ref()
                .is_some_and(|(token, _)| token.expose() == refused.expose())
        {
            entry.token = None;
        }
    }

    /// Takes what is not in the store yet.
    pub(super) fn take_unsaved(&self) -> Vec<WakeUp> {
        let mut wake_ups = Vec::new();
        for (open_kfid, entry) in &mut self.told().entries {
            if let Some(at) = entry.unsaved.take() {
                entry.saving = true;
                // A token is as old as the callback that brought it, whatever came after.
                let (token, at) = entry
                    .token
                    .clone()
                    .map_or((None, at), |(token, came)| (Some(token), came));
                let account = AccountKey::new(self.app.clone(), open_kfid.clone());
                wake_ups.push(WakeUp { account, token, at });
            }
        }
        wake_ups
    }

    /// The store gave `saved` these numbers. They grow by one: a gap means that somebody else recorded a wake-up before
    /// ours, and maybe after we acted.
    pub(super) fn saved(&self, saved: &[AccountKey], numbers: &[u64]) {
        let mut told = self.told();
        let Told { entries, awake, .. } = &mut *told;
        let mut missed = false;
        for (account, number) in saved.iter().zip(numbers) {
            let Some(entry) = entries.get_mut(&account.open_kfid) else {
                continue;
            };
            entry.saving = false;
            entry.number = entry.number.max(*number);
            // Ours was acted on when it came.
            entry.acted = entry
                .acted
                .map(|acted| if acted + 1 == *number { *number } else { acted });
            if entry.has_missed(entry.heard.max(*number)) {
                awake.insert(account.open_kfid.clone());
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
        for wake_up in wake_ups {
            let entry = told.entries.entry(wake_up.account.open_kfid).or_default();
            entry.saving = false;
            entry.unsaved.get_or_insert(wake_up.at);
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Whether a wake-up up to `number` was not acted on yet. It is from now on: whoever asks wakes the account.
    fn has_missed(&mut self, number: u64) -> bool {
        let missed = self.acted.is_some_and(|acted| acted < number);
        if missed {
            self.acted = Some(number);
        }
        missed
    }

    fn wake(&mut self, token: Option<CallbackToken>, now: UnixMillis) {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> (WakeUps, OpenKfid) {
        (WakeUps::new(AppName::new("main").unwrap()), OpenKfid::from("wk1"))
    }

    #[test]
    fn a_thousand_callbacks_for_one_account_are_one_wake_up_with_the_newest_token() {
        let (board, wk1) = board();
        for n in 0..1000 {
            board.wake(wk1.clone(), Some(CallbackToken::new(format!("ENC{n}"))), UnixMillis(n));
        }
        assert_eq!(board.take_awake(), BTreeSet::from([wk1.clone()]));
        assert!(board.take_awake().is_empty());
        assert_eq!(board.take_unsaved().len(), 1);
        assert!(board.take_unsaved().is_empty());
        assert_eq!(board.token(&wk1, UnixMillis(999)).unwrap().expose(), "ENC999");
    }

    #[test]
    fn a_token_is_used_for_nine_and_a_half_minutes_unless_it_is_refused() {
        let (board, wk1) = board();
        let token = CallbackToken::new("ENC1");
        board.wake(wk1.clone(), Some(token.clone()), UnixMillis(0));
        assert!(board.token(&wk1, UnixMillis(569_999)).is_some());
        assert!(board.token(&wk1, UnixMillis(570_000)).is_none());
        board.token_refused(&wk1, &CallbackToken::new("another"));
        assert!(board.token(&wk1, UnixMillis(1)).is_some());
        board.token_refused(&wk1, &token);
        assert!(board.token(&wk1, UnixMillis(1)).is_none());
    }

    #[test]
    fn a_pull_answers_only_wake_ups_that_were_saved_before_it_began() {
        let (board, wk1) = board();
        board.wake(wk1.clone(), None, UnixMillis(1));
        let unsaved = board.take_unsaved();
        assert_eq!(board.number(&wk1), 0, "not known yet");
        board.saved(&[unsaved[0].account.clone()], &[7]);
        assert_eq!(board.number(&wk1), 7);
    }

    fn number(number: u64) -> UnansweredWakeUp {
        UnansweredWakeUp {
            number,
            token: None,
            at: UnixMillis(0),
        }
    }

    /// One wake-up that came here and was written down as the number `saved`, while the store told of `heard`.
    fn woken_again_after(saved: u64, heard_meanwhile: &[u64], heard_later: &[u64]) -> bool {
        let (board, wk1) = board();
        board.take_up(&wk1, 5);
        board.wake(wk1.clone(), None, UnixMillis(1));
        assert_eq!(board.take_awake().len(), 1);
        let unsaved = board.take_unsaved();
        heard_meanwhile
            .iter()
            .for_each(|heard| board.hear(&wk1, number(*heard)));
        assert!(board.take_awake().is_empty(), "it may be ours");
        board.saved(&[unsaved[0].account.clone()], &[saved]);
        heard_later.iter().for_each(|heard| board.hear(&wk1, number(*heard)));
        !board.take_awake().is_empty()
    }

    #[test]
    fn a_wake_up_of_our_own_is_not_acted_on_again_when_the_store_tells_of_it() {
        assert!(!woken_again_after(6, &[], &[]));
        assert!(!woken_again_after(6, &[6], &[6]));
        assert!(!woken_again_after(6, &[5], &[6, 6]));
    }

    #[test]
    fn a_wake_up_that_somebody_else_recorded_is_acted_on_before_or_after_ours() {
        assert!(woken_again_after(7, &[], &[]), "a gap");
        assert!(woken_again_after(6, &[7], &[]));
        assert!(woken_again_after(6, &[], &[7]));
    }

    #[test]
    fn a_wake_up_that_the_store_tells_of_is_acted_on_once_and_only_by_the_owner() {
        let (board, wk1) = board();
        board.know(&wk1);
        board.hear(&wk1, number(3));
        assert!(board.take_awake().is_empty(), "somebody else pulls it");
        board.take_up(&wk1, 3);
        board.hear(&wk1, number(3));
        assert!(board.take_awake().is_empty(), "it was taken up with that");
        let with_token = UnansweredWakeUp {
            token: Some(CallbackToken::new("ENC4")),
            ..number(4)
        };
        board.hear(&wk1, with_token);
        board.hear(&wk1, number(4));
        assert_eq!(board.take_awake().len(), 1);
        assert_eq!(board.token(&wk1, UnixMillis(0)).unwrap().expose(), "ENC4");
        board.hear(&wk1, number(4));
        assert!(board.take_awake().is_empty());
        assert_eq!(board.number(&wk1), 4, "a page asked for from now on answers it");
        board.let_go(&wk1);
        board.hear(&wk1, number(5));
        assert!(board.take_awake().is_empty());
    }

    #[test]
    fn a_later_wake_up_without_a_token_makes_the_saved_token_no_younger() {
        let (board, wk1) = board();
        board.wake(wk1.clone(), Some(CallbackToken::new("ENC1")), UnixMillis(1));
        board.wake(wk1, None, UnixMillis(500_000));
        let unsaved = board.take_unsaved();
        assert_eq!(unsaved[0].token.as_ref().unwrap().expose(), "ENC1");
        assert_eq!(unsaved[0].at, UnixMillis(1));
    }

    #[test]
    fn what_the_store_did_not_take_is_saved_again() {
        let (board, wk1) = board();
        board.wake(wk1, None, UnixMillis(1));
        let unsaved = board.take_unsaved();
        board.not_saved(unsaved);
        assert_eq!(board.take_unsaved().len(), 1);
    }

    #[test]
    fn a_callback_that_names_no_account_wakes_all_without_its_token() {
        let (board, wk1) = board();
        board.know(&wk1);
        board.wake_all(UnixMillis(1));
        assert_eq!(board.take_awake(), BTreeSet::from([wk1.clone()]));
        assert!(board.take_awake().is_empty());
        assert!(board.token(&wk1, UnixMillis(1)).is_none());
    }
}
