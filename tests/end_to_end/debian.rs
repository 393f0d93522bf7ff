//! Servers from Debian's packages, run as private instances: their own files, their own ports, ended with the test.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, Uid};

/// How often a server that starts or stops is looked at, a tenth of a second apart: far longer than any takes.
const LOOKS: usize = 600;

/// The program at `path`, from the Debian package of this name, which is installed if it is missing.
///
/// # Panics
///
/// When it is missing and cannot be installed: nothing is skipped.
pub(crate) fn installed(package: &str, path: &'static str) -> Command {
    ensure(package, Path::new(path));
    Command::new(path)
}

/// Sees to it that there is a file at `path`, which the Debian package of this name brings.
///
/// # Panics
///
/// When it is missing and cannot be installed.
pub(crate) fn ensure(package: &str, path: &Path) {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = INSTALLING.lock().unwrap();
    if !path.exists() {
        apt_get(&["update", "-qq"]);
        apt_get(&["install", "-y", "-qq", "--no-install-recommends", package]);
        assert!(path.exists(), "the package {package} brought no {}", path.display());
    }
}

/// Runs `apt-get`, as root.
///
/// # Panics
///
/// When it fails, or nobody lets us be root.
pub(crate) fn apt_get(arguments: &[&str]) {
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
        .args(arguments);
    let status = command.stdin(Stdio::null()).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "this test needs a package from Debian, and this failed (it takes root, or sudo without a password): {command:?}"
    );
}

/// An address where nobody listens yet.
///
/// A port that was free a moment ago may be anybody's now, so the host is one that nobody else uses: the loopback has 16
/// million, and each process takes its own by its id.
pub(crate) fn free_address() -> SocketAddr {
    static TAKEN: Mutex<Vec<SocketAddr>> = Mutex::new(Vec::new());
    let [_, a, b, c] = std::process::id().to_be_bytes();
    // 22 bits of id, and one that keeps clear of 127.0.0.1.
    let host = Ipv4Addr::new(127, a | 0x80, b, c);
    let mut taken = TAKEN.lock().unwrap();
    loop {
        let listener = TcpListener::bind((host, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        if !taken.contains(&address) {
            taken.push(address);
            return address;
        }
    }
}

/// A running server. Ended, with all its children, when it is dropped.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts `command`, which must stay in the foreground, and waits until it listens at `address`. What it says goes to
    /// a file in `folder`.
    pub(crate) fn start(mut command: Command, folder: &Path, address: SocketAddr) -> Self {
        let log = folder.join("log");
        let file = File::create(&log).expect("the log can be written");
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file can have two handles"))
            .stderr(file)
            .process_group(0);
        let child = command.spawn().expect("the program starts");
        let mut daemon = Self { child, log };
        for _ in 0..LOOKS {
            if TcpStream::connect(address).is_ok() {
                return daemon;
            }
            let ended = daemon.child.try_wait().expect("a child can be waited for");
            assert!(ended.is_none(), "{command:?} ended: {}", daemon.said());
            thread::sleep(Duration::from_millis(100));
        }
        panic!("{command:?} does not listen at {address}: {}", daemon.said());
    }

    /// What it wrote so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        if let Ok(group) = self.child.id().try_into() {
            // It may be gone already.
            let _ = killpg(Pid::from_raw(group), signal);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.said());
        }
        self.signal(Signal::SIGTERM);
        for _ in 0..LOOKS {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait();
    }
}
