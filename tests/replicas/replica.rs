//! One of several servers on the same database: its config, its wire, and the processes that run in its place.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::Signal;

use crate::faketime;
use crate::life::Life;
use crate::proxy::Proxy;
use crate::server::{self, Server};

/// A place among the replicas, and the process that runs in it, if one does.
pub(crate) struct Replica {
    /// The process that runs, or ran last.
    pub(crate) life: Life,
    /// Its way to the database.
    pub(crate) proxy: Proxy,
    server: Option<Server>,
    config: PathBuf,
    /// What its clock is wrong by.
    skew: Option<&'static str>,
    /// Whether the database can tell its lives apart: not, where somebody keeps connections for the next one.
    pub(crate) is_pooled: bool,
}

impl Replica {
    /// Place `number`, with nobody in it yet. Its config will stand at `config`, and its clock be wrong by `skew`.
    pub(crate) fn new(number: u8, proxy: Proxy, config: PathBuf, skew: Option<&'static str>) -> Self {
        let life = Life {
            replica: number,
            number: 0,
        };
        proxy.speak_from(life.address());
        Self {
            life,
            proxy,
            server: None,
            config,
            skew,
            is_pooled: false,
        }
    }

    /// The process that would run if it were started now.
    pub(crate) fn upcoming(&self) -> Life {
        match self.is_pooled {
            true => self.life,
            false => self.life.next(),
        }
    }

    /// Starts the [`upcoming`](Self::upcoming) process on the config `text`, after the one before has ended.
    pub(crate) fn launch(&mut self, text: &str) -> &Server {
        assert!(!self.is_running(), "two processes in one place");
        self.life = self.upcoming();
        self.proxy.speak_from(self.life.address());
        fs::write(&self.config, text).expect("the config can be written");
        let mut command = server::serve(&self.config);
        if let Some(offset) = self.skew {
            faketime::skew(&mut command, offset);
        }
        self.server.insert(Server::launch(command))
    }

    pub(crate) fn is_running(&self) -> bool {
        self.server.is_some()
    }

    /// The process that runs.
    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().expect("it runs")
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.server.take().expect("it runs").kill();
    }

    /// `SIGTERM`.
    pub(crate) fn ask_to_end(&self) {
        self.server().signal(Signal::SIGTERM);
    }

    /// Waits for its end. Fails unless it ends well.
    pub(crate) fn ended(&mut self) {
        let status = self.server.take().expect("it runs").wait();
        assert!(status.success(), "{} ended with {status}", self.life);
    }

    /// `SIGTERM`, and the wait for its end.
    pub(crate) fn stop(&mut self) {
        self.ask_to_end();
        self.ended();
    }

    /// Stops it in the middle of whatever it does.
    pub(crate) fn pause(&self) {
        self.server().signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) {
        self.server().signal(Signal::SIGCONT);
    }
}
