//! Section `[sync]`.

use std::time::Duration;

use super::Sync;
use super::raw::{self, Span};
use super::section::{LONGEST, SHORTEST, Section};

const POLL_INTERVAL: Span = Span::mins(5);
const FIRST_SYNC_WINDOW: Span = Span::mins(5);
const PAGE_LIMIT: i64 = 1000;
const CALLS_PER_SECOND: i64 = 35;
const CALLS_BURST: i64 = 300;
const TOKENLESS_PER_MINUTE: i64 = 8;
const BACKOFF_MIN: Span = Span::millis(200);
const BACKOFF_MAX: Span = Span::secs(30);
const RATE_LIMIT_PAUSE: Span = Span::secs(60);
const OPERATOR_PAUSE: Span = Span::mins(10);

/// WeCom blocks a corporation for a minute above 10,000 calls a minute.
const MOST_CALLS: u32 = 10_000;

pub(super) fn sync(raw: &raw::Sync, section: &mut Section<'_>) -> Option<Sync> {
    let page_limit = section.number("page_limit", raw.page_limit.unwrap_or(PAGE_LIMIT), 1..=1000);
    let mut rate = |key, rate: Option<i64>, default| section.number(key, rate.unwrap_or(default), 1..=MOST_CALLS);
    let calls_per_second = rate("calls_per_second", raw.calls_per_second, CALLS_PER_SECOND);
    let calls_burst = rate("calls_burst", raw.calls_burst, CALLS_BURST);
    let tokenless_per_minute = rate("tokenless_per_minute", raw.tokenless_per_minute, TOKENLESS_PER_MINUTE);

    let mut wait =
        |key, span: Option<Span>, default| section.duration(key, span.unwrap_or(default), SHORTEST..=LONGEST);
    let poll_interval = wait("poll_interval", raw.poll_interval, POLL_INTERVAL);
    let rate_limit_pause = wait("rate_limit_pause", raw.rate_limit_pause, RATE_LIMIT_PAUSE);
    let operator_pause = wait("operator_pause", raw.operator_pause, OPERATOR_PAUSE);
    let backoff = section.least_and_most(
        ("backoff_min", raw.backoff_min.unwrap_or(BACKOFF_MIN)),
        ("backoff_max", raw.backoff_max.unwrap_or(BACKOFF_MAX)),
    );
    let first_sync_window = section.duration(
        "first_sync_window",
        raw.first_sync_window.unwrap_or(FIRST_SYNC_WINDOW),
        Duration::ZERO..=LONGEST,
    );
    let (backoff_min, backoff_max) = backoff?;
    Some(Sync {
        poll_interval: poll_interval?,
        first_sync_window: first_sync_window?,
        page_limit: page_limit?,
        calls_per_second: calls_per_second?,
        calls_burst: calls_burst?,
        tokenless_per_minute: tokenless_per_minute?,
        backoff_min,
        backoff_max,
        rate_limit_pause: rate_limit_pause?,
        operator_pause: operator_pause?,
    })
}
