//! Runs one command to its end.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::server::binary;

/// Far longer than any command takes: one that has not ended by then never will.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a command ended, and what it wrote.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the binary with `arguments`.
pub(crate) fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Ended {
    run_with(arguments, &[])
}

/// Runs the binary with `arguments` and nothing but `variables` in its environment.
pub(crate) fn run_with<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>, variables: &[(&str, &str)]) -> Ended {
    let child = binary()
        .args(arguments)
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    end_of(child)
}

/// Runs the words of `command` on the config at `config`.
pub(crate) fn run_on(config: &Path, command: &str) -> Ended {
    let words = command.split_whitespace().map(OsStr::new);
    run(words.chain([OsStr::new("--config"), config.as_os_str()]))
}

fn end_of(child: Child) -> Ended {
    let pid = Pid::from_raw(child.id().try_into().expect("a pid"));
    let (send, ended) = mpsc::channel();
    thread::spawn(move || send.send(child.wait_with_output()));
    let Ok(output) = ended.recv_timeout(PATIENCE) else {
        kill(pid, Signal::SIGKILL).expect("the command can be killed");
        panic!("the command does not end");
    };
    let output = output.expect("its output can be read");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ended {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

impl Ended {
    /// What it printed, if all went well.
    #[track_caller]
    pub(crate) fn good(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// The one line that says why it failed with `code`. Warnings and log lines may stand beside it, a panic may not.
    #[track_caller]
    pub(crate) fn complaint(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        let told = self.stderr.lines().filter_map(|line| line.strip_prefix("wecom-kf: "));
        let told: Vec<_> = told.filter(|line| !line.starts_with("warning: ")).collect();
        assert_eq!(told.len(), 1, "{self:#?}");
        told[0]
    }

    /// Neither stream shows any of `secrets`.
    #[track_caller]
    pub(crate) fn tells_none_of(&self, secrets: &[&str]) {
        for secret in secrets {
            assert!(
                !self.stdout.contains(secret) && !self.stderr.contains(secret),
                "{self:#?}"
            );
        }
    }
}

/// `text` holds every one of `words`.
#[track_caller]
pub(crate) fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no {word:?} in {text:?}");
    }
}
