//! The real binary, started on free ports and ended by pid.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Far longer than anything takes: a server that is not there by then will not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server. Killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    /// Lines of its log before it listened.
    pub(crate) first_lines: Vec<String>,
    /// Those after, up to its end.
    pub(crate) log: Receiver<String>,
    pub(crate) callbacks: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// If the config opens it.
    pub(crate) gateway: Option<SocketAddr>,
}

/// The binary under test.
pub(crate) fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wecom-kf"));
    command.env_clear().stdin(Stdio::null());
    command
}

/// `serve` of the binary under test, on the config at `path`.
pub(crate) fn serve(path: &Path) -> Command {
    let mut command = binary();
    command.arg("serve").arg("--config").arg(path);
    command
}

impl Server {
    /// Starts `serve` on the config at `path`, which must log in JSON and listen on port 0, and waits until it listens.
    pub(crate) fn start(path: &Path) -> Self {
        Self::launch(serve(path))
    }

    /// Runs `command`, which must come to that.
    #[expect(
        clippy::zombie_processes,
        reason = "a server that does not listen fails the test, and with it the process"
    )]
    pub(crate) fn launch(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let (send, log) = mpsc::channel();
        // Reads to the end whatever happens: a full pipe would stop the server.
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let mut first_lines = Vec::new();
        loop {
            let line = log
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|_| panic!("the server does not listen: {}", first_lines.join("\n")));
            if let Some((callbacks, admin, gateway)) = listening(&line) {
                return Self {
                    child,
                    log,
                    first_lines,
                    callbacks,
                    admin,
                    gateway,
                };
            }
            first_lines.push(line);
        }
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("the server ends");
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().expect("a pid"))
    }

    /// Sends `signal`.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the server can be signalled");
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(mut self) -> ExitStatus {
        self.child.wait().expect("the server ends")
    }

    /// `SIGTERM`, and the wait for its end.
    pub(crate) fn stop(self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// Waits for a log line that holds `text`.
    pub(crate) fn until_logged(&self, text: &str) {
        loop {
            let line = self
                .log
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|_| panic!("never logged: {text}"));
            if line.contains(text) {
                return;
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            let log: Vec<_> = self.first_lines.drain(..).chain(self.log.try_iter()).collect();
            let tail = log.iter().skip(log.len().saturating_sub(40));
            eprintln!("the server's last words:");
            tail.for_each(|line| eprintln!("{line}"));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listening(line: &str) -> Option<(SocketAddr, SocketAddr, Option<SocketAddr>)> {
    let line: Value = serde_json::from_str(line).ok()?;
    (line["message"] == "listening").then_some(())?;
    let address = |key: &str| line[key].as_str()?.parse().ok();
    Some((address("callbacks")?, address("admin")?, address("gateway")))
}
