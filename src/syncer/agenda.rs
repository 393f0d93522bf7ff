//! Which account is pulled next, and which must rest. Pure: no I/O, and time comes in as an argument.
//!
//! Accounts with a callback's token go first and side by side; accounts without wait in a line of their own, one at a
//! time, because WeCom allows few calls without a token.

use std::collections::{BTreeSet, HashMap, VecDeque};

use tokio::time::Instant;

use super::pull::Fare;
use crate::id::OpenKfid;
use crate::store::Claim;

/// Every account of one application, and its turn.
#[derive(Debug)]
pub(super) struct Agenda {
    accounts: HashMap<OpenKfid, Account>,
    with_token: VecDeque<OpenKfid>,
    tokenless: VecDeque<OpenKfid>,
    /// At most one of each account.
    alarms: BTreeSet<(Instant, OpenKfid)>,
    /// Pulls at once.
    slots: usize,
    pulling: usize,
    pulling_tokenless: bool,
}

/// What is remembered of an account between its pulls.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) claim: Option<Claim>,
    /// Failures in a row.
    pub(super) failures: u32,
    /// Refusals of its cursor in a row.
    pub(super) cursor_refusals: u32,
    /// Messages asked for at once; 0 until it is set.
    pub(super) limit: u32,
    /// Whether it waits for an operator.
    pub(super) paused: bool,
    state: State,
    /// No pull before this moment, whatever happens.
    rests_until: Option<Instant>,
    /// When it is looked at again though nothing happened.
    alarm: Option<Instant>,
    /// Asked for while it was pulled or resting.
    wanted: Option<Fare>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Idle,
    Queued(Fare),
    Pulling(Fare),
}

impl Agenda {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            accounts: HashMap::new(),
            with_token: VecDeque::new(),
            tokenless: VecDeque::new(),
            alarms: BTreeSet::new(),
            slots,
            pulling: 0,
            pulling_tokenless: false,
        }
    }

    /// What is remembered of `open_kfid`.
    pub(super) fn account(&mut self, open_kfid: &OpenKfid) -> &mut Account {
        self.accounts.entry(open_kfid.clone()).or_default()
    }

    /// Whether `open_kfid` was ever asked for.
    pub(super) fn knows(&self, open_kfid: &OpenKfid) -> bool {
        self.accounts.contains_key(open_kfid)
    }

    /// Accounts that wait for an operator.
    pub(super) fn paused(&self) -> usize {
        self.accounts.values().filter(|account| account.paused).count()
    }

    /// Asks for a pull of `open_kfid`, as soon as it may be. Asking twice is asking once.
    pub(super) fn want(&mut self, open_kfid: &OpenKfid, fare: Fare, now: Instant) {
        let account = self.accounts.entry(open_kfid.clone()).or_default();
        match account.state {
            State::Idle if account.rests_until.is_some_and(|until| until > now) => {
                account.wanted = Some(account.wanted.map_or(fare, |wanted| wanted.better(fare)));
            }
            State::Pulling(_) => account.wanted = Some(account.wanted.map_or(fare, |wanted| wanted.better(fare))),
            State::Idle => self.queue(open_kfid, fare),
            // A token came for an account that stands in the slow line.
            State::Queued(Fare::Tokenless) if fare == Fare::Token => self.queue(open_kfid, fare),
            State::Queued(_) => {}
        }
    }

    /// The next account to pull now, if there is a slot for one. It counts as being pulled until
    /// [`ended`](Self::ended).
    pub(super) fn next(&mut self) -> Option<(OpenKfid, Fare)> {
        if self.pulling >= self.slots {
            return None;
        }
        let next = match Self::pop(&mut self.with_token, &self.accounts, Fare::Token) {
            Some(open_kfid) => Some((open_kfid, Fare::Token)),
            None if self.pulling_tokenless => None,
            None => Self::pop(&mut self.tokenless, &self.accounts, Fare::Tokenless).map(|id| (id, Fare::Tokenless)),
        };
        if let Some((open_kfid, fare)) = &next {
            let account = self.account(open_kfid);
            account.state = State::Pulling(*fare);
            account.wanted = None;
            self.clear_alarm(open_kfid);
            self.pulling += 1;
            self.pulling_tokenless |= *fare == Fare::Tokenless;
        }
        next
    }

    /// The pull of `open_kfid` is over.
    pub(super) fn ended(&mut self, open_kfid: &OpenKfid) {
        if let Some(account) = self.accounts.get_mut(open_kfid)
            && let State::Pulling(fare) = std::mem::take(&mut account.state)
        {
            self.pulling -= 1;
            self.pulling_tokenless &= fare != Fare::Tokenless;
        }
    }

    /// Takes `open_kfid` off the agenda. While it is being pulled, it keeps its slot until [`ended`](Self::ended).
    pub(super) fn forget(&mut self, open_kfid: &OpenKfid) {
        if !self.knows(open_kfid) {
            return;
        }
        self.clear_alarm(open_kfid);
        let account = self.account(open_kfid);
        let state = account.state;
        *account = Account::default();
        match state {
            State::Pulling(_) => account.state = state,
            State::Idle | State::Queued(_) => drop(self.accounts.remove(open_kfid)),
        }
    }

    /// Lets `open_kfid` rest: no pull before `until`, and one then if it was asked for.
    pub(super) fn rest(&mut self, open_kfid: &OpenKfid, until: Instant) {
        self.account(open_kfid).rests_until = Some(until);
        self.set_alarm(open_kfid, until);
    }

    /// Ends a rest, and asks for the pull that was held back by the account being pulled or at rest.
    pub(super) fn wake(&mut self, open_kfid: &OpenKfid, now: Instant) {
        let account = self.account(open_kfid);
        account.rests_until = None;
        if let Some(fare) = account.wanted.take() {
            self.want(open_kfid, fare, now);
        }
    }

    /// Looks at `open_kfid` again at `at`. Replaces an earlier alarm.
    pub(super) fn set_alarm(&mut self, open_kfid: &OpenKfid, at: Instant) {
        self.clear_alarm(open_kfid);
        self.account(open_kfid).alarm = Some(at);
        self.alarms.insert((at, open_kfid.clone()));
    }

    fn clear_alarm(&mut self, open_kfid: &OpenKfid) {
        if let Some(at) = self.account(open_kfid).alarm.take() {
            self.alarms.remove(&(at, open_kfid.clone()));
        }
    }

    /// When the next alarm rings.
    pub(super) fn next_alarm(&self) -> Option<Instant> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// Rings the alarms that are due, which ends rests. Returns whose they are: each is to be asked for.
    pub(super) fn ring(&mut self, now: Instant) -> Vec<OpenKfid> {
        let mut due = Vec::new();
        while self.alarms.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, open_kfid)) = self.alarms.pop_first()
        {
            let account = self.account(&open_kfid);
            account.alarm = None;
            account.rests_until = None;
            account.wanted = None;
            due.push(open_kfid);
        }
        due
    }

    fn queue(&mut self, open_kfid: &OpenKfid, fare: Fare) {
        self.account(open_kfid).state = State::Queued(fare);
        match fare {
            Fare::Token => self.with_token.push_back(open_kfid.clone()),
            Fare::Tokenless => self.tokenless.push_back(open_kfid.clone()),
        }
    }

    /// First of the line that still stands in it: who moved to the other line left a gap.
    fn pop(line: &mut VecDeque<OpenKfid>, accounts: &HashMap<OpenKfid, Account>, fare: Fare) -> Option<OpenKfid> {
        loop {
            let open_kfid = line.pop_front()?;
            if accounts
                .get(&open_kfid)
                .is_some_and(|account| account.state == State::Queued(fare))
            {
                return Some(open_kfid);
            }
        }
    }
}

