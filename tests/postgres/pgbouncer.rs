//! pgbouncer in transaction mode, before a private cluster, as many companies have it before their PostgreSQL.
//!
//! Its client is lent a connection for one transaction at a time: nothing that belongs to a session survives from one
//! statement to the next, neither prepared statements nor locks nor `LISTEN`.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::{Cluster, LOOKS, as_server_user, free_address, install};

const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// A pooler. Ended when it is dropped, which must be before its cluster is; at the latest with what started both.
pub(crate) struct Pgbouncer {
    address: SocketAddr,
    child: Child,
}

impl Pgbouncer {
    /// Starts one before `cluster`, where each database has the name that it has here.
    ///
    /// # Panics
    ///
    /// When it is missing and cannot be installed: nothing is skipped.
    pub(crate) fn before(cluster: &Cluster) -> Self {
        let way = cluster.address();
        let databases = format!("* = host={} port={} user=postgres\n", way.ip(), way.port());
        Self::start(cluster, &databases)
    }

    /// Starts one before `cluster` whose databases are numbers: each leads to `database` by the way of that number.
    ///
    /// # Panics
    ///
    /// When it is missing and cannot be installed: nothing is skipped.
    pub(crate) fn along(ways: &[SocketAddr], cluster: &Cluster, database: &str) -> Self {
        let leads = |(number, way): (usize, &SocketAddr)| {
            let (host, port) = (way.ip(), way.port());
            format!("{number} = host={host} port={port} dbname={database} user=postgres\n")
        };
        let databases: String = ways.iter().enumerate().map(leads).collect();
        Self::start(cluster, &databases)
    }

    fn start(cluster: &Cluster, databases: &str) -> Self {
        if !Path::new(PROGRAM).exists() {
            install(&["update", "-qq"]);
            install(&["install", "-y", "-qq", "--no-install-recommends", "pgbouncer"]);
        }
        let address = free_address();
        let settings = cluster.folder().join(format!("pgbouncer-{}.ini", address.port()));
        // Failures are tried again soon: nobody has the 15 seconds that it waits otherwise.
        let text = format!(
            "[databases]\n\
             {databases}\
             [pgbouncer]\n\
             listen_addr = {}\n\
             listen_port = {}\n\
             unix_socket_dir =\n\
             pidfile = {}\n\
             auth_type = any\n\
             pool_mode = transaction\n\
             max_client_conn = 2000\n\
             default_pool_size = 8\n\
             server_login_retry = 0.2\n\
             log_connections = 0\n\
             log_disconnections = 0\n",
            address.ip(),
            address.port(),
            // Where the cluster's janitor finds it.
            cluster
                .folder()
                .join(format!("data/pgbouncer-{}.pid", address.port()))
                .display(),
        );
        fs::write(&settings, text).expect("the folder is ours");
        let log = File::create(settings.with_extension("log")).expect("the folder is ours");
        let mut command = as_server_user(Command::new(PROGRAM));
        command
            .arg(&settings)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can have two handles"))
            .stderr(log)
            .process_group(0);
        let mut child = command.spawn().expect("pgbouncer starts");
        for _ in 0..LOOKS {
            let ended = child.try_wait().expect("a child can be waited for");
            let said = || fs::read_to_string(settings.with_extension("log")).unwrap_or_default();
            assert!(ended.is_none(), "pgbouncer ended: {}", said());
            if TcpStream::connect(address).is_ok() {
                return Self { address, child };
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("pgbouncer does not listen at {address}");
    }

    /// Address of `database`, for a store.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@{}/{database}", self.address)
    }
}

impl Drop for Pgbouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
