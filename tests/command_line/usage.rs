//! What can be asked, and what is answered to those who ask wrongly.

use std::io::pipe;

use secrecy::SecretString;
use wecom_kf::callback::KeyPair;
use wecom_kf::handler::SigningSecret;
use wecom_kf::http::GatewayKey;

use crate::command::{assert_says, run};
use crate::server::binary;
use crate::stage::Stage;

const COMMANDS: [&str; 12] = [
    "serve",
    "check",
    "demo",
    "simulate",
    "schema",
    "keygen",
    "dead",
    "retire",
    "migrate-store",
    "send",
    "media",
    "healthcheck",
];

#[test]
fn help_names_every_command_and_each_has_help_of_its_own() {
    let help = run(["--help"]).good();
    assert_says(&help, &["企业微信", "--version"]);
    for command in COMMANDS {
        let listed = help.lines().filter_map(|line| line.split_whitespace().next());
        assert_eq!(listed.filter(|word| *word == command).count(), 1, "{command} in {help}");
        let own = run([command, "--help"]).good();
        assert_says(&own, &["Usage: wecom-kf ", command]);
    }
    for action in ["list", "show", "replay", "drop"] {
        assert_says(
            &run(["dead", action, "--help"]).good(),
            &["Usage: wecom-kf dead", action],
        );
    }
    for command in ["serve", "check", "dead", "retire", "send", "media", "healthcheck"] {
        assert_says(&run([command, "--help"]).good(), &["--config <FILE>", "config.toml"]);
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    let version = concat!("wecom-kf ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(run(["--version"]).good(), version);
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_wrong() {
    for (arguments, said) in [
        (&[][..], "Usage: wecom-kf"),
        (&["sevre"], "serve"),
        (&["serve", "--cofig", "x"], "--config"),
        (&["serve", "x"], "'x'"),
        (&["demo", "--patience", "soon"], "--patience"),
        (&["simulate", "--listen", "here"], "--listen"),
        (&["dead"], "list"),
        (&["dead", "show"], "<ID>"),
        (&["dead", "show", "bot-7"], "HANDLER:NUMBER"),
        (&["dead", "show", "b t:7"], "HANDLER:NUMBER"),
        (&["dead", "replay"], "--all"),
        (&["dead", "drop", "bot:7", "--all"], "--all"),
        (&["migrate-store", "--to", "postgres://u@h/d"], "--from"),
        (&["migrate-store", "--from", "sqlite://x.db"], "--to"),
        (&["send", "hello"], "--account"),
        (&["send", "--account", "wk1", "hello"], "--to"),
        (&["media"], "get"),
        (&["media", "get"], "<MEDIA_ID>"),
    ] {
        let ended = run(arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert_eq!(ended.stdout, "", "{arguments:?}");
        assert_says(&ended.stderr, &[said]);
    }
}

#[test]
fn generated_keys_are_accepted_and_new_each_time() {
    let generate = || -> toml::Table { run(["keygen"]).good().parse().unwrap() };
    let (one, other) = (generate(), generate());
    for keys in [&one, &other] {
        let value = |key: &str| keys[key].as_str().unwrap();
        let secret = |key: &str| SecretString::from(value(key));
        KeyPair::new(secret("token"), secret("encoding_aes_key")).unwrap();
        SigningSecret::parse(value("signing_secret")).unwrap();
        let gateway = SecretString::from(keys["keys"][0].as_str().unwrap());
        GatewayKey::parse(&gateway).unwrap();
        assert_eq!(keys.len(), 4);
    }
    for key in one.keys() {
        assert_ne!(one[key], other[key], "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_seen_enough_causes_no_panic_and_no_complaint() {
    let stage = Stage::new("[[handlers]]\nname = \"log\"\nkind = \"log\"\n").await;
    let config = stage.config.to_str().unwrap();
    for command in [
        &["schema"][..],
        &["keygen"],
        &["demo"],
        &["simulate", "--listen", "127.0.0.1:0"],
        &["check", "--config", config],
    ] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let ended = binary().args(command).stdout(writer).output().unwrap();
        let told = String::from_utf8(ended.stderr).unwrap();
        assert_eq!((ended.status.code(), told.as_str()), (Some(1), ""), "{command:?}");
    }
}
