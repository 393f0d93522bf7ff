//! The client against servers on loopback.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::response::IntoResponse;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use self::fake::{Fake, Seen, Then, grant, in_pieces, misbehave};
use super::*;
use crate::clock::SystemClock;
use crate::id::{CallbackToken, OpenKfid};

mod accounts;
mod customers;
mod download;
mod failures;
mod fake;
mod knowledge;
mod observed;
mod reply;
mod upload;

/// Neither may ever be seen outside of a request.
const SECRET: &str = "canary-secret";
const TOKEN: &str = "canary-token";

const PAGE: &str = r#"{"errcode":0,"errmsg":"ok","next_cursor":"c1","has_more":0,"msg_list":[{"msgid":"m1"}]}"#;
const DONE: &str = r#"{"errcode":0,"errmsg":"ok"}"#;

fn settings(base: &str) -> Settings {
    let mut settings = Settings::new(CorpId::from("ww1"), SECRET.into());
    base.clone_into(&mut settings.api_base);
    settings
}

fn client(base: &str) -> Client {
    Client::new(settings(base), Arc::new(SystemClock)).unwrap()
}

async fn pull(client: &Client) -> Result<SyncPage, ApiError> {
    let token = CallbackToken::new("ENCcanary-ticket");
    let request = SyncMsg {
        open_kfid: &OpenKfid::from("wk1"),
        cursor: Some("c0"),
        token: Some(&token),
        limit: 1000,
    };
    client.sync_msg(&request).await
}

/// Answers sync_msg with `body` and grants tokens.
async fn fake_that_answers(body: &'static str) -> Fake {
    Fake::start(move |seen: Seen| match seen.call.as_str() {
        "gettoken" => grant(TOKEN),
        _ => body.into_response(),
    })
    .await
}

/// What was sent to `call`, and that it was sent once.
fn sent(fake: &Fake, call: &str) -> Value {
    assert_eq!(fake.count(call), 1, "{call}");
    fake.seen(call)[0].json()
}

fn wk1() -> OpenKfid {
    OpenKfid::from("wk1")
}

fn assert_keeps_secrets(error: &ApiError) {
    let mut shown = format!("{error} {error:?} {error:#?}");
    let mut source = error.source();
    while let Some(error) = source {
        shown += &format!(" {error} {error:?}");
        source = error.source();
    }
    for leak in ["canary", "access_token=", "corpsecret", "http://", "body-text"] {
        assert!(!shown.contains(leak), "{leak} in {shown}");
    }
}

#[tokio::test]
async fn a_pull_fetches_a_token_and_sends_what_the_protocol_asks_for() {
    let fake = fake_that_answers(PAGE).await;
    let page = pull(&client(&fake.base)).await.unwrap();
    assert_eq!((page.next_cursor.as_deref(), page.items.len()), (Some("c1"), 1));

    let gettoken = &fake.seen("gettoken")[0];
    assert_eq!(gettoken.query["corpid"], "ww1");
    assert_eq!(gettoken.query["corpsecret"], SECRET);
    let sync_msg = &fake.seen("kf/sync_msg")[0];
    assert_eq!(sync_msg.access_token(), TOKEN);
    let sent = json!({ "open_kfid": "wk1", "cursor": "c0", "token": "ENCcanary-ticket", "limit": 1000 });
    assert_eq!(sync_msg.json(), sent);
}

#[tokio::test]
async fn a_hundred_concurrent_pulls_fetch_one_token() {
    let fake = fake_that_answers(PAGE).await;
    pull_concurrently(&client(&fake.base), 100).await;
    assert_eq!((fake.count("gettoken"), fake.count("kf/sync_msg")), (1, 100));
}

