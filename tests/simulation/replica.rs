//! One process of the server: its engines, and its ways to the database and to WeCom.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wecom_kf::backoff::Backoff;
use wecom_kf::clock::{Clock, UnixMillis};
use wecom_kf::dispatcher::{self, Dispatcher};
use wecom_kf::handler::Roster;
use wecom_kf::id::{AccountKey, AppName, CallbackToken};
use wecom_kf::lease::{self, Leases};
use wecom_kf::store::Store;
use wecom_kf::syncer::{self, Marks, Syncer, Upstream, WakeUps};

use crate::audit::Auditor;
use crate::chance::Chance;
use crate::layer::Layered;
use crate::life::Life;
use crate::wecom::Line;
use crate::wire::Wire;
use crate::witness::Witness;
use crate::world::World;

/// How long a replica that is asked to stop may take for attempts in hand.
const GRACE: Duration = Duration::from_secs(5);

/// How long a lease lasts: shorter than a replica may be stopped, or cut off.
const TERM: Duration = Duration::from_secs(6);

/// Owners are numbered by place and generation.
pub(crate) fn place(owner: u64) -> u64 {
    owner % 100
}

/// A replica that runs.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) life: Life,
    stop: CancellationToken,
    wake_ups: HashMap<AppName, Arc<WakeUps>>,
    clock: Arc<dyn Clock>,
    engines: JoinHandle<()>,
}

impl Replica {
    /// Starts the `generation`-th process at `place`.
    pub(crate) fn start(world: &World, place: u64, generation: u64) -> Self {
        let life = Life::new(place + 100 * generation);
        world.audit.started(life.owner());
        let clock: Arc<dyn Clock> = Arc::new(WallClock::of(world, place));
        let store = connect(world, &life);
        let registrations = world.handlers.iter().map(|(id, name)| {
            let registration = Witness::registration(&world.outside, name.clone(), *id, &life);
            (*id, registration)
        });
        let roster = Arc::new(Roster::new(registrations));
        let upstreams = world.wecoms.iter().map(|wecom| {
            let upstream: Arc<dyn Upstream> = Arc::new(Line {
                wecom: Arc::clone(wecom),
                life: life.clone(),
            });
            (wecom.app.clone(), (upstream, sync_settings()))
        });
        let mut marks = Marks::default();
        marks.backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        let mut term = lease::Settings::default();
        term.term = TERM;
        let (leases, tender) = Leases::of(&store, &clock, term);
        let syncer = Syncer::new(upstreams.collect(), &store, &roster, &leases, &clock, marks);
        let wake_ups = world.wecoms.iter().map(|wecom| &wecom.app);
        let wake_ups = wake_ups
            .map(|app| (app.clone(), syncer.wake_ups(app).unwrap()))
            .collect();
        let mut hand_out = dispatcher::Settings::default();
        (hand_out.window, hand_out.per_customer, hand_out.grace) = (16, 3, GRACE);
        let dispatcher = Dispatcher::new(&store, &roster, &leases, &clock, &hand_out).unwrap();
        let stop = CancellationToken::new();
        let engines = tokio::spawn({
            let stop = stop.clone();
            async move {
                let tending = async {
                    if let Some(tender) = tender {
                        tender.run(stop.clone()).await;
                    }
                };
                tokio::join!(
                    syncer.run(stop.clone(), stop.clone()),
                    dispatcher.run(stop.clone()),
                    tending
                );
            }
        });
        Self {
            life,
            stop,
            wake_ups,
            clock,
            engines,
        }
    }

    /// A callback of WeCom arrives here.
    pub(crate) fn callback(&self, account: &AccountKey, number: u64) {
        let token = CallbackToken::new(format!("ENC{number}"));
        self.wake_ups[&account.app].wake(account.open_kfid.clone(), Some(token), self.clock.now());
    }

    /// Asks it to stop, as SIGTERM does.
    pub(crate) fn retire(&self) {
        self.stop.cancel();
    }

    /// Whether it was asked to stop.
    pub(crate) fn is_retiring(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits until it has stopped of itself.
    pub(crate) async fn ended(self) {
        let ended = self.engines.await;
        assert!(ended.is_ok(), "an engine died: {ended:?}");
    }

    /// Whether it has stopped of itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.engines.is_finished()
    }

    /// Kills it: what it had in memory is gone.
    pub(crate) fn kill(&self, world: &World) {
        self.life.die();
        world.audit.disturbed(self.life.owner());
        self.engines.abort();
    }
}

/// The database as the process sees it, with the audit at its far end.
fn connect(world: &World, life: &Life) -> Arc<dyn Store> {
    let handle: Arc<dyn Store> = world.database.open(life.owner());
    let store = (world.flaw)(handle);
    let auditor = Auditor {
        audit: Arc::clone(&world.audit),
        owner: life.owner(),
    };
    Arc::new(Wire::new(
        Layered::over(store, auditor),
        Arc::clone(&world.turns),
        life.clone(),
        world.chance,
        Arc::clone(&world.weather),
    ))
}

fn sync_settings() -> syncer::Settings {
    let mut settings = syncer::Settings::default();
    // Longer than a run: what no callback brings is not brought by chance.
    settings.poll_interval = Duration::from_secs(24 * 60 * 60);
    settings.backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    settings.pulls_at_once = 2;
    settings
}

/// The clock on the wall of one machine: it is wrong by as much as the seed says, and throws the dice of the seed.
#[derive(Debug)]
struct WallClock {
    began: Instant,
    /// What it showed then.
    showed: UnixMillis,
    chance: Chance,
    place: u64,
}

impl WallClock {
    fn of(world: &World, place: u64) -> Self {
        let wrong_by = world.chance.millis(0..=3_000, ("clock", place));
        Self {
            began: world.began,
            showed: world.opened.plus(wrong_by),
            chance: world.chance,
            place,
        }
    }
}

impl Clock for WallClock {
    fn now(&self) -> UnixMillis {
        self.showed.plus(self.began.elapsed())
    }

    /// By place and moment, so that it does not matter who asks first.
    fn rng(&self) -> SmallRng {
        self.chance.of(("dice", self.place, self.began.elapsed().as_millis()))
    }
}
