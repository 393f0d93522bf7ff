//! From text to settings: TOML, overlay, keys and types here; what the values mean in the modules named like the
//! sections.

use serde_path_to_error::{Path, Segment};
use toml::{Table, Value};

use super::environment::Overlay;
use super::findings::{ConfigError, Findings, did_you_mean};
use super::raw::{self, RawConfig};
use super::section::Section;
use super::{Config, Environment, app, gateway, handler, server, store, sync};

/// Wrong keys told at once. A file with more is another kind of file.
const MOST_WRONG_KEYS: usize = 30;

/// Reads a config from `text`. `None` comes with at least one problem in `findings`.
pub(super) fn config(
    text: &str,
    environment: &Environment,
    findings: &mut Findings,
) -> Result<Option<Config>, ConfigError> {
    let mut table = text.parse().map_err(|error| syntax(text, &error))?;
    let overlay = Overlay::apply(environment, &mut table);
    let raw = keys_and_types(table, findings);
    let config = meaning(raw, environment, findings);
    overlay.refuse_unknown(findings);
    findings.name_sources(|key| overlay.source(key));
    Ok(config)
}

/// Why `text` is no TOML. The parser's own text would quote the line, and with it the secret that may stand there.
fn syntax(text: &str, error: &toml::de::Error) -> ConfigError {
    let at = error.span().map_or(0, |span| span.start);
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    ConfigError::Syntax {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        problem: error.message().to_owned(),
    }
}

/// Tells of every key that is unknown or has a value of the wrong type, and reads the others.
fn keys_and_types(mut table: Table, findings: &mut Findings) -> RawConfig {
    while findings.problems() < MOST_WRONG_KEYS {
        let error = match serde_path_to_error::deserialize(Value::Table(table.clone())) {
            Ok(raw) => return raw,
            Err(error) => error,
        };
        let key = error.path().to_string();
        findings.wrong(key, explain(&table, error.path(), error.inner().message()));
        // Every key is optional at this stage, so reading goes on without the wrong one.
        if !remove(&mut table, error.path()) {
            break;
        }
    }
    RawConfig::default()
}

/// Serde's complaint in our words, and without the value it quotes: it may be a secret.
fn explain(table: &Table, path: &Path, message: &str) -> String {
    if message.starts_with("unknown field") {
        let known = raw::keys_named_by(message);
        let hint = match path.iter().next_back() {
            Some(Segment::Map { key }) => did_you_mean(key, &known),
            _ => String::new(),
        };
        return if hint.is_empty() {
            format!("unknown key: here may stand {}", known.join(", "))
        } else {
            format!("unknown key{hint}")
        };
    }
    match message
        .strip_prefix("invalid type: ")
        .and_then(|m| m.split_once(", expected "))
    {
        None => message.to_owned(),
        Some((_, expected)) => {
            let expected = match expected {
                "i64" => "a whole number",
                "a sequence" => "a list in [ ]",
                "a string" => "a string in quotes",
                "a boolean" => "true or false",
                other if other.starts_with("struct ") => "a table",
                other => other,
            };
            let found = find(table, path).map_or("something else", Value::type_str);
            format!("must be {expected}, but is of type {found}")
        }
    }
}

fn find<'a>(table: &'a Table, path: &Path) -> Option<&'a Value> {
    let mut segments = path.iter();
    let first = match segments.next()? {
        Segment::Map { key } => table.get(key)?,
        _ => return None,
    };
    segments.try_fold(first, |value, segment| match segment {
        Segment::Map { key } => value.get(key),
        Segment::Seq { index } => value.get(*index),
        _ => None,
    })
}

/// Removes the innermost key on `path`. Not a single element of a list: the indexes in later paths would be wrong.
fn remove(table: &mut Table, path: &Path) -> bool {
    let segments: Vec<_> = path.iter().collect();
    let Some(last) = segments
        .iter()
        .rposition(|segment| matches!(segment, Segment::Map { .. }))
    else {
        return false;
    };
    let mut place = table;
    let mut segments = segments[..=last].iter().peekable();
    while let Some(Segment::Map { key }) = segments.next() {
        if segments.peek().is_none() {
            return place.remove(key).is_some();
        }
        let mut value = place.get_mut(key);
        while let Some(Segment::Seq { index }) = segments.peek() {
            value = value.and_then(|list| list.get_mut(*index));
            segments.next();
        }
        match value {
            Some(Value::Table(inner)) => place = inner,
            _ => return false,
        }
    }
    false
}

fn meaning(raw: RawConfig, environment: &Environment, findings: &mut Findings) -> Option<Config> {
    let apps = raw.apps.unwrap_or_default();
    let app_names: Vec<_> = apps.iter().filter_map(|app| app.name.clone()).collect();
    let mut root = Section::root(environment, findings);
    let server = server::server(&raw.server.unwrap_or_default(), &mut root.at("server"));
    let log = server::log(&raw.log.unwrap_or_default(), &mut root.at("log"));
    let store = store::store(raw.store.unwrap_or_default(), &mut root.at("store"));
    let apps = app::apps(apps, &mut root);
    let sync = sync::sync(&raw.sync.unwrap_or_default(), &mut root.at("sync"));
    let handlers = handler::handlers(raw.handlers.unwrap_or_default(), &app_names, &mut root);
    let gateway = match raw.gateway {
        None => Some(None),
        Some(raw) => gateway::gateway(raw, &app_names, server.as_ref(), &mut root.at("gateway")).map(Some),
    };
    Some(Config {
        server: server?,
        log: log?,
        store: store?,
        apps: apps?,
        sync: sync?,
        handlers: handlers?,
        gateway: gateway?,
    })
}
