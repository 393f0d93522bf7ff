//! The real binary: its size, how soon it is ready, and what it keeps in memory when nothing happens.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::line::{Goal, Line, Unit};
use crate::stage::{Stage, sqlite};

const BINARY: &str = env!("CARGO_BIN_EXE_wecom-kf");
const STARTS: usize = 21;
/// What is handled before the server falls idle: enough to have opened every connection and run every path.
const MESSAGES: usize = 1_000;
/// How long it has been idle when it is looked at: longer than what it does now and then takes to come around.
const IDLE: Duration = Duration::from_secs(20);

/// Handlers of the usual config.
const CONFIG: &str = r#"
    [[handlers]]
    name = "log"
    kind = "log"
    origins = ["all"]
"#;

pub(crate) fn measure() -> Vec<Line> {
    let size = fs::metadata(BINARY).expect("the binary is there").len() as f64 / f64::from(1 << 20);
    let runtime = Runtime::new().expect("a runtime");
    let stage = runtime.block_on(Stage::new(4, MESSAGES));
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let folder = TempDir::new().expect("a folder");
        let server = Server::start(&write_config(&stage, &folder, CONFIG));
        starts.push(server.ready_after);
        server.kill();
    }
    let folder = TempDir::new().expect("a folder");
    let server = Server::start(&write_config(&stage, &folder, CONFIG));
    stage.ring(server.callbacks);
    server.wait_for("wecom_kf_deliveries_total", MESSAGES as u64);
    thread::sleep(IDLE);
    let idle = server.memory("VmRSS");
    server.kill();
    runtime.block_on(stage.wecom.stop());
    vec![
        Line::plain("memory, idle", Unit::Mebibytes, &[idle], Goal::AtMost(25.0)),
        Line::plain("size of the binary", Unit::Mebibytes, &[size], Goal::AtMost(20.0)),
        Line::plain("start to ready, new store", Unit::Millis, &starts, Goal::AtMost(100.0)),
    ]
}

/// Writes the config of `stage` and `more` into `folder`, beside the store.
pub(crate) fn write_config(stage: &Stage, folder: &TempDir, more: &str) -> std::path::PathBuf {
    let path = folder.path().join("config.toml");
    fs::write(&path, stage.config(&sqlite(folder), more)).expect("the config can be written");
    path
}

/// A running server of the real binary. Killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) callbacks: SocketAddr,
    admin: SocketAddr,
    /// When it was started.
    pub(crate) started: Instant,
    /// Milliseconds until it said that it is ready.
    pub(crate) ready_after: f64,
}

impl Server {
    /// Starts `serve` on the config at `path`, and waits until it is ready.
    pub(crate) fn start(path: &Path) -> Self {
        let started = Instant::now();
        let mut child = Command::new(BINARY)
            .env_clear()
            .args(["serve", "--config"])
            .arg(path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut log = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        let (callbacks, admin) = log
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| listening(&line))
            .expect("the server listens");
        // To the end, whatever it says: a full pipe would stop the server.
        thread::spawn(move || log.for_each(drop));
        let mut server = Self {
            child,
            callbacks,
            admin,
            started,
            ready_after: 0.0,
        };
        while !server.get("/readyz").starts_with("HTTP/1.1 200 ") {
            thread::sleep(Duration::from_millis(1));
        }
        server.ready_after = started.elapsed().as_secs_f64() * 1e3;
        server
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("the server ends");
    }

    /// What the kernel says of its memory, in MiB: `VmRSS` now, `VmHWM` at most so far.
    pub(crate) fn memory(&self, field: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the server runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")).expect("a size");
        kibibytes.parse::<f64>().expect("a number") / 1024.0
    }

    /// Waits until the values of the metric `name` add up to `sum`.
    pub(crate) fn wait_for(&self, name: &str, sum: u64) {
        loop {
            let metrics = self.get("/metrics");
            let series = metrics.lines().filter(|line| line.starts_with(name));
            let values = series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
            if values.sum::<u64>() >= sum {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.admin).expect("the admin side listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("the server reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the server answers");
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listening(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let line: Value = serde_json::from_str(line).ok()?;
    (line["message"] == "listening").then_some(())?;
    let address = |side: &str| line[side].as_str()?.parse().ok();
    Some((address("callbacks")?, address("admin")?))
}
