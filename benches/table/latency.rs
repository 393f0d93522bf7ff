//! From a callback's first byte to the handler, at low load, against the round trip to WeCom that is part of it.
//!
//! One message at a time: a bare client asks for the page that holds it; a moment later the server is called back, asks
//! for the same page, commits it and hands the message out.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::RawQuery;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep, timeout};
use wecom_kf::callback::{Notification, Verifier};
use wecom_kf::clock::{Clock as _, SystemClock};
use wecom_kf::handler::{Context, Handler, HandlerError, Outcome};
use wecom_kf::id::OpenKfid;
use wecom_kf::message::Message;
use wecom_kf::simulator::samples::{self, Chatter};
use wecom_kf::simulator::{Bells, Draft};

use crate::line::{Goal, Line, Pair, Unit, quantile};
use crate::serve::Serving;
use crate::stage::{Stage, sqlite};

const ROUNDS: usize = 5;
const MESSAGES_A_ROUND: usize = 200;
/// Between two messages: longer than anything takes, and below the rate at which the server governs itself.
pub(crate) const PAUSE: Duration = Duration::from_millis(30);
/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn measure() -> Vec<Line> {
    Runtime::new().expect("a runtime").block_on(async {
        let talk = Chatter::new(1, samples::customers(1, 50));
        let mut scene = Scene::set(talk, Telling).await;
        // The first round warms up.
        let _ = round(&mut scene).await;
        let (mut medians, mut tails) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (mut floor, mut ours) = round(&mut scene).await;
            let mut pair = |share| Pair {
                floor: quantile(&mut floor, share),
                ours: quantile(&mut ours, share),
            };
            medians.push(pair(0.5));
            tails.push(pair(0.99));
        }
        scene.server.stop().await;
        vec![
            Line::surplus("callback to handler, median", Unit::Millis, &medians, Goal::AtMost(1.0)),
            Line::surplus("callback to handler, p99", Unit::Millis, &tails, Goal::AtMost(5.0)),
        ]
    })
}

