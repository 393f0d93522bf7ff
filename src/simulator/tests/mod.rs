//! The simulator as a client sees it, over real sockets, and its paging on its own.

use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::*;
use crate::clock::{ManualClock, UnixMillis};

mod accounts;
mod bell;
mod calls;
mod content;
mod control;
mod customers;
mod faults;
mod knowledge;
mod media;
mod page;
mod replies;
mod session;
mod statistics;
mod typed;

/// When every test begins.
const START: UnixMillis = UnixMillis(1_785_571_200_000);

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Two accounts on a clock that stands still.
fn settings(clock: &ManualClock) -> Settings {
    clock.set(START);
    Settings {
        clock: Arc::new(clock.clone()),
        accounts: vec![Account::new("wk1", "one"), Account::new("wk2", "two")],
        ..Settings::default()
    }
}

fn wk1() -> OpenKfid {
    OpenKfid::from("wk1")
}

fn hello() -> Draft {
    Draft::text(&ExternalUserid::from("wm1"), "hello")
}

/// A client that makes mistakes only when it is told to.
struct Client {
    http: reqwest::Client,
    base_url: String,
    access_token: String,
}

impl Client {
    async fn new(simulator: &Simulator) -> Self {
        let mut client = Self::without_token(simulator);
        client.renew().await.unwrap();
        client
    }

    fn without_token(simulator: &Simulator) -> Self {
        Self {
            http: reqwest::Client::new(),
            base_url: simulator.base_url(),
            access_token: "none yet".to_owned(),
        }
    }

    /// Gets an access token, if there is one to be had.
    async fn renew(&mut self) -> Option<()> {
        let settings = Settings::default();
        let (corp_id, secret) = (settings.corp_id, settings.secret.expose_secret().to_owned());
        let url = format!(
            "{}/cgi-bin/gettoken?corpid={corp_id}&corpsecret={secret}",
            self.base_url
        );
        let answer = self.http.get(url).send().await.ok()?.bytes().await.ok()?;
        let answer: Value = serde_json::from_slice(&answer).ok()?;
        answer["access_token"].as_str()?.clone_into(&mut self.access_token);
        Some(())
    }

    async fn get(&self, path: &str) -> Value {
        let response = self.http.get(format!("{}{path}", self.base_url)).send().await.unwrap();
        assert_eq!(response.status(), 200, "refusals too have status 200");
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
    }

    /// Posts to an API and returns the answer as soon as its head is there, if it ever is.
    async fn send(&self, api: &str, body: impl Into<String>) -> reqwest::Result<reqwest::Response> {
        let url = format!("{}/cgi-bin/kf/{api}?access_token={}", self.base_url, self.access_token);
        self.http.post(url).body(body.into()).send().await
    }

    async fn post(&self, api: &str, body: impl Into<String>) -> Value {
        let response = self.send(api, body).await.unwrap();
        assert_eq!(response.status(), 200, "refusals too have status 200");
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
    }

    /// Posts to an API and returns the errcode.
    async fn try_post(&self, api: &str, body: &Value) -> i64 {
        self.post(api, body.to_string()).await["errcode"].as_i64().unwrap()
    }

    /// Posts to an API that must not refuse.
    async fn must_post(&self, api: &str, body: &Value) -> Value {
        let answer = self.post(api, body.to_string()).await;
        assert_eq!(answer["errcode"], 0, "{api} {body}: {answer}");
        answer
    }

    /// Gets from an API with `query` beside the access token.
    async fn ask(&self, api: &str, query: &str) -> Value {
        let token = &self.access_token;
        self.get(&format!("/cgi-bin/kf/{api}?access_token={token}&{query}"))
            .await
    }

    async fn sync(&self, body: Value) -> Value {
        self.post("sync_msg", body.to_string()).await
    }

    async fn errcode(&self, body: Value) -> i64 {
        self.sync(body).await["errcode"].as_i64().unwrap()
    }
}

/// The msgids on a page.
fn msgids(page: &Value) -> Vec<Msgid> {
    let items = page["msg_list"].as_array().map(Vec::as_slice).unwrap_or_default();
    items
        .iter()
        .filter_map(|item| item["msgid"].as_str())
        .map(Msgid::from)
        .collect()
}

