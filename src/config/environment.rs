//! The environment: a value, so that a test can write its own.

use std::collections::BTreeMap;
use std::env;
use std::fmt;

use super::findings::{Findings, did_you_mean};
use super::raw;

/// Start of every variable that overlays the file.
const PREFIX: &str = "WECOM_KF_";

/// Environment variables, as they stood at one moment. Names show in `Debug`, values do not.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Reads the variables of this process. One whose name or value is not UTF-8 counts as not set.
    #[must_use]
    pub fn of_process() -> Self {
        env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// Value of `name`, if it is set.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(
            variables
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What the environment changes about a config.
#[derive(Debug, Default)]
pub(super) struct Overlay<'a> {
    /// Keys that were set, each with the variable it came from.
    sources: BTreeMap<String, &'a str>,
    /// Variables that claim to be ours but name no key.
    unknown: Vec<&'a str>,
}

impl<'a> Overlay<'a> {
    /// Writes the variables of `environment` over `table`. An empty variable counts as not set, because compose files
    /// pass on what their reader never filled in.
    pub(super) fn apply(environment: &'a Environment, table: &mut toml::Table) -> Self {
        let mut overlay = Self::default();
        let set = |(_, value): &(&String, &String)| !value.is_empty();
        for (variable, value) in environment.0.iter().filter(set) {
            if !variable.starts_with(PREFIX) {
                continue;
            }
            match known_variables().find(|(known, ..)| known == variable) {
                Some((_, section, key)) => overlay.write(table, section, &key, variable, typed(value)),
                None => overlay.unknown.push(variable),
            }
        }
        // Last, because it wins: whoever sets it wants to see something now.
        if let Some((variable, value)) = environment.0.get_key_value("RUST_LOG").filter(set) {
            overlay.write(table, "log", "level", variable, toml::Value::String(value.clone()));
        }
        overlay
    }

    fn write(&mut self, table: &mut toml::Table, section: &str, key: &str, variable: &'a str, value: toml::Value) {
        let place = table
            .entry(section)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()));
        // A section that is no table is refused by the reader; there is nothing to write over.
        if let toml::Value::Table(place) = place {
            place.insert(key.to_owned(), value);
            self.sources.insert(format!("{section}.{key}"), variable);
        }
    }

    /// The variable that `key` was set by, if it was.
    pub(super) fn source(&self, key: &str) -> Option<&'a str> {
        self.sources.get(key).copied()
    }

    /// Tells of variables that name no key, unless a secret comes from them.
    pub(super) fn refuse_unknown(&self, findings: &mut Findings) {
        for &variable in &self.unknown {
            if !findings.is_secret_variable(variable) {
                let hint = did_you_mean(variable, known_variables().map(|(known, ..)| known));
                findings.wrong(variable.to_owned(), format!("no setting has this variable{hint}"));
            }
        }
    }
}

/// A value as TOML would have it: every setting with a variable is a string or a whole number.
fn typed(value: &str) -> toml::Value {
    value
        .parse()
        .map_or_else(|_| toml::Value::String(value.to_owned()), toml::Value::Integer)
}

/// Every variable that sets a key, with section and key: what is one value and stands once has one.
fn known_variables() -> impl Iterator<Item = (String, &'static str, String)> {
    let sections = [
        ("server", raw::keys::<raw::Server>()),
        ("log", raw::keys::<raw::Log>()),
        ("store", raw::keys::<raw::Store>()),
        ("sync", raw::keys::<raw::Sync>()),
    ];
    sections.into_iter().flat_map(|(section, keys)| {
        keys.into_iter().map(move |key| {
            let variable = format!("{PREFIX}{section}_{key}").to_uppercase();
            (variable, section, key)
        })
    })
}
