//! Log lines: which are written, and in which form.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::str::FromStr;

use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::util::SubscriberInitExt as _;

/// What is logged, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Which lines are written.
    pub filter: Filter,
    /// Form they are written in.
    pub format: LogFormat,
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
}

/// Sends the log of this process to standard error, in the form that `settings` ask for.
///
/// # Errors
///
/// [`LogsError::Installed`] if somebody did so before. Theirs stays.
pub fn init_logs(settings: &Settings) -> Result<(), LogsError> {
    let colours = if io::stderr().is_terminal() {
        Colours::Yes
    } else {
        Colours::No
    };
    dispatch(settings, io::stderr, colours)
        .try_init()
        .map_err(|error| LogsError::Installed(error.into()))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Colours {
    Yes,
    No,
}

fn dispatch<W>(settings: &Settings, writer: W, colours: Colours) -> Dispatch
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&*settings.filter.0))
        .with_timer(SystemTime)
        .with_ansi(colours == Colours::Yes)
        .with_writer(writer);
    match settings.format {
        LogFormat::Text => lines.into(),
        LogFormat::Json => lines.json().flatten_event(true).into(),
    }
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
        let paper = Paper::default();
        let settings = Settings {
            filter: Filter::new(filter).unwrap(),
            format,
        };
        let writer = paper.clone();
        let dispatch = dispatch(&settings, move || writer.clone(), Colours::No);
        tracing::dispatcher::with_default(&dispatch, || {
            tracing::warn!(attempt = 2, "handler failed");
            tracing::info!("page committed");
            tracing::debug!("token refreshed");
        });
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
