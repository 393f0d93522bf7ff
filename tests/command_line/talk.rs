//! `send` and `media`: people at a shell, customers, and files.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::http::{Method, StatusCode, Uri};
use axum::response::IntoResponse as _;
use tempfile::TempDir;
use tokio::net::TcpListener;
use wecom_kf::id::{ExternalUserid, OpenKfid};
use wecom_kf::simulator::{MediaKind, Occasion};

use crate::command::{Ended, assert_says, run, run_on};
use crate::server::binary;
use crate::stage::{ACCOUNT, Stage};

const CUSTOMER: &str = "wmSimulatedCustomer0000000000001";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and so on";

/// A stage on which a customer has just written.
async fn stage() -> Stage {
    let stage = Stage::new("").await;
    let (account, customer) = people();
    stage.wecom.customer(&account, &customer).writes("在吗？").unwrap();
    stage
}

fn people() -> (OpenKfid, ExternalUserid) {
    (OpenKfid::from(ACCOUNT), ExternalUserid::from(CUSTOMER))
}

/// What the customer was told by API, in order.
fn told(stage: &Stage) -> Vec<String> {
    let seen = stage.wecom.seen();
    let texts = seen
        .iter()
        .map(|seen| seen.text.clone().unwrap_or_else(|| seen.msgtype.to_string()));
    assert!(
        seen.iter().all(|seen| matches!(seen.occasion, Occasion::Reply)),
        "{seen:?}"
    );
    texts.collect()
}

fn send(stage: &Stage, more: &[&str]) -> Ended {
    let config = stage.config.to_str().unwrap();
    let fixed = ["send", "--config", config, "--account", ACCOUNT, "--to", CUSTOMER];
    run(fixed.iter().chain(more))
}

