//! Whom a server that is asked to stop waits for.

use super::*;

#[tokio::test]
async fn a_stop_lets_the_request_in_hand_finish_and_takes_no_other() {
    let (router, begun, release) = held();
    let server = start(router, LAX).await;
    let in_hand = server.send(GET).await;
    in_time(begun.notified()).await;

    server.stop.cancel();
    in_time(async { while TcpStream::connect(server.address).await.is_ok() {} }).await;
    assert!(!server.task.is_finished());

    release.notify_one();
    let answer = read_to_end(in_hand).await;
    assert!(
        answer.ends_with("released") && answer.contains("connection: close"),
        "{answer}"
    );
    server.has_ended().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let (router, begun, _release) = held();
    let server = start(
        router,
        Limits {
            drain_timeout: SHORT,
            ..LAX
        },
    )
    .await;
    let in_hand = server.send(GET).await;
    in_time(begun.notified()).await;
    server.stop.cancel();
    assert_eq!(read_to_end(in_hand).await, "");
    server.has_ended().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_idle_or_silent_clients() {
    let server = start(hello(), LAX).await;
    let _silent = server.connect().await;
    let mut idle = server.send(GET).await;
    read_until(&mut idle, "hello").await;
    server.stop.cancel();
    server.has_ended().await;
}
