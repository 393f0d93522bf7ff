//! Answers that are no good: nothing of them is sent, and the error says what is wrong.

use proptest::prelude::*;

use super::*;

#[tokio::test]
async fn an_answer_that_is_not_as_documented_is_an_error_that_names_the_field_and_nothing_of_it_is_sent() {
    let stage = Stage::set().await;
    let msgid = stage.customer().writes("hello").unwrap();
    let good = text("good");
    let item = json!({ "type": "text", "text": { "content": "x" } });
    let menu = |items: usize| json!({ "msgtype": "msgmenu", "msgmenu": { "list": vec![item.clone(); items] } });
    let transfer = |transfer: Value| json!({ "replies": [good], "transfer": transfer }).to_string();
    let bad = |reply: Value| replies(&[good.clone(), reply]).to_string();
    let cases = [
        (
            bad(json!({ "msgtype": "hologram" })),
            "replies[1].msgtype \"hologram\" is none of text",
        ),
        (
            bad(json!({ "text": { "content": "x" } })),
            "replies[1].msgtype is missing",
        ),
        (bad(json!({ "msgtype": "text" })), "replies[1].text is missing"),
        (bad(text("")), "replies[1].text.content is empty"),
        (
            bad(json!({ "msgtype": "text", "text": "x" })),
            "replies[1].text must be an object, not a string",
        ),
        (
            bad(json!({ "msgtype": "text", "text": { "content": 1 } })),
            "replies[1].text.content must be a string, not a number",
        ),
        (bad(json!("good")), "replies[1] must be an object, not a string"),
        (bad(menu(51)), "replies[1].msgmenu.list has 51 items, more than 50"),
        (
            bad(json!({ "msgtype": "image", "image": { "media_id": 7 } })),
            "replies[1].image.media_id must be a string, not a number",
        ),
        (
            bad(json!({ "msgtype": "link", "link": { "title": "t", "url": "ftp://x", "thumb_media_id": "m" } })),
            "replies[1].link.url must begin with https:// or http://",
        ),
        (
            json!({ "replies": { "0": good } }).to_string(),
            "replies must be a list, not an object",
        ),
        (
            replies(&vec![good.clone(); 6]).to_string(),
            "replies has 6 items, more than 5",
        ),
        (bad(text(&"x".repeat(5 * 2048))), "replies make 6 messages, more than 5"),
        (transfer(json!(3)), "transfer must be an object, not a number"),
        (transfer(json!({})), "transfer.service_state is missing"),
        (
            transfer(json!({ "service_state": "3" })),
            "transfer.service_state must be a number, not a string",
        ),
        (
            transfer(json!({ "service_state": 4 })),
            "transfer.service_state must be 1 (assistant), 2 (pool) or 3",
        ),
        (
            transfer(json!({ "service_state": 2.5 })),
            "transfer.service_state must be 1",
        ),
        (
            transfer(json!({ "service_state": 3 })),
            "transfer.servicer_userid is missing",
        ),
        (
            transfer(json!({ "service_state": 3, "servicer_userid": "" })),
            "transfer.servicer_userid is empty",
        ),
        (
            json!({ "end": true, "transfer": { "service_state": 2 } }).to_string(),
            "end and transfer exclude each other",
        ),
        (
            json!({ "end": "yes" }).to_string(),
            "end must be a boolean, 0 or 1, not a string",
        ),
        ("{\"replies\":".to_owned(), "declared as JSON and is none"),
        ("ok".to_owned(), "declared as JSON and is none"),
        ("<html>".to_owned(), "declared as JSON and is none"),
        (
            format!("{}{}", "[".repeat(200), "]".repeat(200)),
            "recursion limit exceeded",
        ),
    ];
    for (body, expected) in cases {
        let attempt = stage.answered(&msgid, &body).await;
        assert!(
            matches!(&attempt, Attempt::Retry { after: None, reason } if reason.contains(expected)),
            "{expected}: {attempt:?}"
        );
    }
    assert_eq!(stage.calls(), 0, "nothing was sent");
}

#[tokio::test]
async fn an_answer_of_ten_mebibytes_is_an_error_and_hardly_any_of_it_is_read() {
    let stage = Stage::set().await;
    let msgid = stage.customer().writes("hello").unwrap();
    let body = replies(&[text(&"x".repeat(10 << 20))]).to_string();
    let attempt = stage.answered(&msgid, &body).await;
    assert!(
        matches!(&attempt, Attempt::Retry { reason, .. } if reason.contains("more than 262144 bytes")),
        "{attempt:?}"
    );
    // Nor does it help not to tell its length.
    let address = raw_endpoint(|mut stream| async move {
        read_request(&mut stream).await;
        let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n";
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, head).await;
        while tokio::io::AsyncWriteExt::write_all(&mut stream, &[b' '; 4096])
            .await
            .is_ok()
        {}
    })
    .await;
    let attempt = stage.forward(&msgid, &format!("http://{address}/")).await;
    assert!(reason(&attempt).contains("more than 262144 bytes"), "{attempt:?}");
    assert_eq!(stage.calls(), 0, "nothing was sent");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error() {
    let stage = Stage::set().await;
    let msgid = stage.customer().writes("hello").unwrap();
    let address = raw_endpoint(|mut stream| async move {
        read_request(&mut stream).await;
        let said = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{\"replies\":[]}";
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, said).await;
    })
    .await;
    let attempt = stage.forward(&msgid, &format!("http://{address}/")).await;
    assert!(
        matches!(&attempt, Attempt::Retry { reason, .. } if reason.starts_with("endpoint's answer broke off: ")),
        "{attempt:?}"
    );
}

#[tokio::test]
async fn a_web_page_is_no_answer() {
    for page in [
        "<!DOCTYPE html><html><body>Sign in</body></html>",
        "\n  <HTML lang=\"zh\"><title>登录</title>",
    ] {
        let endpoint = answering("text/html; charset=utf-8", page).await;
        let attempt = sent_to(&endpoint.url).await;
        assert!(
            matches!(&attempt, Attempt::Retry { after: None, reason } if &**reason == "endpoint answered a web page"),
            "{attempt:?}"
        );
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let key = "replies|transfer|end|msgtype|text|content|msgmenu|list|type|click|service_state|servicer_userid|image";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..5).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "text|msgmenu|click|CANARY [a-z]{3}".prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key, inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    (value.clone(), value.clone(), value)
        .prop_map(|(replies, transfer, end)| json!({ "replies": replies, "transfer": transfer, "end": end }))
}

proptest! {
    #[test]
    fn no_answer_is_quoted_by_its_error(answer in json_value(), cut in any::<prop::sample::Index>()) {
        let text = answer.to_string();
        let mut cut = cut.index(text.len());
        while !text.is_char_boundary(cut) {
            cut -= 1;
        }
        for body in [&text, &text[..cut]] {
            if let Err(error) = answer::Answer::parse(body.as_bytes()) {
                let told = format!("{error} {error:?}");
                prop_assert!(!told.contains("CANARY"), "{told}");
            }
        }
    }
}
