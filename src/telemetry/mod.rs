//! What the process tells about itself: log lines on standard error, metrics to be fetched, and, with the feature
//! `otel`, traces sent to a collector.

mod json;
mod logs;
mod metrics;
mod panics;
mod process;
#[cfg(feature = "otel")]
mod traces;

pub use logs::{Filter, FilterError, LogFormat, Logs, LogsError, Settings, init_logs};
pub use metrics::{Metrics, MetricsError, init_metrics};
#[cfg(feature = "otel")]
pub use traces::traceparent;
