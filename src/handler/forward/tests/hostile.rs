//! Endpoints that misbehave below HTTP, or as rudely as it allows.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// An endpoint below HTTP: each connection is `served` by hand.
pub(super) async fn raw_endpoint<Fut>(serve: impl Fn(TcpStream) -> Fut + Send + 'static) -> SocketAddr
where
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

fn assert_out_of_time(attempt: &Attempt) {
    assert!(
        matches!(attempt, Attempt::Retry { reason, .. } if reason.contains("not done")),
        "{attempt:?}"
    );
}

async fn never_answers(stream: TcpStream) {
    let _open = stream;
    std::future::pending().await
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_costs_the_message_an_attempt() {
    let address = raw_endpoint(never_answers).await;
    let forwarder = forwarder(&format!("http://{address}/"), Duration::from_millis(300));
    let attempt = forwarded(&forwarder, &read("text")).await;
    assert_out_of_time(&attempt);
}

#[tokio::test]
async fn an_endpoint_that_hangs_up_costs_the_message_an_attempt() {
    let address = raw_endpoint(|mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
    })
    .await;
    let attempt = sent_to(&format!("http://{address}/")).await;
    assert!(matches!(attempt, Attempt::Retry { .. }), "{attempt:?}");
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_reached_costs_no_attempt_and_its_query_is_not_shown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let Attempt::Unavailable { after: None, reason } = sent_to(&format!("http://{address}/kf?key=s3cret")).await else {
        panic!("a closed port counts as unavailable");
    };
    assert!(reason.contains("refused"), "{reason}");
    assert!(!reason.contains("s3cret"), "{reason}");
}

#[tokio::test]
async fn an_endpoint_that_never_finishes_connecting_costs_no_attempt() {
    let address = raw_endpoint(never_answers).await;
    // TLS is never begun on the other side.
    let forwarder = forwarder(&format!("https://{address}/"), Duration::from_secs(1));
    let attempt = forwarded(&forwarder, &read("text")).await;
    assert!(
        matches!(attempt, Attempt::Unavailable { after: None, .. }),
        "{attempt:?}"
    );
}

#[tokio::test]
async fn an_answer_without_end_is_hung_up_on() {
    let (hung_up, mut heard) = tokio::sync::mpsc::channel(1);
    let address = raw_endpoint(move |mut stream| {
        let hung_up = hung_up.clone();
        async move {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            let mut written = 0;
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {
                written += 4096;
            }
            let _ = hung_up.send(written).await;
        }
    })
    .await;
    assert_eq!(sent_to(&format!("http://{address}/")).await, Attempt::Done);
    // What the forwarder reads is little; the rest is what the system's buffers hold.
    let written = heard.recv().await.unwrap();
    assert!(written < 32 << 20, "{written}");
}

#[tokio::test]
async fn an_answer_that_drips_past_the_deadline_still_counts() {
    let address = raw_endpoint(|mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nt").await;
        never_answers(stream).await;
    })
    .await;
    let forwarder = forwarder(&format!("http://{address}/"), Duration::from_millis(800));
    assert_eq!(forwarded(&forwarder, &read("text")).await, Attempt::Done);
}

/// An endpoint that reads a request, writes `said`, and hangs up.
async fn that_says(said: &'static [u8]) -> SocketAddr {
    raw_endpoint(move |mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(said).await;
    })
    .await
}

/// Reads until the request's body has come, which is JSON and ends with its envelope.
pub(super) async fn read_request(stream: &mut (impl AsyncRead + Unpin)) {
    let mut request = Vec::new();
    while !request.ends_with(b"}}") && stream.read_buf(&mut request).await.is_ok_and(|read| read > 0) {}
}

#[tokio::test]
async fn what_is_no_answer_costs_the_message_an_attempt() {
    for said in [
        &b""[..],
        b"\0\x01\x02\x03garbage\xff\xfe",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"<html>204 No Content</html>",
        b"HTTP/1.1 ",
        b"HTTP/1.1 204 No Con",
        b"HTTP/1.1 204 No Content\r\nserver: x\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/3.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        b"HTTP/1.1 999 Beyond\r\n\r\n",
    ] {
        let address = that_says(said).await;
        let attempt = sent_to(&format!("http://{address}/?key=s3cret")).await;
        let shown = String::from_utf8_lossy(said);
        let Attempt::Retry { after: None, reason } = attempt else {
            panic!("{shown}: {attempt:?}");
        };
        assert!(
            reason.starts_with("endpoint ") && !reason.contains("s3cret"),
            "{shown}: {reason}"
        );
    }
}

#[tokio::test]
async fn what_has_been_taken_is_taken_whatever_follows() {
    for said in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\ncut off"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nno chunk at all\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope",
        b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.1 204 No Content\r\n\r\nbeyond the end",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    ] {
        let address = that_says(said).await;
        let attempt = sent_to(&format!("http://{address}/")).await;
        assert_eq!(attempt, Attempt::Done, "{}", String::from_utf8_lossy(said));
    }
}

#[tokio::test]
async fn a_connection_reset_in_the_middle_of_an_answer_costs_an_attempt() {
    for said in [&b""[..], b"HTTP/1.1 200 OK\r\ncontent-le"] {
        let address = raw_endpoint(move |mut stream| async move {
            read_request(&mut stream).await;
            let _ = stream.write_all(said).await;
            stream.set_zero_linger().unwrap();
        })
        .await;
        let attempt = sent_to(&format!("http://{address}/")).await;
        assert!(matches!(attempt, Attempt::Retry { .. }), "{attempt:?}");
    }
}

#[tokio::test]
async fn a_head_that_drips_ends_at_the_deadline() {
    let address = raw_endpoint(|mut stream| async move {
        read_request(&mut stream).await;
        let mut head = b"HTTP/1.1 200 OK\r\nx: ".to_vec();
        while stream.write_all(&head).await.is_ok() {
            head = b"y".to_vec();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let forwarder = forwarder(&format!("http://{address}/"), Duration::from_secs(1));
    let attempt = forwarded(&forwarder, &read("text")).await;
    assert_out_of_time(&attempt);
}

#[tokio::test]
async fn an_answer_announced_for_ever_ends_at_the_deadline() {
    let address = raw_endpoint(|mut stream| async move {
        read_request(&mut stream).await;
        while stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let forwarder = forwarder(&format!("http://{address}/"), Duration::from_secs(1));
    let attempt = forwarded(&forwarder, &read("text")).await;
    assert_out_of_time(&attempt);
}

#[tokio::test]
async fn a_head_without_end_is_hung_up_on() {
    for line in [&b"x-more: y\r\n"[..], b"y"] {
        let (hung_up, mut heard) = tokio::sync::mpsc::channel(1);
        let address = raw_endpoint(move |mut stream| {
            let hung_up = hung_up.clone();
            async move {
                read_request(&mut stream).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await;
                let lines = line.repeat(4096);
                let mut written = 0;
                while stream.write_all(&lines).await.is_ok() {
                    written += lines.len();
                }
                let _ = hung_up.send(written).await;
            }
        })
        .await;
        let attempt = sent_to(&format!("http://{address}/")).await;
        assert!(
            matches!(&attempt, Attempt::Retry { reason, .. } if !reason.contains("not done")),
            "{attempt:?}"
        );
        // What is read of it is little; the rest is what the system's buffers hold.
        let written = heard.recv().await.unwrap();
        assert!(written < 32 << 20, "{written}");
    }
}
