//! Who gets a place where there are not enough for all.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::Frame;

use super::*;

/// A request whose body does not come.
fn half_a_body() -> Vec<u8> {
    format!("{}<xml>", post(1000)).into_bytes()
}

#[tokio::test]
async fn a_newcomer_takes_the_place_of_the_stranger_that_dawdles_longest() {
    for dawdler in [&b""[..], b"GET / HTTP/1.1\r\nX: ", &half_a_body()] {
        let (router, _) = router(&["main"]);
        let limits = Limits {
            max_connections: 3,
            ..LAX
        };
        let server = start(hello().merge(router), limits).await;
        let first = server.send(dawdler).await;
        let mut second = server.send(dawdler).await;
        // Comes last, or it would be the only one for whom the server has waited long, a moment before the first.
        let mut known = server.send(GET).await;
        read_until(&mut known, "hello").await;
        // Whoever has just come is not taken for slow: until the first is, a newcomer is told to come back.
        in_time(async { while !ask(&server).await.ends_with("hello") {} }).await;
        assert_eq!(read_to_end(first).await, "");
        let early = tokio::time::timeout(Duration::ZERO, second.read_u8()).await;
        assert!(early.is_err(), "closed although one place was enough");
        known.write_all(GET).await.unwrap();
        read_until(&mut known, "hello").await;
    }
}

/// What a newcomer with a good request is answered.
async fn ask(server: &Server) -> String {
    read_to_end(
        server
            .send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await,
    )
    .await
}

#[tokio::test]
async fn while_all_are_being_answered_a_newcomer_is_told_to_come_back() {
    let (router, begun, release) = held();
    let limits = Limits {
        max_connections: 1,
        ..LAX
    };
    let server = start(router, limits).await;
    let in_hand = server.send(GET).await;
    in_time(begun.notified()).await;
    // Longer than anybody may dawdle.
    tokio::time::sleep(SHORT).await;
    let answer = in_time(async {
        loop {
            // A socket closed on a request that was not read may be reset before the answer is.
            let answer = ask(&server).await;
            if !answer.is_empty() {
                return answer;
            }
        }
    })
    .await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.contains("retry-after: 1\r\n") && answer.contains("connection: close\r\n"),
        "{answer}"
    );
    release.notify_one();
    drop(begun);
    let mut in_hand = in_hand;
    read_until(&mut in_hand, "released").await;
}

/// An answer without end, which reports when it is given up.
struct Endless(Arc<Notify>);

impl HttpBody for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 4096])))))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_gives_up_its_place() {
    for limits in [
        Limits {
            idle_timeout: SHORT,
            ..LAX
        },
        Limits {
            max_connection_age: SHORT,
            drain_timeout: SHORT,
            ..LAX
        },
    ] {
        let given_up = Arc::new(Notify::new());
        let endless = Arc::clone(&given_up);
        let router = Router::new().route("/", get(async move || Body::new(Endless(endless))));
        let server = start(router, limits).await;
        let _deaf = server.send(GET).await;
        in_time(given_up.notified()).await;
    }
}
