//! What an operator reads when something is wrong: one line, with the cause and the mend, and nothing is served.

use std::net::TcpListener;

use rusqlite::Connection;
use wecom_kf::simulator::Simulator;
use wecom_kf::store;

use crate::command::{Ended, assert_says, run, run_on, run_with};
use crate::stage::Stage;

/// What `serve` says on the stage's config, which must be wrong.
#[track_caller]
fn refused(stage: &Stage, code: i32, words: &[&str]) {
    let ended = run_on(&stage.config, "serve");
    nothing_served(&ended);
    ended.tells_none_of(&stage.secrets());
    assert_says(ended.complaint(code), words);
}

#[track_caller]
fn nothing_served(ended: &Ended) {
    assert!(!ended.stderr.contains("listening"), "{ended:#?}");
    assert_eq!(ended.stdout, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_config_is_refused_by_every_command_that_reads_it() {
    for (old, new, words) in [
        (
            "[log]",
            "[sync]\npoll_intervall = \"5m\"\n[log]",
            &["sync.poll_intervall", "unknown key", "did you mean `poll_interval`"][..],
        ),
        (
            "secret = \"simulated-secret\"",
            "secret = { file = \"/nowhere/secret\" }",
            &["apps[0].secret", "/nowhere/secret", "No such file", "mount it"],
        ),
        (
            "secret = \"simulated-secret\"",
            "secret = { env = \"NOT_THERE\" }",
            &["apps[0].secret", "NOT_THERE is not set", "set it"],
        ),
        (
            "encoding_aes_key = \"",
            "encoding_aes_key = \"123456789012345678901234567890123456789012\" }] # \"",
            &[
                "apps[0].callback_keys[0].encoding_aes_key",
                "43 symbols",
                "has 42 characters",
            ],
        ),
    ] {
        let stage = Stage::new("").await;
        stage.change(old, new);
        refused(&stage, 78, words);
        for command in ["check", "dead list", "healthcheck"] {
            let ended = run_on(&stage.config, command);
            assert_says(ended.complaint(78), words);
            assert_eq!(ended.stdout, "", "{command}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_apps_of_one_name_are_refused() {
    let stage = Stage::new("").await;
    let text = stage.text();
    let app = &text[text.find("[[apps]]").unwrap()..];
    stage.change(app, &format!("{app}\n{app}"));
    refused(&stage, 78, &["apps[1].name", "main", "apps[0]"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_announced_and_not_handed_over_is_told() {
    let stage = Stage::new("").await;
    let arguments = ["serve".as_ref(), "--config".as_ref(), stage.config.as_os_str()];
    let ended = run_with(arguments, &[("LISTEN_FDS", "1")]);
    nothing_served(&ended);
    assert_says(ended.complaint(1), &["LISTEN_FDS", "unset it", "fd 3 is not a socket"]);
}

#[test]
fn a_config_that_is_not_there_is_named() {
    let ended = run(["serve", "--config", "/nowhere/config.toml"]);
    assert_says(
        ended.complaint(78),
        &["--config", "/nowhere/config.toml cannot be read", "No such file"],
    );
    nothing_served(&ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_that_is_no_toml_is_refused_by_file_and_place() {
    let stage = Stage::new("").await;
    stage.change("[log]", "[log");
    let file = stage.config.to_str().unwrap();
    let line = stage.text().lines().position(|line| line == "[log").unwrap() + 1;
    refused(&stage, 78, &[file, &format!("line {line}, column ")]);
}

#[test]
fn a_callback_url_that_is_none_is_refused_by_its_option() {
    let ended = run(["simulate", "--callback", "here"]);
    assert_says(ended.complaint(1), &["--callback here", "http or https url"]);
    nothing_served(&ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_written_is_refused() {
    let stage = Stage::new("").await;
    // A file where a folder should be stops root as well.
    let blocked = stage.config.join("kf.db");
    stage.change(stage.store().to_str().unwrap(), blocked.to_str().unwrap());
    refused(
        &stage,
        1,
        &[
            "store sqlite://",
            blocked.to_str().unwrap(),
            "cannot create or write",
            "name a path",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_refused_by_the_key_that_sets_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for key in ["listen", "admin_listen"] {
        let stage = Stage::new("").await;
        stage.change(
            &format!("\n{key} = \"127.0.0.1:0\""),
            &format!("\n{key} = \"{address}\""),
        );
        let key = format!("server.{key} = ");
        refused(
            &stage,
            1,
            &[&key, &address, "already in use", "other process", "another port"],
        );
    }
    let ended = run(["simulate", "--listen", &address]);
    assert_says(ended.complaint(1), &[&address, "already in use", "--listen"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_one_store_is_refused_until_the_first_is_gone() {
    let stage = Stage::new("").await;
    let first = stage.start();
    let url = format!("store sqlite://{}", stage.store().display());
    refused(
        &stage,
        1,
        &[&url, "another process", "stop that one", "file of its own"],
    );
    assert_eq!(
        reqwest::get(format!("http://{}/healthz", first.admin))
            .await
            .unwrap()
            .status(),
        200
    );

    first.kill();
    assert!(stage.start().stop().success(), "a lock does not outlive its holder");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_a_newer_version_is_refused_and_left_alone() {
    let stage = Stage::new("").await;
    let url = format!("sqlite://{}", stage.store().display());
    drop(store::open(&store::Settings::new(url)).await.unwrap());
    let version = |set: &str| -> i64 {
        let conn = Connection::open(stage.store()).unwrap();
        conn.execute_batch(set).unwrap();
        let version = conn.query_row("SELECT schema_version FROM meta", [], |row| row.get(0));
        version.unwrap()
    };
    version("UPDATE meta SET schema_version = 99");
    let words = ["schema version 99", "run the newer version", "backup"];
    refused(&stage, 1, &words);
    assert_says(run_on(&stage.config, "dead list").complaint(1), &words);
    let check = run_on(&stage.config, "check");
    assert_eq!(check.code, Some(1));
    assert_says(&check.stdout, &words);
    assert_eq!(version(""), 99);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let stage = Stage::new("").await;
    let theirs = "precious words, and many more of them than an SQLite header has: ".repeat(20);
    std::fs::write(stage.store(), &theirs).unwrap();
    refused(&stage, 1, &["is not an SQLite database", "name another file"]);
    assert_eq!(std::fs::read_to_string(stage.store()).unwrap(), theirs);
    Simulator::stop(stage.wecom).await;
}
