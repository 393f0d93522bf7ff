//! Clients that dawdle by the thousand, and more callers than there is room for: who means well is answered, memory
//! stays bounded, and nothing is lost.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use wecom_kf::simulator::Bells;

use crate::stage::{Pace, Stage};

/// Dawdlers of each kind.
const DAWDLERS: usize = 2_000;
/// How long they come back whenever they are closed, unless `WECOM_KF_HOSTILE_SECONDS` says another time.
const SIEGE: Duration = Duration::from_secs(6);
/// What WeCom waits for an answer, and how often it calls again.
const WECOMS_PATIENCE: Duration = Duration::from_secs(5);
const WECOMS_CALLS: usize = 4;
/// Far longer than any deadline: a slow machine closes late, a broken server never.
const PATIENCE: Duration = Duration::from_secs(60);
/// Memory a server may take in the worst case, KiB.
const MOST_MEMORY: u64 = 256 * 1024;

/// What a caller got.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Outcome {
    Answered,
    /// Told to come back.
    Busy,
    /// Closed without an answer.
    Dropped,
    TooLate,
}

/// Calls as WeCom does, on a connection of its own.
async fn call(address: SocketAddr, request: &[u8]) -> Outcome {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        io::Result::Ok(answer)
    };
    match timeout(WECOMS_PATIENCE, exchange).await {
        Err(_) => Outcome::TooLate,
        Ok(Ok(answer)) if answer.starts_with(b"HTTP/1.1 200 ") => Outcome::Answered,
        Ok(Ok(answer)) if answer.starts_with(b"HTTP/1.1 503 ") => Outcome::Busy,
        Ok(Ok(answer)) if !answer.is_empty() => panic!("{}", String::from_utf8_lossy(&answer)),
        Ok(_) => Outcome::Dropped,
    }
}

