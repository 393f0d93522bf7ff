//! One table of the file, read key by key: a value that will do, or a problem under the right path.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::Environment;
use super::findings::{Findings, did_you_mean};
use super::raw::{Secret, Span};
use super::secret::{self, Exposure, Form};
use crate::id::NameError;

/// Ten years. Longer than this is a slip of the pen, and would overflow the clocks that it is added to.
pub(super) const LONGEST: Duration = Duration::from_hours(10 * 8766);

/// Shortest wait that is one.
pub(super) const SHORTEST: Duration = Duration::from_millis(1);

/// A table of the file.
#[derive(Debug)]
pub(super) struct Section<'a> {
    path: String,
    environment: &'a Environment,
    findings: &'a mut Findings,
}

impl<'a> Section<'a> {
    /// The file itself.
    pub(super) fn root(environment: &'a Environment, findings: &'a mut Findings) -> Self {
        Self {
            path: String::new(),
            environment,
            findings,
        }
    }

    /// The table under `key`; `key` may have an index, `apps[0]`.
    pub(super) fn at(&mut self, key: &str) -> Section<'_> {
        Section {
            path: self.path_of(key),
            environment: self.environment,
            findings: self.findings,
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Notes what is wrong with `key`.
    pub(super) fn wrong(&mut self, key: &str, what: impl Into<String>) {
        self.findings.wrong(self.path_of(key), what);
    }

    /// Notes what is odd about `key`, but legal.
    pub(super) fn warn(&mut self, key: &str, what: &str) {
        self.findings.warn(format!("{}: {what}", self.path_of(key)));
    }

    /// A value that must be there. `mend` tells what it is and where to find it.
    pub(super) fn required<T>(&mut self, key: &str, value: Option<T>, mend: &str) -> Option<T> {
        if value.is_none() {
            self.wrong(key, format!("missing: {mend}"));
        }
        value
    }

    /// A duration within `range`.
    pub(super) fn duration(
        &mut self,
        key: &str,
        Span(span): Span,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let limit = if span < *range.start() {
            format!("at least {}", humantime::format_duration(*range.start()))
        } else if span > *range.end() {
            format!("at most {}", humantime::format_duration(*range.end()))
        } else {
            return Some(span);
        };
        self.wrong(
            key,
            format!("must be {limit}, but is {}", humantime::format_duration(span)),
        );
        None
    }

    /// Two waits, the first not above the second.
    pub(super) fn least_and_most(&mut self, least: (&str, Span), most: (&str, Span)) -> Option<(Duration, Duration)> {
        let low = self.duration(least.0, least.1, SHORTEST..=LONGEST);
        let high = self.duration(most.0, most.1, SHORTEST..=LONGEST);
        let (low, high) = (low?, high?);
        if low <= high {
            return Some((low, high));
        }
        let (low, high) = (humantime::format_duration(low), humantime::format_duration(high));
        self.wrong(most.0, format!("must be at least {} ({low}), but is {high}", least.0));
        None
    }

    /// A whole number within `range`.
    pub(super) fn number<T>(&mut self, key: &str, number: i64, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i64> + PartialOrd + fmt::Display,
    {
        match T::try_from(number) {
            Ok(fitting) if range.contains(&fitting) => Some(fitting),
            _ => {
                let (least, most) = (range.start(), range.end());
                self.wrong(key, format!("must be {least} to {most}, but is {number}"));
                None
            }
        }
    }

    /// The name of an entry.
    pub(super) fn name<T>(
        &mut self,
        name: Option<&str>,
        mend: &str,
        parse: impl Fn(&str) -> Result<T, NameError>,
    ) -> Option<T> {
        let name = self.required("name", name, mend)?;
        match parse(name) {
            Ok(name) => Some(name),
            Err(error) => {
                self.wrong("name", format!("{error}, but is {name:?}"));
                None
            }
        }
    }

    /// Tells of every entry of `list` that has the name of an earlier one.
    pub(super) fn refuse_repeated_names<'n>(&mut self, list: &str, names: impl Iterator<Item = Option<&'n str>>) {
        let mut seen = HashMap::new();
        for (index, name) in names.enumerate() {
            let Some(name) = name else { continue };
            match seen.entry(name) {
                Entry::Vacant(entry) => {
                    entry.insert(index);
                }
                Entry::Occupied(first) => {
                    let what = format!(
                        "{name:?} is the name of {list}[{}] already: give it its own",
                        first.get()
                    );
                    self.wrong(&format!("{list}[{index}].name"), what);
                }
            }
        }
    }

    /// Tells of every one of `keys` that is given: they belong to handlers of the kind `owner`, but this one is of `kind`.
    pub(super) fn refuse_keys_of(&mut self, owner: &str, kind: &str, keys: &[(&str, bool)]) {
        for (key, _) in keys.iter().filter(|(_, given)| *given) {
            let what = format!("means nothing to a handler of kind {kind:?}: remove it, or make it {owner:?}");
            self.wrong(key, what);
        }
    }

    /// One word out of `choices`.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, word: &str, choices: &[(&str, T)]) -> Option<T> {
        let found = choices.iter().find(|(name, _)| *name == word);
        if found.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
            let hint = did_you_mean(word, choices.iter().map(|(name, _)| name));
            self.wrong(key, format!("must be {}, but is {word:?}{hint}", names.join(" or ")));
        }
        found.map(|(_, meaning)| *meaning)
    }

    /// What `text` says to `parse`.
    #[cfg(feature = "nats")]
    pub(super) fn parsed<T, E: fmt::Display>(
        &mut self,
        key: &str,
        text: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        match parse(text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.wrong(key, format!("{error}, but is {text:?}"));
                None
            }
        }
    }

    /// Each item of the list `key`, read under its own key. What is wrong with a list of none is `if_empty`.
    pub(super) fn list<T>(
        &mut self,
        key: &str,
        items: &[String],
        if_empty: &str,
        read: impl Fn(&mut Self, &str, &str) -> Option<T>,
    ) -> Option<Vec<T>> {
        if items.is_empty() {
            self.wrong(key, if_empty);
            return None;
        }
        let items = items.iter().enumerate();
        let read: Vec<_> = items
            .map(|(index, item)| read(self, &format!("{key}[{index}]"), item))
            .collect();
        read.into_iter().collect()
    }

    /// An address of the web, without credentials.
    pub(super) fn web_address(&mut self, key: &str, text: &str) -> Option<Url> {
        // The text is not repeated in any answer: it may carry a password or a token.
        let problem = match Url::parse(text) {
            Err(error) => format!("is no URL ({error}): write https://host/path"),
            Ok(url) if !matches!(url.scheme(), "http" | "https") => {
                format!(
                    "must begin with https:// or http://, but its scheme is {:?}",
                    url.scheme()
                )
            }
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                "must not carry credentials before the host, since URLs end up in logs: remove them".to_owned()
            }
            Ok(url) => return Some(url),
        };
        self.wrong(key, problem);
        None
    }

    /// A secret of one word, fetched from where it is.
    pub(super) fn secret(&mut self, key: &str, secret: Option<Secret>, mend: &str) -> Option<SecretString> {
        self.secret_of(Form::Word, key, secret, mend)
    }

    /// A secret of several lines, fetched from where it is.
    #[cfg(feature = "nats")]
    pub(super) fn secret_text(&mut self, key: &str, secret: Option<Secret>, mend: &str) -> Option<SecretString> {
        self.secret_of(Form::Text, key, secret, mend)
    }

    fn secret_of(&mut self, form: Form, key: &str, secret: Option<Secret>, mend: &str) -> Option<SecretString> {
        let secret = self.required(key, secret, mend)?;
        match &secret {
            Secret::Inline(_) => self.findings.inline_secret(),
            Secret::Env(name) => self.findings.secret_variable(name),
            Secret::File(path) => match Exposure::of(path) {
                Exposure::Writable => {
                    let what = format!("every user of this machine may replace {path}: chmod 600 it");
                    self.wrong(key, what);
                    return None;
                }
                Exposure::Readable => {
                    let what = format!("every user of this machine may read {path}: chmod 600 it");
                    self.warn(key, &what);
                }
                Exposure::None => {}
            },
            Secret::Unclear => {}
        }
        match secret::fetch(&secret, form, self.environment) {
            Ok(secret) => Some(secret),
            Err(problem) => {
                self.wrong(key, problem.to_string());
                None
            }
        }
    }

    /// Notes that `secret`, which the key holds, has not the `shape` it should have. Shows its length only.
    pub(super) fn misshapen(&mut self, key: &str, secret: &SecretString, shape: &str) {
        let length = secret.expose_secret().chars().count();
        self.wrong(key, format!("must be {shape}; what is given has {length} characters"));
    }
}
