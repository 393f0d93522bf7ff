//! Attempts: started as far as breaker and concurrency let them, watched, and taken back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{MAX_UNRECORDED, Runner};
use crate::dispatcher::breaker::{Failure, Gate, Trial};
use crate::dispatcher::crew::{Ended, Job};
use crate::lease::Title;
use crate::metric;
use crate::store::Pending;

/// How long after its deadline an attempt must have ended, unless it blocks its thread.
const LENIENCE: Duration = Duration::from_secs(1);

/// An attempt under way.
pub(super) struct Running {
    pub(super) delivery: Pending,
    /// Under which it was started.
    pub(super) title: Title,
    pub(super) trial: Trial,
    deadline: Instant,
    /// Has outlived its deadline, which the breaker knows.
    pub(super) overdue: bool,
}

impl Runner {
    /// Starts as many attempts as the handler takes at once.
    pub(super) fn start_attempts(&mut self) {
        let mut jobs = Vec::new();
        while self.may_start_more() {
            let now = Instant::now();
            let delivery = match self.breaker.gate(now) {
                Gate::Open => self.lanes.next(now),
                Gate::Probe => self.lanes.next_probe(now),
                Gate::ClosedUntil(_) | Gate::Probing => None,
            };
            let Some(delivery) = delivery else { break };
            match self.estate.title(delivery.lane.shard()) {
                Some(title) => jobs.push(self.begin_attempt(delivery, title, now)),
                None => self.put_aside(delivery.lane, delivery.seq),
            }
        }
        // Together: told one by one, the threads of the handler would be woken for each.
        self.crew.start(jobs);
    }

    pub(super) fn may_start_more(&self) -> bool {
        let concurrency = self.member.registration().policy().concurrency;
        self.running.len() < concurrency && self.unrecorded.len() < MAX_UNRECORDED
    }

    fn begin_attempt(&mut self, delivery: Pending, title: Title, now: Instant) -> Job {
        let (member, letter, right) = (Arc::clone(&self.member), Arc::clone(&delivery.letter), title.clone());
        let number = delivery.attempts.saturating_add(1);
        let attempt = async move {
            // It may have waited for its thread, or the whole process may have been stopped meanwhile.
            if !right.stands() {
                return None;
            }
            let registration = member.registration();
            Some(registration.attempt(&letter.account, letter.message(), number).await)
        };
        let job = Job::new(delivery.seq, attempt);
        let running = Running {
            delivery,
            title,
            trial: self.breaker.started(),
            deadline: self.member.registration().deadline(now),
            overdue: false,
        };
        self.running.insert(running.delivery.seq, running);
        job
    }

    /// Takes attempts that ended.
    pub(super) fn take_ended(&mut self, ended: Vec<Ended>) {
        for (seq, attempt) in ended {
            let Some(running) = self.running.remove(&seq) else {
                continue;
            };
            match attempt {
                Some(attempt) => self.conclude(running, attempt),
                None => {
                    self.breaker.skipped(running.trial);
                    self.put_aside(running.delivery.lane, seq);
                }
            }
        }
    }

    /// Tells the breaker and the operator of attempts that block their threads beyond the deadline. They keep their lane
    /// and their place among the attempts until they return: started again beside itself, a message would be handled
    /// twice at once.
    pub(super) fn tell_of_overdue(&mut self) {
        let (now, handler, was_open) = (Instant::now(), self.member.name(), self.breaker.is_open());
        let is_overdue = |running: &&mut Running| running.deadline + LENIENCE < now;
        let mut overdue: u32 = 0;
        for running in self.running.values_mut().filter(is_overdue) {
            overdue += 1;
            if std::mem::replace(&mut running.overdue, true) {
                continue;
            }
            let Running { delivery, trial, .. } = running;
            self.breaker
                .failed(Failure::Message, *trial, delivery.lane, now, &mut self.clock.rng());
            tracing::error!(
                %handler,
                msgid = %delivery.letter.msgid,
                seq = delivery.seq.0,
                "the handler blocks its thread beyond the time-out: this customer waits until it returns"
            );
        }
        metrics::gauge!(metric::ATTEMPTS_OVERDUE, "handler" => handler.to_string()).set(f64::from(overdue));
        if was_open != self.breaker.is_open() {
            self.breaker_changed();
        }
    }
}
