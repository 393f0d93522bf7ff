//! What only the inside can tell: that example, defaults and the printed config know every key.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;

use super::{Config, Environment, raw};

const EXAMPLE: &str = include_str!("../../config.example.toml");

const CA_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/ca.pem");

/// The example's own app and handlers, with nothing said that has a default.
const MINIMAL: &str = r#"
    [[apps]]
    name = "main"
    corp_id = "ww0123456789abcdef"
    secret = { env = "WECOM_SECRET" }
    callback_keys = [{ token = { env = "WECOM_TOKEN" }, encoding_aes_key = { env = "WECOM_ENCODING_AES_KEY" } }]

    [[handlers]]
    name = "log"
    kind = "log"
"#;

fn environment() -> Environment {
    [
        ("WECOM_SECRET", "s3cret"),
        ("WECOM_TOKEN", "tok3n"),
        ("WECOM_ENCODING_AES_KEY", "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfG"),
        (
            "BOT_SIGNING_SECRET",
            "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
        ),
        ("DATABASE_PASSWORD", "pa55word"),
        ("GATEWAY_KEY", "g4teway-g4teway-g4teway-g4teway-g4"),
        ("NATS_PASSWORD", "n4tspass"),
        ("NATS_TOKEN", "n4tstoken"),
        (
            "NATS_SEED",
            "SUAIO3FHUX5PNV2LQIIP7TZ3N4L7TX3W53MQGEIVYFIGA635OZCKEYHFLM",
        ),
    ]
    .into_iter()
    .collect()
}

fn parse(text: &str) -> Config {
    Config::parse(text, &environment()).unwrap().config
}

/// The example with the settings switched on that it only shows.
fn example_in_full() -> String {
    let switched_on = |line: &str| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') => format!("{setting}\n"),
        _ => format!("{line}\n"),
    };
    let text: String = EXAMPLE.lines().map(switched_on).collect();
    // What is there.
    text.replace("/etc/wecom-kf/ca.pem", CA_FILE)
        .replace(r#"{ file = "/run/secrets/nats.creds" }"#, r#"{ env = "NATS_SEED" }"#)
}

/// The same, without what this build refuses.
fn example_for_this_build() -> String {
    let allowed = |line: &&str| cfg!(feature = "otel") || !line.starts_with("otlp_endpoint");
    example_in_full()
        .lines()
        .filter(allowed)
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Every key that `text` sets, as `apps.name` whichever entry it stands in.
fn keys_set(text: &str) -> BTreeSet<String> {
    fn collect(value: &toml::Value, path: &str, keys: &mut BTreeSet<String>) {
        match value {
            toml::Value::Table(table) => {
                for (key, value) in table {
                    let path = format!("{path}.{key}").trim_start_matches('.').to_owned();
                    keys.insert(path.clone());
                    collect(value, &path, keys);
                }
            }
            toml::Value::Array(values) => values.iter().for_each(|value| collect(value, path, keys)),
            _ => {}
        }
    }
    let mut keys = BTreeSet::new();
    collect(&toml::Value::Table(text.parse().unwrap()), "", &mut keys);
    keys
}

/// Every key that the reader knows.
fn keys_known() -> BTreeSet<String> {
    fn of<T: DeserializeOwned>(section: &str) -> Vec<String> {
        let keys = raw::keys::<T>().into_iter();
        keys.map(|key| format!("{section}.{key}").trim_start_matches('.').to_owned())
            .collect()
    }
    [
        of::<raw::RawConfig>(""),
        of::<raw::Server>("server"),
        of::<raw::Log>("log"),
        of::<raw::Store>("store"),
        of::<raw::App>("apps"),
        of::<raw::CallbackKey>("apps.callback_keys"),
        of::<raw::Sync>("sync"),
        of::<raw::Handler>("handlers"),
        of::<raw::Welcome>("handlers.welcome"),
        of::<raw::MenuEntry>("handlers.welcome.menu"),
        of::<raw::Rule>("handlers.rules"),
        of::<raw::MenuEntry>("handlers.rules.menu"),
        of::<raw::Hours>("handlers.hours"),
        of::<raw::Fallback>("handlers.fallback"),
        of::<raw::MenuEntry>("handlers.fallback.menu"),
        of::<raw::HandOver>("handlers.hand_over"),
        of::<raw::Gateway>("gateway"),
    ]
    .concat()
    .into_iter()
    .collect()
}

fn missing(wanted: &BTreeSet<String>, from: &BTreeSet<String>) -> Vec<String> {
    wanted.difference(from).cloned().collect()
}

#[test]
fn the_example_says_the_defaults() {
    assert_eq!(parse(EXAMPLE).to_string(), parse(MINIMAL).to_string());
}

#[test]
fn the_example_sets_every_key_that_has_a_default() {
    let mut defaulted = keys_set(&parse(MINIMAL).to_string());
    // Its default is another key.
    defaulted.remove("apps.receive_ids");
    assert_eq!(missing(&defaulted, &keys_set(EXAMPLE)), [""; 0]);
}

#[test]
fn the_example_shows_every_key_there_is() {
    assert_eq!(missing(&keys_known(), &keys_set(&example_in_full())), [""; 0]);
}

#[test]
fn the_example_is_right_with_every_setting_switched_on() {
    let loaded = Config::parse(&example_for_this_build(), &environment()).unwrap();
    assert_eq!(loaded.warnings, [""; 0]);
    assert_eq!(loaded.config.handlers.len(), 7);
}

#[test]
fn a_printed_config_shows_every_key_and_no_secret() {
    let printed = parse(&example_for_this_build()).to_string();
    let mut known = keys_known();
    if !cfg!(feature = "otel") {
        known.remove("log.otlp_endpoint");
    }
    assert_eq!(missing(&known, &keys_set(&printed)), [""; 0]);
    for secret in [
        "s3cret", "tok3n", "AbCdEfGh", "whsec_", "g4teway", "pa55word", "n4ts", "SUAIO3FH",
    ] {
        assert!(!printed.contains(secret), "{secret} in:\n{printed}");
    }
}

#[test]
fn a_printed_config_reads_back_as_itself() {
    let printed = parse(&example_for_this_build()).to_string();
    let readable = printed
        .replace(r#"token = "***""#, r#"token = { env = "WECOM_TOKEN" }"#)
        .replace(
            r#"encoding_aes_key = "***""#,
            r#"encoding_aes_key = { env = "WECOM_ENCODING_AES_KEY" }"#,
        )
        .replace(
            r#"signing_secret = "***""#,
            r#"signing_secret = { env = "BOT_SIGNING_SECRET" }"#,
        )
        .replace(r#"password = "***""#, r#"password = { env = "NATS_PASSWORD" }"#)
        .replace(r#"credentials = "***""#, r#"credentials = { env = "NATS_SEED" }"#)
        .replace(r#"keys = ["***"]"#, r#"keys = [{ env = "GATEWAY_KEY" }]"#);
    assert_eq!(parse(&readable).to_string(), printed);
}

#[test]
fn debug_output_shows_no_secret() {
    let debug = format!("{:?} {:?}", parse(&example_for_this_build()), environment());
    for secret in [
        "s3cret", "tok3n", "AbCdEfGh", "whsec_", "g4teway", "pa55word", "n4ts", "SUAIO3FH",
    ] {
        assert!(!debug.contains(secret), "{secret} in:\n{debug}");
    }
}
