//! The metrics we publish: their names, labels and meaning, and nothing about how they travel.
//!
//! Names follow Prometheus: base units, `_total` for counters. Labels are few, never an id, and each has a bounded set
//! of values: what WeCom sends beyond what we know counts as `unknown` or `other`. Whoever measures uses a name from the
//! one table below; help texts, the dashboard and the alert rules are checked against it.

/// How a metric counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "there are these three")]
pub enum Kind {
    /// Only grows, until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Sorted into buckets; published as `_bucket`, `_sum` and `_count`.
    Histogram,
}

/// One metric of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Metric {
    /// Name, as Prometheus stores it.
    pub name: &'static str,
    /// How it counts.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it means, in a sentence.
    pub help: &'static str,
}

/// Names every metric, documents it and lists it, in one table.
macro_rules! published {
    ($($name:ident = $kind:ident $text:literal $labels:tt $help:literal;)+) => {
        $(
            #[doc = $help]
            #[doc = ""]
            #[doc = concat!("Labels: `", stringify!($labels), "`.")]
            pub const $name: &str = $text;
        )+

        /// Every metric, along the way that a message takes.
        pub const ALL: &[Metric] = &[$(Metric {
            name: $text,
            kind: Kind::$kind,
            labels: &$labels,
            help: $help,
        }),+];
    };
}

