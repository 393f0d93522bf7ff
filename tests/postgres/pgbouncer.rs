//! pgbouncer in transaction mode, before a private cluster.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::{Cluster, LOOKS, as_server_user, free_address, install};

const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// A pooler. Ended when it is dropped, and at the latest with the cluster.
pub(crate) struct Pgbouncer {
    address: SocketAddr,
    child: Child,
}

impl Pgbouncer {
    /// Starts one before `cluster`.
    ///
    /// # Panics
    ///
    /// When it is missing and cannot be installed: nothing is skipped.
    pub(crate) fn before(cluster: &Cluster) -> Self {
        if !Path::new(PROGRAM).exists() {
            install(&["update", "-qq"]);
            install(&["install", "-y", "-qq", "--no-install-recommends", "pgbouncer"]);
        }
        let (server, address) = (cluster.address(), free_address());
        let settings = cluster.folder().join(format!("pgbouncer-{}.ini", address.port()));
        let text = format!(
            "[databases]\n\
             * = host={} port={} user=postgres\n\
             [pgbouncer]\n\
             listen_addr = {}\n\
             listen_port = {}\n\
             unix_socket_dir =\n\
             pidfile = {}\n\
             auth_type = any\n\
             pool_mode = transaction\n\
             max_client_conn = 2000\n\
             default_pool_size = 8\n",
            server.ip(),
            server.port(),
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
