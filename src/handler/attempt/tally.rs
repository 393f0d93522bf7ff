//! What the metrics say about the attempts of one handler.

use std::time::Duration;

use metrics::{Counter, Histogram};

use super::Attempt;
use crate::id::HandlerName;
use crate::metric;

/// Counts attempts of one handler by their result. Looked up once: finding a metric by its labels takes longer than many
/// a handler.
pub(in crate::handler) struct Tally {
    done: Counter,
    skip: Counter,
    retry: Counter,
    unavailable: Counter,
    reject: Counter,
    seconds: Histogram,
}

impl Tally {
    pub(in crate::handler) fn of(handler: &HandlerName) -> Self {
        let counter = |result: &'static str| metrics::counter!(metric::DELIVERIES, "handler" => handler.to_string(), "result" => result);
        Self {
            done: counter("done"),
            skip: counter("skip"),
            retry: counter("retry"),
            unavailable: counter("unavailable"),
            reject: counter("reject"),
            seconds: metrics::histogram!(metric::DELIVERY_SECONDS, "handler" => handler.to_string()),
        }
    }

    /// Counts an attempt that took `took`.
    pub(super) fn count(&self, attempt: &Attempt, took: Duration) {
        let counter = match attempt {
            Attempt::Done => &self.done,
            Attempt::Skip => &self.skip,
            Attempt::Retry { .. } => &self.retry,
            Attempt::Unavailable { .. } => &self.unavailable,
            Attempt::Reject { .. } => &self.reject,
        };
        counter.increment(1);
        self.seconds.record(took);
    }
}
