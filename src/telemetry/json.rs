//! A log line as a JSON object.
//!
//! | Key | Value |
//! |---|---|
//! | `timestamp` | RFC 3339 in UTC, microseconds |
//! | `level` | `ERROR`, `WARN`, `INFO`, `DEBUG` or `TRACE` |
//! | `target` | module the line comes from |
//! | `message` | what happened; the same words each time it does |
//!
//! All else is about this one time, under names that mean the same wherever they stand: `app`, `handler`, `account`,
//! `open_kfid`, `msgid`, `attempts`, `errcode`, `duration_ms`, `error` with its causes behind colons, and so on. Numbers
//! and truth values are such in JSON, everything else is text.

use std::error::Error;
use std::fmt::{self, Debug};
use std::iter::successors;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Most causes of an error that are told. An error may be its own cause.
const CAUSES: usize = 16;

/// Writes each event as a JSON object and a line break.
pub(super) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let mut line = Line(Map::new());
        event.record(&mut line);
        let Line(mut fields) = line;
        // What comes by way of the `log` crate names its module in a field.
        let target = fields.remove("log.target");
        fields.retain(|name, _| !name.starts_with("log."));
        let metadata = event.metadata();
        let target = target.unwrap_or_else(|| metadata.target().into());
        let level = metadata.level().as_str();
        write!(
            writer,
            r#"{{"timestamp":"{timestamp}","level":"{level}","target":{target}"#
        )?;
        if let Some(message) = fields.remove("message") {
            write!(writer, r#","message":{message}"#)?;
        }
        for (name, value) in fields {
            write!(writer, ",{}:{value}", Value::from(name))?;
        }
        writeln!(writer, "}}")
    }
}

/// The fields of an event.
struct Line(Map<String, Value>);

impl Line {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Line {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    // The subscriber's own JSON tells the outermost error only: that a call failed, and not why.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let causes = successors(value.source(), |&cause| cause.source()).take(CAUSES);
        let text = causes.fold(value.to_string(), |text, cause| format!("{text}: {cause}"));
        self.put(field, text);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}"));
    }
}
