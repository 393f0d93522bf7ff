//! pgbouncer in transaction mode, as many companies have it before their PostgreSQL.
//!
//! Its client is lent a connection for one transaction at a time: nothing that belongs to a session survives from one
//! statement to the next, neither prepared statements nor locks nor `LISTEN`.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::unistd::{Uid, User, chown};
use tempfile::TempDir;

use crate::debian::{self, Daemon};

/// A running pgbouncer. Ends when it is dropped.
pub(crate) struct Pgbouncer {
    pub(crate) address: SocketAddr,
    _daemon: Daemon,
    _folder: TempDir,
}

impl Pgbouncer {
    /// Leads database number `n` to `name` on the server that is found at number `n` of `ways`, as `user`.
    pub(crate) fn start(ways: &[SocketAddr], name: &str, user: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let address = debian::free_address();
        let mut ini = "[databases]\n".to_owned();
        for (number, way) in ways.iter().enumerate() {
            let (host, port) = (way.ip(), way.port());
            writeln!(ini, "{number} = host={host} port={port} dbname={name} user={user}").expect("text grows");
        }
        // Failures are tried again soon: nobody has the 15 seconds that it waits otherwise.
        write!(
            ini,
            "[pgbouncer]\n\
             listen_addr = {}\n\
             listen_port = {}\n\
             unix_socket_dir =\n\
             auth_type = any\n\
             pool_mode = transaction\n\
             max_client_conn = 200\n\
             server_login_retry = 0.2\n\
             log_connections = 0\n\
             log_disconnections = 0\n",
            address.ip(),
            address.port()
        )
        .expect("text grows");
        let path = folder.path().join("pgbouncer.ini");
        fs::write(&path, ini).expect("it can be written");
        let mut command = debian::installed("pgbouncer", "/usr/sbin/pgbouncer");
        command.arg(&path);
        unprivileged(&mut command, &folder);
        Self {
            address,
            _daemon: Daemon::start(command, folder.path(), address),
            _folder: folder,
        }
    }
}

/// It refuses to run as root.
fn unprivileged(command: &mut Command, folder: &TempDir) {
    if !Uid::effective().is_root() {
        return;
    }
    let user = User::from_name("nobody").expect("users can be looked up");
    let user = user.expect("every Debian has nobody");
    chown(folder.path(), Some(user.uid), Some(user.gid)).expect("root may give away");
    command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio_postgres::{NoTls, SimpleQueryMessage};

    use super::*;
    use crate::proxy::Proxy;
    use crate::stage;

    #[tokio::test(flavor = "multi_thread")]
    async fn every_database_of_it_has_a_way_of_its_own() {
        let cluster = stage::cluster();
        let (mut ways, mut addresses) = (Vec::new(), Vec::new());
        for n in 0..2 {
            let (way, from) = (Proxy::start(cluster.address()).await, Ipv4Addr::new(127, 98, 0, n));
            way.speak_from(from);
            addresses.push(way.address);
            ways.push((way, from));
        }
        let bouncer = Pgbouncer::start(&addresses, "postgres", "postgres");
        for (number, (_, from)) in ways.iter().enumerate() {
            let url = format!("postgres://postgres@{}/{number}", bouncer.address);
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
            tokio::spawn(connection);
            let answer = client.simple_query("SELECT host(inet_client_addr())").await.unwrap();
            let row = answer.into_iter().find_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            });
            assert_eq!(row.unwrap().get(0), Some(from.to_string().as_str()));
        }
    }
}
