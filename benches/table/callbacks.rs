//! Callbacks verified, decrypted and woken, against a bare axum handler that reads the body and answers `success`.
//!
//! Each server is a process of its own, so that the CPU time it took is its own and no client's. Both take the same
//! requests over as many kept-alive connections. Ours is the whole callback side as `serve` runs it, metrics and wake-ups
//! included; no pull is made.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use rand::RngExt as _;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wecom_kf::app::App;
use wecom_kf::callback::{KeyPair, seal};
use wecom_kf::clock::{Clock as _, SystemClock};
use wecom_kf::config::{Config, Environment};
use wecom_kf::http::{self, Limits};
use wecom_kf::telemetry;

use crate::line::{Goal, Line, Pair, Unit, quantile};

const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_secs(1);
/// Connections that ask again as soon as they are answered.
const CONNECTIONS: usize = 64;
/// Connections that ask at fixed moments, whatever the answers take.
const PACED_CONNECTIONS: usize = 16;
/// Callbacks a second over all of those.
const PACE: u32 = 2_000;
/// Different callbacks, so that nothing profits from seeing one twice.
const CALLBACKS: usize = 500;

const RECEIVEID: &str = "ww0123456789abcdef";
const TOKEN: &str = "QDG6eKQDG6eKQDG6eKQDG6eKQDG6eK";
const KEY: &str = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C";

/// What starts a server, as the only argument.
const SERVE_BARE: &str = "serve-bare";
const SERVE_OURS: &str = "serve-ours";

/// Serves and returns true if this process was started for that.
pub(crate) fn serves() -> bool {
    match std::env::args().nth(1).as_deref() {
        Some(SERVE_BARE) => serve(Router::new().route("/callback/main", post(|_: Bytes| async { "success" }))),
        Some(SERVE_OURS) => serve_ours(),
        _ => return false,
    }
    true
}

/// What one server did in one round.
struct Figures {
    a_second: f64,
    cpu_micros: f64,
    p99_micros: f64,
}

pub(crate) fn measure() -> Vec<Line> {
    let requests: Arc<[Vec<u8>]> = (0..CALLBACKS).map(request).collect();
    let load = runtime();
    let servers = [SERVE_BARE, SERVE_OURS].map(Server::start);
    let mut rounds = Vec::new();
    // The first round warms up.
    for round in 0..=ROUNDS {
        let figures = servers.each_ref().map(|server| {
            let (before, began) = (server.cpu(), Instant::now());
            let answered = load.block_on(as_fast_as_answered(server.address, &requests)) as f64;
            let (cpu, took) = (server.cpu() - before, began.elapsed());
            let mut paced = at_a_pace(server.address, &requests);
            Figures {
                a_second: answered / took.as_secs_f64(),
                cpu_micros: cpu.as_secs_f64() * 1e6 / answered,
                p99_micros: quantile(&mut paced, 0.99),
            }
        });
        if round > 0 {
            rounds.push(figures);
        }
    }
    servers.into_iter().for_each(Server::stop);
    let pairs = |figure: fn(&Figures) -> f64| -> Vec<Pair> {
        let pair = |[bare, ours]: &[Figures; 2]| Pair {
            floor: figure(bare),
            ours: figure(ours),
        };
        rounds.iter().map(pair).collect()
    };
    let (a_second, cpu, p99) = (pairs(|f| f.a_second), pairs(|f| f.cpu_micros), pairs(|f| f.p99_micros));
    vec![
        Line::ratio(
            "callbacks, 64 connections",
            Unit::PerSecond,
            &a_second,
            Goal::AtLeast(0.87),
        ),
        Line::ratio("CPU per callback", Unit::Micros, &cpu, Goal::AtMost(1.25)),
        Line::ratio("answer p99 at 2,000/s", Unit::Micros, &p99, Goal::AtMost(1.3)),
    ]
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// A callback as WeCom sends it, head and all.
fn request(n: usize) -> Vec<u8> {
    let now = SystemClock.now().as_secs();
    let event = format!(
        "<xml><ToUserName><![CDATA[{RECEIVEID}]]></ToUserName><CreateTime>{now}</CreateTime>\
         <MsgType><![CDATA[event]]></MsgType><Event><![CDATA[kf_msg_or_event]]></Event>\
         <Token><![CDATA[ENC{n:060}]]></Token><OpenKfId><![CDATA[wk{:030}]]></OpenKfId></xml>",
        n % 50
    );
    let pair = KeyPair::new(TOKEN.into(), KEY.into()).expect("good keys");
    let random = rand::rng().random();
    let sealed = seal(&pair, RECEIVEID, event.as_bytes(), now, &n.to_string(), random);
    let (query, body) = (sealed.query(), sealed.body());
    format!(
        "POST /callback/main?{query} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n\
         {body}",
        body.len()
    )
    .into_bytes()
}

/// A server in a process of its own, which ends when its standard input does.
struct Server {
    child: Child,
    address: SocketAddr,
    clock: ClockId,
    stdin: ChildStdin,
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    fn start(kind: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .arg(kind)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a server");
        let (stdin, stdout) = (
            child.stdin.take().expect("a pipe"),
            child.stdout.take().expect("a pipe"),
        );
        let (mut stdout, mut line) = (BufReader::new(stdout), String::new());
        stdout.read_line(&mut line).expect("the server tells where it listens");
        let pid = Pid::from_raw(child.id().try_into().expect("a pid"));
        Self {
            child,
            address: line.trim().parse().expect("an address"),
            clock: clock_getcpuclockid(pid).expect("a clock of its CPU time"),
            stdin,
            _stdout: stdout,
        }
    }

    /// CPU time it took so far.
    fn cpu(&self) -> Duration {
        self.clock.now().expect("it runs").into()
    }

    fn stop(mut self) {
        drop(self.stdin);
        self.child.wait().expect("the server ends");
    }
}

/// Serves in this process until standard input ends. axum's own server, as a stranger would write it.
fn serve(router: Router) {
    let runtime = runtime();
    runtime.spawn(async {
        let listener = listen().await;
        axum::serve(listener, router).await
    });
    wait_for_end_of_input();
}

/// Serves the callbacks of a whole app, as `wecom-kf serve` does.
fn serve_ours() {
    let runtime = runtime();
    let folder = TempDir::new().expect("a folder");
    let config = format!(
        r#"
        [store]
        url = "sqlite://{}"
        [[apps]]
        name = "main"
        corp_id = "{RECEIVEID}"
        secret = "unused"
        callback_keys = [{{ token = "{TOKEN}", encoding_aes_key = "{KEY}" }}]
        "#,
        folder.path().join("kf.db").display(),
    );
    let config = Config::parse(&config, &Environment::default())
        .expect("a good config")
        .config;
    let metrics = telemetry::init_metrics().expect("nobody else records");
    let app = runtime.block_on(App::builder(config).build()).expect("an app");
    runtime.spawn(metrics.upkeep());
    let service = app.callbacks().service();
    runtime.spawn(async {
        let listener = listen().await;
        http::serve(listener, service, Limits::default(), CancellationToken::new()).await;
    });
    wait_for_end_of_input();
}

async fn listen() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    println!("{}", listener.local_addr().expect("an address"));
    listener
}

