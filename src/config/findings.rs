//! What is wrong with a config, told in full and without its secrets.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::{Config, Loaded};

/// Why a config cannot be run with. Shows no secret, and nothing of the file but keys and plain settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("config file {} cannot be read", path.display())]
    Read {
        /// File that was asked for.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The text is no TOML.
    #[error("line {line}, column {column}: {problem}")]
    Syntax {
        /// Line of the text, from 1.
        line: usize,
        /// Character of that line, from 1.
        column: usize,
        /// What the parser stumbled over.
        problem: String,
    },
    /// It is TOML, but no config. One line for each problem.
    #[error("{}", lines(.0))]
    Wrong(Vec<Problem>),
}

/// One thing that is wrong with a config.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Problem {
    /// Path of the key, `apps[0].callback_keys[0].token`, or name of the environment variable.
    pub key: String,
    /// What is wrong with it, and how to mend it.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.what)
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// Collects what is found on the way through a config.
#[derive(Debug, Default)]
pub(super) struct Findings {
    problems: Vec<Problem>,
    warnings: Vec<String>,
    secret_variables: Vec<String>,
    inline_secret: bool,
}

impl Findings {
    /// Notes a problem, unless one with the same value is known already: a key of the wrong type must not be called
    /// missing too.
    pub(super) fn wrong(&mut self, key: String, what: impl Into<String>) {
        if !self.problems.iter().any(|known| is_within(&known.key, &key)) {
            let what = what.into();
            self.problems.push(Problem { key, what });
        }
    }

    /// Notes what is legal but probably not meant.
    pub(super) fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// Notes that a secret comes from the variable `name`.
    pub(super) fn secret_variable(&mut self, name: &str) {
        self.secret_variables.push(name.to_owned());
    }

    /// Whether a secret comes from the variable `name`.
    pub(super) fn is_secret_variable(&self, name: &str) -> bool {
        self.secret_variables.iter().any(|known| known == name)
    }

    /// Notes that a secret stands in the config itself.
    pub(super) fn inline_secret(&mut self) {
        self.inline_secret = true;
    }

    /// Whether any secret stands in the config itself.
    pub(super) fn has_inline_secret(&self) -> bool {
        self.inline_secret
    }

    /// Adds to each problem what its key was set by, where `source` knows.
    pub(super) fn name_sources<'a>(&mut self, source: impl Fn(&str) -> Option<&'a str>) {
        for problem in &mut self.problems {
            if let Some(source) = source(&problem.key) {
                problem.what.push_str(&format!(" (set by {source})"));
            }
        }
    }

    /// How many problems there are.
    pub(super) fn problems(&self) -> usize {
        self.problems.len()
    }

    /// The verdict. `config` is `None` only if a problem was noted.
    pub(super) fn conclude(self, config: Option<Config>) -> Result<Loaded, ConfigError> {
        match config {
            Some(config) if self.problems.is_empty() => Ok(Loaded {
                config,
                warnings: self.warnings,
            }),
            _ => Err(ConfigError::Wrong(self.problems)),
        }
    }
}

/// Whether the key `inner` is `outer` or lies under it.
fn is_within(inner: &str, outer: &str) -> bool {
    inner
        .strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// `, did you mean …?` if one of `choices` looks like a slip for `written`, else nothing.
pub(super) fn did_you_mean<S: AsRef<str>>(written: &str, choices: impl IntoIterator<Item = S>) -> String {
    choices
        .into_iter()
        .map(|choice| (strsim::jaro_winkler(written, choice.as_ref()), choice))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, choice)| format!(", did you mean `{}`?", choice.as_ref()))
        .unwrap_or_default()
}
