//! Holds the house together: who may import whom, where each heavy crate lives, and how large a file may be.
//!
//! A module imports only from rows below its own, and each heavy crate has one home, so that the protocol can be read
//! without HTTP, a store be changed without an engine noticing, and a crate be replaced in one place. Tests, which are
//! items under `#[cfg(test)]` and modules called `tests`, are free to reach further.

#[path = "layers/source.rs"]
mod source;

use std::fmt;
use std::fs;
use std::path::Path;

use source::{Import, Source};

/// Modules by row. One imports only from rows above it in this table.
const ROWS: &[&[&str]] = &[
    &["id", "clock", "backoff", "metric", "span", "authority"],
    &["callback", "message"],
    &["api", "store"],
    &["handler", "lease"],
    &["syncer", "dispatcher", "simulator"],
    &["http", "telemetry", "shutdown"],
    &["config"],
    &["app"],
    &["cli"],
    &["main", "lib"],
];

/// Heavy crates, and the modules that may name them.
const HOMES: &[(&str, &[&str])] = &[
    ("axum", &["http", "simulator"]),
    ("hyper", &["http", "handler::forward", "simulator"]),
    ("hyper_util", &["http", "handler::forward", "simulator"]),
    ("hyper_rustls", &["handler::forward"]),
    ("rustls", &["authority", "handler::forward", "store::postgres"]),
    ("rustls_platform_verifier", &["authority"]),
    ("tower", &["http", "handler::forward", "simulator"]),
    ("reqwest", &["api", "simulator", "telemetry::traces"]),
    ("opentelemetry", &["telemetry::traces"]),
    ("opentelemetry_sdk", &["telemetry::traces"]),
    ("opentelemetry_otlp", &["telemetry::traces"]),
    ("opentelemetry_http", &["telemetry::traces"]),
    ("tracing_opentelemetry", &["telemetry::traces"]),
    ("rusqlite", &["store::sqlite"]),
    ("tokio_postgres", &["store::postgres"]),
    ("deadpool_postgres", &["store::postgres"]),
    ("tokio_postgres_rustls", &["store::postgres"]),
    ("async_nats", &["handler::nats"]),
    ("nix", &["app::descriptors", "store::sqlite"]),
    ("quick_xml", &["callback"]),
    ("aes", &["callback"]),
    ("cbc", &["callback"]),
    ("sha1", &["callback"]),
    ("toml", &["config"]),
    ("metrics_exporter_prometheus", &["telemetry"]),
    ("tracing_subscriber", &["telemetry"]),
    ("clap", &["cli", "main"]),
    ("anyhow", &["cli", "main"]),
    ("listenfd", &["cli"]),
];

/// Lines of a file, its tests aside.
const MOST_LINES: usize = 450;

/// Names that say nothing of what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "common", "types", "manager"];

/// A broken rule, and where.
struct Offence {
    file: String,
    line: usize,
    what: String,
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

fn row(module: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&module))
}

/// What `import`, found in a file of `module`, breaks.
fn offence(module: &[String], import: &Import) -> Option<String> {
    let own = module[0].as_str();
    let [root, rest @ ..] = import.path.as_slice() else {
        return None;
    };
    if root == "crate" {
        let other = rest.first()?.as_str();
        if other == own || own == "lib" || own == "main" {
            return None;
        }
        return match (row(own), row(other)) {
            (Some(mine), Some(theirs)) if theirs < mine => None,
            (Some(_), Some(_)) => Some(format!(
                "`{own}` must not import `{other}`, which is not in a row below it"
            )),
            (None, _) => Some(format!("`{own}` has no row: give it one in tests/layers.rs")),
            (_, None) => Some(format!(
                "`{own}` imports `crate::{other}`, which is no module with a row"
            )),
        };
    }
    let (_, homes) = HOMES.iter().find(|(name, _)| name == root)?;
    let at_home = homes.iter().any(|home| {
        let home: Vec<_> = home.split("::").collect();
        module.len() >= home.len() && module.iter().zip(&home).all(|(a, b)| a == b)
    });
    let what = format!(
        "`{}` must not name `{root}`, which lives in {}",
        module.join("::"),
        homes.join(", ")
    );
    (!at_home).then_some(what)
}

/// Everything that the file at `path` (relative to `src`) breaks.
fn offences(path: &str, text: &str) -> Vec<Offence> {
    let at = |line, what| Offence {
        file: format!("src/{path}"),
        line,
        what,
    };
    let module = source::module_of(path);
    let mut offences = Vec::new();
    if let Some(name) = module.iter().find(|name| EMPTY_NAMES.contains(&name.as_str())) {
        offences.push(at(1, format!("`{name}` says nothing: name it by the noun it holds")));
    }
    if module.iter().any(|name| name == "tests") {
        return offences;
    }
    let source = Source::read(&module, text);
    for import in &source.imports {
        offences.extend(offence(&module, import).map(|what| at(import.line, what)));
    }
    if source.lines > MOST_LINES {
        offences.push(at(
            source.lines,
            format!("{} lines are too many: split it by noun", source.lines),
        ));
    }
    offences
}

fn visit(dir: &Path, path: &str, offences_of: &mut impl FnMut(&str, &str)) {
    let mut entries: Vec<_> = fs::read_dir(dir)
        .and_then(Iterator::collect)
        .expect("the source can be listed");
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().into_string().expect("file names are ASCII");
        if entry.path().is_dir() {
            visit(&entry.path(), &format!("{path}{name}/"), offences_of);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(entry.path()).expect("the source can be read");
            offences_of(&format!("{path}{name}"), &text);
        }
    }
}

