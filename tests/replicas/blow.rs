//! What is done to replicas and their database, one round at a time. Each blow heals before it returns.

use std::fmt;
use std::time::Duration;

use nix::sys::signal::Signal;
use rand::RngExt as _;
use rand::rngs::SmallRng;
use tokio::time::sleep;

use crate::life::Life;
use crate::moment::Moment;
use crate::proxy::Wire;
use crate::stage::{REPLICAS, Stage};
use crate::trouble::Kind;

/// Longest wait between two things whose order in time does not matter.
const A_MOMENT: Duration = Duration::from_millis(800);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Blow {
    /// A replica is killed (`kill -9`), and another started in its place, before others have its leases or after.
    Kill,
    /// A replica is stopped (`SIGSTOP`) until others have its leases, and goes on.
    Pause,
    /// Each replica in turn is asked to end (`SIGTERM`), and another started in its place.
    RollingRestart,
    /// The postmaster is killed (`kill -9`), and started again.
    KillDatabase,
    /// The database ends as by `pg_ctl stop -m immediate`, and is started again.
    StopDatabase,
    /// A replica's connections to the database break, and it may connect again at once.
    Blip,
    /// A replica has this kind of wire until others have its leases.
    Unwire(Wire),
}

impl fmt::Display for Blow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Stage {
    /// Deals `blow` to a replica that the `dice` choose, or to the database, and heals it.
    pub(crate) async fn suffer(&mut self, blow: Blow, dice: &mut SmallRng) {
        let victim = dice.random_range(0..REPLICAS);
        match blow {
            Blow::Kill => self.kill(victim, dice.random_ratio(1, 3)).await,
            Blow::Pause => self.pause(victim, a_moment(dice)).await,
            Blow::RollingRestart => self.restart_each().await,
            Blow::KillDatabase => self.end_database(Signal::SIGKILL, a_moment(dice)).await,
            Blow::StopDatabase => self.end_database(Signal::SIGQUIT, a_moment(dice)).await,
            Blow::Blip => self.blip(victim),
            Blow::Unwire(wire) => self.unwire(victim, wire).await,
        }
        sleep(a_moment(dice)).await;
    }

    /// `kill -9`. Returns who died, and when.
    pub(crate) fn strike_down(&mut self, victim: usize) -> (Life, Moment) {
        let (life, died) = (self.replicas[victim].life, self.origin.elapsed());
        self.replicas[victim].kill();
        self.troubles.begin(Kind::Killed, vec![life], died);
        (life, died)
    }

    async fn kill(&mut self, victim: usize, at_once: bool) {
        let (life, died) = self.strike_down(victim);
        if at_once {
            self.launch(victim);
        }
        self.taken_over_from(life, died).await;
        if !at_once {
            self.launch(victim);
        }
        self.all_share().await;
    }

    async fn pause(&self, victim: usize, longer: Duration) {
        let replica = &self.replicas[victim];
        let began = self.origin.elapsed();
        replica.pause();
        let trouble = self.troubles.begin(Kind::Paused, vec![replica.life], began);
        self.taken_over_from(replica.life, began).await;
        sleep(longer).await;
        // What it brings back arrives after this.
        self.troubles.end(trouble, self.origin.elapsed());
        replica.go_on();
        self.all_share().await;
    }

    async fn restart_each(&mut self) {
        for number in 0..REPLICAS {
            self.replicas[number].stop();
            self.launch(number);
            self.all_share().await;
        }
    }

    async fn end_database(&mut self, signal: Signal, longer: Duration) {
        let lives = self.replicas.iter().map(|replica| replica.life).collect();
        let trouble = self.troubles.begin(Kind::Unserved, lives, self.origin.elapsed());
        self.cluster.end(signal);
        sleep(longer).await;
        self.cluster.resume();
        self.troubles.end(trouble, self.origin.elapsed());
        self.all_ready().await;
        self.all_share().await;
    }

    fn blip(&self, victim: usize) {
        let replica = &self.replicas[victim];
        let now = self.origin.elapsed();
        replica.proxy.set(Wire::Cut);
        replica.proxy.set(Wire::Sound);
        let trouble = self.troubles.begin(Kind::Unwired, vec![replica.life], now);
        self.troubles.end(trouble, now);
    }

    async fn unwire(&self, victim: usize, wire: Wire) {
        let replica = &self.replicas[victim];
        let began = self.origin.elapsed();
        let trouble = self.troubles.begin(Kind::Unwired, vec![replica.life], began);
        replica.proxy.set(wire);
        self.taken_over_from(replica.life, began).await;
        replica.proxy.set(Wire::Sound);
        self.troubles.end(trouble, self.origin.elapsed());
        self.all_share().await;
    }
}

fn a_moment(dice: &mut SmallRng) -> Duration {
    A_MOMENT.mul_f64(dice.random())
}