published! {
    CALLBACKS = Counter "wecom_kf_callbacks_total" ["app", "result"]
        "Callbacks answered.";
    CONNECTIONS_SHED = Counter "wecom_kf_connections_shed_total" ["how"]
        "Connections that had to go, or could not come, because every one was taken: closed or refused.";
    CALLBACK_SECONDS = Histogram "wecom_kf_callback_duration_seconds" []
        "Time from a callback's headers to its answer.";
    GATEWAY_REQUESTS = Counter "wecom_kf_gateway_requests_total" ["app", "result"]
        "Requests to the API gateway: passed on, ticket for gettoken's, or why not.";
    API_REQUESTS = Counter "wecom_kf_api_requests_total" ["call", "errcode"]
        "Calls to WeCom: errcode is 0, a documented code, other, status, unreadable or transport.";
    BUDGET_REMAINING = Gauge "wecom_kf_upstream_budget_remaining" ["app", "budget"]
        "Calls that may be made at once without waiting: of the kind that has the fewest left, and tokenless pulls.";
    SYNC_PAGES = Counter "wecom_kf_sync_pages_total" ["app"]
        "Pages of sync_msg committed; also quiet accounts commit one with every poll.";
    SYNC_FAILURES = Counter "wecom_kf_sync_failures_total" ["app", "class"]
        "Pulls that ended in an error, by class of error.";
    CURSOR_RESETS = Counter "wecom_kf_cursor_resets_total" ["app"]
        "Cursors given up because WeCom refused them.";
    SYNC_LAG_SECONDS = Gauge "wecom_kf_sync_lag_seconds" ["app"]
        "Age of the newest message of the last committed page; 0 once a pull finds nothing new.";
    ACCOUNTS_PAUSED = Gauge "wecom_kf_accounts_paused" ["app"]
        "Accounts whose pull waits for an operator.";
    SECONDS_UNTIL_LOSS = Gauge "wecom_kf_seconds_until_upstream_loss" ["app"]
        "Time until WeCom forgets the oldest message that may not have been pulled.";
    MESSAGES = Counter "wecom_kf_messages_total" ["app", "type"]
        "Messages stored for the first time, by type.";
    ANOMALIES = Counter "wecom_kf_anomalies_total" ["app", "problem"]
        "Items that were not what the protocol says, by problem.";
    STORE_COMMIT_SECONDS = Histogram "wecom_kf_store_commit_duration_seconds" []
        "Time a group of writes took until it was on disk.";
    STORE_COMMIT_ROWS = Histogram "wecom_kf_store_commit_rows" []
        "Rows written together.";
    STORE_WAL_BYTES = Gauge "wecom_kf_store_wal_bytes" []
        "Size of the write-ahead log beside the database.";
    STORE_FREE_BYTES = Gauge "wecom_kf_store_free_bytes" []
        "Bytes that can still be stored: free on the disk of the store, or unused in its file.";
    DELIVERIES = Counter "wecom_kf_deliveries_total" ["handler", "result"]
        "Attempts of a handler, by result; dead counts burials, on top of their last attempt.";
    DELIVERY_SECONDS = Histogram "wecom_kf_delivery_duration_seconds" ["handler"]
        "Time one attempt of a handler took.";
    REPLIES = Counter "wecom_kf_replies_total" ["handler", "result"]
        "Messages that a handler had to say: sent, repeated (sent before, and not again), refused, or unavailable for now.";
    AUTO_REPLIES = Counter "wecom_kf_auto_replies_total" ["handler", "result"]
        "Messages that an auto_reply had an answer to: said on which occasion, or why not.";
    DELIVERIES_PENDING = Gauge "wecom_kf_deliveries_pending" ["handler"]
        "Deliveries not yet done.";
    OLDEST_UNDELIVERED_SECONDS = Gauge "wecom_kf_oldest_undelivered_seconds" ["handler"]
        "Time since the oldest message that a handler still owes was stored; 0 if it owes none.";
    DEAD_LETTERS = Gauge "wecom_kf_dead_letters" ["handler"]
        "Deliveries given up and kept for inspection.";
    BREAKER_OPEN = Gauge "wecom_kf_breaker_open" ["handler"]
        "1 while a handler fails for everybody and is only probed.";
    ATTEMPTS_OVERDUE = Gauge "wecom_kf_attempts_overdue" ["handler"]
        "Attempts that block their threads beyond the time-out; their customers wait.";
    LEASES = Gauge "wecom_kf_leases" ["kind"]
        "Leases of this replica on a store it shares: accounts it pulls, and shards it hands out.";
    LEASE_CHANGES = Counter "wecom_kf_lease_changes_total" ["kind", "change"]
        "Leases that this replica took, gave back, or lost because it did not renew them in time.";
    REPLICAS = Gauge "wecom_kf_replicas" []
        "Replicas on the same store that this one sees alive, itself included.";
    OUTCOMES_REFUSED = Counter "wecom_kf_outcomes_refused_total" ["handler"]
        "Retries and burials that the store refused because another replica has taken the shard since.";
    BUILD_INFO = Gauge "wecom_kf_build_info" ["version"]
        "Always 1; the label tells which version runs.";
    PROCESS_START_SECONDS = Gauge "process_start_time_seconds" []
        "When this process began to count, in Unix seconds.";
    PROCESS_RESIDENT_BYTES = Gauge "process_resident_memory_bytes" []
        "Memory of this process that is in RAM.";
    PROCESS_OPEN_FDS = Gauge "process_open_fds" []
        "File descriptors that are open.";
    PROCESS_MAX_FDS = Gauge "process_max_fds" []
        "File descriptors that may be open.";
}

/// Gives every metric its help text, in whatever recorder is installed.
pub fn describe() {
    for metric in ALL {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

    use super::*;

    /// What is said of what happens on one thread, while the recorder is set there.
    pub(crate) struct Metrics {
        pub(crate) recorder: PrometheusRecorder,
    }

    impl Metrics {
        pub(crate) fn new() -> Self {
            let recorder = PrometheusBuilder::new().build_recorder();
            Self { recorder }
        }

        pub(crate) fn say(&self, line: &str) -> bool {
            self.recorder.handle().render().lines().any(|said| said == line)
        }

        pub(crate) async fn until(&self, line: &str) {
            while !self.say(line) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    #[test]
    fn names_say_what_is_counted_in_which_unit_and_are_given_once() {
        let mut names = HashSet::new();
        for Metric { name, kind, help, .. } in ALL {
            assert!(names.insert(name), "{name} stands twice");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert!(name.starts_with("wecom_kf_") || name.starts_with("process_"), "{name}");
            assert!(help.ends_with('.'), "{name}: {help}");
            if *kind == Kind::Histogram {
                assert!(
                    name.ends_with("_seconds") || name.ends_with("_rows"),
                    "{name} has no buckets"
                );
            }
        }
    }
}
