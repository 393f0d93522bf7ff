//! What handlers see.

use tokio::time::Instant;
use wecom_kf::id::{AccountKey, Msgid};
use wecom_kf::store::{HandlerId, Lane, Right};

use super::{Audit, Books, Check, Debt};

/// How an attempt ended, as its handler sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Outcome {
    /// It acted on the message.
    Acted,
    /// It will never take it.
    Rejected,
    /// It failed, and had failed as often as is allowed.
    FailedAtLast,
    /// It failed, or was broken off.
    Failed,
}

/// An attempt under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    owner: u64,
    /// Its process was stopped or killed, or its lease ran out, since it began.
    excused: bool,
}

/// One attempt.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) handler: HandlerId,
    pub(crate) account: AccountKey,
    pub(crate) msgid: Msgid,
    pub(crate) lane: Lane,
    pub(crate) owner: u64,
}

impl Attempt {
    fn debt(&self) -> Debt {
        (self.handler, self.account.clone(), self.msgid.clone())
    }
}

impl Audit {
    /// `attempt` begins. Its process was `held` up if it was stopped between deciding to begin it and doing so.
    pub(crate) fn begins(&self, attempt: &Attempt, held: bool) {
        let mut books = self.books();
        books.note(("begins", attempt.owner, attempt.debt()));
        books.check_order(attempt);
        books.check_done(attempt);
        if !held {
            books.check_alone(attempt);
        }
        let running = Running {
            owner: attempt.owner,
            excused: held,
        };
        books
            .running
            .entry((attempt.handler, attempt.lane))
            .or_default()
            .push(running);
    }

    pub(crate) fn ends(&self, attempt: &Attempt, outcome: Outcome) {
        let mut books = self.books();
        let debt = attempt.debt();
        books.note(("ends", attempt.owner, &debt, outcome));
        if let Some(running) = books.running.get_mut(&(attempt.handler, attempt.lane))
            && let Some(place) = running.iter().position(|running| running.owner == attempt.owner)
        {
            running.remove(place);
        }
        if outcome == Outcome::Acted {
            *books.acted.entry(debt.clone()).or_default() += 1;
        }
        if outcome != Outcome::Failed {
            books.over.insert(debt);
        }
    }

    /// `attempt` ended before its handler saw anything of it.
    pub(crate) fn gave_up(&self, attempt: &Attempt, outcome: Outcome) {
        if outcome != Outcome::Failed {
            self.books().over.insert(attempt.debt());
        }
    }

    /// The process `owner` was stopped or killed: what it has begun may go on beside what others begin.
    pub(crate) fn disturbed(&self, owner: u64) {
        let mut books = self.books();
        books.note(("disturbed", owner));
        let running = books.running.values_mut().flatten();
        running
            .filter(|running| running.owner == owner)
            .for_each(|running| running.excused = true);
    }
}

impl Books {
    fn check_order(&mut self, attempt: &Attempt) {
        let written = self.lanes.get(&attempt.lane).map_or(&[][..], Vec::as_slice);
        let before = written.iter().take_while(|(_, msgid)| *msgid != attempt.msgid);
        let open = before.map(|(account, msgid)| (attempt.handler, account.clone(), msgid.clone()));
        let mut open = open.filter(|debt| !self.over.contains(debt));
        if let Some(earlier) = open.next() {
            let what = format!("{:?} was handed out before {earlier:?} was over", attempt.debt());
            self.found(Check::Order, what);
        }
    }

    fn check_done(&mut self, attempt: &Attempt) {
        let since = match self.tenancies.get(&Right::HandOut(attempt.lane.shard())) {
            Some(tenancy) if tenancy.owner == attempt.owner => tenancy.taken,
            // Of one that has lost it, or of one that needs none.
            _ => self.started.get(&attempt.owner).copied().unwrap_or_default(),
        };
        if let Some((by, at)) = self.done.get(&attempt.debt()).copied()
            && (by == attempt.owner || at < since)
        {
            let what = format!(
                "{:?} was handed out by {} and known to be done",
                attempt.debt(),
                attempt.owner
            );
            self.found(Check::Repeated, what);
        }
    }

    fn check_alone(&mut self, attempt: &Attempt) {
        let right = Right::HandOut(attempt.lane.shard());
        if let Some(tenancy) = self.tenancies.get(&right) {
            let now = Instant::now();
            if tenancy.owner != attempt.owner || tenancy.until.is_none_or(|until| until <= now) {
                let what = format!(
                    "{} began {:?} without the lease of {right:?}",
                    attempt.owner,
                    attempt.debt()
                );
                self.found(Check::Overlap, what);
            }
        }
        let running = self.running.get(&(attempt.handler, attempt.lane));
        let other = running.into_iter().flatten().find(|running| !running.excused).copied();
        if let Some(other) = other {
            let what = format!("{} began {:?} beside {}", attempt.owner, attempt.debt(), other.owner);
            self.found(Check::Overlap, what);
        }
    }

    /// The lease of `owner` ran out, and another has it.
    pub(super) fn ran_out(&mut self, owner: u64, right: &Right) {
        for ((_, lane), running) in &mut self.running {
            if *right == Right::HandOut(lane.shard()) {
                running
                    .iter_mut()
                    .filter(|running| running.owner == owner)
                    .for_each(|running| running.excused = true);
            }
        }
    }

    /// `owner` gave its lease back, under which nothing may be in hand.
    pub(super) fn handed_over(&mut self, owner: u64, right: &Right) {
        let of_right = self
            .running
            .iter()
            .filter(|((_, lane), _)| *right == Right::HandOut(lane.shard()));
        let in_hand = of_right.flat_map(|(_, running)| running);
        if in_hand
            .filter(|running| running.owner == owner && !running.excused)
            .count()
            > 0
        {
            self.found(Check::Overlap, format!("{owner} gave {right:?} back with work in hand"));
        }
    }
}
