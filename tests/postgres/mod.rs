//! A private PostgreSQL: a cluster of its own in a folder of its own, for tests of whatever kind. Ended, and its folder
//! removed, when it is dropped, and also when the process that started it ends in any other way.

#![expect(dead_code, reason = "every test target that includes this uses a part of it")]

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User};
use tempfile::TempDir;

pub(crate) mod pgbouncer;

/// How often a server that starts or stops is looked at, fifty milliseconds apart: far longer than any takes.
const LOOKS: usize = 2400;

/// Waits for the end of what started it, which closes its input, and then ends the servers that left their ids in the folder
/// and removes that.
const JANITOR: &str = r#"
read -r _
for file in "$1"/data/*.pid; do
    # What was started in the background ignores QUIT, unless it asks for it as PostgreSQL does.
    case $file in */postmaster.pid) how=QUIT ;; *) how=KILL ;; esac
    pid=$(head -n 1 "$file" 2>/dev/null) && kill -"$how" "$pid" && while kill -0 "$pid"; do sleep 0.05; done
done
rm -rf "$1"
"#;

/// A PostgreSQL server, and its data.
pub(crate) struct Cluster {
    folder: PathBuf,
    address: SocketAddr,
    /// The server; none while it is down.
    server: Option<Child>,
    janitor: Child,
}

