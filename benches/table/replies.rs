//! Replies a second, against a bare loop that posts `send_msg` over as many connections; and how soon a reply is
//! accepted after the callback.
//!
//! An endpoint in a thread of its own answers every message with one text. Ours finds the messages waiting in the store,
//! forwards them, reads the answers, sends the replies, and remembers both what was said and that it is done. The bare
//! loop knows whom it says what, and forgets it. For the time, it takes the same steps one after the other: it pulls the
//! message, posts it to the endpoint, and sends what was answered.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep};
use url::Url;
use wecom_kf::api;
use wecom_kf::clock::{Clock, SystemClock};
use wecom_kf::handler::{
    Context, Desk, Forward, Handler, HandlerError, Outcome, Policy, Registration, SigningSecret, forward,
};
use wecom_kf::id::{AppName, ExternalUserid, HandlerName};
use wecom_kf::message::Message;
use wecom_kf::simulator::samples;
use wecom_kf::simulator::{Account, Bells, Draft, Settings, Simulator};

use crate::forwarded::{fill, hand_out, open};
use crate::latency::{PAUSE, Scene, millis};
use crate::line::{Goal, Line, Pair, Unit, quantile};
use crate::serve::{self, Count};

/// Customers, each of whom has written once.
const CUSTOMERS: usize = 5_000;
/// Calls of one kind that a client makes at once.
const CONNECTIONS: usize = api::Settings::CONCURRENCY;
const ROUNDS: usize = 7;
const MESSAGES_A_ROUND: usize = 100;
const ROUNDS_OF_LATENCY: usize = 5;
const ANSWER: &str = r#"{"replies":[{"msgtype":"text","text":{"content":"您的订单已发货。"}}]}"#;

pub(crate) fn measure() -> Vec<Line> {
    serve::metrics();
    let runtime = Runtime::new().expect("a runtime");
    let bot = start_bot();
    let folder = TempDir::new().expect("a folder");
    let filled = folder.path().join("filled.db");
    let said = runtime.block_on(async { written().await.ledger().said });
    runtime.block_on(fill(&filled, &said));
    let round = |_| Pair {
        floor: rate(runtime.block_on(floor())),
        ours: rate(runtime.block_on(ours(&filled, &bot))),
    };
    let rounds: Vec<_> = (0..=ROUNDS).map(round).skip(1).collect();
    vec![
        Line::ratio("replies accepted", Unit::PerSecond, &rounds, Goal::AtLeast(0.5)),
        Line::surplus(
            "callback to reply accepted, median",
            Unit::Millis,
            &runtime.block_on(medians(&bot)),
            Goal::AtMost(3.0),
        ),
    ]
}

fn rate(took: Duration) -> f64 {
    CUSTOMERS as f64 / took.as_secs_f64()
}

/// Answers whatever is posted, in a thread of its own.
fn start_bot() -> Url {
    let listener = std::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    listener.set_nonblocking(true).expect("a listener for tokio");
    let url = format!("http://{}/kf", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            let bot = Router::new().fallback(async || ([(CONTENT_TYPE, "application/json")], ANSWER));
            axum::serve(listener, bot).await
        })
    });
    url.parse().expect("an address")
}

/// A new WeCom, in which every customer has written. In each the same: what was said in one can be answered in another.
async fn written() -> Simulator {
    let account = samples::accounts(1, 1).remove(0);
    let mut settings = Settings::default();
    settings.accounts = vec![Account::new(account.as_str(), "bench")];
    let wecom = Simulator::start(settings).await.expect("the simulator starts");
    let drafts = customers()
        .into_iter()
        .map(|customer| Draft::text(&customer, "我的订单呢？"));
    let said = wecom.say_many(&account, drafts, Bells::Silent);
    said.expect("the account exists");
    wecom
}

fn customers() -> Vec<ExternalUserid> {
    samples::customers(1, CUSTOMERS)
}

fn client(wecom: &Simulator) -> api::Client {
    let simulated = Settings::default();
    let mut settings = api::Settings::new(simulated.corp_id, simulated.secret);
    settings.api_base = wecom.base_url();
    // What holds back is measured elsewhere: by WeCom.
    (settings.calls_per_second, settings.calls_burst) = (1_000_000, 1_000_000);
    api::Client::new(settings, Arc::new(SystemClock)).expect("a client")
}

/// Sends everybody a text and does nothing more.
async fn floor() -> Duration {
    let wecom = written().await;
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let url = Arc::new(send_msg_url(&wecom, &http).await);
    let account = samples::accounts(1, 1).remove(0);
    let reply = |customer| {
        let text = json!({ "content": "您的订单已发货。" });
        json!({ "touser": customer, "open_kfid": account, "msgtype": "text", "text": text }).to_string()
    };
    let bodies: Arc<[String]> = customers().iter().map(reply).collect();
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let loops: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (url, bodies, next) = (Arc::clone(&url), Arc::clone(&bodies), Arc::clone(&next));
            let http = http.clone();
            tokio::spawn(async move {
                while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let answer = http.post(&*url).body(body.clone()).send().await.expect("an answer");
                    answer.bytes().await.expect("a whole answer");
                }
            })
        })
        .collect();
    for running in loops {
        running.await.expect("no loop panics");
    }
    let took = began.elapsed();
    assert_eq!(wecom.counts().replies, CUSTOMERS as u64, "everybody was answered");
    wecom.stop().await;
    took
}

