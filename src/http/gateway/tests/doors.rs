//! Who gets in, and to what.

use axum::http::{Method, Request, StatusCode, header};
use proptest::prelude::*;

use super::fake::Fake;
use super::{Answer, KEY, OK, OTHER_KEY, Stage, TOKEN, whole, with_key};
use crate::http::gateway::key::TICKET_LIFETIME;

const SEND: &str = "/apps/main/cgi-bin/kf/send_msg";

/// Asks with nothing but what stands in the path, and a header.
async fn ask_bare(stage: &Stage, path_and_query: &str, authorization: &[&str]) -> Answer {
    let mut request = Request::post(path_and_query);
    for value in authorization {
        request = request.header(header::AUTHORIZATION, *value);
    }
    stage.ask(request.body(whole("{}")).unwrap()).await
}

#[tokio::test]
async fn a_call_reaches_wecom_with_its_token_and_nothing_of_the_caller_but_the_call() {
    let fake = Fake::start(|_| OK).await;
    let stage = Stage::before(&fake);
    let request = Request::post(format!("{SEND}?debug=1&x=%E5%AE%A2%26%3D+a"))
        .header("content-type", "application/json; charset=utf-8")
        .header("cookie", "a=b")
        .header("user-agent", "python-requests")
        .header("x-forwarded-for", "203.0.113.7")
        .header("connection", "x-own")
        .header("x-own", "1");
    let answer = stage.ask(with_key(request, whole(r#"{"touser":"wm1"}"#))).await;
    assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, OK.as_bytes()));

    let seen = &fake.seen()[0];
    assert_eq!((&seen.method, &*seen.path), (&Method::POST, "/cgi-bin/kf/send_msg"));
    let query: Vec<_> = seen.query.iter().map(|(key, value)| (&**key, &**value)).collect();
    assert_eq!(query, [("access_token", TOKEN), ("debug", "1"), ("x", "客&= a")]);
    assert_eq!(seen.headers["content-type"], "application/json; charset=utf-8");
    for name in ["cookie", "authorization", "x-forwarded-for", "connection", "x-own"] {
        assert!(!seen.headers.contains_key(name), "{name}");
    }
    assert!(seen.headers["user-agent"].to_str().unwrap().starts_with("wecom-kf/"));
    assert_eq!(seen.body, r#"{"touser":"wm1"}"#);
}

#[tokio::test]
async fn every_key_opens_in_a_header_and_in_the_query_and_its_ticket_does_too() {
    let fake = Fake::start(|_| OK).await;
    let stage = Stage::before(&fake);
    for key in [KEY, OTHER_KEY] {
        let gettoken = format!("/apps/main/cgi-bin/gettoken?corpid=ww1&corpsecret={key}");
        let granted = stage.ask(Request::get(gettoken).body(whole("")).unwrap()).await;
        assert_eq!(granted.headers[header::CACHE_CONTROL], "no-store");
        let granted = granted.json();
        assert_eq!(
            (granted["errcode"].as_i64(), granted["expires_in"].as_u64()),
            (Some(0), Some(7200))
        );
        let ticket = granted["access_token"].as_str().unwrap();
        assert!(ticket != TOKEN && ticket != key);
        for shown in [key, ticket] {
            let in_header = ask_bare(&stage, SEND, &[&format!("Bearer {shown}")]).await;
            let in_query = ask_bare(&stage, &format!("{SEND}?access_token={shown}"), &[]).await;
            // Another proxy on the way may want its own.
            let beside = ask_bare(&stage, &format!("{SEND}?access_token={shown}"), &["Basic dTpw"]).await;
            for answer in [in_header, in_query, beside] {
                assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
            }
        }
        assert_eq!(
            ask_bare(
                &stage,
                &format!("/apps/second/cgi-bin/kf/send_msg?access_token={ticket}"),
                &[]
            )
            .await
            .status,
            StatusCode::UNAUTHORIZED,
            "it was for another app"
        );
    }
    assert_eq!(fake.seen().len(), 12);
    assert!(fake.seen().iter().all(|seen| seen.access_tokens() == [TOKEN]));
}

#[tokio::test]
async fn a_ticket_that_has_ended_is_told_so() {
    let fake = Fake::start(|_| OK).await;
    let stage = Stage::before(&fake);
    let granted = stage
        .get(&format!("/apps/main/cgi-bin/gettoken?corpsecret={KEY}"))
        .await;
    let ticket = granted.json()["access_token"].as_str().unwrap().to_owned();
    stage.clock.advance(TICKET_LIFETIME);
    let answer = ask_bare(&stage, &format!("{SEND}?access_token={ticket}"), &[]).await;
    assert_eq!((answer.status, answer.errcode()), (StatusCode::UNAUTHORIZED, 42001));
    assert!(fake.seen().is_empty());
}

#[tokio::test]
async fn a_stranger_is_told_the_same_wherever_they_knock_and_wecom_is_not_asked() {
    let fake = Fake::start(|_| OK).await;
    let stage = Stage::before(&fake);
    let wrong = KEY.replace("-1", "-2");
    let long = "k".repeat(10_000);
    let mut answers = Vec::new();
    for path in [
        SEND,
        "/apps/nobody/cgi-bin/kf/send_msg",
        "/apps/main/cgi-bin/user/get",
        "/",
        "/metrics",
    ] {
        answers.push(ask_bare(&stage, path, &[]).await);
        answers.push(ask_bare(&stage, &format!("{path}?access_token={wrong}"), &[]).await);
        answers.push(ask_bare(&stage, &format!("{path}?access_token={KEY}&access_token={KEY}"), &[]).await);
        answers.push(
            ask_bare(
                &stage,
                &format!("{path}?access_token={wrong}&access%5Ftoken={KEY}"),
                &[],
            )
            .await,
        );
        answers.push(
            ask_bare(
                &stage,
                &format!("{path}?access_token={KEY}"),
                &[&format!("Bearer {wrong}")],
            )
            .await,
        );
        answers.push(ask_bare(&stage, path, &[&format!("Bearer {KEY}"), &format!("Bearer {KEY}")]).await);
        for value in [
            "",
            "Bearer",
            "Bearer ",
            &format!("Basic {KEY}"),
            KEY,
            &format!("Bearer {long}"),
            "Bearer 长",
        ] {
            answers.push(ask_bare(&stage, path, &[value]).await);
        }
        let deleted = Request::delete(path).body(whole("")).unwrap();
        answers.push(stage.ask(deleted).await);
    }
    for answer in &answers {
        assert_eq!((answer.status, answer.errcode()), (StatusCode::UNAUTHORIZED, 40014));
        assert_eq!(answer.body, answers[0].body);
        assert_eq!(answer.headers, answers[0].headers);
    }
    assert_eq!(answers[0].headers[header::WWW_AUTHENTICATE], "Bearer");
    for query in [
        String::new(),
        "corpsecret=".to_owned(),
        format!("corpsecret={wrong}"),
        format!("corpsecret={KEY}&corpsecret={KEY}"),
        format!("access_token={KEY}"),
    ] {
        for app in ["main", "nobody"] {
            let answer = ask_bare(&stage, &format!("/apps/{app}/cgi-bin/gettoken?{query}"), &[]).await;
            assert_eq!(
                (answer.status, answer.errcode()),
                (StatusCode::UNAUTHORIZED, 40001),
                "{query}"
            );
        }
    }
    assert!(fake.seen().is_empty(), "{:?}", fake.seen());
}

#[tokio::test]
async fn what_is_not_on_the_list_letter_by_letter_is_not_found() {
    let fake = Fake::start(|_| OK).await;
    let stage = Stage::before(&fake);
    for path in [
        "/apps/nobody/cgi-bin/kf/send_msg",
        "/apps/main/cgi-bin/kf/send_msg/",
        "/apps/main/cgi-bin//kf/send_msg",
        "/apps/main//cgi-bin/kf/send_msg",
        "//apps/main/cgi-bin/kf/send_msg",
        "/apps/main/cgi-bin/kf%2Fsend_msg",
        "/apps/main/cgi-bin/kf%252Fsend_msg",
        "/apps/main%2Fcgi-bin/kf/send_msg",
        "/apps/main/cgi-bin/kf/../kf/send_msg",
        "/apps/main/cgi-bin/kf/%2e%2e/gettoken",
        "/apps/main/cgi-bin/kf/..%2f..%2fgettoken",
        "/apps/main/cgi-bin/kf/..%5c..%5cgettoken",
        "/apps/main/cgi-bin/kf/send_msg;x=1",
        "/apps/main/cgi-bin/kf/send_msg%00",
        "/apps/main/cgi-bin/kf/send_msg%20",
        "/apps/main/cgi-bin/KF/send_msg",
        "/apps/main/cgi-bin/kf/sendmsg",
        "/apps/main/cgi-bin/kf/account/list",
        "/apps/main/cgi-bin/user/get",
        "/apps/main/cgi-bin/",
        "/apps/main/kf/send_msg",
        "/apps/main/cgi-bin/x/cgi-bin/kf/send_msg",
        "/cgi-bin/kf/send_msg",
        "/apps/",
        "/",
    ] {
        let answer = stage.post(path, "{}").await;
        assert_eq!(
            (answer.status, answer.errcode()),
            (StatusCode::NOT_FOUND, 48002),
            "{path}"
        );
    }
    let nobody = stage
        .get(&format!("/apps/nobody/cgi-bin/gettoken?corpsecret={KEY}"))
        .await;
    assert_eq!(nobody.status, StatusCode::NOT_FOUND);
    assert!(fake.seen().is_empty(), "{:?}", fake.seen());
}

#[tokio::test]
async fn the_caller_cannot_bring_a_token_of_their_own() {
    let fake = Fake::start(|_| OK).await;
    let stage = Stage::before(&fake);
    for query in [
        "access_token=theirs",
        "access_token=theirs&access_token=theirs",
        "access%5Ftoken=theirs",
        "%61ccess_token=theirs&a=b",
        "access_token",
        "&&access_token=theirs;access_token=theirs",
    ] {
        let answer = stage.post(&format!("{SEND}?{query}"), "{}").await;
        assert_eq!(answer.status, StatusCode::OK, "{query}");
    }
    for seen in fake.seen() {
        assert_eq!(seen.access_tokens(), [TOKEN]);
        assert_eq!(seen.query[0].0, "access_token", "{seen:?}");
    }
}

#[tokio::test]
async fn only_get_and_post_are_passed_on() {
    let fake = Fake::start(|_| OK).await;
    let stage = Stage::before(&fake);
    for method in [
        Method::HEAD,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
    ] {
        let request = Request::builder().method(method).uri(SEND);
        let answer = stage.ask(with_key(request, whole(""))).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.headers[header::ALLOW], "GET,POST");
    }
    assert!(fake.seen().is_empty());
    assert_eq!(stage.get(SEND).await.status, StatusCode::OK);
    assert_eq!(fake.seen()[0].method, Method::GET);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_path_or_query_makes_the_gateway_panic_or_call(path in "[!-~&&[^?#\"<>`{}^|\\\\]]{0,60}", query in "[a-z_=&%0-9+]{0,60}") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fake = Fake::start(|_| OK).await;
            let stage = Stage::before(&fake);
            let answer = stage.post(&format!("/apps/main/cgi-bin/{path}?{query}"), "{}").await;
            assert!([StatusCode::NOT_FOUND, StatusCode::UNAUTHORIZED].contains(&answer.status));
            assert!(fake.seen().is_empty());
        });
    }
}
