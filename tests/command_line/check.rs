//! `check`, which finds what is wrong and says where it is mended.

use std::fs;
use std::net::SocketAddr;

use axum::Router;
use axum::routing::any;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use wecom_kf::api::ErrCode;
use wecom_kf::id::OpenKfid;

use crate::command::{assert_says, run_on};
use crate::stage::{ACCOUNT, Stage, config_text, write_private};

const CORP_ID: &str = "ww0123456789abcdef";
const SECRET: &str = "hush-hush";
const TOKEN: &str = "hushToken";
const ENCODING_AES_KEY: &str = "hush567890123456789012345678901234567890123";

const ACCESS_TOKEN: &str = "hushAccessToken";

/// A WeCom that answers these two calls with an errcode each, and repeats what it was sent in its errmsg.
async fn answering(gettoken: i64, account_list: i64) -> String {
    let answer = |errcode: i64, sent: &str| {
        let body = json!({
            "errcode": errcode, "errmsg": format!("no, {sent}!"),
            "access_token": ACCESS_TOKEN, "expires_in": 7200,
        });
        any(move || async move { body.to_string() })
    };
    let router = Router::new()
        .route("/cgi-bin/gettoken", answer(gettoken, SECRET))
        .route("/cgi-bin/kf/account/list", answer(account_list, ACCESS_TOKEN));
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    base
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_set_up_passes_and_a_store_not_made_yet_is_only_noted() {
    let stage = Stage::new("").await;
    let before = run_on(&stage.config, "check");
    before.tells_none_of(&stage.secrets());
    let before = before.good();
    assert_says(
        &before,
        &[
            "ok    config: ",
            "ok    main: 1 callback key pair(s); callback path /callback/main and /callback",
            "note  store: ",
            "does not exist yet",
            "ok    main: corp_id and secret are accepted",
            "ok    main: 1 account(s) can be read",
            "note  handlers: none",
        ],
    );
    assert!(!stage.store().exists(), "a check leaves nothing behind");

    let server = stage.start();
    let beside = run_on(&stage.config, "check").good();
    assert_says(&beside, &["ok    store: sqlite://", "can be written"]);
    assert!(server.stop().success());
    assert_says(&run_on(&stage.config, "check").good(), &["ok    store: sqlite://"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_fail_with_the_page_to_mend_them_on() {
    for (old, new, code) in [
        (
            "secret = \"simulated-secret\"",
            "secret = \"hush-hush\"",
            ErrCode::INVALID_SECRET,
        ),
        (
            "corp_id = \"ww0123456789abcdef\"",
            "corp_id = \"wwffffffffffffffff\"",
            ErrCode::INVALID_CORPID,
        ),
    ] {
        let stage = Stage::new("").await;
        stage.change(old, new);
        let ended = run_on(&stage.config, "check");
        assert_eq!(ended.code, Some(1), "{ended:#?}");
        let remedy = code.remedy().unwrap();
        assert_says(
            &ended.stdout,
            &[
                "FAIL  main: no access token",
                &format!("errcode {code}"),
                remedy.cause,
                remedy.page,
            ],
        );
        ended.tells_none_of(&stage.secrets());
        ended.tells_none_of(&[SECRET]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_comes_with_its_cause_and_page_and_without_a_secret() {
    const OK: i64 = 0;
    for (gettoken, account_list) in [
        (40001, OK),
        (40013, OK),
        (60020, OK),
        (95011, OK),
        (OK, 40001),
        (OK, 48002),
        (OK, 50003),
        (OK, 60020),
        (OK, 60030),
        (OK, 95017),
        (OK, 95023),
        (OK, 301_042),
    ] {
        let api_base = answering(gettoken, account_list).await;
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("config.toml");
        let app = [CORP_ID, SECRET, TOKEN, ENCODING_AES_KEY];
        write_private(&config, &config_text(&folder.path().join("kf.db"), &api_base, app));

        let ended = run_on(&config, "check");
        assert_eq!(ended.code, Some(1), "{ended:#?}");
        let (code, finding) = match gettoken {
            OK => (account_list, "FAIL  main: accounts cannot be listed: "),
            _ => (gettoken, "FAIL  main: no access token: "),
        };
        assert_says(&ended.stdout, &[finding, &format!("errcode {code}")]);
        let remedy = ErrCode(code).remedy().unwrap();
        assert_says(&ended.stdout, &["cause: ", remedy.cause, "page: ", remedy.page]);
        ended.tells_none_of(&[SECRET, TOKEN, ENCODING_AES_KEY, ACCESS_TOKEN]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_without_accounts_fails_with_the_page_that_hands_them_out() {
    let stage = Stage::new("").await;
    stage.wecom.withdraw(&OpenKfid::from(ACCOUNT));
    let ended = run_on(&stage.config, "check");
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert_says(
        &ended.stdout,
        &["FAIL  main: no customer service account", "通过API管理微信客服账号"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wecom_that_cannot_be_reached_and_a_damaged_store_are_both_told() {
    let stage = Stage::new("").await;
    stage.change(&stage.wecom.base_url(), "http://127.0.0.1:1");
    fs::write(stage.store(), "no database at all".repeat(100)).unwrap();
    let ended = run_on(&stage.config, "check");
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert_says(
        &ended.stdout,
        &[
            "FAIL  store: ",
            "is not an SQLite database",
            "FAIL  main: no access token: gettoken got no complete answer",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn where_messages_go_is_told() {
    let secret = "whsec_hushhushhushhushhushhushhushhushhushhushhush";
    let handlers = format!(
        r#"
        [[handlers]]
        name = "bot"
        kind = "forward"
        url = "http://127.0.0.1:9/kf?key=hush"
        signing_secret = "{secret}"
        [[handlers]]
        name = "tenant"
        kind = "forward"
        url = "https://bot.example/kf"
        signing_secret = ["{secret}", "{secret}"]
        public_only = true
        ca_file = "{}/tests/fixtures/ca.pem"
        "#,
        env!("CARGO_MANIFEST_DIR")
    );
    let stage = Stage::new(&handlers).await;
    let found = run_on(&stage.config, "check");
    found.tells_none_of(&["hush"]);
    assert_says(
        &found.good(),
        &[
            "ok    bot: posts to http://127.0.0.1:9/kf\n",
            "ok    tenant: posts to https://bot.example/kf, at public addresses only, vouched for by ",
            "; signs with 2 secrets",
        ],
    );
}