async fn pull_concurrently(client: &Client, pulls: usize) {
    let mut tasks = JoinSet::new();
    for _ in 0..pulls {
        let client = client.clone();
        tasks.spawn(async move { pull(&client).await.map(drop) });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_revoked_token_is_replaced_exactly_once_however_many_calls_used_it() {
    let version = Arc::new(AtomicUsize::new(0));
    let fake = Fake::start({
        let version = Arc::clone(&version);
        move |seen: Seen| {
            let current = format!("token-{}", version.load(Ordering::SeqCst));
            match seen.call.as_str() {
                "gettoken" => grant(&current),
                _ if seen.access_token() == current => PAGE.into_response(),
                _ => include_str!("../../../tests/fixtures/messages/sync_error_42001.json").into_response(),
            }
        }
    })
    .await;
    let client = client(&fake.base);
    for revoked in 0..10 {
        pull_concurrently(&client, 30).await;
        assert_eq!(fake.count("gettoken"), revoked + 1);
        version.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_call_gets_its_second_try_also_if_the_very_first_token_is_dead() {
    let granted = Arc::new(AtomicUsize::new(0));
    let fake = Fake::start(move |seen: Seen| match seen.call.as_str() {
        "gettoken" => grant(&format!("token-{}", granted.fetch_add(1, Ordering::SeqCst))),
        _ if seen.access_token() == "token-0" => r#"{"errcode":40014,"errmsg":"invalid"}"#.into_response(),
        _ => PAGE.into_response(),
    })
    .await;
    pull(&client(&fake.base)).await.unwrap();
    assert_eq!((fake.count("gettoken"), fake.count("kf/sync_msg")), (2, 2));
}

#[tokio::test]
async fn a_secret_that_gets_tokens_but_no_calls_does_not_loop() {
    let fake = fake_that_answers(r#"{"errcode":40001,"errmsg":"invalid credential"}"#).await;
    let client = client(&fake.base);
    for _ in 0..50 {
        let error = pull(&client).await.unwrap_err();
        assert_eq!(error.errcode(), Some(ErrCode::INVALID_SECRET));
        assert_eq!(error.class(), ErrorClass::Operator);
    }
    assert_eq!((fake.count("gettoken"), fake.count("kf/sync_msg")), (2, 2));
}

#[tokio::test]
async fn a_wrong_secret_is_shown_to_wecom_once() {
    let fake =
        Fake::start(|_| r#"{"errcode":40001,"errmsg":"invalid secret canary-secret, from ip: 203.0.113.7"}"#).await;
    let client = client(&fake.base);
    for _ in 0..100 {
        let error = client.ensure_access_token().await.unwrap_err();
        assert!(error.retry_after().unwrap() > Duration::from_secs(590));
        assert!(error.source().unwrap().to_string().contains("203.0.113.7"));
        assert!(error.errcode().unwrap().remedy().unwrap().page.contains("Secret"));
        assert_keeps_secrets(&error);
        assert_keeps_secrets(&pull(&client).await.unwrap_err());
    }
    assert_eq!((fake.count("gettoken"), fake.count("kf/sync_msg")), (1, 0));
}

#[tokio::test]
async fn a_refused_callback_token_comes_out_as_such_and_is_not_tried_again() {
    let fake = fake_that_answers(include_str!("../../../tests/fixtures/messages/sync_error_95007.json")).await;
    let error = pull(&client(&fake.base)).await.unwrap_err();
    assert!(matches!(&error, ApiError::Rejected { code, .. } if *code == ErrCode::INVALID_CALLBACK_TOKEN));
    assert!(error.is_retryable());
    assert_eq!((fake.count("gettoken"), fake.count("kf/sync_msg")), (1, 1));
}

#[tokio::test]
async fn after_a_45009_the_call_rests_and_the_others_go_on() {
    let fake = Fake::start(|seen: Seen| match seen.call.as_str() {
        "gettoken" => grant(TOKEN),
        "kf/sync_msg" => r#"{"errcode":45009,"errmsg":"api freq out of limit"}"#.into_response(),
        _ => r#"{"errcode":0,"account_list":[]}"#.into_response(),
    })
    .await;
    let client = client(&fake.base);
    assert_eq!(
        pull(&client).await.unwrap_err().errcode(),
        Some(ErrCode::FREQUENCY_LIMIT)
    );
    for _ in 0..10 {
        let error = pull(&client).await.unwrap_err();
        assert!(matches!(
            error,
            ApiError::RateLimited {
                call: Call::SyncMsg,
                ..
            }
        ));
        assert!(error.retry_after().unwrap() > Duration::from_secs(55));
        assert_eq!(error.class(), ErrorClass::RetryLong);
    }
    assert_eq!(fake.count("kf/sync_msg"), 1);
    assert_eq!(client.account_list().await.unwrap(), []);
}

#[tokio::test]
async fn the_account_list_is_read_to_its_end() {
    let fake = Fake::start(|seen: Seen| {
        if seen.call == "gettoken" {
            return grant(TOKEN);
        }
        let offset = usize::try_from(seen.json()["offset"].as_u64().unwrap()).unwrap();
        let accounts: Vec<Value> = (0..230)
            .map(|number| match number {
                7 => json!({ "name": "nameless" }),
                _ => json!({
                    "open_kfid": format!("wk{number}"),
                    "name": "客服",
                    "avatar": if number == 0 { "https://a.example/0.png" } else { "" },
                    "manage_privilege": number == 0,
                }),
            })
            .skip(offset)
            .take(100)
            .collect();
        json!({ "errcode": 0, "errmsg": "ok", "account_list": accounts })
            .to_string()
            .into_response()
    })
    .await;
    let accounts = client(&fake.base).account_list().await.unwrap();
    assert_eq!(accounts.len(), 229, "one entry has no id");
    assert_eq!(&*accounts[0].name, "客服");
    assert_eq!(accounts[0].avatar.as_deref(), Some("https://a.example/0.png"));
    assert_eq!(accounts[1].avatar, None);
    assert_eq!(
        (accounts[0].manage_privilege, accounts[1].manage_privilege),
        (Some(true), Some(false))
    );
    assert_eq!(fake.count("kf/account/list"), 3);
}

#[tokio::test]
async fn an_account_list_that_repeats_itself_ends() {
    let fake = Fake::start(|seen: Seen| match seen.call.as_str() {
        "gettoken" => grant(TOKEN),
        _ => {
            let accounts: Vec<Value> = (0..100)
                .map(|number| json!({ "open_kfid": format!("wk{number}") }))
                .collect();
            json!({ "errcode": 0, "account_list": accounts })
                .to_string()
                .into_response()
        }
    })
    .await;
    assert_eq!(client(&fake.base).account_list().await.unwrap().len(), 100);
    assert_eq!(fake.count("kf/account/list"), 2);
}

#[test]
fn a_setting_that_makes_no_sense_is_named() {
    let refusal = |change: fn(&mut Settings)| {
        let mut settings = settings(Settings::API_BASE);
        change(&mut settings);
        Client::new(settings, Arc::new(SystemClock)).unwrap_err().to_string()
    };
    assert_eq!(refusal(|s| s.concurrency = 0), "concurrency must be at least 1");
    assert_eq!(
        refusal(|s| s.calls_per_second = 0),
        "calls_per_second must be at least 1"
    );
    assert_eq!(refusal(|s| s.api_base.clear()), "api_base is not a URL");
}

#[test]
fn a_missing_or_odd_lifetime_is_two_hours() {
    let lifetime = |fields: &str| {
        let body = format!(r#"{{"errcode":0,"access_token":"t"{fields}}}"#);
        read_grant(&Answer::parse(body.into_bytes()).unwrap())
            .unwrap()
            .lifetime
            .as_secs()
    };
    for (fields, secs) in [
        (r#","expires_in":3600"#, 3600),
        (r#","expires_in":"60""#, 60),
        ("", 7200),
        (r#","expires_in":null"#, 7200),
        (r#","expires_in":0"#, 7200),
        (r#","expires_in":-1"#, 7200),
        (r#","expires_in":99999999999"#, 7200),
    ] {
        assert_eq!(lifetime(fields), secs, "{fields}");
    }
}
