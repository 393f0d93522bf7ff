//! What goes wrong between here and WeCom, and that none of it tells a secret.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::*;

#[tokio::test]
async fn what_wecom_quotes_of_our_secrets_is_struck_out() {
    let fake =
        fake_that_answers(r#"{"errcode":40058,"errmsg":"bad token ENCcanary-ticket\nwith access_token canary-token"}"#)
            .await;
    let error = pull(&client(&fake.base)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "kf/sync_msg was refused with errcode 40058: bad token … with access_token …"
    );
}

#[tokio::test]
async fn an_answer_that_is_none_is_an_error_that_tells_nothing_of_it() {
    let answers: [(fn() -> Response, Problem); 5] = [
        (|| "<html>body-text</html>".into_response(), Problem::NotJson),
        (
            || r#"{"errcode":0,"msg_list":[{"body-text"#.into_response(),
            Problem::Truncated,
        ),
        (
            || r#"{"errcode":0,"next_cursor":{"body-text":1}}"#.into_response(),
            Problem::Shape { line: 1, column: 27 },
        ),
        (
            || r#"{"body-text":1}"#.into_response(),
            Problem::Shape { line: 1, column: 1 },
        ),
        (
            || format!(r#"{{"errcode":0,"x":"{}"}}"#, "body-text".repeat(200)).into_response(),
            Problem::TooLarge { limit_bytes: 1024 },
        ),
    ];
    for (answer, expected) in answers {
        let fake = Fake::start(move |seen: Seen| match seen.call.as_str() {
            "gettoken" => grant(TOKEN),
            _ => answer(),
        })
        .await;
        let mut settings = settings(&fake.base);
        settings.max_response_bytes = 1024;
        let client = Client::new(settings, Arc::new(SystemClock)).unwrap();
        let error = pull(&client).await.unwrap_err();
        assert!(
            matches!(error, ApiError::Unreadable { call: Call::SyncMsg, problem } if problem == expected),
            "{error}"
        );
        assert_eq!(error.class(), ErrorClass::Retry);
        assert_keeps_secrets(&error);
    }
}

#[tokio::test]
async fn an_http_status_of_failure_is_an_error_and_a_redirect_is_not_followed() {
    let elsewhere = fake_that_answers(PAGE).await;
    let target = format!("{}/cgi-bin/kf/sync_msg", elsewhere.base);
    for status in [302, 307, 404, 500, 502, 503] {
        let target = target.clone();
        let fake = Fake::start(move |seen: Seen| match seen.call.as_str() {
            "gettoken" => grant(TOKEN),
            _ => {
                let status = StatusCode::from_u16(status).unwrap();
                (status, [("location", target.clone())], "body-text").into_response()
            }
        })
        .await;
        let error = pull(&client(&fake.base)).await.unwrap_err();
        assert!(
            matches!(error, ApiError::Status { status: seen, .. } if seen == status),
            "{error}"
        );
        assert_keeps_secrets(&error);
    }
    assert_eq!(elsewhere.count("kf/sync_msg"), 0);
}

#[tokio::test]
async fn a_cut_short_or_never_ending_answer_is_a_transport_error() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"errcode\":0,\"body-text";
    for (bytes, then) in [
        ("", Then::Close),
        (head, Then::Close),
        ("", Then::Hang),
        (head, Then::Hang),
    ] {
        let mut settings = settings(&misbehave(TOKEN, bytes, then).await);
        settings.timeout = Duration::from_millis(300);
        let client = Client::new(settings, Arc::new(SystemClock)).unwrap();
        let error = pull(&client).await.unwrap_err();
        assert!(
            matches!(
                error,
                ApiError::Transport {
                    call: Call::SyncMsg,
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(error.is_retryable());
        assert_keeps_secrets(&error);
    }
}

#[tokio::test]
async fn a_gettoken_that_cannot_be_reached_is_a_passing_trouble() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = client(&base).ensure_access_token().await.unwrap_err();
    assert!(matches!(&error, ApiError::NoAccessToken { source, .. } if matches!(**source, ApiError::Transport { .. })));
    assert_eq!(error.class(), ErrorClass::Retry);
    assert!(error.retry_after().unwrap() <= Duration::from_secs(1));
    assert_keeps_secrets(&error);
}
