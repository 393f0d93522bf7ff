//! As much of PromQL as it takes to see which metrics an expression names, and which of their labels.

use std::collections::BTreeSet;

use wecom_kf::metric::{self, Kind, Metric};

/// Labels that Prometheus itself adds.
const ADDED: [&str; 3] = ["instance", "job", "le"];

/// Metrics of ours in `expression`, in order.
///
/// # Errors
///
/// Names what is no metric of ours, or a label that its metric has not.
pub(crate) fn metrics_in(expression: &str) -> Result<Vec<&'static Metric>, String> {
    let mut found = Vec::new();
    let mut labels = BTreeSet::new();
    let mut rest = expression;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '"') {
        rest = &rest[start..];
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = &quoted[quoted.find('"').ok_or("an open quote")? + 1..];
            continue;
        }
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        rest = behind;
        if ["by", "on"].contains(&word) {
            let list = behind.trim_start().strip_prefix('(').ok_or("by what?")?;
            let list = list.split(')').next().unwrap_or_default();
            labels.extend(list.split(',').map(str::trim));
            rest = &behind[behind.find(')').ok_or("an open parenthesis")?..];
        } else if word.starts_with("wecom_kf_") || word.starts_with("process_") {
            let metric = named(word).ok_or_else(|| format!("{word} is not published"))?;
            if let Some(selector) = behind.strip_prefix('{') {
                let selector = selector.split('}').next().unwrap_or_default();
                for matcher in selector.split(',') {
                    let label = matcher.split(['=', '!']).next().unwrap_or_default().trim();
                    known(label, &[metric])?;
                }
                rest = &behind[selector.len() + 1..];
            }
            found.push(metric);
        }
    }
    labels.into_iter().try_for_each(|label| known(label, &found))?;
    Ok(found)
}

/// Fails unless one of `metrics` has `label`.
pub(crate) fn known(label: &str, metrics: &[&Metric]) -> Result<(), String> {
    if ADDED.contains(&label) || metrics.iter().any(|metric| metric.labels.contains(&label)) {
        return Ok(());
    }
    let names: Vec<_> = metrics.iter().map(|metric| metric.name).collect();
    Err(format!("none of {names:?} has a label {label}"))
}

/// The metric that the series `name` belongs to.
fn named(name: &str) -> Option<&'static Metric> {
    metric::ALL.iter().find(|metric| match metric.kind {
        Kind::Histogram => ["_bucket", "_sum", "_count"]
            .iter()
            .any(|part| name.strip_suffix(part) == Some(metric.name)),
        Kind::Counter | Kind::Gauge => metric.name == name,
    })
}

#[test]
fn a_metric_or_a_label_that_there_is_not_is_found_out() {
    let good = r#"sum by (app, le) (rate(wecom_kf_callbacks_total{result=~"a|b",app="main"}[5m])) > 1"#;
    assert_eq!(metrics_in(good).unwrap()[0].name, metric::CALLBACKS);
    assert_eq!(
        metrics_in("a + rate(wecom_kf_store_commit_rows_sum[5m])")
            .unwrap()
            .len(),
        1
    );
    for (bad, why) in [
        ("wecom_kf_callback_total", "is not published"),
        ("wecom_kf_store_commit_rows", "is not published"),
        (r#"wecom_kf_callbacks_total{handler="a"}"#, "label handler"),
        ("sum by (handler) (wecom_kf_callbacks_total)", "label handler"),
    ] {
        let found = metrics_in(bad);
        assert!(
            found.as_ref().is_err_and(|error| error.contains(why)),
            "{bad}: {found:?}"
        );
    }
}