#[tokio::test]
async fn the_address_is_free_again_after_a_stop() {
    let simulator = Simulator::start(Settings::default()).await.unwrap();
    let client = Client::new(&simulator).await;
    let listen = simulator.address;
    simulator.stop().await;
    assert!(client.send("sync_msg", "{}").await.unwrap_err().is_connect());
    Simulator::start(Settings {
        listen,
        ..Settings::default()
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_simulator_that_is_dropped_stops() {
    let simulator = Simulator::start(Settings::default()).await.unwrap();
    let world = Arc::downgrade(&simulator.world);
    drop(simulator);
    timeout(Duration::from_secs(5), async {
        while world.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("somebody still holds the world");
}

#[tokio::test]
async fn what_is_received_can_be_compared_with_the_truth() {
    let simulator = Simulator::start(settings(&ManualClock::default())).await.unwrap();
    let client = Client::new(&simulator).await;
    let customers = samples::customers(7, 5);
    simulator
        .say_many(&wk1(), samples::Chatter::new(7, customers).take(50), Bells::Silent)
        .unwrap();
    let page = client.sync(json!({ "open_kfid": "wk1" })).await;
    let received = |item: &Value| {
        let holder = item.get("event").unwrap_or(item);
        Received {
            open_kfid: wk1(),
            msgid: Msgid::from(item["msgid"].as_str().unwrap()),
            external_userid: holder["external_userid"].as_str().map(ExternalUserid::from),
        }
    };
    let mut book: Vec<_> = page["msg_list"].as_array().unwrap().iter().map(received).collect();
    assert!(simulator.ledger().verdict(&book).is_clean());
    book.pop();
    assert_eq!(simulator.ledger().verdict(&book).lost, 1);
}

/// Pulls like a careful client: retries, forgets a refused cursor, keeps each msgid once.
async fn pull_everything(simulator: &Simulator, clock: &ManualClock) -> Vec<Received> {
    let mut client = Client::without_token(simulator);
    let (mut book, mut seen, mut cursor) = (Vec::new(), std::collections::HashSet::new(), Value::Null);
    for _ in 0..10_000 {
        let mut body = json!({ "open_kfid": "wk1", "limit": 20 });
        if !cursor.is_null() {
            body["cursor"] = cursor.clone();
        }
        let Ok(response) = client.send("sync_msg", body.to_string()).await else {
            continue;
        };
        let Ok(answer) = response.bytes().await else { continue };
        let Ok(page) = serde_json::from_slice::<Value>(&answer) else {
            continue;
        };
        match page["errcode"].as_i64().unwrap() {
            0 => {}
            40014 | 42001 if client.renew().await.is_some() => {}
            40014 | 42001 => clock.advance(MINUTE),
            40058 | 50100 => cursor = Value::Null,
            45009 => clock.advance(MINUTE),
            -1 | 45033 => {}
            other => panic!("{other}"),
        }
        for item in page["msg_list"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let Some(msgid) = item["msgid"].as_str().map(Msgid::from) else {
                continue;
            };
            if seen.insert(msgid.clone()) {
                let customer = item["external_userid"].as_str().map(ExternalUserid::from);
                book.push(Received {
                    open_kfid: wk1(),
                    msgid,
                    external_userid: customer,
                });
            }
        }
        match page["next_cursor"].as_str() {
            None | Some("") => {}
            Some(next) => cursor = next.into(),
        }
        if page["errcode"] == 0 && page["has_more"] == 0 && page["next_cursor"] != "" {
            return book;
        }
    }
    panic!("the pull does not come to an end")
}

#[tokio::test]
async fn a_careful_client_survives_everything_at_once() {
    for seed in 0..5 {
        let clock = ManualClock::default();
        let mut settings = settings(&clock);
        settings.seed = seed;
        let simulator = Simulator::start(settings).await.unwrap();
        let customers = samples::customers(seed, 9);
        let texts = (0..200).map(|n| Draft::text(&customers[n % 9], n.to_string()));
        simulator.say_many(&wk1(), texts, Bells::Silent).unwrap();
        let mut faults = Faults::all(0.1);
        faults.slowness = Duration::from_millis(1);
        faults.page_bytes = 1_000;
        simulator.set_faults(faults);
        let book = pull_everything(&simulator, &clock).await;
        let ledger = simulator.ledger();
        assert_eq!(
            ledger.verdict(&book).to_string(),
            "lost=0 double=0 order=0 overlap=0",
            "seed {seed}"
        );
        assert!(
            ledger.counts.faults.len() > 10,
            "seed {seed}: {:?}",
            ledger.counts.faults
        );
    }
}
