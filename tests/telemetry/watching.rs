//! The dashboard and the alert rules name only what is published, and nothing important is left out.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use wecom_kf::metric;
use yaml_rust2::{Yaml, YamlLoader};

use crate::promql::{known, metrics_in};

fn read(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Labels in `{{label}}` and `{{ $labels.label }}`.
fn labels_of(template: &str) -> Vec<String> {
    let parts = template.split("{{").skip(1).filter_map(|part| part.split("}}").next());
    let words = parts.map(|part| part.split_whitespace().next().unwrap_or_default());
    words
        .filter(|word| !word.starts_with("$value"))
        .map(|word| word.trim_start_matches("$labels.").to_owned())
        .collect()
}

/// Every expression of the dashboard, with the legend of its series.
fn on_the_dashboard() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&read("grafana/wecom-kf.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut expressions = Vec::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert!(panel["description"].is_string(), "{} is not explained", panel["title"]);
        for target in panel["targets"].as_array().unwrap() {
            expressions.push((text(&target["expr"]), text(&target["legendFormat"])));
        }
    }
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "two panels share an id");
    assert!(expressions.len() > 20, "{expressions:?}");
    expressions
}

fn alerts() -> Vec<Yaml> {
    let file = YamlLoader::load_from_str(&read("prometheus/alerts.yaml"))
        .unwrap()
        .remove(0);
    let groups = file["groups"].as_vec().unwrap();
    groups
        .iter()
        .flat_map(|group| group["rules"].as_vec().unwrap().clone())
        .collect()
}

#[test]
fn the_dashboard_shows_only_what_is_published() {
    for (expression, legend) in on_the_dashboard() {
        let metrics = metrics_in(&expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
        assert!(!metrics.is_empty(), "{expression}");
        for label in labels_of(&legend) {
            known(&label, &metrics).unwrap_or_else(|error| panic!("{expression}, {legend}: {error}"));
        }
    }
}

#[test]
fn every_alert_asks_for_what_is_published_and_says_what_to_do() {
    let alerts = alerts();
    assert!(alerts.len() > 10);
    let names: BTreeSet<_> = alerts.iter().map(|alert| alert["alert"].as_str().unwrap()).collect();
    assert_eq!(names.len(), alerts.len(), "two alerts share a name");
    for alert in &alerts {
        let name = alert["alert"].as_str().unwrap();
        let metrics = metrics_in(alert["expr"].as_str().unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!metrics.is_empty(), "{name}");
        assert!(alert["for"].as_str().is_some(), "{name} has no patience");
        assert!(
            ["critical", "warning"].contains(&alert["labels"]["severity"].as_str().unwrap()),
            "{name}"
        );
        for text in ["summary", "description"].map(|key| &alert["annotations"][key]) {
            let text = text
                .as_str()
                .unwrap_or_else(|| panic!("{name} does not say what it is about"));
            for label in labels_of(text) {
                known(&label, &metrics).unwrap_or_else(|error| panic!("{name}: {error}"));
            }
        }
    }
}

#[test]
fn every_metric_is_shown_or_watched() {
    let alerts = alerts();
    let watched = alerts.iter().map(|alert| alert["expr"].as_str().unwrap().to_owned());
    let shown = on_the_dashboard().into_iter().map(|(expression, _)| expression);
    let used: BTreeSet<_> = watched
        .chain(shown)
        .flat_map(|expression| metrics_in(&expression).unwrap())
        .map(|metric| metric.name)
        .collect();
    let names = metric::ALL.iter().map(|metric| metric.name);
    let unused: Vec<_> = names.filter(|name| !used.contains(name)).collect();
    assert_eq!(
        unused,
        ["process_start_time_seconds"],
        "the dashboard marks starts with it"
    );
}
