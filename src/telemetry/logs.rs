//! Log lines: which are written, and in which form.
//!
//! What goes through the crates that carry our requests is full of secrets: the access token stands in the address of
//! every call to WeCom. What these crates write below `info` is therefore not written, whatever the filter says.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Metadata};
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};
use url::Url;

use super::json::JsonLines;
use super::panics;
#[cfg(feature = "otel")]
use super::traces::Traces;
use crate::span;

/// Crates that see requests, with the secrets in them, before they are encrypted. A test holds it to what is built.
const CARRIERS: &[&str] = &[
    "async_nats",
    "deadpool_postgres",
    "h2",
    "hyper",
    "hyper_util",
    "nkeys",
    "reqwest",
    "rustls",
    "rustls_platform_verifier",
    "tokio_postgres",
];

/// What is logged, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Which lines are written.
    pub filter: Filter,
    /// Form they are written in.
    pub format: LogFormat,
    /// Collector that traces are sent to, without `/v1/traces`. Must be `None` in a build without the feature `otel`.
    pub otlp_endpoint: Option<Url>,
}

/// Form of a log line. Times are UTC in both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LogFormat {
    /// For people; in colour on a terminal.
    Text,
    /// One JSON object a line, its fields at the top.
    Json,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// Which log lines are written: a level, or levels by module, `wecom_kf=debug,info`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter(Box<str>);

/// Why a log filter was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{part:?} is no log filter: write trace, debug, info, warn, error or off, or levels by module, \"wecom_kf=debug,info\""
)]
#[non_exhaustive]
pub struct FilterError {
    /// Part of the filter that cannot be read.
    pub part: String,
}

impl Filter {
    /// Parses a filter.
    ///
    /// A bare word must be a level. The subscriber itself would take `inof` for the name of a module, and log all of
    /// that and nothing else.
    ///
    /// # Errors
    ///
    /// [`FilterError`] names the part that cannot be read.
    pub fn new(text: &str) -> Result<Self, FilterError> {
        // The subscriber refuses a space behind a comma.
        let parts: Vec<_> = text.split(',').map(str::trim).collect();
        let refused = |part: &str| Err(FilterError { part: part.to_owned() });
        if let Some(part) = parts.iter().find(|part| is_word(part) && !is_level(part)) {
            return refused(part);
        }
        let text = parts.join(",");
        if EnvFilter::try_new(&text).is_err() {
            let culprit = parts.iter().find(|part| EnvFilter::try_new(part).is_err());
            return refused(culprit.unwrap_or(&text.as_str()));
        }
        Ok(Self(text.into()))
    }
}

fn is_word(part: &str) -> bool {
    part.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':'))
}