/// Milliseconds of the floor and of ours, message by message.
async fn round(scene: &mut Scene<impl Iterator<Item = Draft>>) -> (Vec<f64>, Vec<f64>) {
    let (mut floor, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..MESSAGES_A_ROUND {
        scene.say_something();
        floor.push(scene.bare.pull().await);
        sleep(PAUSE / 2).await;
        ours.push(scene.call_back().await);
        sleep(PAUSE / 2).await;
    }
    (floor, ours)
}

/// A server that is called back about one message at a time.
pub(crate) struct Scene<T> {
    stage: Stage,
    account: OpenKfid,
    /// What customers have to say.
    talk: T,
    token: String,
    pub(crate) server: Serving,
    handled: UnboundedReceiver<Instant>,
    /// Connection over which the server is called back.
    callbacks: TcpStream,
    calls: u64,
    pub(crate) bare: Bare,
}

/// Tells when it was handed something.
struct Telling(UnboundedSender<Instant>);

impl Handler for Telling {
    async fn handle(&self, _: &Context, _: &Message) -> Result<Outcome, HandlerError> {
        let _ = self.0.send(Instant::now());
        Ok(Outcome::Done)
    }
}

impl<T: Iterator<Item = Draft>> Scene<T> {
    /// Customers have `talk` to say, and the server hands it to a `handler` that tells when it was done.
    pub(crate) async fn set<H: Handler>(talk: T, handler: impl FnOnce(UnboundedSender<Instant>) -> H) -> Self {
        let stage = Stage::new(1, 0).await;
        let account = stage.accounts[0].clone();
        let token = callback_token(&stage).await;
        let (tell, handled) = unbounded_channel();
        let server = Serving::start(|folder| stage.config(&sqlite(folder), ""), vec![handler(tell)]).await;
        let callbacks = TcpStream::connect(server.callbacks).await.expect("the server listens");
        callbacks.set_nodelay(true).expect("an option");
        Self {
            talk,
            bare: Bare::new(&stage, &token).await,
            stage,
            account,
            token,
            server,
            handled,
            callbacks,
            calls: 0,
        }
    }

    /// Lets the next thing be said, and calls nobody.
    pub(crate) fn say_something(&mut self) {
        let draft = self.talk.by_ref().take(1);
        let said = self.stage.wecom.say_many(&self.account, draft, Bells::Silent);
        said.expect("the account exists");
    }

    /// Calls the server back. Returns the milliseconds until the message was handled.
    pub(crate) async fn call_back(&mut self) -> f64 {
        self.calls += 1;
        let sealed = self.stage.seal(&self.account, &self.token, self.calls);
        let (query, body) = (sealed.query(), sealed.body());
        let request = format!(
            "POST /callback/main?{query} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let began = Instant::now();
        self.callbacks
            .write_all(request.as_bytes())
            .await
            .expect("the server reads");
        let handled = timeout(PATIENCE, self.handled.recv()).await.expect("the message comes");
        let handled = handled.expect("the handler lives");
        let mut answer = [0; 1024];
        let length = self.callbacks.read(&mut answer).await.expect("the server answers");
        assert!(answer[..length].ends_with(b"success"), "the callback is taken");
        millis(handled - began)
    }
}

/// A client that does nothing but ask for the next page.
pub(crate) struct Bare {
    pub(crate) http: reqwest::Client,
    /// Where the API is, up to the name of a call.
    api: String,
    access_token: String,
    pub(crate) account: OpenKfid,
    token: String,
    cursor: Option<String>,
}

impl Bare {
    async fn new(stage: &Stage, token: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let api = format!("{}/cgi-bin", stage.wecom.base_url());
        let gettoken = format!("{api}/gettoken?corpid={}&corpsecret={}", stage.corp_id, stage.secret);
        let answer = http.get(gettoken).send().await.expect("an answer");
        let answer: Value = serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON");
        let access_token = answer["access_token"].as_str().expect("an access token");
        Self {
            access_token: access_token.to_owned(),
            api: format!("{api}/kf"),
            http,
            account: stage.accounts[0].clone(),
            token: token.to_owned(),
            cursor: None,
        }
    }

    /// Makes one call. Returns the answer.
    pub(crate) async fn call(&self, name: &str, body: Value) -> Bytes {
        let url = format!("{}/{name}?access_token={}", self.api, self.access_token);
        let answer = self.http.post(url).body(body.to_string()).send().await;
        answer.expect("an answer").bytes().await.expect("a body")
    }

    /// Milliseconds from the request to the whole answer.
    pub(crate) async fn pull(&mut self) -> f64 {
        let body = json!({
            "open_kfid": self.account, "token": self.token, "limit": 1000, "cursor": self.cursor
        });
        let began = Instant::now();
        let answer = self.call("sync_msg", body).await;
        let took = millis(began.elapsed());
        let page: Value = serde_json::from_slice(&answer).expect("JSON");
        assert_eq!(
            page["msg_list"].as_array().map(Vec::len),
            Some(1),
            "one message at a time"
        );
        self.cursor = page["next_cursor"].as_str().map(str::to_owned);
        took
    }
}

/// Takes one callback of the simulator's for the token in it, which is good for ten minutes.
async fn callback_token(stage: &Stage) -> String {
    let (tell, mut told) = unbounded_channel();
    let tell = Arc::new(Mutex::new(tell));
    let router = Router::new().route(
        "/callback/main",
        post(|RawQuery(query): RawQuery, body: Bytes| async move {
            let _ = tell
                .lock()
                .expect("nobody panics")
                .send((query.unwrap_or_default(), body));
            "success"
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    stage.ring(address);
    let (query, body) = told.recv().await.expect("a callback");
    server.abort();
    let verifier = Verifier::new(vec![stage.pair()], vec![stage.corp_id.clone()]).expect("a verifier");
    match verifier.open(&query, &body, SystemClock.now()) {
        Ok(Notification::Message { token: Some(token), .. }) => token.expose().to_owned(),
        other => panic!("no token in {other:?}"),
    }
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
