//! Canaries: secrets, texts and customers that are really in use, looked for wherever the server says something.
//!
//! A proxy between the server and WeCom notes what goes through it: access tokens, callback tokens, texts, customers.
//! The endpoint fails in every way and throws what it was sent back at the server, as careless endpoints do.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::net::TcpListener;
use wecom_kf::config::{Config, Environment};
use wecom_kf::simulator::{Bells, Faults};

use crate::post::SIGNING_SECRET;
use crate::quick;
use crate::server::{Server, binary};
use crate::stage::{Pace, Stage};

/// Part of the endpoint's address that is nobody's business.
const URL_KEY: &str = "canary0in0the0query0of0the0endpoint";
/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(120);
/// Posts after which every kind of failure has been met many times.
const POSTS: usize = 400;
/// Shorter texts stand in many a line by chance.
const LEAST_CHARS: usize = 6;

/// What must not be said.
#[derive(Default)]
struct Canaries {
    secrets: BTreeSet<String>,
    texts: BTreeSet<String>,
    customers: BTreeSet<String>,
}

impl Canaries {
    /// Notes what a query or a JSON body holds.
    fn note(&mut self, key: &str, value: &str) {
        match key {
            "corpsecret" | "access_token" | "token" => self.secrets.insert(value.to_owned()),
            "content" if value.chars().count() >= LEAST_CHARS => self.texts.insert(value.to_owned()),
            "external_userid" => self.customers.insert(value.to_owned()),
            _ => false,
        };
    }

    fn note_all(&mut self, value: &Value) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    value.as_str().into_iter().for_each(|text| self.note(key, text));
                    self.note_all(value);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.note_all(item)),
            _ => {}
        }
    }

    /// What of the secrets stands in `said`.
    fn secrets_in(&self, said: &str) -> Vec<&str> {
        found(&self.secrets, said)
    }

    /// What of texts and customers stands in `said`.
    fn people_in(&self, said: &str) -> Vec<&str> {
        let mut people = found(&self.texts, said);
        people.extend(found(&self.customers, said));
        people
    }
}

fn found<'a>(canaries: &'a BTreeSet<String>, said: &str) -> Vec<&'a str> {
    canaries
        .iter()
        .map(String::as_str)
        .filter(|canary| said.contains(canary))
        .collect()
}

/// A proxy before WeCom, or an endpoint.
#[derive(Clone)]
struct Watcher {
    canaries: Arc<Mutex<Canaries>>,
    upstream: Arc<str>,
    http: reqwest::Client,
    posts: Arc<AtomicUsize>,
}

impl Watcher {
    fn before(upstream: String) -> Self {
        Self {
            canaries: Arc::default(),
            upstream: upstream.into(),
            http: reqwest::Client::new(),
            posts: Arc::default(),
        }
    }
}