fn is_level(word: &str) -> bool {
    !word.is_empty() && LevelFilter::from_str(word).is_ok()
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogsError {
    /// This process has a subscriber or a logger already.
    #[error("log is set up already")]
    Installed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Traces are asked for and cannot be sent.
    #[error("traces cannot be sent")]
    Traces(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The log of this process. Traces that wait to be sent are sent when this is dropped, for two seconds at most.
#[derive(Debug)]
#[must_use = "traces are sent until this is dropped"]
pub struct Logs {
    #[cfg(feature = "otel")]
    _traces: Option<Traces>,
}

/// Sends the log of this process to standard error, in the form that `settings` ask for, panics included; and its
/// traces to the collector, if there is one.
///
/// # Errors
///
/// [`LogsError::Installed`] if somebody did so before. Theirs stays. [`LogsError::Traces`] if they cannot be sent from
/// this machine or build.
pub fn init_logs(settings: &Settings) -> Result<Logs, LogsError> {
    let colours = if io::stderr().is_terminal() {
        Colours::Yes
    } else {
        Colours::No
    };
    let subscriber = Registry::default().with(lines(settings, io::stderr, colours));
    #[cfg(feature = "otel")]
    let (subscriber, logs) = {
        let traces = settings.otlp_endpoint.as_ref().map(Traces::to).transpose();
        let traces = traces.map_err(LogsError::Traces)?;
        let layer = traces.as_ref().map(Traces::layer);
        (subscriber.with(layer), Logs { _traces: traces })
    };
    #[cfg(not(feature = "otel"))]
    let logs = if settings.otlp_endpoint.is_none() {
        Logs {}
    } else {
        return Err(LogsError::Traces("this build has not the feature `otel`".into()));
    };
    Dispatch::new(subscriber)
        .try_init()
        .map_err(|error| LogsError::Installed(error.into()))?;
    panics::log();
    Ok(logs)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Colours {
    Yes,
    No,
}

/// What writes the lines.
fn lines<W>(settings: &Settings, writer: W, colours: Colours) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer()
        .with_timer(SystemTime)
        .with_ansi(colours == Colours::Yes)
        .with_writer(writer);
    let lines = match settings.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.event_format(JsonLines).boxed(),
    };
    // Without the hint nobody could know that `debug!` is off, and each would be asked about.
    let may_be_written = filter_fn(may_be_written).with_max_level_hint(LevelFilter::TRACE);
    let filter = EnvFilter::new(&*settings.filter.0).and(may_be_written);
    lines.with_filter(filter).boxed()
}

/// Whether what `metadata` describes may be written under any filter at all.
fn may_be_written(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let from = target.split("::").next().unwrap_or(target);
    if CARRIERS.contains(&from) {
        return *metadata.level() <= LevelFilter::INFO;
    }
    target != span::TARGET
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps what is logged.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The log of three lines, each at another level, under `filter`.
    fn log(filter: &str, format: LogFormat) -> Vec<String> {
        log_of(filter, format, || {
            tracing::warn!(attempt = 2, "handler failed");
            tracing::info!("page committed");
            tracing::debug!("token refreshed");
        })
    }

    /// The log of what `write` writes, under `filter`.
    fn log_of(filter: &str, format: LogFormat, write: impl FnOnce()) -> Vec<String> {
        let paper = Paper::default();
        let settings = Settings {
            filter: Filter::new(filter).unwrap(),
            format,
            otlp_endpoint: None,
        };
        let writer = paper.clone();
        let subscriber = Registry::default().with(lines(&settings, move || writer.clone(), Colours::No));
        tracing::subscriber::with_default(subscriber, write);
        let bytes = paper.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn only_what_the_filter_lets_through_is_written() {
        assert_eq!(log("warn", LogFormat::Text).len(), 1);
        assert_eq!(log("info", LogFormat::Text).len(), 2);
        assert_eq!(log("off,wecom_kf=debug", LogFormat::Text).len(), 3);
        assert_eq!(log("off", LogFormat::Text).len(), 0);
    }

    #[test]
    fn a_json_line_has_its_fields_at_the_top_and_its_time_in_utc() {
        let lines = log("warn", LogFormat::Json);
        let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(line["message"], "handler failed");
        assert_eq!(line["attempt"], 2);
        assert_eq!(line["level"], "WARN");
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
    }

    #[test]
    fn a_json_line_begins_with_what_every_line_has_and_tells_an_error_with_its_causes() {
        let lines = log_of("info", LogFormat::Json, || {
            let error = LogsError::Traces(Box::new(io::Error::other("no route\nto \"host\"")));
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, ok = false, share = 0.5, handler = %"bot", "a line of its own");
        });
        assert_eq!(lines.len(), 1);
        let head = r#","level":"ERROR","target":"wecom_kf::telemetry::logs::tests","message":"a line of its own","#;
        assert!(
            lines[0].starts_with(r#"{"timestamp":"20"#) && lines[0].contains(head),
            "{}",
            lines[0]
        );
        let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(line["error"], "traces cannot be sent: no route\nto \"host\"");
        assert_eq!(
            (&line["ok"], &line["share"], &line["handler"]),
            (&false.into(), &0.5.into(), &"bot".into())
        );
    }

    #[test]
    fn what_carries_secrets_is_silent_below_info_whatever_the_filter_says() {
        for filter in ["trace", "hyper_util=trace", "hyper_util::client=trace,reqwest=debug"] {
            let lines = log_of(filter, LogFormat::Text, || {
                tracing::trace!(target: "hyper_util::client::legacy", "GET /?access_token=1");
                tracing::debug!(target: "reqwest", "GET /?access_token=2");
                tracing::debug!(target: "hyper_util", "GET /?access_token=3");
            });
            assert_eq!(lines, [""; 0], "{filter}");
        }
        let told = || tracing::warn!(target: "hyper_util::client", "odd");
        assert_eq!(log_of("info", LogFormat::Text, told).len(), 1);
        let spans = || tracing::info_span!(target: span::TARGET, "pull").in_scope(|| tracing::info!("committed"));
        assert!(
            !log_of("trace", LogFormat::Text, spans)[0].contains("pull"),
            "spans are not for the log"
        );
    }

    /// A new dependency that logs has to be judged: does it see requests?
    #[test]
    fn every_crate_that_logs_is_known_to_carry_secrets_or_to_be_harmless() {
        let harmless = [
            "generator", // of loom, which nothing here is built with
            "jni",       // Android
            "loom",
            "quinn", // HTTP/3, not built
            "quinn-proto",
            "quinn-udp",
            "tracing", // carry what is logged, and log nothing
            "tracing-log",
            "tracing-opentelemetry",
            "tracing-serde",
            "tracing-subscriber",
            "wecom-kf",
        ];
        let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")).unwrap();
        let lock: toml::Table = lock.parse().unwrap();
        let text = |value: &toml::Value| value.as_str().unwrap().to_owned();
        let loggers = lock["package"].as_array().unwrap().iter().filter(|package| {
            let dependencies = package.get("dependencies").and_then(toml::Value::as_array);
            dependencies.is_some_and(|all| {
                all.iter().map(text).any(|name| {
                    let name = name.split(' ').next().unwrap_or_default();
                    ["log", "tracing", "tracing-core"].contains(&name)
                })
            })
        });
        let names: Vec<_> = loggers.map(|package| text(&package["name"])).collect();
        assert!(names.contains(&"reqwest".to_owned()), "{names:?}");
        for name in names {
            let known = CARRIERS.contains(&&*name.replace('-', "_")) || harmless.contains(&&*name);
            assert!(
                known,
                "{name} logs: put it into CARRIERS unless it never sees a request"
            );
        }
    }

    #[test]
    fn a_text_line_reads_alone() {
        let lines = log("warn", LogFormat::Text);
        assert!(
            lines[0].ends_with("WARN wecom_kf::telemetry::logs::tests: handler failed attempt=2"),
            "{lines:?}"
        );
    }

    #[test]
    fn a_misspelt_level_is_refused_and_not_taken_for_a_module() {
        for good in [
            "info",
            "WARN",
            "off",
            "wecom_kf=debug,info",
            "info, hyper=warn",
            "wecom_kf[sync]=trace",
        ] {
            assert!(Filter::new(good).is_ok(), "{good}");
        }
        for (bad, part) in [
            ("inof", "inof"),
            ("wecom_kf=debug,ifno", "ifno"),
            ("", ""),
            ("info,wecom_kf=loud", "wecom_kf=loud"),
        ] {
            assert_eq!(Filter::new(bad).unwrap_err().part, part);
        }
    }
}