impl Cluster {
    /// Makes a cluster and starts its server.
    ///
    /// # Panics
    ///
    /// When PostgreSQL is missing and cannot be installed: nothing is skipped.
    pub(crate) fn start() -> Self {
        let folder = TempDir::with_prefix("kf-pg-").expect("a folder").keep();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("the folder is ours");
        let mut janitor = Command::new("sh");
        janitor
            .args(["-c", JANITOR, "janitor"])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What ends the tests from a terminal must not end it before its work.
            .process_group(0);
        let janitor = janitor.spawn().expect("sh is there");
        let data = folder.join("data");
        fs::create_dir(&data).expect("the folder is ours");
        if let Some(user) = server_user() {
            chown(&data, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("root may give folders away");
        }
        let mut initdb = program("initdb");
        initdb
            .arg("--pgdata")
            .arg(&data)
            .args([
                "--username",
                "postgres",
                "--auth",
                "trust",
                "--encoding",
                "UTF8",
                "--locale",
                "C",
                "--data-checksums",
            ])
            .stdout(Stdio::null());
        let made = initdb.status().expect("initdb runs");
        assert!(made.success(), "{initdb:?}");
        let mut cluster = Self {
            folder,
            address: free_address(),
            server: None,
            janitor,
        };
        cluster.resume();
        cluster
    }

    /// Address of `database`, which need not exist yet, for a store.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@{}/{database}", self.address)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its files are, for files beside them.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Id of the server's first process, the postmaster.
    ///
    /// # Panics
    ///
    /// While it is down.
    pub(crate) fn pid(&self) -> Pid {
        let id = self.server.as_ref().expect("the server runs").id();
        Pid::from_raw(id.try_into().expect("a process id"))
    }

    /// Ends the server by `signal` and waits until it is gone: SIGINT for a clean end, SIGQUIT for one without a word,
    /// SIGKILL for a crash, whose children then end by themselves.
    pub(crate) fn end(&mut self, signal: Signal) {
        if let Some(mut server) = self.server.take() {
            let pid = Pid::from_raw(server.id().try_into().expect("a process id"));
            kill(pid, signal).expect("the server runs");
            server.wait().expect("a child can be waited for");
        }
    }

    /// Starts the server again on its data and waits until it takes connections.
    pub(crate) fn resume(&mut self) {
        // After a crash of the first process the others hold the memory for a moment, and it will not start beside them.
        for _ in 0..LOOKS {
            if self.try_resume() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("the server does not start: {}", self.said());
    }

    fn try_resume(&mut self) -> bool {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .expect("the log can be written");
        let mut command = program("postgres");
        command.arg("-D").arg(self.folder.join("data"));
        for setting in [
            format!("listen_addresses={}", self.address.ip()),
            format!("port={}", self.address.port()),
            "unix_socket_directories=".to_owned(),
            "max_connections=300".to_owned(),
            "shared_buffers=64MB".to_owned(),
            "log_line_prefix=%m %d ".to_owned(),
        ] {
            command.arg("-c").arg(setting);
        }
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can have two handles"))
            .stderr(log)
            .process_group(0);
        let mut server = command.spawn().expect("postgres starts");
        for _ in 0..LOOKS {
            if server.try_wait().expect("a child can be waited for").is_some() {
                return false;
            }
            if TcpStream::connect(self.address).is_ok() && self.is_ready() {
                self.server = Some(server);
                return true;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("the server does not get ready: {}", self.said());
    }

    fn is_ready(&self) -> bool {
        let mut isready = program("pg_isready");
        isready
            .args(["--quiet", "--host", &self.address.ip().to_string()])
            .args(["--port", &self.address.port().to_string()]);
        isready.status().is_ok_and(|status| status.success())
    }

    /// Runs `sql` on `database`, statement by statement, and returns what it prints.
    ///
    /// # Panics
    ///
    /// When it fails.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        let mut psql = program("psql");
        psql.args([
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--set",
            "ON_ERROR_STOP=1",
        ])
        .args(["--host", &self.address.ip().to_string()])
        .args(["--port", &self.address.port().to_string()])
        .args(["--username", "postgres", "--dbname", database])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
        let mut psql = psql.spawn().expect("psql runs");
        let mut input = psql.stdin.take().expect("it has an input");
        input.write_all(sql.as_bytes()).expect("psql reads");
        drop(input);
        let output = psql.wait_with_output().expect("a child can be waited for");
        assert!(
            output.status.success(),
            "{sql}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// What the server wrote so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.end(Signal::SIGQUIT);
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
    }
}

/// Whom the server runs as: it refuses to run as root.
fn server_user() -> Option<User> {
    Uid::effective().is_root().then(|| {
        User::from_name("postgres")
            .expect("users can be looked up")
            .expect("the package brings its user")
    })
}

/// A program of PostgreSQL's. From Debian's package, which is installed if it is missing.
fn program(name: &str) -> Command {
    as_server_user(Command::new(programs().join(name)))
}

/// `command`, run as somebody whom a server agrees to run as. Give it its arguments afterwards.
fn as_server_user(command: Command) -> Command {
    match server_user() {
        None => command,
        Some(user) => {
            let mut as_user = Command::new("setpriv");
            as_user
                .arg(format!("--reuid={}", user.uid))
                .arg(format!("--regid={}", user.gid))
                .arg("--clear-groups")
                .arg(command.get_program())
                // The folder the tests run in may be closed to that user.
                .current_dir("/");
            as_user
        }
    }
}

/// Where PostgreSQL's programs are; Debian keeps those of each version apart.
fn programs() -> PathBuf {
    static PROGRAMS: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    let find = || {
        let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
        let versions = versions.filter_map(|entry| entry.ok().map(|entry| entry.path().join("bin")));
        versions
            .filter(|bin| bin.join("postgres").exists() && bin.join("initdb").exists())
            .max()
    };
    let install = || {
        install(&["update", "-qq"]);
        // Debian's package would make a cluster of its own and start it.
        install(&[
            "install",
            "-y",
            "-qq",
            "--no-install-recommends",
            "-o",
            "Dpkg::Options::=--force-confdef",
            "postgresql",
        ]);
        find().expect("the package postgresql brings postgres")
    };
    PROGRAMS.get_or_init(|| find().unwrap_or_else(install)).clone()
}

fn install(arguments: &[&str]) {
    let mut command = if Uid::effective().is_root() {
        Command::new("env")
    } else {
        let mut command = Command::new("sudo");
        command.args(["-n", "env"]);
        command
    };
    command
        // The package's own service is not started.
        .args(["SYSTEMD_OFFLINE=1", "DEBIAN_FRONTEND=noninteractive"])
        .args(["apt-get", "-o", "DPkg::Lock::Timeout=300"])
        .args(arguments)
        .stdin(Stdio::null());
    assert!(
        command.status().is_ok_and(|status| status.success()),
        "this test needs a package from Debian, and this failed (it takes root, or sudo without a password): {command:?}"
    );
}

/// An address where nobody listens yet.
///
/// A port that was free a moment ago may be anybody's now, so the host is one that nobody else uses: the loopback has 16
/// million, and each process takes its own by its id.
pub(crate) fn free_address() -> SocketAddr {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    // 22 bits of id, and two that keep clear of 127.0.0.1 and of others who do the same.
    let host = Ipv4Addr::new(127, (a & 0x3f) | 0xc0, b, c);
    let listener = TcpListener::bind((host, 0)).expect("a free port");
    listener.local_addr().expect("an address")
}
