//! The real binary publishes to a real nats-server, which is killed, filled up, and lacks a stream: everything that is said
//! ends up in the stream, once, in order.
//!
//! The server is of Debian's package `nats-server`, which is installed if it is missing.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod broker;
#[path = "../end_to_end/debian.rs"]
mod debian;
#[expect(dead_code, reason = "the end-to-end tests need more of it")]
#[path = "../end_to_end/server.rs"]
mod server;
mod shelf;
mod stage;
mod wire;

use std::collections::HashSet;

use async_nats::ConnectOptions;
use async_nats::jetstream::stream::{Config, DiscardPolicy};
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::time::Instant;
use wecom_kf::simulator::Verdict;

use broker::{Broker, PATIENCE, STREAM};
use server::Server;
use shelf::{Shelf, header};
use stage::Stage;
use wire::Wire;

/// Messages of each account, of which there are three, before and after each mishap.
const SOME: usize = 500;

/// A seed that the documentation of NATS shows, and the public key to it.
const SEED: &str = "SUAIO3FHUX5PNV2LQIIP7TZ3N4L7TX3W53MQGEIVYFIGA635OZCKEYHFLM";
const CREDENTIALS: &str = "credentials = \"SUAIO3FHUX5PNV2LQIIP7TZ3N4L7TX3W53MQGEIVYFIGA635OZCKEYHFLM\"";
const PUBLIC_KEY: &str = "UD2FLLGFERQVQQ3SBKONNG2QMIMTZQKKLTU3AVG5I3EQEFHBPGPE2XQS";

/// Ends `server`, and tells what it wrote since somebody looked.
fn said_until_the_end_of(server: Server) -> Vec<String> {
    server.signal(Signal::SIGTERM);
    let said = server.log.iter().collect();
    assert!(server.wait().success());
    said
}

