//! Bots in Python and Node that verify what they are sent with the official Standard Webhooks libraries.
//!
//! The libraries are fetched once, in fixed versions, into the folder that cargo keeps for tests; where Python's or
//! Node's installer is missing and we may, Debian's is installed first.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::debian::apt_get;

/// Far longer than anything takes: what is not said by then will not be.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a bot is written in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Language {
    Python,
    Node,
}

impl Language {
    pub(crate) const ALL: [Self; 2] = [Self::Python, Self::Node];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
        }
    }

    /// Folder that holds the library that verifies.
    fn library(self) -> PathBuf {
        self.package(&self.asked_for())
    }

    /// Folder that holds `package` and what it needs, which are fetched if need be.
    pub(crate) fn package(self, package: &str) -> PathBuf {
        /// One fetch at a time; another process has a place of its own.
        static FETCHING: Mutex<()> = Mutex::new(());
        let _one = FETCHING.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{package}", self.name()));
        if !folder.exists() {
            let place = folder.with_extension(format!("part-{}", std::process::id()));
            self.fetch(package, &place);
            // Another process may have been faster, with the same.
            if fs::rename(&place, &folder).is_err() {
                assert!(folder.exists(), "{} cannot be made", folder.display());
                fs::remove_dir_all(&place).expect("what is not needed can go");
            }
        }
        folder
    }

    /// The library, in the version that the examples ask for.
    fn asked_for(self) -> String {
        let asked = fs::read_to_string(self.example().join(match self {
            Self::Python => "requirements.txt",
            Self::Node => "package.json",
        }));
        let asked = asked.expect("the example says what it needs");
        match self {
            Self::Python => asked.trim().to_owned(),
            Self::Node => {
                let asked: Value = serde_json::from_str(&asked).expect("JSON");
                let version = asked["dependencies"]["standardwebhooks"].as_str();
                format!("standardwebhooks@{}", version.expect("a version"))
            }
        }
    }

    /// Folder of the example that answers.
    fn example(self) -> PathBuf {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/bots");
        examples.join(self.name())
    }

    fn fetch(self, package: &str, place: &Path) {
        let mut fetch = match self {
            Self::Python => {
                needed(&["python3", "-m", "pip", "--version"], &["python3", "python3-pip"]);
                let mut pip = Command::new("python3");
                pip.args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--no-input",
                    "--disable-pip-version-check",
                ]);
                pip.args(["--root-user-action", "ignore", "--target"]);
                pip
            }
            Self::Node => {
                needed(&["npm", "--version"], &["nodejs", "npm"]);
                let mut npm = Command::new("npm");
                npm.args([
                    "install",
                    "--silent",
                    "--no-audit",
                    "--no-fund",
                    "--ignore-scripts",
                    "--prefix",
                ]);
                npm
            }
        };
        fs::create_dir_all(place).expect("a folder");
        let fetched = fetch.arg(place).arg(package).output().expect("the installer starts");
        let said = String::from_utf8_lossy(&fetched.stderr);
        assert!(fetched.status.success(), "{package} cannot be fetched: {said}");
    }

    fn command(self) -> Command {
        let library = self.library();
        let bots = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/end_to_end/bots");
        match self {
            Self::Python => {
                let mut command = Command::new("python3");
                command.arg(bots.join("bot.py")).env("PYTHONPATH", library);
                command
            }
            Self::Node => {
                let mut command = Command::new("node");
                command
                    .arg(bots.join("bot.js"))
                    .env("NODE_PATH", library.join("node_modules"));
                command
            }
        }
    }
}

/// Makes a command of the example in `language`, as if it had been installed in `folder`.
fn installed(language: Language, folder: &Path) -> Command {
    let library = language.library();
    match language {
        Language::Python => {
            let mut command = Command::new("python3");
            command
                .arg(language.example().join("bot.py"))
                .env("PYTHONPATH", library);
            command
        }
        // Modules look for others beside themselves only.
        Language::Node => {
            symlink(library.join("node_modules"), folder.join("node_modules")).expect("a link");
            let bot = folder.join("bot.mjs");
            fs::copy(language.example().join("bot.mjs"), &bot).expect("a copy");
            let mut command = Command::new("node");
            command.arg(bot);
            command
        }
    }
}

/// Makes sure that `probe` runs, by installing Debian's `packages` if it does not.
fn needed(probe: &[&str], packages: &[&str]) {
    let runs = || {
        let mut command = Command::new(probe[0]);
        command.args(&probe[1..]).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if runs() {
        return;
    }
    apt_get(&["update", "-qq"]);
    apt_get(&[&["install", "-y", "-qq", "--no-install-recommends"], packages].concat());
    assert!(runs(), "{packages:?} brought no {}", probe[0]);
}

/// A running bot. Killed when it is dropped.
pub(crate) struct Bot {
    child: Child,
    said: Receiver<String>,
    pub(crate) url: String,
    _folder: Option<TempDir>,
}

impl Bot {
    /// Starts a bot that knows `secret` only.
    pub(crate) fn start(language: Language, secret: &str) -> Self {
        Self::run(language.command(), secret, None)
    }

    /// Starts the example that answers, which knows `secret`. It says nothing of what it takes.
    pub(crate) fn that_answers(language: Language, secret: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let mut command = installed(language, folder.path());
        // It writes a line about each request, as examples do.
        command.env("PORT", "0").stderr(Stdio::null());
        Self::run(command, secret, Some(folder))
    }

    fn run(mut command: Command, secret: &str, folder: Option<TempDir>) -> Self {
        let mut child = command
            .env("SECRET", secret)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the bot starts");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (send, said) = mpsc::channel();
        // Reads to the end whatever happens: a full pipe would stop the bot.
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let mut bot = Self {
            child,
            said,
            url: String::new(),
            _folder: folder,
        };
        let (word, port) = bot.next();
        assert_eq!(word, "listening");
        bot.url = format!("http://127.0.0.1:{port}/kf");
        bot
    }

    /// The next thing it says: a word, and what it is about.
    fn next(&self) -> (String, String) {
        let line = self.said.recv_timeout(PATIENCE).expect("the bot goes on");
        let (word, about) = line.split_once(' ').expect("a word and what it is about");
        (word.to_owned(), about.to_owned())
    }

    /// Waits until it has taken `count` messages. It must refuse none.
    pub(crate) fn until_taken(&self, count: usize) {
        let mut ids = HashSet::new();
        while ids.len() < count {
            let (word, id) = self.next();
            assert_eq!(word, "taken", "{id}");
            ids.insert(id);
        }
    }

    /// Waits until it has refused `count` posts. It must take none.
    pub(crate) fn until_refused(&self, count: usize) {
        for _ in 0..count {
            let (word, id) = self.next();
            assert_eq!(word, "refused", "{id}");
        }
    }
}

impl Drop for Bot {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
