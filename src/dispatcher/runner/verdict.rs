//! What becomes of a delivery after an attempt.

use tokio::time::Instant;

use super::{Runner, Running};
use crate::dispatcher::breaker::Failure;
use crate::handler::Attempt;
use crate::metric;
use crate::store::{Finish, Pending, Verdict};

impl Runner {
    /// Decides what becomes of a delivery, lets its lane go on, and notes the verdict for the store.
    pub(super) fn conclude(&mut self, running: Running, attempt: Attempt) {
        let delivery = &running.delivery;
        let (now, handler, shard, seq) = (Instant::now(), self.member.id(), delivery.lane.shard(), delivery.seq);
        let was_open = self.breaker.is_open();
        let verdict = self.judge(&running, attempt, now);
        if was_open != self.breaker.is_open() {
            self.breaker_changed();
        }
        let (lane, under) = (delivery.lane, running.title.fence());
        let is_held = self.estate.fence(shard) == Some(under);
        match &verdict {
            Verdict::Retry { attempts, due } if is_held => {
                let (attempts, due) = (*attempts, now + due.since(self.clock.now()));
                let delivery = Pending {
                    attempts,
                    ..running.delivery
                };
                self.lanes.try_again(delivery, due, now);
            }
            // Somebody else decides what comes after it; or this process does, once it has read what became of it.
            Verdict::Retry { .. } | Verdict::Dead { .. } if !is_held => self.put_aside(lane, seq),
            _ => self.lanes.finished(lane, now),
        }
        let finish = Finish {
            handler,
            shard,
            seq,
            under,
            verdict,
        };
        self.unrecorded.push(finish, running.title);
    }

    fn judge(&mut self, running: &Running, attempt: Attempt, now: Instant) -> Verdict {
        let Running {
            delivery,
            trial,
            overdue,
            ..
        } = running;
        let (failure, after, reason) = match attempt {
            Attempt::Done => {
                self.breaker.answered();
                return Verdict::Done;
            }
            Attempt::Skip => {
                self.breaker.skipped(*trial);
                return Verdict::Done;
            }
            Attempt::Reject { reason } => {
                self.breaker.answered();
                return self.bury(delivery, delivery.attempts + 1, format!("rejected: {reason}"));
            }
            Attempt::Retry { after, reason } => (Failure::Message, after, reason),
            Attempt::Unavailable { after, reason } => (Failure::Unavailable(after), after, reason),
        };
        let mut rng = self.clock.rng();
        // Of one that is overdue it has been told.
        if !overdue {
            self.breaker.failed(failure, *trial, delivery.lane, now, &mut rng);
        }
        // While it fails for everybody the message is not to blame; while it fails for this one alone, it may well be.
        let blamed = !self.breaker.is_open();
        let attempts = delivery.attempts.saturating_add(u32::from(blamed));
        let policy = self.member.registration().policy();
        if attempts >= policy.max_attempts {
            return self.bury(
                delivery,
                attempts,
                format!("failed {attempts} times, at last: {reason}"),
            );
        }
        let age = self.clock.now().since(delivery.letter.received);
        if age > policy.give_up_after {
            let hours = age.as_secs() / 3600;
            return self.bury(
                delivery,
                attempts,
                format!("given up after {hours} hours, at last: {reason}"),
            );
        }
        let wait = after.unwrap_or_else(|| policy.retry_schedule.wait(attempts, &mut rng));
        let handler = self.member.name();
        tracing::debug!(%handler, msgid = %delivery.letter.msgid, attempts, %reason, "delivery will be tried again");
        Verdict::Retry {
            attempts,
            due: self.clock.now().plus(wait),
        }
    }

    fn bury(&self, delivery: &Pending, attempts: u32, reason: String) -> Verdict {
        let handler = self.member.name();
        tracing::warn!(%handler, msgid = %delivery.letter.msgid, seq = delivery.seq.0, attempts, reason, "delivery buried");
        metrics::counter!(metric::DELIVERIES, "handler" => handler.to_string(), "result" => "dead").increment(1);
        Verdict::Dead {
            attempts,
            at: self.clock.now(),
            reason: reason.into(),
        }
    }

    /// Tells the metrics how the breaker stands; also at the start, so that an alert has something to look at.
    pub(super) fn show_breaker(&self) {
        let open = f64::from(u8::from(self.breaker.is_open()));
        metrics::gauge!(metric::BREAKER_OPEN, "handler" => self.member.name().to_string()).set(open);
    }

    pub(super) fn breaker_changed(&self) {
        let (handler, open) = (self.member.name(), self.breaker.is_open());
        self.show_breaker();
        if open {
            tracing::error!(%handler, "handler fails for everybody: only probing it until it answers, nothing is buried");
        } else {
            tracing::info!(%handler, "handler answers again");
        }
    }
}
