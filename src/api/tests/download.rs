//! Fetching files.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::*;
use crate::api::{ByteRange, Download, DownloadMedia};
use crate::id::MediaId;

fn media_id() -> MediaId {
    MediaId::from("MEDIA")
}

async fn download(client: &Client) -> Result<Download, ApiError> {
    client.download_media(&DownloadMedia::whole(&media_id())).await
}

async fn whole(client: &Client) -> Result<Vec<u8>, ApiError> {
    download(client).await?.bytes().await
}

/// Grants tokens and answers every other call with what `answer` makes of it.
async fn files<R: IntoResponse + 'static>(answer: impl Fn(Seen) -> R + Clone + Send + Sync + 'static) -> Fake {
    Fake::start(move |seen: Seen| match seen.call.as_str() {
        "gettoken" => grant(TOKEN),
        _ => answer(seen).into_response(),
    })
    .await
}

fn file(content_type: &'static str, disposition: &'static str, content: impl Into<Body>) -> Response {
    Response::builder()
        .header("content-type", content_type)
        .header("content-disposition", disposition.as_bytes())
        .body(content.into())
        .unwrap()
}

#[tokio::test]
async fn a_file_comes_with_its_type_length_and_name() {
    let fake = files(|_| file("image/jpeg", "attachment; filename=\"../../猫.jpg\"", "\u{fffd}PNG")).await;
    let mut download = download(&client(&fake.base)).await.unwrap();
    assert_eq!(download.content_type(), Some("image/jpeg"));
    assert_eq!(download.file_name(), Some("猫.jpg"));
    assert_eq!((download.length(), download.size()), (Some(6), Some(6)));
    assert!(!format!("{download:?}").contains('猫'));
    assert_eq!(download.chunk().await.unwrap().unwrap(), "\u{fffd}PNG");
    assert_eq!(download.chunk().await.unwrap(), None);

    let seen = &fake.seen("media/get")[0];
    assert_eq!((seen.access_token(), seen.query["media_id"].as_str()), (TOKEN, "MEDIA"));
    assert!(!seen.headers.contains_key("range"));
}