async fn send_msg_url(wecom: &Simulator, http: &reqwest::Client) -> String {
    use secrecy::ExposeSecret as _;

    let Settings { corp_id, secret, .. } = Settings::default();
    let api = format!("{}/cgi-bin", wecom.base_url());
    let gettoken = format!("{api}/gettoken?corpid={corp_id}&corpsecret={}", secret.expose_secret());
    let answer = http.get(gettoken).send().await.expect("an answer");
    let answer: Value = serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON");
    let access_token = answer["access_token"].as_str().expect("an access token");
    format!("{api}/kf/send_msg?access_token={access_token}")
}

fn forwarder(bot: &Url) -> Forward {
    let policy = Policy::default();
    let settings = forward::Settings {
        url: bot.clone(),
        signing_secrets: vec![SigningSecret::generate(&mut rand::rng())],
        reach: forward::Reach::Anywhere,
        authorities: None,
        concurrency: policy.concurrency,
        timeout: policy.timeout,
    };
    Forward::new(settings, Arc::new(SystemClock)).expect("a forwarder")
}

/// Counts what a forwarder has done.
struct Counted(Forward, Arc<Count>);

impl Handler for Counted {
    async fn handle(&self, cx: &Context, message: &Message) -> Result<Outcome, HandlerError> {
        let outcome = self.0.handle(cx, message).await?;
        self.1.one_more();
        Ok(outcome)
    }
}

/// Has everything answered that waits in a copy of the store at `filled`.
async fn ours(filled: &Path, bot: &Url) -> Duration {
    let wecom = written().await;
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("kf.db");
    std::fs::copy(filled, &path).expect("a copy");
    let store = open(&path).await;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let client = client(&wecom);
    client.ensure_access_token().await.expect("an access token");
    let desk = Desk::new(Arc::clone(&clock))
        .with_client(AppName::new("main").expect("a name"), client)
        .with_store(Arc::clone(&store));
    let count = Count::up_to(CUSTOMERS);
    let name = HandlerName::new("bot").expect("a name");
    let registration = Registration::new(name, Counted(forwarder(bot), Arc::clone(&count)))
        .on_shared_threads()
        .at_desk(Arc::new(desk));
    let took = hand_out(&store, registration, &clock, count.reached()).await;
    assert_eq!(wecom.counts().replies, CUSTOMERS as u64, "everybody was answered");
    wecom.stop().await;
    took
}

/// Tells when a forwarder is done, which is when WeCom has accepted what it was answered.
struct Telling(Forward, UnboundedSender<Instant>);

impl Handler for Telling {
    async fn handle(&self, cx: &Context, message: &Message) -> Result<Outcome, HandlerError> {
        let outcome = self.0.handle(cx, message).await?;
        let _ = self.1.send(Instant::now());
        Ok(outcome)
    }
}

/// Milliseconds from a callback to the reply, and those of the same calls without a server between them.
async fn medians(bot: &Url) -> Vec<Pair> {
    let customer = ExternalUserid::from("wmBench");
    let talk = std::iter::repeat_with(|| Draft::text(&customer, "我的订单呢？"));
    let mut scene = Scene::set(talk, |tell| Telling(forwarder(bot), tell)).await;
    let mut medians = Vec::new();
    for _ in 0..=ROUNDS_OF_LATENCY {
        let (mut floor, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..MESSAGES_A_ROUND {
            scene.say_something();
            let pulled = scene.bare.pull().await;
            let began = Instant::now();
            let message = json!({ "type": "kf.text", "data": { "text": { "content": "我的订单呢？" } } });
            let answer = scene.bare.http.post(bot.clone()).body(message.to_string()).send().await;
            let answer = answer.expect("an answer").bytes().await.expect("a body");
            let mut reply: Value = serde_json::from_slice(&answer).expect("JSON");
            let mut reply = reply["replies"][0].take();
            reply["touser"] = json!(customer);
            reply["open_kfid"] = json!(scene.bare.account);
            scene.bare.call("send_msg", reply).await;
            floor.push(pulled + millis(began.elapsed()));
            sleep(PAUSE / 2).await;
            ours.push(scene.call_back().await);
            sleep(PAUSE / 2).await;
        }
        medians.push(Pair {
            floor: quantile(&mut floor, 0.5),
            ours: quantile(&mut ours, 0.5),
        });
    }
    scene.server.stop().await;
    // The first round warms up.
    medians.split_off(1)
}
