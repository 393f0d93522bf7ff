//! Handing files to WeCom.

use axum::response::IntoResponse;
use tokio::io::AsyncReadExt;

use super::*;
use crate::api::{MediaKind, Upload};

const UPLOADED: &str = r#"{"errcode":0,"errmsg":"","type":"image","media_id":"1G6nrLmr5EC3MMb_-zK1dDdzmd0p7cNliYu","created_at":"1380000000"}"#;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\x00\xff--x\r\n\r\n";

fn upload(kind: MediaKind, content: impl Into<Vec<u8>>) -> Upload {
    Upload {
        kind,
        file_name: "发票 1.png".to_owned(),
        content: content.into().into(),
    }
}

#[tokio::test]
async fn a_file_is_uploaded_as_documented() {
    let fake = fake_that_answers(UPLOADED).await;
    let uploaded = client(&fake.base)
        .upload_media(&upload(MediaKind::Image, PNG))
        .await
        .unwrap();
    assert_eq!(uploaded.media_id.as_str(), "1G6nrLmr5EC3MMb_-zK1dDdzmd0p7cNliYu");
    assert_eq!(uploaded.created_at, Some(1_380_000_000));

    let seen = &fake.seen("media/upload")[0];
    assert_eq!((seen.access_token(), seen.query["type"].as_str()), (TOKEN, "image"));
    let content_type = seen.headers["content-type"].to_str().unwrap();
    let boundary = content_type.strip_prefix("multipart/form-data; boundary=").unwrap();
    let expected = [
        format!(
            "--{boundary}\r\n\
             Content-Disposition: form-data; name=\"media\"; filename=\"发票 1.png\"; filelength={}\r\n\
             Content-Type: image/png\r\n\r\n",
            PNG.len()
        )
        .as_bytes(),
        PNG,
        format!("\r\n--{boundary}--\r\n").as_bytes(),
    ]
    .concat();
    assert_eq!(seen.bytes, expected);
    assert_eq!(seen.headers["content-length"], expected.len().to_string());
}

#[tokio::test]
async fn each_kind_is_known_by_its_first_bytes() {
    let fake = fake_that_answers(UPLOADED).await;
    let client = client(&fake.base);
    for (kind, content, name, content_type) in [
        (MediaKind::Image, &b"\xff\xd8\xff\xe0JFIF"[..], "image", "image/jpeg"),
        (MediaKind::Voice, b"#!AMR\n\x3c\x91", "voice", "audio/amr"),
        (MediaKind::Video, b"\0\0\0\x18ftypmp42", "video", "video/mp4"),
        (MediaKind::File, b"anything", "file", "application/octet-stream"),
    ] {
        client.upload_media(&upload(kind, content)).await.unwrap();
        let seen = fake.seen("media/upload").pop().unwrap();
        assert_eq!(seen.query["type"], name);
        assert!(
            seen.body.contains(&format!("Content-Type: {content_type}\r\n")),
            "{kind}"
        );
    }
}

#[tokio::test]
async fn what_wecom_would_not_take_is_not_uploaded() {
    let fake = fake_that_answers(UPLOADED).await;
    let client = client(&fake.base);
    let sized = |magic: &[u8], bytes: usize| {
        let mut content = magic.to_vec();
        content.resize(bytes, 0);
        content
    };
    let png = b"\x89PNG\r\n\x1a\n";
    for (kind, content, complaint) in [
        (MediaKind::File, b"12345".to_vec(), "media has 5 bytes, fewer than 6"),
        (
            MediaKind::Image,
            sized(png, 10_485_761),
            "media has 10485761 bytes, more than 10485760",
        ),
        (
            MediaKind::Voice,
            sized(b"#!AMR", 2_097_153),
            "media has 2097153 bytes, more than 2097152",
        ),
        (
            MediaKind::File,
            sized(b"", 20_971_521),
            "media has 20971521 bytes, more than 20971520",
        ),
        (
            MediaKind::Image,
            b"GIF89a..".to_vec(),
            "media must be JPEG or PNG to be sent as image, and by its first bytes is not",
        ),
        (
            MediaKind::Voice,
            b"ID3.....".to_vec(),
            "media must be AMR to be sent as voice, and by its first bytes is not",
        ),
        (
            MediaKind::Video,
            png.to_vec(),
            "media must be MP4 to be sent as video, and by its first bytes is not",
        ),
    ] {
        let error = client.upload_media(&upload(kind, content)).await.unwrap_err();
        assert_eq!(error.to_string(), format!("media/upload was not called: {complaint}"));
        assert_eq!(error.class(), ErrorClass::Permanent);
    }
    for name in ["", "a\"b.png", "a\nb.png", "../a.png", "a\\b.png"] {
        let named = Upload {
            file_name: name.to_owned(),
            ..upload(MediaKind::Image, PNG)
        };
        let error = client.upload_media(&named).await.unwrap_err().to_string();
        assert!(error.starts_with("media/upload was not called: filename "), "{error}");
        assert!(name.is_empty() || !error.contains(name), "{error}");
    }
    assert_eq!(fake.count("gettoken"), 0);
}

#[tokio::test]
async fn a_stream_is_read_no_further_than_its_limit() {
    let stream = || tokio::io::repeat(b'x');
    let read = Upload::read(MediaKind::File, "x", stream().take(100)).await.unwrap();
    assert_eq!(read.content, vec![b'x'; 100]);
    let endless = Upload::read(MediaKind::Voice, "x", stream()).await.unwrap();
    assert_eq!(endless.content.len(), MediaKind::Voice.limit_bytes() + 1);
}

#[tokio::test]
async fn an_upload_is_repeated_whole_when_the_access_token_is_refused() {
    let granted = Arc::new(AtomicUsize::new(0));
    let fake = Fake::start(move |seen: Seen| match seen.call.as_str() {
        "gettoken" => grant(&format!("token-{}", granted.fetch_add(1, Ordering::SeqCst))),
        _ if seen.access_token() == "token-0" => r#"{"errcode":42001,"errmsg":"expired"}"#.into_response(),
        _ => UPLOADED.into_response(),
    })
    .await;
    client(&fake.base)
        .upload_media(&upload(MediaKind::Image, PNG))
        .await
        .unwrap();
    let seen = fake.seen("media/upload");
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].bytes, seen[1].bytes);
    assert_ne!(seen[0].access_token(), seen[1].access_token());
}

#[tokio::test]
async fn a_refused_upload_tells_neither_name_nor_content() {
    let fake = fake_that_answers(r#"{"errcode":44001,"errmsg":"empty media data: 发票 1.png canary-token"}"#).await;
    let upload = upload(MediaKind::Image, PNG);
    let error = client(&fake.base).upload_media(&upload).await.unwrap_err();
    assert_eq!(error.errcode(), Some(ErrCode::EMPTY_MEDIA));
    assert!(!format!("{error} {upload:?}").contains("发票"), "{error}");
    assert_keeps_secrets(&error);
}

#[tokio::test]
async fn an_upload_that_nobody_takes_is_a_transport_error() {
    let mut settings = settings(&misbehave(TOKEN, "", Then::Hang).await);
    settings.timeout = Duration::from_millis(300);
    let client = Client::new(settings, Arc::new(SystemClock)).unwrap();
    let error = client.upload_media(&upload(MediaKind::Image, PNG)).await.unwrap_err();
    assert!(
        matches!(
            error,
            ApiError::Transport {
                call: Call::MediaUpload,
                ..
            }
        ),
        "{error:?}"
    );
    assert_keeps_secrets(&error);
}