/// The same with `said` on standard input.
fn send_said(stage: &Stage, more: &[&str], said: &str) -> std::process::Output {
    let mut child: Child = binary()
        .args(["send", "--account", ACCOUNT, "--to", CUSTOMER, "--config"])
        .arg(&stage.config)
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(said.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_in_an_argument_or_on_standard_input_reaches_the_customer() {
    let stage = stage().await;
    let msgid = send(&stage, &["您好，九点再来。"]).good();
    assert_eq!(msgid.trim(), stage.wecom.seen()[0].msgid.as_str());
    assert!(send_said(&stage, &[], "第一行\n第二行\n").status.success());
    assert!(send_said(&stage, &["-"], "-").status.success());
    let menu =
        r#"{"msgtype":"msgmenu","msgmenu":{"head_content":"选","list":[{"type":"text","text":{"content":"a"}}]}}"#;
    assert!(send_said(&stage, &["--json"], menu).status.success());
    assert_eq!(told(&stage), ["您好，九点再来。", "第一行\n第二行", "-", "选\na"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_may_have_been_sent_can_be_repeated_without_saying_it_twice() {
    let stage = stage().await;
    let wecom = stage.wecom.base_url();
    let careless = proxy_that_loses_the_first_answer_to_send_msg(wecom.clone()).await;
    stage.change(&wecom, &careless);
    let lost = send(&stage, &["您好"]);
    let (_, msgid) = lost.complaint(1).split_once("--msgid ").unwrap();
    let msgid = msgid.trim_end_matches(')');
    let again = send(&stage, &["您好", "--msgid", msgid]);
    assert_says(&again.stderr, &["sent before"]);
    assert_eq!(again.good().trim(), msgid);
    assert_eq!(told(&stage), ["您好"]);
}

/// Where a proxy before `wecom` listens: the first message is sent, but nobody hears that it was.
async fn proxy_that_loses_the_first_answer_to_send_msg(wecom: String) -> String {
    let lost = Arc::new(AtomicBool::new(false));
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let proxy = Router::new().fallback(move |method: Method, uri: Uri, body: Bytes| {
        let (lost, passed) = (
            Arc::clone(&lost),
            http.request(method, format!("{wecom}{uri}")).body(body),
        );
        async move {
            let answer = passed.send().await.unwrap().bytes().await.unwrap();
            if uri.path() == "/cgi-bin/kf/send_msg" && !lost.swap(true, Ordering::SeqCst) {
                return StatusCode::BAD_GATEWAY.into_response();
            }
            answer.into_response()
        }
    });
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, proxy).await });
    base
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_is_told_with_the_reason_and_what_to_do() {
    let stage = stage().await;
    let long = "长".repeat(1000);
    assert_says(send(&stage, &[&long]).complaint(1), &["text.content", "2048"]);
    assert_says(send(&stage, &[""]).complaint(1), &["text.content"]);
    assert_says(send(&stage, &["{", "--json"]).complaint(1), &["no JSON"]);
    assert_says(
        send(&stage, &[r#"{"msgtype":"sing"}"#, "--json"]).complaint(1),
        &["msgtype"],
    );
    assert_eq!(send(&stage, &["x", "--msgid", "ä"]).code, Some(2));
    assert_says(
        send(&stage, &["x", "--app", "other"]).complaint(1),
        &["no such app", "main"],
    );
    for n in 0..5 {
        send(&stage, &[&n.to_string()]).good();
    }
    let complaint = send(&stage, &["x"]);
    assert_says(
        complaint.complaint(1),
        &["95001", "five messages", "until the customer writes again"],
    );
    complaint.tells_none_of(&[CUSTOMER]);
    complaint.tells_none_of(&stage.secrets());
    stage.change("secret = \"", "secret = \"x");
    assert_says(send(&stage, &["x"]).complaint(1), &["40001", "Secret"]);
    assert_eq!(told(&stage).len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_apps_have_to_be_told_apart() {
    let stage = stage().await;
    let text = stage.text();
    let (_, app) = text.split_once("[[apps]]").unwrap();
    let second = format!("\n[[apps]]{}", app.replace("\"main\"", "\"second\""));
    stage.change(
        text.lines().last().unwrap(),
        &format!("{}{second}", text.lines().last().unwrap()),
    );
    assert_says(send(&stage, &["x"]).complaint(1), &["--app", "main, second"]);
    send(&stage, &["您好", "--app", "second"]).good();
    assert_eq!(told(&stage), ["您好"]);
}

/// Runs `media` in `folder`.
fn media(stage: &Stage, folder: &Path, words: &[&str]) -> Ended {
    let output = binary()
        .current_dir(folder)
        .args(["media", "--config", stage.config.to_str().unwrap()])
        .args(words)
        .output()
        .unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_put_and_fetched_byte_for_byte_and_never_replaced_unasked() {
    let stage = stage().await;
    let folder = TempDir::new().unwrap();
    let here = folder.path();
    fs::write(here.join("图.png"), PNG).unwrap();
    let media_id = media(&stage, here, &["put", "图.png", "--kind", "image"]).good();
    let get = |more: &[&str]| media(&stage, here, &[&["get", media_id.trim()], more].concat());

    assert_says(get(&[]).complaint(1), &["图.png", "is there already", "--force"]);
    assert_eq!(get(&["--output", "copy.png"]).good(), "copy.png\n");
    assert_eq!(fs::read(here.join("copy.png")).unwrap(), PNG);

    symlink("elsewhere", here.join("link")).unwrap();
    assert_says(get(&["-o", "link"]).complaint(1), &["is there already"]);
    fs::write(here.join("copy.png"), "old").unwrap();
    assert_says(get(&["-o", "copy.png"]).complaint(1), &["is there already"]);
    assert_eq!(fs::read(here.join("copy.png")).unwrap(), b"old");
    get(&["-o", "copy.png", "--force"]).good();
    assert_eq!(fs::read(here.join("copy.png")).unwrap(), PNG);
    assert_says(get(&["-o", "no/such/folder"]).complaint(1), &["cannot write no/such"]);
    assert_eq!(
        names_in(here),
        ["copy.png", "link", "图.png"],
        "nothing half done is left"
    );

    let piped = binary()
        .args(["media", "get", media_id.trim(), "-o", "-", "--config"])
        .arg(&stage.config)
        .output();
    assert_eq!(piped.unwrap().stdout, PNG);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_a_customer_made_up_leads_nowhere_but_here() {
    let stage = stage().await;
    for name in [
        "../../outside.txt",
        "/etc/outside.txt",
        "..",
        "a\u{1b}[31m.txt",
        ".hidden",
        "con\\outside.txt",
    ] {
        let folder = TempDir::new().unwrap();
        let here = folder.path().join("here");
        fs::create_dir(&here).unwrap();
        let media_id = stage.wecom.keep_media(MediaKind::File, name, PNG);
        let printed = media(&stage, &here, &["get", media_id.as_str()]).good();
        let names = names_in(&here);
        assert_eq!(names.len(), 1, "{name:?}: {names:?}");
        assert_eq!(printed.trim_end(), names[0]);
        assert!(
            !names[0].contains(|c: char| c.is_control() || c == '/' || c == '\\'),
            "{names:?}"
        );
        assert_eq!(names_in(folder.path()), ["here"], "{name:?}");
        assert_eq!(fs::read(here.join(&names[0])).unwrap(), PNG);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_had_or_taken_is_told_with_the_reason() {
    let stage = stage().await;
    let folder = TempDir::new().unwrap();
    let here = folder.path();
    let gone = media(&stage, here, &["get", "nothing"]);
    assert_says(gone.complaint(1), &["40007", "three days"]);
    fs::write(here.join("a.png"), "no picture").unwrap();
    let wrong = media(&stage, here, &["put", "a.png", "--kind", "image"]);
    assert_says(wrong.complaint(1), &["JPEG or PNG"]);
    assert_says(
        media(&stage, here, &["put", "b.png"]).complaint(1),
        &["cannot read b.png"],
    );
    fs::write(here.join("large"), vec![7; 20 * 1024 * 1024 + 1]).unwrap();
    assert_says(
        media(&stage, here, &["put", "large"]).complaint(1),
        &["media", "20971520"],
    );
    assert_eq!(media(&stage, here, &["put", "a.png", "--kind", "song"]).code, Some(2));
    assert_eq!(names_in(here), ["a.png", "large"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keygen_prints_opens_the_gateway() {
    let printed = run(["keygen"]).good();
    let keys = printed.lines().find(|line| line.starts_with("keys = ")).unwrap();
    let stage = Stage::new(&format!("[gateway]\nlisten = \"127.0.0.1:0\"\n{keys}\n")).await;
    let server = stage.start();
    let base = format!("http://{}/apps/main/cgi-bin", server.gateway.unwrap());
    let key = keys.split('"').nth(1).unwrap();
    let answer = reqwest::get(format!("{base}/gettoken?corpid=any&corpsecret={key}"))
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let checked = run_on(&stage.config, "check");
    checked.tells_none_of(&[key]);
    assert!(server.stop().success());
}
