//! What the process tells about itself: log lines on standard error, and metrics to be fetched.
//!
//! Both are installed once for the whole process. A program that embeds the server and has its own subscriber or
//! recorder installs neither: what we write goes to theirs.

mod logs;
mod metrics;

pub use logs::{Filter, FilterError, LogFormat, LogsError, Settings, init_logs};
pub use metrics::{Metrics, MetricsError, init_metrics};
