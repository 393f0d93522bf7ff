//! The metrics we publish: their names, what they mean, and nothing about how they travel.
//!
//! Names follow Prometheus: base units, `_total` for counters. Labels are few and never an id. Whoever measures
//! uses a name from here, and [`describe`] gives each its help text.

use metrics::Unit;

/// Callbacks answered, by `app` and `result`.
pub const CALLBACKS: &str = "wecom_kf_callbacks_total";
/// Time from a callback's headers to its answer.
pub const CALLBACK_SECONDS: &str = "wecom_kf_callback_duration_seconds";
/// Connections that had to go, or could not come, because every one was taken; by `how`: `closed` or `refused`.
pub const CONNECTIONS_SHED: &str = "wecom_kf_connections_shed_total";
/// Pages committed, by `app`.
pub const SYNC_PAGES: &str = "wecom_kf_sync_pages_total";
/// Pulls that ended in an error, by `app` and `class`.
pub const SYNC_FAILURES: &str = "wecom_kf_sync_failures_total";
/// Cursors given up because WeCom refused them, by `app`.
pub const CURSOR_RESETS: &str = "wecom_kf_cursor_resets_total";
/// Messages stored for the first time, by `app` and `type`.
pub const MESSAGES: &str = "wecom_kf_messages_total";
/// Items that were not what the protocol says, by `app` and `problem`.
pub const ANOMALIES: &str = "wecom_kf_anomalies_total";
/// Age of the newest message of the last committed page, by `app`.
pub const SYNC_LAG_SECONDS: &str = "wecom_kf_sync_lag_seconds";
/// Time until WeCom forgets the oldest message that may not have been pulled, by `app`.
pub const SECONDS_UNTIL_LOSS: &str = "wecom_kf_seconds_until_upstream_loss";
/// Bytes that can still be stored.
pub const STORE_FREE_BYTES: &str = "wecom_kf_store_free_bytes";
/// Accounts whose pull waits for an operator, by `app`.
pub const ACCOUNTS_PAUSED: &str = "wecom_kf_accounts_paused";
/// Attempts of a handler, by `handler` and `result`; `dead` comes on top of the attempt that was the last.
pub const DELIVERIES: &str = "wecom_kf_deliveries_total";
/// Time one attempt of a handler took, by `handler`.
pub const DELIVERY_SECONDS: &str = "wecom_kf_delivery_duration_seconds";
/// Deliveries not yet done, by `handler`.
pub const DELIVERIES_PENDING: &str = "wecom_kf_deliveries_pending";
/// Deliveries given up, by `handler`.
pub const DEAD_LETTERS: &str = "wecom_kf_dead_letters";
/// 1 while a handler's breaker is open, by `handler`.
pub const BREAKER_OPEN: &str = "wecom_kf_breaker_open";
/// Calls to WeCom, by `call` and `errcode`.
pub const API_REQUESTS: &str = "wecom_kf_api_requests_total";

/// Gives every metric its help text and unit, in whatever recorder is installed.
pub fn describe() {
    metrics::describe_counter!(CALLBACKS, "Callbacks answered, by app and result");
    metrics::describe_histogram!(
        CALLBACK_SECONDS,
        Unit::Seconds,
        "Time from a callback's headers to its answer"
    );
    metrics::describe_counter!(
        CONNECTIONS_SHED,
        "Connections that had to go, or could not come, because every one was taken"
    );
    metrics::describe_counter!(SYNC_PAGES, "Pages of sync_msg committed");
    metrics::describe_counter!(SYNC_FAILURES, "Pulls that ended in an error, by class of error");
    metrics::describe_counter!(CURSOR_RESETS, "Cursors given up because WeCom refused them");
    metrics::describe_counter!(MESSAGES, "Messages stored for the first time, by type");
    metrics::describe_counter!(ANOMALIES, "Items that were not what the protocol says, by problem");
    metrics::describe_gauge!(
        SYNC_LAG_SECONDS,
        Unit::Seconds,
        "Age of the newest message of the last committed page"
    );
    metrics::describe_gauge!(
        SECONDS_UNTIL_LOSS,
        Unit::Seconds,
        "Time until WeCom forgets the oldest message that may not have been pulled: three days less the time since the \
         account that is worst off was last pulled to the end"
    );
    metrics::describe_gauge!(
        STORE_FREE_BYTES,
        Unit::Bytes,
        "Bytes that can still be stored: free on the disk of the store, or unused in its file"
    );
    metrics::describe_gauge!(ACCOUNTS_PAUSED, "Accounts whose pull waits for an operator");
    metrics::describe_counter!(
        DELIVERIES,
        "Attempts of a handler, by result; dead counts burials, on top of their last attempt"
    );
    metrics::describe_histogram!(DELIVERY_SECONDS, Unit::Seconds, "Time one attempt of a handler took");
    metrics::describe_gauge!(DELIVERIES_PENDING, "Deliveries not yet done");
    metrics::describe_gauge!(DEAD_LETTERS, "Deliveries given up and kept for inspection");
    metrics::describe_gauge!(BREAKER_OPEN, "1 while a handler fails for everybody and is only probed");
    metrics::describe_counter!(API_REQUESTS, "Calls to WeCom, by call and errcode");
}
