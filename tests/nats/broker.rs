//! A private nats-server, of Debian's package: its own files, its own port, ended with the test.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::stream::{Config, Stream};
use async_nats::{ConnectOptions, jetstream};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::debian::{self, Daemon};

/// Far longer than anything takes: what is not there by then will not come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Name of the one stream.
pub(crate) const STREAM: &str = "KF";

pub(crate) struct Broker {
    pub(crate) address: SocketAddr,
    folder: TempDir,
    daemon: Option<Daemon>,
    /// What a client of the test's own connects with.
    options: fn() -> ConnectOptions,
    scheme: &'static str,
}

impl Broker {
    /// Starts one whose config has `settings` beside what every broker here has.
    pub(crate) fn start(settings: &str) -> Self {
        Self::start_with(settings, ConnectOptions::new)
    }

    /// Starts one that asks who is there, which these `options` answer for the test.
    pub(crate) fn start_with(settings: &str, options: fn() -> ConnectOptions) -> Self {
        let mut broker = Self::not_yet_started(settings);
        broker.options = options;
        broker.restart();
        broker
    }

    /// One that is down.
    pub(crate) fn not_yet_started(settings: &str) -> Self {
        let broker = Self {
            address: debian::free_address(),
            folder: TempDir::new().unwrap(),
            daemon: None,
            options: ConnectOptions::new,
            scheme: "nats",
        };
        let config = format!(
            "listen: \"{}\"\npid_file: \"{}\"\njetstream: {{ store_dir: \"{}\" }}\n",
            broker.address,
            broker.path("pid").display(),
            broker.path("store").display(),
        );
        fs::write(broker.path("config"), config).unwrap();
        broker.add_to_config(settings);
        broker
    }

    /// Starts one that speaks TLS only, and vouches for itself.
    pub(crate) fn start_with_tls() -> Self {
        let mut broker = Self::not_yet_started("");
        broker.scheme = "tls";
        let certified = rcgen::generate_simple_self_signed([broker.address.ip().to_string()]).unwrap();
        fs::write(broker.certificate(), certified.cert.pem()).unwrap();
        let (certificate, key) = (broker.certificate(), broker.path("key.pem"));
        fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
        let key = key.display();
        broker.add_to_config(&format!("tls: {{ cert_file: \"{certificate}\", key_file: \"{key}\" }}"));
        broker.restart();
        broker
    }

    fn add_to_config(&self, settings: &str) {
        let config = fs::read_to_string(self.path("config")).unwrap();
        fs::write(self.path("config"), format!("{config}{settings}\n")).unwrap();
    }

    /// Path of its certificate.
    pub(crate) fn certificate(&self) -> String {
        self.path("certificate.pem").display().to_string()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts it on the files it has.
    pub(crate) fn restart(&mut self) {
        assert!(self.daemon.is_none(), "it runs");
        let mut command = debian::installed("nats-server", "/usr/sbin/nats-server");
        command.arg("--config").arg(self.path("config"));
        self.daemon = Some(Daemon::start(command, self.folder.path(), self.address));
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let pid = fs::read_to_string(self.path("pid")).unwrap();
        kill(Pid::from_raw(pid.trim().parse().unwrap()), Signal::SIGKILL).unwrap();
        self.daemon = None;
    }

    /// A client of the test's own.
    pub(crate) async fn client(&self) -> jetstream::Context {
        let mut options = (self.options)();
        if self.scheme == "tls" {
            options = options.add_root_certificates(self.certificate().into());
        }
        let client = options.connect(format!("{}://{}", self.scheme, self.address)).await;
        jetstream::new(client.unwrap())
    }

    /// Makes the stream, which takes everything that is published on `kf` and below.
    pub(crate) async fn make_stream(&self) -> Stream {
        let config = Config {
            name: STREAM.to_owned(),
            subjects: vec!["kf.>".to_owned()],
            ..Config::default()
        };
        self.make_stream_as(config).await
    }

    /// Makes a stream by this `config`. JetStream may need a moment after the start.
    pub(crate) async fn make_stream_as(&self, config: Config) -> Stream {
        let context = self.client().await;
        let making = async {
            loop {
                match context.create_stream(config.clone()).await {
                    Ok(stream) => return stream,
                    Err(_) => sleep(Duration::from_millis(50)).await,
                }
            }
        };
        timeout(PATIENCE, making).await.expect("the stream is made")
    }
}
