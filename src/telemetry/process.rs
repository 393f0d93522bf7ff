//! What the system knows about this process, under the names that Prometheus' own client libraries use.

use std::fs;

use crate::metric;

/// Measures the process as it stands. Where there is no `/proc`, nothing is measured.
pub(super) fn measure() {
    if let Some(kibibytes) = number("/proc/self/status", "VmRSS:") {
        metrics::gauge!(metric::PROCESS_RESIDENT_BYTES).set(kibibytes * 1024.0);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them reads the directory.
        metrics::gauge!(metric::PROCESS_OPEN_FDS).set(open.count().saturating_sub(1) as f64);
    }
    if let Some(most) = number("/proc/self/limits", "Max open files") {
        metrics::gauge!(metric::PROCESS_MAX_FDS).set(most);
    }
}

/// The first number behind `name` in the file at `path`.
fn number(path: &str, name: &str) -> Option<f64> {
    let text = fs::read_to_string(path).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}
