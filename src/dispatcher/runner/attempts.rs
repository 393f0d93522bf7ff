//! Attempts: started as far as breaker and concurrency let them, watched, and taken back.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError};
use tokio::time::Instant;

use super::{MAX_UNRECORDED, Runner};
use crate::dispatcher::breaker::{Failure, Gate, Trial};
use crate::handler::Attempt;
use crate::message::Message;
use crate::metric;
use crate::store::Pending;

/// How long after its deadline an attempt must have ended, unless it blocks its thread.
const LENIENCE: Duration = Duration::from_secs(1);

/// An attempt under way.
pub(super) struct Running {
    pub(super) delivery: Arc<Pending>,
    pub(super) trial: Trial,
    deadline: Instant,
    /// Has outlived its deadline, which the breaker knows.
    pub(super) overdue: bool,
}

impl Runner {
    /// Starts as many attempts as the handler takes at once.
    pub(super) fn start_attempts(&mut self) {
        while self.may_start_more() {
            let now = Instant::now();
            if !matches!(self.breaker.gate(now), Gate::Open | Gate::Probe) {
                return;
            }
            let Some(delivery) = self.lanes.next(now) else { return };
            self.start_attempt(delivery, now);
        }
    }

    pub(super) fn may_start_more(&self) -> bool {
        let concurrency = self.member.registration().policy().concurrency;
        self.attempts.len() < concurrency && self.unrecorded.len() < MAX_UNRECORDED
    }

    fn start_attempt(&mut self, delivery: Pending, now: Instant) {
        let delivery = Arc::new(delivery);
        let attempt = {
            let (member, delivery) = (self.member.clone(), Arc::clone(&delivery));
            async move {
                let message = Message::decode(Arc::clone(&delivery.body), &delivery.account.open_kfid);
                let attempt = delivery.attempts.saturating_add(1);
                member
                    .registration()
                    .attempt(&delivery.account, &message, attempt)
                    .await
            }
        };
        let task = match &self.threads {
            Some(threads) => threads.run(&mut self.attempts, attempt),
            None => self.attempts.spawn(attempt),
        };
        let running = Running {
            delivery,
            trial: self.breaker.started(),
            deadline: self.member.registration().deadline(now),
            overdue: false,
        };
        self.running.insert(task.id(), running);
    }

    /// Takes an attempt that ended, and with it all others that have ended by now.
    pub(super) fn take_ended(&mut self, first: Result<(Id, Attempt), JoinError>) {
        let mut next = Some(first);
        while let Some(ended) = next {
            let (id, attempt) = ended.unwrap_or_else(|error| {
                let reason = format!("the attempt's task died: {error}").into();
                (error.id(), Attempt::Retry { after: None, reason })
            });
            if let Some(running) = self.running.remove(&id) {
                self.conclude(running, attempt);
            }
            next = self.attempts.try_join_next_with_id();
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
                .failed(Failure::Message, *trial, delivery.lane, now, &mut rand::rng());
            tracing::error!(
                %handler,
                msgid = %delivery.msgid,
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
