//! Metrics: kept in memory, and written out as Prometheus text for whoever asks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::{self, MissedTickBehavior};

use super::process;
use crate::clock::{Clock as _, SystemClock, UnixMillis};
use crate::metric;

/// Upper bounds of what is measured in seconds: from a callback's answer, which takes microseconds, to a handler that
/// takes all its time.
const SECONDS: [f64; 17] = [
    0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// Upper bounds of what is counted in rows.
const ROWS: [f64; 9] = [1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1000.0, 2500.0];

/// How often samples are moved into buckets when nobody asks for them: until then each takes memory.
const UPKEEP: Duration = Duration::from_secs(5);

/// Every metric of this process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

/// Metrics could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// This process has a recorder already.
    #[error("metrics are set up already")]
    Installed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Records the metrics of this process from now on, and gives those of [`metric`] their help texts.
///
/// # Errors
///
/// [`MetricsError::Installed`] if somebody did so before. Theirs stays.
pub fn init_metrics() -> Result<Metrics, MetricsError> {
    let handle = builder()
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| MetricsError::Installed(error.into()))?;
    metric::describe();
    metrics::gauge!(metric::BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let now = SystemClock.now().since(UnixMillis(0));
    metrics::gauge!(metric::PROCESS_START_SECONDS).set(now.as_secs_f64());
    Ok(Metrics(handle))
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_rows".to_owned()), &ROWS)
}

impl Metrics {
    /// Writes all metrics as they stand, each time it is called, in the text format of Prometheus.
    #[must_use]
    pub fn renderer(&self) -> Arc<dyn Fn() -> String + Send + Sync> {
        let handle = self.0.clone();
        Arc::new(move || {
            process::measure();
            handle.render()
        })
    }

    /// Keeps memory bounded while nobody fetches the metrics. Runs until it is dropped.
    pub async fn upkeep(self) {
        let mut ticks = time::interval(UPKEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.0.run_upkeep();
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_in_buckets_of_seconds_and_every_metric_has_its_help() {
        let recorder = builder().unwrap().build_recorder();
        let render = Metrics(recorder.handle()).renderer();
        metrics::with_local_recorder(&recorder, || {
            metric::describe();
            metrics::histogram!(metric::CALLBACK_SECONDS).record(0.003);
            metrics::counter!(metric::SYNC_PAGES, "app" => "main").increment(1);
        });
        let text = metrics::with_local_recorder(&recorder, || render());
        for line in [
            "# HELP wecom_kf_callback_duration_seconds Time from",
            "# TYPE wecom_kf_callback_duration_seconds histogram",
            "wecom_kf_callback_duration_seconds_bucket{le=\"0.0025\"} 0",
            "wecom_kf_callback_duration_seconds_bucket{le=\"0.005\"} 1",
            "wecom_kf_callback_duration_seconds_count 1",
            "# HELP wecom_kf_sync_pages_total ",
            "wecom_kf_sync_pages_total{app=\"main\"} 1",
            "# TYPE process_resident_memory_bytes gauge",
        ] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn samples_nobody_fetches_are_moved_into_buckets() {
        let recorder = builder().unwrap().build_recorder();
        let metrics = Metrics(recorder.handle());
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!(metric::CALLBACK_SECONDS).record(0.003)
        });
        let upkeep = metrics.clone().upkeep();
        assert!(time::timeout(UPKEEP * 2, upkeep).await.is_err(), "upkeep must not end");
        assert!((metrics.renderer())().contains("_count 1"));
    }
}
