//! What is told about the process, and to whom. Subscriber and recorder are installed once a process, so this is a test
//! binary of its own.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod panics;
mod promql;
mod watching;

use wecom_kf::metric;
use wecom_kf::telemetry::{Filter, LogFormat, LogsError, MetricsError, Settings, init_logs, init_metrics};

#[test]
fn a_second_log_is_an_error_and_the_first_stays() {
    let settings = Settings {
        filter: Filter::new("off").unwrap(),
        format: LogFormat::Text,
        otlp_endpoint: None,
    };
    let _logs = init_logs(&settings).unwrap();
    assert!(matches!(init_logs(&settings), Err(LogsError::Installed(_))));
}

#[test]
fn a_second_recorder_is_an_error_and_the_first_goes_on_counting() {
    let render = init_metrics().unwrap().renderer();
    assert!(matches!(init_metrics(), Err(MetricsError::Installed(_))));
    metrics::counter!(metric::SYNC_PAGES, "app" => "main").increment(3);
    assert!(render().contains("wecom_kf_sync_pages_total{app=\"main\"} 3"));
}
