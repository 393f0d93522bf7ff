//! What is forwarded, as others verify it; and where nothing is forwarded to.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use tokio::net::TcpListener;
use wecom_kf::simulator::Bells;

use crate::bot::{Bot, Language};
use crate::server::binary;
use crate::stage::{Pace, Stage};

/// 32 bytes each, as Standard Webhooks writes them.
const OLD: &str = "whsec_b2xkLW9sZC1vbGQtb2xkLW9sZC1vbGQtb2xkLW9sZCE=";
const NEW: &str = "whsec_bmV3LW5ldy1uZXctbmV3LW5ldy1uZXctbmV3LW5ldyE=";

const MESSAGES: usize = 100;

/// A forwarder that signs with both secrets.
fn forwarder(name: &str, url: &str) -> String {
    format!(
        r#"
        [[handlers]]
        name = "{name}"
        kind = "forward"
        url = "{url}"
        signing_secret = ["{NEW}", "{OLD}"]
        origins = ["all"]
        retry_schedule = ["20ms"]
        max_attempts = 1000
        "#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_libraries_take_what_is_sent_whichever_of_two_secrets_they_know() {
    let stage = Stage::with_accounts(1, Pace::Fast).await;
    let bots = Language::ALL.map(|language| {
        [("old", OLD), ("new", NEW)].map(|(age, secret)| {
            let bot = Bot::start(language, secret);
            stage.add_to_config(&forwarder(&format!("{}-{age}", language.name()), &bot.url));
            bot
        })
    });
    let server = stage.start();
    stage.say(MESSAGES, Bells::Once);
    tokio::task::block_in_place(|| bots.iter().flatten().for_each(|bot| bot.until_taken(MESSAGES)));
    assert!(server.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_libraries_refuse_what_was_changed_on_the_way() {
    let stage = Stage::with_accounts(1, Pace::Fast).await;
    let mut bots = Vec::new();
    for language in Language::ALL {
        let bot = Bot::start(language, NEW);
        let relay = relay_that_changes_something(bot.url.clone()).await;
        stage.add_to_config(&forwarder(language.name(), &relay));
        bots.push(bot);
    }
    let server = stage.start();
    stage.say(1, Bells::Once);
    tokio::task::block_in_place(|| bots.iter().for_each(|bot| bot.until_refused(6)));
    assert!(server.stop().success());
}

/// Passes on to `bot` what it is posted, with one thing changed: the body, the id, the time or the signature in turn.
async fn relay_that_changes_something(bot: String) -> String {
    let passed = Arc::<AtomicUsize>::default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let relay = Router::new().fallback(move |mut headers: HeaderMap, body: Bytes| {
        let turn = passed.fetch_add(1, Ordering::SeqCst);
        let (client, bot) = (client.clone(), bot.clone());
        let mut body = body.to_vec();
        async move {
            let mut change = |name: &'static str, change: &dyn Fn(&str) -> String| {
                let changed = change(headers[name].to_str().unwrap());
                headers.insert(name, HeaderValue::try_from(changed).unwrap());
            };
            match turn % 4 {
                0 => {
                    body = String::from_utf8(body)
                        .unwrap()
                        .replacen("main", "mine", 1)
                        .into_bytes()
                }
                1 => change("webhook-id", &|id| format!("{id}x")),
                2 => change("webhook-timestamp", &|time| {
                    (time.parse::<u64>().unwrap() - 1).to_string()
                }),
                _ => change("webhook-signature", &|signature| signature.replace("v1,", "v1,A")),
            }
            let answer = client.post(bot).headers(headers).body(body).send().await.unwrap();
            StatusCode::from_u16(answer.status().as_u16()).unwrap()
        }
    });
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let url = format!("http://{}/kf", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, relay).await });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_not_public_is_refused_before_a_port_opens_and_none_that_a_name_leads_to_is_reached() {
    let stage = Stage::with_accounts(1, Pace::Fast).await;
    let trap = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let port = trap.local_addr().unwrap().port();
    let public_only = |url: &str| forwarder("tenant", url) + "public_only = true\nprobe_min = \"20ms\"\n";

    let good = fs::read_to_string(&stage.config).unwrap();
    stage.add_to_config(&public_only(&format!("https://2130706433:{port}/kf?key=hush")));
    let refused = binary()
        .args(["serve", "--config"])
        .arg(&stage.config)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(78), "{told}");
    assert!(
        told.contains("handlers[1].url: must not lead to an address that is loopback"),
        "{told}"
    );
    assert!(!told.contains("hush"), "{told}");

    // A machine has a name, and finds itself under it or not at all.
    let name = nix::unistd::gethostname().unwrap().into_string().unwrap();
    fs::write(&stage.config, good).unwrap();
    stage.add_to_config(&public_only(&format!("https://{name}:{port}/kf")));
    let connected = tokio::spawn(async move { trap.accept().await.is_ok() });
    let server = stage.start();
    stage.say(10, Bells::Once);
    stage.all_arrived().await;
    until_unavailable(server.admin).await;
    assert!(server.stop().success());
    assert!(!connected.is_finished(), "the trap was reached");
    connected.abort();
}

/// Waits until the tenant's endpoint was tried and not reached, three times.
async fn until_unavailable(admin: SocketAddr) {
    let tried = async {
        loop {
            let metrics = reqwest::get(format!("http://{admin}/metrics"))
                .await
                .unwrap()
                .text()
                .await
                .unwrap();
            let count = metrics.lines().find_map(|line| {
                line.strip_prefix(r#"wecom_kf_deliveries_total{handler="tenant",result="unavailable"} "#)
            });
            if count.is_some_and(|count| count.parse::<u64>().unwrap() >= 3) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), tried)
        .await
        .expect("the endpoint is tried");
}
