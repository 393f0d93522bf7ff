//! Signals reach the whole process, so this file is a test binary of its own with a single test in it.

use nix::sys::signal::{Signal, raise};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use wecom_kf::shutdown::Signals;

#[tokio::test]
async fn the_first_signal_asks_and_the_second_insists() {
    let signals = Signals::listen().unwrap();
    // Before anybody watches: it must not get lost.
    raise(Signal::SIGTERM).unwrap();

    let stop = CancellationToken::new();
    let (insist, mut insisted) = oneshot::channel();
    let watching = tokio::spawn(signals.watch(stop.clone(), move || insist.send(()).unwrap()));
    stop.cancelled().await;
    assert!(insisted.try_recv().is_err(), "one signal must leave time to stop");

    raise(Signal::SIGINT).unwrap();
    insisted.await.unwrap();
    watching.await.unwrap();
}