impl Fare {
    fn better(self, other: Self) -> Self {
        if self == Self::Token { self } else { other }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ids<const N: usize>(names: [&str; N]) -> [OpenKfid; N] {
        names.map(OpenKfid::from)
    }

    #[tokio::test]
    async fn one_account_is_pulled_once_at_a_time_however_often_it_is_wanted() {
        let (mut agenda, now, [a]) = (Agenda::new(8), Instant::now(), ids(["a"]));
        for _ in 0..3 {
            agenda.want(&a, Fare::Token, now);
        }
        assert_eq!(agenda.next(), Some((a.clone(), Fare::Token)));
        agenda.want(&a, Fare::Token, now);
        assert_eq!(agenda.next(), None, "it is being pulled");
        agenda.ended(&a);
        agenda.wake(&a, now);
        assert_eq!(
            agenda.next(),
            Some((a.clone(), Fare::Token)),
            "wanted while it was pulled"
        );
        agenda.ended(&a);
        agenda.wake(&a, now);
        assert_eq!(agenda.next(), None);
    }

    #[tokio::test]
    async fn a_token_that_came_during_a_pull_is_not_lost_to_a_pull_without_one() {
        let (mut agenda, now, [a]) = (Agenda::new(8), Instant::now(), ids(["a"]));
        agenda.want(&a, Fare::Tokenless, now);
        assert!(agenda.next().is_some());
        for fare in [Fare::Tokenless, Fare::Token, Fare::Tokenless] {
            agenda.want(&a, fare, now);
        }
        agenda.ended(&a);
        agenda.wake(&a, now);
        assert_eq!(agenda.next(), Some((a, Fare::Token)));
    }

    #[tokio::test]
    async fn who_asks_often_has_no_more_turns_than_others() {
        let (mut agenda, now, [a, b]) = (Agenda::new(8), Instant::now(), ids(["a", "b"]));
        for open_kfid in [&a, &a, &b] {
            agenda.want(open_kfid, Fare::Tokenless, now);
        }
        assert_eq!(agenda.next(), Some((a.clone(), Fare::Tokenless)));
        agenda.ended(&a);
        agenda.want(&a, Fare::Tokenless, now);
        assert_eq!(agenda.next(), Some((b, Fare::Tokenless)));
    }

    #[tokio::test]
    async fn accounts_without_a_token_go_one_at_a_time_and_hold_nobody_up() {
        let (mut agenda, now, [a, b, c]) = (Agenda::new(8), Instant::now(), ids(["a", "b", "c"]));
        agenda.want(&a, Fare::Tokenless, now);
        agenda.want(&b, Fare::Tokenless, now);
        assert_eq!(agenda.next(), Some((a.clone(), Fare::Tokenless)));
        assert_eq!(agenda.next(), None);
        agenda.want(&c, Fare::Token, now);
        assert_eq!(agenda.next(), Some((c, Fare::Token)));
        agenda.want(&b, Fare::Token, now);
        assert_eq!(
            agenda.next(),
            Some((b, Fare::Token)),
            "a token takes it out of the slow line"
        );
        agenda.ended(&a);
        assert_eq!(agenda.next(), None, "and it left no second turn there");
    }

    #[tokio::test]
    async fn slots_are_a_limit() {
        let (mut agenda, now, [a, b]) = (Agenda::new(1), Instant::now(), ids(["a", "b"]));
        agenda.want(&a, Fare::Token, now);
        agenda.want(&b, Fare::Token, now);
        assert!(agenda.next().is_some());
        assert!(agenda.next().is_none());
        agenda.ended(&a);
        assert!(agenda.next().is_some());
    }

    #[tokio::test]
    async fn who_rests_is_pulled_when_the_rest_is_over_and_not_before() {
        let (mut agenda, now, [a]) = (Agenda::new(8), Instant::now(), ids(["a"]));
        let until = now + Duration::from_secs(9);
        agenda.rest(&a, until);
        agenda.want(&a, Fare::Token, now);
        assert_eq!(agenda.next(), None);
        assert_eq!(agenda.next_alarm(), Some(until));
        agenda.want(&a, Fare::Token, until - Duration::from_millis(1));
        assert_eq!(agenda.next(), None);
        assert_eq!(agenda.ring(until), std::slice::from_ref(&a));
        agenda.want(&a, Fare::Token, until);
        assert_eq!(agenda.next(), Some((a.clone(), Fare::Token)));
        agenda.ended(&a);
        agenda.rest(&a, until);
        agenda.want(&a, Fare::Token, until);
        assert_eq!(agenda.next(), Some((a, Fare::Token)), "over at its last moment");
    }

    #[tokio::test]
    async fn who_is_taken_off_has_no_turn_and_no_alarm_and_may_come_back() {
        let (mut agenda, now, [a, b]) = (Agenda::new(2), Instant::now(), ids(["a", "b"]));
        agenda.want(&a, Fare::Tokenless, now);
        assert!(agenda.next().is_some());
        agenda.want(&a, Fare::Token, now);
        agenda.want(&b, Fare::Token, now);
        agenda.set_alarm(&b, now);
        for open_kfid in [&a, &b] {
            agenda.forget(open_kfid);
        }
        assert!(agenda.next().is_none() && agenda.next_alarm().is_none());
        agenda.want(&b, Fare::Tokenless, now);
        assert_eq!(agenda.next(), None, "a is still being pulled without a token");
        agenda.ended(&a);
        agenda.wake(&a, now);
        assert_eq!(agenda.next(), Some((b, Fare::Tokenless)), "and was not wanted since");
        assert_eq!(agenda.next(), None);
    }

    #[tokio::test]
    async fn an_alarm_that_was_replaced_does_not_ring() {
        let (mut agenda, now, [a]) = (Agenda::new(8), Instant::now(), ids(["a"]));
        let later = now + Duration::from_secs(60);
        agenda.set_alarm(&a, now);
        agenda.set_alarm(&a, later);
        assert_eq!(agenda.ring(now), []);
        assert_eq!(agenda.ring(later), [a]);
    }

    #[tokio::test]
    async fn a_pull_puts_off_the_alarm_that_was_set_before_it() {
        let (mut agenda, now, [a]) = (Agenda::new(8), Instant::now(), ids(["a"]));
        let [first, second] = [60, 90].map(|secs| now + Duration::from_secs(secs));
        agenda.set_alarm(&a, first);
        agenda.want(&a, Fare::Token, now);
        assert!(agenda.next().is_some());
        agenda.ended(&a);
        agenda.set_alarm(&a, second);
        assert_eq!(agenda.ring(first), []);
        assert_eq!(agenda.ring(second), [a]);
    }
}