/// Serves `router` on a free port, until the runtime ends.
pub(crate) async fn serve(router: Router) -> String {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn pass_on(State(watcher): State<Watcher>, method: Method, uri: Uri, body: Bytes) -> Response {
    let note_body = |body: &Bytes| {
        if let Ok(json) = serde_json::from_slice(body) {
            watcher.canaries.lock().unwrap().note_all(&json);
        }
    };
    for (key, value) in url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        watcher.canaries.lock().unwrap().note(&key, &value);
    }
    note_body(&body);
    let there = format!("{}{uri}", watcher.upstream);
    let answer = async {
        let answer = watcher.http.request(method, there).body(body).send().await?;
        let status = answer.status();
        answer.bytes().await.map(|body| (status, body))
    };
    match answer.await {
        Ok((status, body)) => {
            note_body(&body);
            (status, body).into_response()
        }
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

/// Takes few, and throws the others back with what was in them.
async fn fail(State(watcher): State<Watcher>, uri: Uri, body: Bytes) -> Response {
    assert!(uri.query().is_some_and(|query| query.contains(URL_KEY)), "{uri}");
    let status = match watcher.posts.fetch_add(1, Ordering::SeqCst) % 5 {
        0 | 1 => StatusCode::NO_CONTENT,
        2 => StatusCode::UNPROCESSABLE_ENTITY,
        3 => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, body).into_response()
}

/// Everything the server says on its HTTP sides, to those who mean well and to those who do not.
async fn everything_it_answers(server: &Server) -> String {
    let http = reqwest::Client::new();
    let mut said = String::new();
    for path in ["healthz", "readyz", "metrics", "nothing"] {
        let answer = http
            .get(format!("http://{}/{path}", server.admin))
            .send()
            .await
            .unwrap();
        said += &format!("{:?}\n{}\n", answer.headers().clone(), answer.text().await.unwrap());
    }
    let query = "msg_signature=0123456789012345678901234567890123456789&timestamp=1785571212&nonce=1";
    for body in ["", "<xml><Encrypt>AAAA</Encrypt></xml>", "{}"] {
        let url = format!("http://{}/callback/main?{query}", server.callbacks);
        let answer = http.post(url).body(body).send().await.unwrap();
        said += &format!("{:?}\n{}\n", answer.headers().clone(), answer.text().await.unwrap());
    }
    said
}

/// Waits until the server's metrics hold each of `lines`.
pub(crate) async fn until_counted(server: &Server, lines: &[String]) {
    let counted = async {
        loop {
            let metrics = reqwest::get(format!("http://{}/metrics", server.admin)).await.unwrap();
            let metrics = metrics.text().await.unwrap();
            if lines.iter().all(|line| metrics.contains(line)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let came = tokio::time::timeout(PATIENCE, counted).await;
    assert!(came.is_ok(), "never counted: {lines:?}");
}

/// `SIGTERM`, the wait for the end of `server`, and every line it logged.
pub(crate) fn stop(mut server: Server) -> Vec<String> {
    server.signal(Signal::SIGTERM);
    let mut lines = std::mem::take(&mut server.first_lines);
    lines.extend(server.log.iter());
    assert!(server.wait().success());
    lines
}

/// Runs a server through trouble of every kind. Returns its log and its answers.
async fn run(stage: &Stage, watcher: &Watcher) -> (Vec<String>, String) {
    watcher.posts.store(0, Ordering::SeqCst);
    let server = stage.start();
    stage.say(500, Bells::Every(20.try_into().unwrap()));
    let met = ["done", "retry", "reject", "unavailable", "dead"]
        .map(|result| format!(r#"wecom_kf_deliveries_total{{handler="bot",result="{result}"}}"#));
    until_counted(&server, &met).await;
    while watcher.posts.load(Ordering::SeqCst) < POSTS {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answers = everything_it_answers(&server).await;
    (stop(server), answers)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_ever_said_and_nobody_is_named_by_default() {
    let stage = Stage::with_accounts(3, Pace::Fast).await;
    stage.wecom.set_faults(quick(Faults::all(0.03)));
    let watcher = Watcher::before(stage.wecom.base_url());
    let proxy = serve(Router::new().fallback(pass_on).with_state(watcher.clone())).await;
    let endpoint = serve(Router::new().fallback(fail).with_state(watcher.clone())).await;
    stage.change(&stage.wecom.base_url(), &proxy);
    stage.change(&stage.receiver.url, &format!("{endpoint}/kf?key={URL_KEY}"));
    // Tells of every message too.
    stage.change(
        "[[handlers]]",
        "[[handlers]]\nname = \"told\"\nkind = \"log\"\n[[handlers]]",
    );

    let (by_default, answers_by_default) = run(&stage, &watcher).await;
    stage.change("format = \"json\"", "format = \"json\"\nlevel = \"trace\"");
    let (at_trace, answers_at_trace) = run(&stage, &watcher).await;

    let check = binary()
        .arg("check")
        .arg("--config")
        .arg(stage.config())
        .output()
        .unwrap();
    let check = [check.stdout, check.stderr]
        .map(|bytes| String::from_utf8(bytes).unwrap())
        .join("\n");
    let config = Config::load(stage.config(), &Environment::default()).unwrap();
    let debug = format!("{config:?}\n{config:#?}\n{}", config.config);
    let refused = refusals(&stage);

    let mut canaries = std::mem::take(&mut *watcher.canaries.lock().unwrap());
    let in_use = (canaries.secrets.len(), canaries.texts.len(), canaries.customers.len());
    // One corp secret, an access token, callback tokens by the dozen; and people.
    assert!(
        in_use.0 > 4 && in_use.1 > 10 && in_use.2 > 50,
        "{in_use:?} canaries are not in use"
    );
    let signing_key = SIGNING_SECRET.trim_start_matches("whsec_");
    let ours = [URL_KEY, signing_key].into_iter().chain(stage.callback_keys());
    canaries.secrets.extend(ours.map(str::to_owned));

    let everywhere = [
        ("log", by_default.join("\n")),
        ("log at trace", at_trace.join("\n")),
        ("answers", answers_by_default + &answers_at_trace),
        ("check", check),
        ("Debug", debug),
        ("refusals", refused),
    ];
    let mut leaks = Vec::new();
    for (place, said) in &everywhere {
        assert!(!said.is_empty(), "{place} says nothing");
        leaks.extend(
            canaries
                .secrets_in(said)
                .into_iter()
                .map(|leak| format!("{place}: {leak}")),
        );
        if *place != "log at trace" {
            leaks.extend(
                canaries
                    .people_in(said)
                    .into_iter()
                    .map(|leak| format!("{place}: {leak}")),
            );
        }
    }
    // Whoever turns the log up to `debug` is told who: by the handler `log`, which is there to tell, and nowhere else.
    for line in at_trace.iter().filter(|line| !line.contains("customer of the message")) {
        leaks.extend(
            canaries
                .people_in(line)
                .into_iter()
                .map(|leak| format!("a line: {leak}")),
        );
    }
    println!(
        "{} lines, {} at trace, {} canaries: leaks={}",
        by_default.len(),
        at_trace.len(),
        canaries.secrets.len() + canaries.texts.len() + canaries.customers.len(),
        leaks.len()
    );
    assert!(leaks.is_empty(), "{leaks:?}");
    assert_json_of(&by_default, |level| level != "DEBUG" && level != "TRACE");
    assert_json_of(&at_trace, |_| true);
    assert!(
        at_trace.iter().any(|line| line.contains("called WeCom")),
        "nothing below info is logged"
    );
}

/// What the binary says of configs that are wrong around a secret.
fn refusals(stage: &Stage) -> String {
    let text = std::fs::read_to_string(stage.config()).unwrap();
    let [token, aes_key] = stage.callback_keys();
    let wrong = [
        text.replace(aes_key, &format!("{aes_key}{aes_key}")),
        text.replace(token, &format!("{token} {token}")),
        text.replace(SIGNING_SECRET, &format!("{SIGNING_SECRET}!")),
        text.replace("secret = ", "secrt = "),
        text.replace(SIGNING_SECRET, &format!("{SIGNING_SECRET}\"")),
        text.replace("callback_keys = [{", "callback_keys = [[{"),
    ];
    let path = stage.config().with_extension("wrong");
    wrong
        .map(|text| {
            std::fs::write(&path, text).unwrap();
            let output = binary().arg("serve").arg("--config").arg(&path).output().unwrap();
            assert_eq!(
                output.status.code(),
                Some(78),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
        })
        .join("\n")
}

/// Every line is one JSON object with the four keys that every line has, and a level that is `allowed`.
fn assert_json_of(lines: &[String], allowed: impl Fn(&str) -> bool) {
    for line in lines {
        let json: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for key in ["timestamp", "level", "target", "message"] {
            assert!(json[key].is_string(), "no {key}: {line}");
        }
        assert!(allowed(json["level"].as_str().unwrap()), "{line}");
    }
}