/// Ends `server`, and tells how many of its confirmations were of what the stream had already.
fn duplicates_until_the_end_of(server: Server) -> usize {
    let said = said_until_the_end_of(server);
    said.iter().filter(|line| line.contains(r#""duplicate":true"#)).count()
}

/// Waits for a line of `server` that holds `text`.
fn line_with(text: &str, server: &Server) -> String {
    let end = Instant::now() + PATIENCE;
    loop {
        let line = server.log.recv_timeout(end.saturating_duration_since(Instant::now()));
        let line = line.unwrap_or_else(|_| panic!("never logged: {text}"));
        if line.contains(text) {
            return line;
        }
    }
}

fn assert_clean(verdict: &Verdict) {
    assert!(verdict.is_clean(), "{verdict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_stands_in_the_stream_with_its_subject_its_id_and_the_body_that_is_forwarded() {
    let broker = Broker::start("");
    broker.make_stream().await;
    let mut shelf = Shelf::of(&broker).await;
    let stage = Stage::before(broker.address, "stream = \"KF\"").await;
    let server = stage.start();
    stage.say(SOME);
    stage.all_on(&mut shelf).await;
    assert!(server.stop().success());
    assert_clean(&stage.verdict(&shelf));

    let (mut ids, mut types) = (HashSet::new(), HashSet::new());
    for message in &shelf.messages {
        let body: Value = serde_json::from_slice(&message.payload).unwrap();
        let (kind, data) = (body["type"].as_str().unwrap(), &body["data"]);
        let (app, account) = (data["app"].as_str().unwrap(), data["open_kfid"].as_str().unwrap());
        assert_eq!(app, "main");
        let bare = kind.strip_prefix("kf.").unwrap();
        assert_eq!(message.subject.as_str(), format!("kf.{app}.{account}.{bare}"));
        assert!(body["timestamp"].as_str().unwrap().ends_with('Z'), "{body}");

        let id = header(message, "Nats-Msg-Id");
        let digits = id.strip_prefix("msg_").unwrap();
        let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        assert!(digits.len() == 24 && digits.bytes().all(is_digit), "{id}");
        assert!(ids.insert(id), "an id stands there twice");
        assert_eq!(header(message, "Nats-Expected-Stream"), STREAM);
        assert_eq!(header(message, "Content-Type"), "application/json");
        types.insert(bare.to_owned());
    }
    assert!(types.len() >= 20 && types.contains("event.enter_session"), "{types:?}");
    println!("{} messages of {} types", ids.len(), types.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_mid_stream_costs_nothing_and_neither_does_the_end_of_the_server() {
    const ROUNDS: u64 = 3;
    let mut broker = Broker::start("");
    broker.make_stream().await;
    let mut shelf = Shelf::of(&broker).await;
    let stage = Stage::before(broker.address, "").await;
    let mut server = stage.start();
    for round in 0..ROUNDS {
        let before = shelf.len().await;
        stage.say(SOME);
        shelf.until(before + 100).await;
        broker.kill();
        // Some are left to be published, however quick it was.
        stage.say(SOME);
        line_with("cannot connect to NATS", &server);
        broker.restart();
        if round == 1 {
            shelf.until(before + 1000).await;
            server.kill();
            server = stage.start();
        }
    }
    stage.all_on(&mut shelf).await;
    let duplicates = duplicates_until_the_end_of(server);
    let verdict = stage.verdict(&shelf);
    println!(
        "{} messages, kill -9 of nats-server {ROUNDS} times and of wecom-kf once: {verdict}, {duplicates} published again",
        shelf.messages.len()
    );
    assert_clean(&verdict);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_again_because_its_confirmation_got_lost_is_kept_once() {
    const BREAKS: u64 = 20;
    let broker = Broker::start("");
    broker.make_stream().await;
    let mut shelf = Shelf::of(&broker).await;
    let wire = Wire::to(broker.address, BREAKS).await;
    let stage = Stage::before(wire.address, "").await;
    let server = stage.start();
    while wire.breaks_left() > 0 {
        stage.say(SOME / 10);
        stage.all_on(&mut shelf).await;
    }
    let duplicates = duplicates_until_the_end_of(server);
    let verdict = stage.verdict(&shelf);
    println!(
        "{} messages, {BREAKS} confirmations lost: {verdict}, {duplicates} published again",
        shelf.messages.len()
    );
    assert_clean(&verdict);
    // Fewer than breaks: the confirmation of what was published again may get lost as well.
    assert!(duplicates > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_wait_for_a_broker_and_for_a_stream() {
    let mut broker = Broker::not_yet_started("");
    // Three are enough to tell an outage, and no further one counts.
    let stage = Stage::before(broker.address, "max_attempts = 4").await;
    let server = stage.start();
    stage.write((0..50).map(|n| n.to_string()));
    line_with("cannot connect to NATS", &server);
    line_with("handler fails for everybody", &server);
    broker.restart();
    line_with("no stream takes the subject of this message", &server);
    broker.make_stream().await;
    let mut shelf = Shelf::of(&broker).await;
    stage.all_on(&mut shelf).await;
    assert!(server.stop().success());
    assert_clean(&stage.verdict(&shelf));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_wait_while_the_stream_is_full() {
    let broker = Broker::start("");
    let stream = broker
        .make_stream_as(Config {
            name: STREAM.to_owned(),
            subjects: vec!["kf.>".to_owned()],
            max_messages: 10,
            discard: DiscardPolicy::New,
            ..Config::default()
        })
        .await;
    let mut shelf = Shelf::of(&broker).await;
    let stage = Stage::before(broker.address, "").await;
    let server = stage.start();
    stage.write((0..15).map(|n| n.to_string()));
    line_with("maximum messages exceeded", &server);
    line_with("handler fails for everybody", &server);
    shelf.read().await;
    assert_eq!(shelf.messages.len(), 10);
    stream.purge().await.unwrap();
    stage.all_on(&mut shelf).await;
    assert!(server.stop().success());
    assert_clean(&stage.verdict(&shelf));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_is_buried_at_once_and_holds_up_nobody() {
    let broker = Broker::start("max_payload: 3000");
    let config = Config {
        name: STREAM.to_owned(),
        subjects: vec!["kf.>".to_owned()],
        max_message_size: 2000,
        ..Config::default()
    };
    broker.make_stream_as(config).await;
    let shelf = Shelf::of(&broker).await;
    let stage = Stage::before(broker.address, "").await;
    let server = stage.start();
    stage.write(["before".to_owned(), "x".repeat(3000)]);
    line_with("message is larger than the NATS server takes", &server);
    stage.write(["x".repeat(1700)]);
    line_with("message size exceeds maximum allowed", &server);
    stage.write(["after".to_owned()]);
    shelf.until(2).await;
    let metrics = format!("http://{}/metrics", server.admin);
    let metrics = reqwest::get(metrics).await.unwrap().text().await.unwrap();
    assert!(
        metrics.contains(r#"wecom_kf_deliveries_total{handler="events",result="dead"} 2"#),
        "{metrics}"
    );
    assert!(server.stop().success());
}

/// What a broker asks for, what a handler says wrongly, what it says rightly, and how a client of the test says it.
type Login = (&'static str, &'static str, &'static str, fn() -> ConnectOptions);

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_told_without_showing_them_and_right_ones_are_let_in() {
    let nkey = format!("authorization: {{ users: [{{ nkey: {PUBLIC_KEY} }}] }}");
    let logins: [Login; 3] = [
        (
            "authorization: { user: kf, password: right-horse }",
            "user = \"kf\"\npassword = \"wrong-horse\"",
            "user = \"kf\"\npassword = \"right-horse\"",
            || ConnectOptions::new().user_and_password("kf".to_owned(), "right-horse".to_owned()),
        ),
        (
            "authorization: { token: right-horse }",
            "token = \"wrong-horse\"",
            "token = \"right-horse\"",
            || ConnectOptions::new().token("right-horse".to_owned()),
        ),
        (
            &nkey.leak()[..],
            "credentials = \"SUAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB6IC5CQ\"",
            CREDENTIALS,
            || ConnectOptions::new().nkey(SEED.to_owned()),
        ),
    ];
    for (asked, wrong, right, ours) in logins {
        let broker = Broker::start_with(asked, ours);
        broker.make_stream().await;
        let mut shelf = Shelf::of(&broker).await;
        let stage = Stage::before(broker.address, wrong).await;
        stage.change("wecom_kf=debug", "trace");
        let checked = stage.check();
        let told = String::from_utf8(checked.stdout).unwrap();
        assert!(
            !checked.status.success() && told.contains("FAIL  events: cannot publish to"),
            "{told}"
        );
        assert!(told.contains("authorization violation"), "{told}");

        let server = stage.start();
        stage.write(["hello".to_owned()]);
        let line = line_with("cannot connect to NATS", &server);
        assert!(line.contains("authorization violation"), "{line}");
        let said = said_until_the_end_of(server).concat();
        for secret in ["horse", "SUAACAQDAQ", "SUAIO3FH"] {
            assert!(!said.contains(secret) && !told.contains(secret), "{secret} was shown");
        }

        stage.change(wrong, right);
        let checked = stage.check();
        let told = String::from_utf8(checked.stdout).unwrap();
        assert!(
            told.contains("where it is let in") && checked.status.success(),
            "{told}"
        );
        let server = stage.start();
        stage.all_on(&mut shelf).await;
        assert!(server.stop().success());
        assert_clean(&stage.verdict(&shelf));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_nobody_believed_in_vouches_for_is_told_and_one_that_somebody_does_is_spoken_to() {
    let broker = Broker::start_with_tls();
    broker.make_stream().await;
    let mut shelf = Shelf::of(&broker).await;
    let stranger = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/ca.pem");
    let url = format!("tls://{}", broker.address);
    let stage = Stage::with_servers(&url, &format!("ca_file = \"{stranger}\"")).await;
    let server = stage.start();
    stage.say(1);
    let line = line_with("cannot connect to NATS", &server);
    assert!(line.contains("invalid peer certificate"), "{line}");
    assert!(server.stop().success());

    stage.change(stranger, &broker.certificate());
    let server = stage.start();
    stage.all_on(&mut shelf).await;
    assert!(server.stop().success());
    assert_clean(&stage.verdict(&shelf));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_permits_nothing_is_quoted() {
    let permissions =
        "authorization: { users: [{ user: kf, password: horse, permissions: { publish: [\"_INBOX.>\"] } }] }";
    let broker = Broker::start(permissions);
    let handler = "timeout = \"1s\"\nuser = \"kf\"\npassword = \"horse\"";
    let stage = Stage::before(broker.address, handler).await;
    let server = stage.start();
    stage.write(["hello".to_owned()]);
    let line = line_with("stream did not confirm the message in time", &server);
    assert!(line.contains("Permissions Violation for Publish"), "{line}");
    assert!(server.stop().success());
}