#[tokio::test]
async fn a_refusal_with_status_200_is_no_file() {
    for (content_type, body, code) in [
        (
            "application/json; charset=UTF-8",
            r#"{"errcode":40007,"errmsg":"invalid media_id, hint: [1]"}"#,
            40007,
        ),
        ("text/plain", "\n {\"errcode\":40145,\"errmsg\":\"expired\"}", 40145),
        ("image/jpeg", r#"{"errcode":45033,"errmsg":"canary-token"}"#, 45033),
    ] {
        let fake = files(move |_| ([("content-type", content_type)], body)).await;
        let error = download(&client(&fake.base)).await.unwrap_err();
        assert_eq!(error.errcode(), Some(ErrCode(code)));
        assert_keeps_secrets(&error);
    }
}

#[tokio::test]
async fn what_is_neither_file_nor_refusal_is_named() {
    for (content_type, body) in [
        ("text/html", "<html>body-text</html>"),
        ("application/json", r#"{"errcode":0,"errmsg":"body-text"}"#),
        ("image/jpeg", ""),
    ] {
        let fake = files(move |_| ([("content-type", content_type)], body)).await;
        let error = download(&client(&fake.base)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "media/get was answered with something that is no media file"
        );
        assert_keeps_secrets(&error);
    }
}

#[tokio::test]
async fn a_customers_own_json_is_a_file_whatever_stands_in_it() {
    let own = r#"{"errcode":40007,"errmsg":"mine"}"#;
    let fake = files(move |_| file("application/json", "attachment; filename=\"a.json\"", own)).await;
    assert_eq!(whole(&client(&fake.base)).await.unwrap(), own.as_bytes());
    // Without a name only what has an errcode is WeCom's.
    for own in [r#"{"a":1}"#, "{ no json", "plain words", "[1]"] {
        let fake = files(move |_| ([("content-type", "text/plain")], own)).await;
        assert_eq!(whole(&client(&fake.base)).await.unwrap(), own.as_bytes());
    }
}

#[tokio::test]
async fn an_access_token_is_replaced_for_a_file_too() {
    let granted = Arc::new(AtomicUsize::new(0));
    let fake = Fake::start(move |seen: Seen| match seen.call.as_str() {
        "gettoken" => grant(&format!("token-{}", granted.fetch_add(1, Ordering::SeqCst))),
        _ if seen.access_token() == "token-0" => r#"{"errcode":42001,"errmsg":"expired"}"#.into_response(),
        _ => file("image/png", "attachment", "content"),
    })
    .await;
    assert_eq!(whole(&client(&fake.base)).await.unwrap(), b"content");
    assert_eq!((fake.count("gettoken"), fake.count("media/get")), (2, 2));
}

#[tokio::test]
async fn a_file_beyond_the_limit_is_refused_whether_its_length_is_told_or_not() {
    let media_id = media_id();
    let request = DownloadMedia {
        limit_bytes: 9,
        ..DownloadMedia::whole(&media_id)
    };
    let told = files(|_| file("a/b", "attachment", "0123456789")).await;
    let error = client(&told.base).download_media(&request).await.unwrap_err();
    assert!(error.is_too_large(), "{error}");

    let untold = files(|_| file("a/b", "attachment", in_pieces(&["01234", "56789"], Then::Close))).await;
    let download = client(&untold.base).download_media(&request).await.unwrap();
    assert_eq!(download.length(), None);
    let error = download.bytes().await.unwrap_err();
    assert_eq!(error.to_string(), "media/get was answered with more than 9 bytes");
}

#[tokio::test]
async fn a_download_that_stands_still_or_breaks_off_is_a_transport_error() {
    let client = |base: &str| {
        let mut settings = settings(base);
        settings.timeout = Duration::from_millis(300);
        Client::new(settings, Arc::new(SystemClock)).unwrap()
    };
    let silent = files(|_| in_pieces(&[], Then::Hang)).await;
    let stuck = files(|_| file("a/b", "attachment", in_pieces(&["some"], Then::Hang))).await;
    for fake in [silent, stuck] {
        let error = whole(&client(&fake.base)).await.unwrap_err();
        assert!(
            matches!(
                error,
                ApiError::Transport {
                    call: Call::MediaGet,
                    ..
                }
            ),
            "{error:?}"
        );
        assert_keeps_secrets(&error);
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-disposition: attachment\r\ncontent-length: 1000\r\n\r\nbody-text";
    let error = whole(&client(&misbehave(TOKEN, head, Then::Close).await))
        .await
        .unwrap_err();
    assert!(matches!(error, ApiError::Transport { .. }), "{error:?}");
    assert_keeps_secrets(&error);
}

#[tokio::test]
async fn slow_readers_hold_no_other_call_up() {
    let fake = files(|_| file("a/b", "attachment", "content")).await;
    let client = client(&fake.base);
    let mut open = Vec::new();
    for _ in 0..Settings::CONCURRENCY * 2 {
        open.push(download(&client).await.unwrap());
    }
    for download in open {
        assert_eq!(download.bytes().await.unwrap(), b"content");
    }
}

/// Forty megabytes and a bit, given only in parts.
fn large() -> Arc<Vec<u8>> {
    Arc::new((0..40_000_007_u32).map(|at| (at % 251) as u8).collect())
}

/// Answers as WeCom does for a file that is too large for one download.
fn in_parts(content: &Arc<Vec<u8>>, seen: &Seen) -> Response {
    let Some(range) = seen.headers.get("range") else {
        return r#"{"errcode":830002,"errmsg":"media too large"}"#.into_response();
    };
    let (first, last) = range
        .to_str()
        .unwrap()
        .strip_prefix("bytes=")
        .unwrap()
        .split_once('-')
        .unwrap();
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    if first % 16 != 0 || (last + 1 - first) % 16 != 0 || last - first >= 20_000_000 {
        return r#"{"errcode":40146,"errmsg":"invalid range"}"#.into_response();
    }
    let last = last.min(content.len() - 1);
    let mut response = file(
        "video/mp4",
        "attachment; filename=\"v.mp4\"",
        content[first..=last].to_vec(),
    );
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let range = format!("bytes {first}-{last}/{}", content.len());
    response.headers_mut().insert("content-range", range.parse().unwrap());
    response
}

#[tokio::test]
async fn a_file_too_large_for_one_download_comes_in_parts_as_if_it_came_whole() {
    let content = large();
    let fake = files({
        let content = Arc::clone(&content);
        move |seen| in_parts(&content, &seen)
    })
    .await;
    let download = download(&client(&fake.base)).await.unwrap();
    assert_eq!(download.length(), Some(40_000_007));
    assert_eq!(download.file_name(), Some("v.mp4"));
    assert!(download.bytes().await.unwrap() == *content);
    let asked: Vec<_> = fake
        .seen("media/get")
        .iter()
        .map(|seen| seen.headers.get("range").cloned())
        .collect();
    let range = |range: &str| Some(range.parse().unwrap());
    assert_eq!(
        asked,
        [
            None,
            range("bytes=0-16777215"),
            range("bytes=16777216-33554431"),
            range("bytes=33554432-50331647"),
        ]
    );
}

#[tokio::test]
async fn the_limit_holds_for_the_sum_of_the_parts() {
    let content = large();
    let fake = files(move |seen| in_parts(&content, &seen)).await;
    let media_id = media_id();
    let request = DownloadMedia {
        limit_bytes: 40_000_006,
        ..DownloadMedia::whole(&media_id)
    };
    let error = client(&fake.base).download_media(&request).await.unwrap_err();
    assert!(error.is_too_large(), "{error}");
}

#[tokio::test]
async fn a_part_that_is_asked_for_is_all_that_comes() {
    let content = Arc::new((0..100).collect::<Vec<u8>>());
    let fake = files({
        let content = Arc::clone(&content);
        move |seen| in_parts(&content, &seen)
    })
    .await;
    let media_id = media_id();
    let request = DownloadMedia {
        range: Some(ByteRange::new(16, 47).unwrap()),
        ..DownloadMedia::whole(&media_id)
    };
    let download = client(&fake.base).download_media(&request).await.unwrap();
    assert_eq!((download.length(), download.size()), (Some(32), Some(100)));
    assert_eq!(download.bytes().await.unwrap(), content[16..48]);
}

#[tokio::test]
async fn another_part_than_was_asked_for_is_an_error() {
    for wrong in ["bytes 0-31/100", "bytes 16-31/40", "bytes 16-47/*", "nonsense"] {
        let fake = files(move |_| {
            let mut response = file("a/b", "attachment", "x".repeat(32));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            response.headers_mut().insert("content-range", wrong.parse().unwrap());
            response
        })
        .await;
        let media_id = media_id();
        let request = DownloadMedia {
            range: Some(ByteRange::new(16, 47).unwrap()),
            ..DownloadMedia::whole(&media_id)
        };
        let error = client(&fake.base).download_media(&request).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "media/get was answered with another part of the file than was asked for",
            "{wrong}"
        );
        let whole = download(&client(&fake.base)).await.unwrap_err();
        assert!(
            matches!(whole, ApiError::Unreadable { .. }),
            "a part instead of the whole"
        );
    }
}

#[tokio::test]
async fn a_file_that_changes_between_its_parts_is_not_pieced_together() {
    let asked = Arc::new(AtomicUsize::new(0));
    let (content, longer) = (large(), Arc::new(vec![0; 40_000_008]));
    let fake = files(move |seen| match asked.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => in_parts(&content, &seen),
        _ => in_parts(&longer, &seen),
    })
    .await;
    let error = whole(&client(&fake.base)).await.unwrap_err();
    assert!(
        matches!(
            error,
            ApiError::Unreadable {
                problem: Problem::OtherRange,
                ..
            }
        ),
        "{error}"
    );
}
