//! `healthcheck` of a server, and a server on what `simulate` prints.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::command::{Ended, assert_says, run_with};
use crate::server::{Server, binary};
use crate::stage::{Stage, write_private};

const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_passes_while_the_server_lives() {
    let stage = Stage::new("").await;
    let server = stage.start();
    let admin = server.admin.to_string();
    let ask = || -> Ended {
        run_with(
            ["healthcheck", "--config", stage.config.to_str().unwrap()],
            &[("WECOM_KF_SERVER_ADMIN_LISTEN", &admin)],
        )
    };
    assert_eq!(ask().good(), "");
    assert!(server.stop().success());
    assert_says(ask().complaint(1), &["cannot reach", &admin]);
}

/// `simulate`, killed when it is dropped.
struct Simulate {
    child: Child,
    printed: Receiver<String>,
}

impl Simulate {
    fn start(callback: &str) -> Self {
        let mut child = binary()
            .args(["simulate", "--listen", "127.0.0.1:0", "--callback", callback])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (send, printed) = mpsc::channel();
        thread::spawn(move || {
            stdout
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| send.send(line))
        });
        Self { child, printed }
    }

    /// What it prints, up to the line that begins with `last`.
    fn until(&self, last: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.printed.recv_timeout(PATIENCE) {
                Ok(line) if line.starts_with(last) => return lines,
                Ok(line) => lines.push(line),
                Err(_) => panic!("never printed {last:?}, but {lines:?}"),
            }
        }
    }
}

impl Drop for Simulate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address whose connections go to another one, which may be told later. WeCom needs a callback URL before the
/// server, which needs WeCom's address, can listen on a free port.
async fn door() -> (SocketAddr, Arc<OnceLock<SocketAddr>>) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let (address, leads_to) = (listener.local_addr().unwrap(), Arc::new(OnceLock::new()));
    let way = Arc::clone(&leads_to);
    tokio::spawn(async move {
        while let Ok((mut outside, _)) = listener.accept().await {
            if let Some(inside) = way.get() {
                let mut inside = TcpStream::connect(*inside).await.unwrap();
                tokio::spawn(async move { copy_bidirectional(&mut outside, &mut inside).await });
            }
        }
    });
    (address, leads_to)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_runs_on_what_simulate_prints_and_hears_what_is_said_there() {
    let (address, leads_to) = door().await;
    let mut simulate = Simulate::start(&format!("http://{address}/callback/main"));
    let first = simulate.until("Config for wecom-kf serve:");
    assert_says(
        &first[0],
        &["Simulated WeCom on http://127.0.0.1:", &address.to_string()],
    );
    let base = first[0]
        .split([' ', ','])
        .find(|word| word.starts_with("http://"))
        .unwrap()
        .to_owned();
    let printed = simulate.until("Say something").join("\n");
    assert_says(
        &simulate.until("More under").join("\n"),
        &[&format!("curl -X POST {base}/simulator/conversation")],
    );

    let folder = TempDir::new().unwrap();
    let config = folder.path().join("config.toml");
    let ours = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n\
         [store]\nurl = \"sqlite://{}\"\n",
        folder.path().join("kf.db").display()
    );
    write_private(&config, &(ours + &printed));
    let server = Server::start(&config);
    leads_to.set(server.callbacks).unwrap();

    let say = reqwest::Client::new().post(format!("{base}/simulator/messages"));
    let answer = say.body(r#"{"text": "你好"}"#).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let answer: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    server.until_logged(&format!(r#""msgid":"{}""#, answer["msgid"].as_str().unwrap()));
    assert!(server.stop().success());

    kill(Pid::from_raw(simulate.child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(simulate.child.wait().unwrap().code(), Some(0));
}