fn request(stage: &Stage, connection: &str) -> Vec<u8> {
    let (query, body) = (stage.callback().query(), stage.callback().body());
    format!(
        "POST /callback/main?{query} HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// How long callers waited for their answers, and what else they got.
#[derive(Default)]
struct Answers {
    took: Vec<Duration>,
    outcomes: BTreeMap<Outcome, usize>,
    /// Callbacks that were not answered although WeCom would have called no more.
    lost: usize,
}

impl Answers {
    fn p99(&mut self) -> Duration {
        self.took.sort();
        self.took[self.took.len() * 99 / 100]
    }
}

/// Rings every ten milliseconds until `end`, and again as WeCom would.
async fn ring_until(end: Instant, address: SocketAddr, request: Vec<u8>) -> Answers {
    let mut answers = Answers::default();
    while Instant::now() < end {
        let mut calls = 0;
        loop {
            calls += 1;
            let began = Instant::now();
            let outcome = call(address, &request).await;
            *answers.outcomes.entry(outcome).or_default() += 1;
            if outcome == Outcome::Answered {
                answers.took.push(began.elapsed());
                break;
            }
            if calls == WECOMS_CALLS {
                answers.lost += 1;
                break;
            }
        }
        sleep(Duration::from_millis(10)).await;
    }
    answers
}

/// Rings as a proxy does that keeps its connection, until `end`.
async fn ring_on_one_connection_until(end: Instant, address: SocketAddr, request: Vec<u8>) -> Answers {
    let mut answers = Answers::default();
    let mut stream = TcpStream::connect(address).await.unwrap();
    while Instant::now() < end {
        let began = Instant::now();
        let exchange = async {
            stream.write_all(&request).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"success") {
                answer.push(stream.read_u8().await.expect("a client that we know is kept"));
            }
        };
        if timeout(WECOMS_PATIENCE, exchange).await.is_err() {
            answers.lost += 1;
            break;
        }
        answers.took.push(began.elapsed());
        sleep(Duration::from_millis(10)).await;
    }
    answers
}

/// Connects, sends `bytes` and no more, and does so again when it is closed, until `end`. Returns how long it was borne
/// with at most.
async fn dawdle(address: SocketAddr, bytes: Arc<[u8]>, end: Instant) -> Duration {
    let mut longest = Duration::ZERO;
    while Instant::now() < end {
        let Ok(mut stream) = TcpStream::connect(address).await else {
            continue;
        };
        let began = Instant::now();
        // What it is told, and how it is closed, does not matter.
        let _ = stream.write_all(&bytes).await;
        let closed = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
        assert!(
            closed.is_ok(),
            "a client that sent {:?} is not closed",
            String::from_utf8_lossy(&bytes)
        );
        longest = longest.max(began.elapsed());
    }
    longest
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_that_dawdle_are_closed_in_time_while_callbacks_are_answered() {
    let dawdlers_of_each_kind = open_files_for(3 * DAWDLERS) / 3;
    assert!(
        dawdlers_of_each_kind > 100,
        "this test needs more open files: ulimit -Hn"
    );
    let stage = Stage::with_accounts(2, Pace::Fast).await;
    let server = stage.start();
    let address = server.callbacks;
    let good = request(&stage, "close");
    let mut calm = ring_until(Instant::now() + Duration::from_secs(1), address, good.clone()).await;
    let memory_before = memory(server.pid());

    let end = Instant::now() + siege();
    let kept = request(&stage, "keep-alive");
    let kept = tokio::spawn(ring_on_one_connection_until(end, address, kept));
    let half_a_head = b"POST /callback/main HTTP/1.1\r\nHost: ";
    let half_a_body = b"POST /callback/main HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n<xml>";
    let mut dawdlers = JoinSet::new();
    for bytes in [&b""[..], half_a_head, half_a_body] {
        let bytes: Arc<[u8]> = bytes.into();
        for _ in 0..dawdlers_of_each_kind {
            dawdlers.spawn(dawdle(address, Arc::clone(&bytes), end));
        }
    }
    let ringing = tokio::spawn(ring_until(end, address, good));
    stage.say(2_000, Bells::Every(NonZeroUsize::new(50).unwrap()));
    let (mut siege, mut kept) = (ringing.await.unwrap(), kept.await.unwrap());
    let longest = dawdlers.join_all().await.into_iter().max().unwrap();
    stage.all_arrived().await;
    let memory = memory(server.pid());
    let verdict = stage.verdict();
    println!(
        "{} clients that dawdle: closed within {longest:.1?}; p99 of an answer {:.1?}, {:.1?} without them, {:.1?} to a \
         kept connection; {:?} lost={}; \
         at most {} MiB, {} MiB before; {verdict}",
        3 * dawdlers_of_each_kind,
        siege.p99(),
        calm.p99(),
        kept.p99(),
        siege.outcomes,
        siege.lost,
        memory / 1024,
        memory_before / 1024,
    );
    assert_eq!((calm.lost, siege.lost, kept.lost), (0, 0, 0));
    assert!(memory < MOST_MEMORY, "{memory} KiB");
    assert!(verdict.is_clean(), "{verdict}");
    assert!(server.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_times_more_callers_than_places_cost_no_memory_and_no_message() {
    const PLACES: usize = 64;
    let stage = Stage::with_accounts(2, Pace::Fast).await;
    stage.change("[server]", &format!("[server]\nmax_connections = {PLACES}"));
    let server = stage.start();
    let end = Instant::now() + siege();
    let request: Arc<[u8]> = request(&stage, "close").into();
    let mut callers = JoinSet::new();
    for _ in 0..10 * PLACES {
        let (address, request) = (server.callbacks, Arc::clone(&request));
        callers.spawn(async move {
            let mut outcomes = BTreeMap::<_, usize>::new();
            while Instant::now() < end {
                *outcomes.entry(call(address, &request).await).or_default() += 1;
            }
            outcomes
        });
    }
    stage.say(2_000, Bells::Every(NonZeroUsize::new(50).unwrap()));
    let mut outcomes = BTreeMap::<_, usize>::new();
    for (outcome, count) in callers.join_all().await.into_iter().flatten() {
        *outcomes.entry(outcome).or_default() += count;
    }
    stage.all_arrived().await;
    let metrics = reqwest::get(format!("http://{}/metrics", server.admin)).await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let (memory, verdict) = (memory(server.pid()), stage.verdict());
    let of_all = |outcome| {
        let count = outcomes.get(&outcome).copied().unwrap_or_default();
        100.0 * count as f64 / outcomes.values().sum::<usize>() as f64
    };
    println!(
        "{} callers, {PLACES} places: {:.0}/s answered, {:.1} % told to come back, {outcomes:?}; at most {} MiB; {verdict}",
        10 * PLACES,
        outcomes[&Outcome::Answered] as f64 / siege().as_secs_f64(),
        of_all(Outcome::Busy),
        memory / 1024,
    );
    assert!(outcomes.contains_key(&Outcome::Busy), "{outcomes:?}");
    assert!(
        metrics.contains(r#"wecom_kf_connections_shed_total{how="refused"}"#),
        "{metrics}"
    );
    assert!(memory < MOST_MEMORY, "{memory} KiB");
    assert!(verdict.is_clean(), "{verdict}");
    assert!(server.stop().success());
}

#[expect(
    clippy::disallowed_methods,
    reason = "it is for whoever runs the test, not a setting of the server"
)]
fn siege() -> Duration {
    match std::env::var("WECOM_KF_HOSTILE_SECONDS") {
        Ok(seconds) => Duration::from_secs(seconds.parse().expect("WECOM_KF_HOSTILE_SECONDS is a number")),
        Err(_) => SIEGE,
    }
}

/// Lets this process open as many sockets, or as many as the system allows. Returns how many.
fn open_files_for(sockets: usize) -> usize {
    // For everything else that is open in this process.
    const RESERVE: u64 = 2_000;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let limit = hard.min(sockets as u64 + RESERVE);
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(limit), hard).unwrap();
    usize::try_from(limit.saturating_sub(RESERVE)).unwrap()
}

/// The most memory that the process had resident, KiB.
fn memory(pid: Pid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .expect("a figure");
    let figure = line.split_ascii_whitespace().nth(1).expect("a figure");
    figure.parse().expect("a number")
}
