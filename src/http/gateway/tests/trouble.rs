//! What callers are told when WeCom refuses, rests, fails or is silent.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::fake::{Fake, Seen};
use super::{OK, Stage, TOKEN};

#[tokio::test]
async fn what_wecom_refuses_comes_back_as_it_was_said() {
    const NO: &str = r#"{"errcode":95018,"errmsg":"session status invalid, hint: [1], from ip: 203.0.113.7"}"#;
    let fake = Fake::start(|_| ([("content-type", "application/json; charset=UTF-8")], NO)).await;
    let answer = Stage::before(&fake).send_msg().await;
    assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, NO.as_bytes()));
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json; charset=UTF-8");
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_and_never_shown() {
    for errcode in [40001, 40014, 42001] {
        let granted = Arc::new(AtomicUsize::new(0));
        let grant = move || format!("{TOKEN}-{}", granted.fetch_add(1, Ordering::SeqCst));
        let fake = Fake::granting(grant, move |seen: Seen| match seen.access_tokens()[..] {
            [token] if token.ends_with("-0") => {
                format!(r#"{{"errcode":{errcode},"errmsg":"{token} is no good"}}"#).into_response()
            }
            _ => OK.into_response(),
        })
        .await;
        let stage = Stage::before(&fake);
        for calls in [2, 3] {
            let answer = stage.send_msg().await;
            assert_eq!(
                (answer.status, &answer.body[..]),
                (StatusCode::OK, OK.as_bytes()),
                "{errcode}"
            );
            assert_eq!(fake.seen().len(), calls);
        }
        let seen = fake.seen();
        assert_eq!(seen[0].body, seen[1].body);
        assert_eq!(seen[2].access_tokens(), [format!("{TOKEN}-1")]);
    }
}

#[tokio::test]
async fn a_wecom_that_takes_no_token_is_not_asked_again_and_again() {
    let fake = Fake::start(|_| r#"{"errcode":40014,"errmsg":"invalid access_token canary-token"}"#).await;
    let stage = Stage::before(&fake);
    let first = stage.send_msg().await;
    assert_eq!((first.status, first.errcode()), (StatusCode::BAD_GATEWAY, -1));
    let mut later = Vec::new();
    for _ in 0..20 {
        later.push(stage.send_msg().await);
    }
    for answer in &later {
        assert_eq!((answer.status, answer.errcode()), (StatusCode::SERVICE_UNAVAILABLE, -1));
        assert!(answer.headers.contains_key(header::RETRY_AFTER));
        assert!(!String::from_utf8_lossy(&answer.body).contains("canary"));
    }
    assert_eq!(fake.seen().len(), 2);
}

#[tokio::test]
async fn a_token_that_wecom_quotes_is_struck_out_wherever_it_stands() {
    let fake = Fake::start(|_| {
        let said =
            r#"{"errcode":40058,"errmsg":"canary-token, canary-tokencanary-token","url":"?access_token=canary-token"}"#;
        ([("x-debug", TOKEN), ("content-type", "application/json")], said)
    })
    .await;
    let answer = Stage::before(&fake).send_msg().await;
    assert_eq!(answer.json()["errmsg"], "…, ……");
    assert_eq!(answer.json()["url"], "?access_token=…");
    assert!(
        !format!("{:?}", answer.headers).contains("canary"),
        "{:?}",
        answer.headers
    );
}

#[tokio::test]
async fn after_a_45009_callers_are_told_how_long_to_wait() {
    let fake = Fake::start(|_| r#"{"errcode":45009,"errmsg":"api freq out of limit"}"#).await;
    let stage = Stage::before(&fake);
    let first = stage.send_msg().await;
    assert_eq!(
        (first.status, first.errcode()),
        (StatusCode::OK, 45009),
        "it is WeCom's answer"
    );
    for _ in 0..5 {
        let answer = stage.send_msg().await;
        assert_eq!(
            (answer.status, answer.errcode()),
            (StatusCode::TOO_MANY_REQUESTS, 45009)
        );
        let after: u64 = answer.headers[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
        assert!((50..=70).contains(&after), "{after}");
    }
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn what_is_not_from_wecoms_api_is_a_bad_gateway() {
    for (status, body) in [
        (StatusCode::INTERNAL_SERVER_ERROR, OK),
        (StatusCode::NOT_FOUND, OK),
        (StatusCode::TEMPORARY_REDIRECT, OK),
        (StatusCode::NO_CONTENT, ""),
        (StatusCode::OK, "<html>Please log in.</html>"),
        (StatusCode::OK, r#"{"errcode":0,"errm"#),
        (StatusCode::OK, ""),
    ] {
        let fake = Fake::start(move |_| (status, [("location", "/cgi-bin/kf/send_msg?again")], body)).await;
        let answer = Stage::before(&fake).send_msg().await;
        assert_eq!(
            (answer.status, answer.errcode()),
            (StatusCode::BAD_GATEWAY, -1),
            "{status} {body}"
        );
        assert_eq!(
            fake.seen().len(),
            1,
            "no redirect is followed, and nothing is repeated: {status}"
        );
    }
}

#[tokio::test]
async fn a_wecom_that_is_silent_is_a_timeout_and_one_that_is_gone_a_bad_gateway() {
    let fake = Fake::start(|_| OK).await;
    let silent = wecom(std::future::pending).await;
    let stage = Stage::with(&fake, |settings| {
        silent.clone_into(&mut settings.api_base);
        settings.timeout = Duration::from_millis(300);
    });
    let answer = stage.send_msg().await;
    assert_eq!((answer.status, answer.errcode()), (StatusCode::GATEWAY_TIMEOUT, -1));

    let gone = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let stage = Stage::with(&fake, |settings| gone.clone_into(&mut settings.api_base));
    let answer = stage.send_msg().await;
    assert_eq!(
        answer.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "there is not even a token"
    );
    assert!(answer.headers.contains_key(header::RETRY_AFTER));
}

/// Where a WeCom listens that grants tokens, and does `other` before it answers anything else.
async fn wecom<F: Future<Output = ()> + Send>(other: impl Fn() -> F + Clone + Send + Sync + 'static) -> String {
    let router = axum::Router::new().fallback(move |uri: axum::http::Uri| {
        let other = other.clone();
        async move {
            if uri.path() != "/cgi-bin/gettoken" {
                other().await;
            }
            format!(r#"{{"errcode":0,"access_token":"{TOKEN}"}}"#)
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    base
}

#[tokio::test]
async fn half_of_the_places_are_left_for_the_servers_own_calls() {
    let (under_way, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let gate = Arc::new(Semaphore::new(0));
    let base = {
        let (under_way, most, gate) = (Arc::clone(&under_way), Arc::clone(&most), Arc::clone(&gate));
        wecom(move || {
            let (under_way, most, gate) = (Arc::clone(&under_way), Arc::clone(&most), Arc::clone(&gate));
            async move {
                most.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                under_way.fetch_sub(1, Ordering::SeqCst);
            }
        })
        .await
    };
    let fake = Fake::start(|_| OK).await;
    let stage = Stage::with(&fake, |settings| {
        base.clone_into(&mut settings.api_base);
        settings.concurrency = 6;
    });
    let mut calls: Vec<_> = (0..5).map(|_| Box::pin(stage.send_msg())).collect();
    let mut answers = Vec::new();
    // Three are under way; the others wait in vain.
    let mut next = async || {
        poll_fn(|cx| {
            let ready = calls
                .iter_mut()
                .enumerate()
                .find_map(|(n, call)| match call.as_mut().poll(cx) {
                    Poll::Ready(answer) => Some((n, answer)),
                    Poll::Pending => None,
                });
            match ready {
                Some((n, answer)) => {
                    drop(calls.remove(n));
                    Poll::Ready(answer)
                }
                None => Poll::Pending,
            }
        })
        .await
    };
    for _ in 0..2 {
        answers.push(next().await);
    }
    for crowded in &answers {
        assert_eq!(
            (crowded.status, crowded.errcode()),
            (StatusCode::SERVICE_UNAVAILABLE, 45033)
        );
        assert_eq!(crowded.headers[header::RETRY_AFTER], "1");
    }
    gate.add_permits(100);
    for _ in 0..3 {
        assert_eq!(next().await.status, StatusCode::OK);
    }
    assert_eq!(most.load(Ordering::SeqCst), 3);
}