fn wait_for_end_of_input() {
    std::io::stdin()
        .read_to_end(&mut Vec::new())
        .expect("standard input can be read");
}

/// Sends requests over all connections for one round, each as soon as the one before is answered. Returns how many were.
async fn as_fast_as_answered(address: SocketAddr, requests: &Arc<[Vec<u8>]>) -> u64 {
    let ends = Instant::now() + ROUND;
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|first| {
            let requests = Arc::clone(requests);
            tokio::spawn(async move {
                let mut stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
                stream.set_nodelay(true).expect("an option");
                let (mut answered, mut buffer) = (0, [0; 1024]);
                for request in requests.iter().cycle().skip(first) {
                    if Instant::now() >= ends {
                        break;
                    }
                    stream.write_all(request).await.expect("it reads");
                    let mut filled = 0;
                    while !is_whole(&buffer[..filled]) {
                        let read = stream.read(&mut buffer[filled..]).await.expect("it answers");
                        assert!(read > 0, "the server hung up");
                        filled += read;
                    }
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    let mut answered = 0;
    for client in clients {
        answered += client.await.expect("a client does not panic");
    }
    answered
}

/// Sends [`PACE`] requests a second for one round, each at its moment. Returns the microseconds that each answer took.
fn at_a_pace(address: SocketAddr, requests: &[Vec<u8>]) -> Vec<f64> {
    let period = Duration::from_secs(1) * PACED_CONNECTIONS as u32 / PACE;
    let began = Instant::now() + Duration::from_millis(10);
    let client = |number: usize| {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).expect("an option");
        let (mut took, mut buffer) = (Vec::new(), [0; 1024]);
        let mut at = began + period * number as u32 / PACED_CONNECTIONS as u32;
        for request in requests.iter().cycle().skip(number) {
            if at >= began + ROUND {
                break;
            }
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            // What the client's own waking up takes is not the server's. But a request that had to wait for the answer
            // to the one before counts from its moment.
            let due = if at + period < Instant::now() {
                at
            } else {
                Instant::now()
            };
            stream.write_all(request).expect("it reads");
            let mut filled = 0;
            while !is_whole(&buffer[..filled]) {
                let read = stream.read(&mut buffer[filled..]).expect("it answers");
                assert!(read > 0, "the server hung up");
                filled += read;
            }
            took.push(due.elapsed().as_secs_f64() * 1e6);
            at += period;
        }
        took
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..PACED_CONNECTIONS)
            .map(|number| scope.spawn(move || client(number)))
            .collect();
        clients
            .into_iter()
            .flat_map(|client| client.join().expect("a client does not panic"))
            .collect()
    })
}

/// The answers are small and the same: whole once `success` is there.
fn is_whole(answer: &[u8]) -> bool {
    const GOOD: &[u8] = b"HTTP/1.1 200 ";
    let begins = answer.len().min(GOOD.len());
    assert_eq!(
        answer[..begins],
        GOOD[..begins],
        "answered {:?}",
        String::from_utf8_lossy(answer)
    );
    answer.ends_with(b"success")
}