#[test]
fn every_file_keeps_to_its_row_its_crates_and_its_size() {
    let (mut files, mut found) = (0, Vec::new());
    visit(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        "",
        &mut |path, text| {
            files += 1;
            found.extend(offences(path, text).iter().map(Offence::to_string));
        },
    );
    assert!(files > 10, "{files} files are not the whole source");
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// Line and text of each offence.
fn caught(path: &str, text: &str) -> Vec<(usize, String)> {
    let offences = offences(path, text).into_iter();
    offences.map(|offence| (offence.line, offence.what)).collect()
}

#[test]
fn an_import_from_a_row_above_or_beside_is_caught_in_every_form() {
    for text in [
        "use crate::config::Config;",
        "use crate::{id::AppName, config::{self as settings}};",
        "pub(crate) use crate::config as settings;",
        "fn f() { let _ = crate::config::Config::load; }",
        "impl From<crate::config::Config> for X {}",
        "fn f() -> crate::config::Config { x }",
        "fn f() { match x { _ => crate::config::f() } }",
        "fn f() { X { a, ..crate::config::f() } }",
        "use super::super::config::Config;",
        "use super::{super::config::Config};",
        "mod inner { use super::super::super::config::Config; }",
        "fn f() { super::super::config::f(); }",
        "#[derive(crate::config::Derive)] struct X;",
        "/* not /* here */ */ use crate::config::Config; // \" '",
        "const C: char = '\"'; use crate::config::Config; const D: &str = r#\"\"#;",
        "fn f<'a>(x: &'a str) { crate::config::f(x) }",
    ] {
        let caught = caught("syncer/pull.rs", text);
        assert_eq!(caught.len(), 1, "{text}: {caught:?}");
        assert!(caught[0].1.contains("`syncer` must not import `config`"), "{caught:?}");
    }
    let beside = caught(
        "syncer/mod.rs",
        "//! Doc.\n\nuse crate::id::AppName;\nuse crate::dispatcher::X;\n",
    );
    assert_eq!(beside[0].0, 4);
    assert!(
        beside[0].1.contains("`syncer` must not import `dispatcher`"),
        "{beside:?}"
    );
    assert!(
        caught("syncer.rs", "use super::config::X;")[0]
            .1
            .contains("`syncer` must not import `config`")
    );
}

#[test]
fn what_the_rows_allow_is_let_through() {
    for text in [
        "use crate::store::Store; use crate::api::Client; use super::queue::Queue; use self::x::Y;",
        "use super::super::store::Store;",
        "mod inner { use super::Queue; use super::super::Syncer; }",
        "// use crate::config::Config;\n/// [`Config`](crate::config::Config)\nfn f() {}",
        "const HELP: &str = \"use crate::config::Config;\"; const RAW: &str = r#\"use \"crate::config\"\"#;",
        "#[cfg(test)]\nmod tests { use crate::config::Config; use axum::Router; fn f() { if x {} } }",
        "#[cfg(test)]\nmod samples;\n#[cfg(test)]\nuse crate::simulator::Fake;",
        "pub(in crate::syncer) fn f() {}",
        "use std::collections::HashMap; fn f() -> impl Iterator + use<'_> {}",
    ] {
        assert_eq!(caught("syncer/pull.rs", text), [], "{text}");
    }
    assert_eq!(caught("lib.rs", "pub mod config; pub use crate::config::Config;"), []);
    assert_eq!(caught("api/tests.rs", "use axum::Router;"), []);
    assert_eq!(caught("api/tests/fake.rs", "use axum::Router;"), []);
}

#[test]
fn a_module_without_a_row_is_caught() {
    assert!(
        caught("novelty.rs", "use crate::id::AppName;")[0]
            .1
            .contains("`novelty` has no row")
    );
    assert!(
        caught("syncer.rs", "use crate::Novelty;")[0]
            .1
            .contains("`crate::Novelty`, which is no module")
    );
}

#[test]
fn a_heavy_crate_away_from_home_is_caught_in_every_form() {
    for text in [
        "use reqwest::Client;",
        "use ::reqwest::Client;",
        "use reqwest;",
        "use {bytes::Bytes, reqwest::Client};",
        "fn f(client: &reqwest::Client) {}",
        "fn f() -> Result<(), ::reqwest::Error> {}",
        "extern crate reqwest;",
        "#[derive(reqwest::Derive)] struct X;",
    ] {
        let caught = caught("handler/log.rs", text);
        assert_eq!(caught.len(), 1, "{text}: {caught:?}");
        assert!(
            caught[0].1.contains("`handler::log` must not name `reqwest`"),
            "{caught:?}"
        );
    }
    for (path, text) in [
        ("handler/forward/mod.rs", "use hyper::Request;"),
        ("handler/forward.rs", "use hyper::Request;"),
        (
            "handler/log.rs",
            "use crate::handler::reqwest::X; use self::axum::Y; fn f(toml: u8) { toml; x.toml::<u8>(); <X as Y>::toml::z() }",
        ),
    ] {
        assert_eq!(caught(path, text), [], "{path}: {text}");
    }
}

#[test]
fn a_file_that_is_too_long_or_named_after_nothing_is_caught() {
    let long = "fn f() {}\n".repeat(MOST_LINES + 1);
    assert!(caught("syncer/pull.rs", &long)[0].1.contains("451 lines are too many"));
    assert_eq!(caught("syncer/tests.rs", &long), []);
    let tests = format!("fn f() {{}}\n#[cfg(test)]\nmod tests {{\n{long}}}\n");
    assert_eq!(caught("syncer/pull.rs", &tests), []);
    for path in ["syncer/utils.rs", "common/mod.rs", "store/types.rs"] {
        assert!(caught(path, "")[0].1.contains("says nothing"), "{path}");
    }
}
