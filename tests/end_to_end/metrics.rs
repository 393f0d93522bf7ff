//! What is published is what the table says, and what an operator needs is there from the start.

use std::collections::BTreeSet;

use wecom_kf::metric::{self, Kind};
use wecom_kf::simulator::Bells;

use crate::privacy::until_counted;
use crate::stage::{Pace, Stage};

/// Name and labels of a series, as Prometheus reads them.
fn series(line: &str) -> (&str, BTreeSet<&str>) {
    let (name, rest) = line.split_once(['{', ' ']).expect(line);
    let labels = rest.rsplit_once('}').map_or("", |(labels, _)| labels);
    // No value of ours has a quote or a comma in it.
    let names = labels
        .split(',')
        .filter_map(|label| label.split_once('=').map(|(name, _)| name));
    (name, names.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_published_stands_in_the_table_with_its_labels() {
    let stage = Stage::with_accounts(1, Pace::Fast).await;
    let server = stage.start();
    stage.say(50, Bells::Once);
    let wanted = [
        r#"wecom_kf_deliveries_total{handler="bot",result="done"} 50"#,
        r#"wecom_kf_breaker_open{handler="bot"} 0"#,
        r#"wecom_kf_oldest_undelivered_seconds{handler="bot"} "#,
        r#"wecom_kf_dead_letters{handler="bot"} 0"#,
        r#"wecom_kf_upstream_budget_remaining{app="main",budget="calls"} "#,
        r#"wecom_kf_upstream_budget_remaining{app="main",budget="tokenless"} "#,
        r#"wecom_kf_store_commit_duration_seconds_bucket{le="0.001"} "#,
        r#"wecom_kf_store_commit_rows_bucket{le="100"} "#,
        "wecom_kf_store_wal_bytes ",
        "process_resident_memory_bytes ",
        "process_open_fds ",
        "process_max_fds ",
        "process_start_time_seconds ",
        concat!(r#"wecom_kf_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""} 1"#),
    ];
    until_counted(&server, &wanted.map(str::to_owned)).await;
    let metrics = reqwest::get(format!("http://{}/metrics", server.admin)).await.unwrap();
    let metrics = metrics.text().await.unwrap();
    for line in metrics
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (name, mut labels) = series(line);
        let parts = ["_bucket", "_sum", "_count"].map(|part| name.strip_suffix(part));
        let metric = metric::ALL.iter().find(|metric| match metric.kind {
            Kind::Histogram => parts.contains(&Some(metric.name)),
            Kind::Counter | Kind::Gauge => metric.name == name,
        });
        let metric = metric.unwrap_or_else(|| panic!("not in the table: {line}"));
        labels.remove("le");
        assert_eq!(labels, metric.labels.iter().copied().collect(), "{line}");
    }
    for metric in metric::ALL {
        assert!(metrics.contains(&format!("# HELP {} ", metric.name)) || !metrics.contains(metric.name));
    }
    assert!(server.stop().success());
}
