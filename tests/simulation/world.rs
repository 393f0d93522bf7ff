//! What outlives every replica, and how a run goes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use wecom_kf::clock::UnixMillis;
use wecom_kf::id::{AccountKey, AppName, HandlerName, Msgid, OpenKfid};
use wecom_kf::store::{HandlerId, Store};

use crate::audit::{Audit, Finding};
use crate::chance::Chance;
use crate::database::{Database, Sharing};
use crate::plan::{Event, Plan};
use crate::replica::Replica;
use crate::turns::Turns;
use crate::weather::Weather;
use crate::wecom::Wecom;
use crate::witness::{FRESH, Outside};

/// When every run begins, by the clocks on the walls.
const OPENED: UnixMillis = UnixMillis(1_785_571_200_000);
/// How long a run may take to come to rest in fair weather.
const PATIENCE: Duration = Duration::from_secs(20 * 60);
/// How often somebody writes until then who did not before.
const WRITES_EVERY: Duration = Duration::from_secs(30);
const HANDLERS: [&str; 2] = ["bot", "crm"];

/// Makes another store of the one that replicas are given.
pub(crate) type Flaw = Box<dyn Fn(Arc<dyn Store>) -> Arc<dyn Store>>;

pub(crate) struct World {
    pub(crate) chance: Chance,
    pub(crate) began: Instant,
    pub(crate) opened: UnixMillis,
    pub(crate) weather: Arc<Weather>,
    pub(crate) database: Arc<Database>,
    pub(crate) turns: Arc<Turns>,
    pub(crate) wecoms: Vec<Arc<Wecom>>,
    pub(crate) outside: Arc<Outside>,
    pub(crate) handlers: Vec<(HandlerId, HandlerName)>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) flaw: Flaw,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) findings: Vec<Finding>,
    /// Equal for two runs that took the same course.
    pub(crate) course: u64,
    pub(crate) messages: usize,
    /// How often a handler acted again on a message it had acted on.
    pub(crate) duplicates: u64,
    /// Virtual time.
    pub(crate) took: Duration,
}

/// Lives through `plan` in one thread and in no time.
pub(crate) fn run(plan: &Plan, flaw: Flaw, loud: bool) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let world = World::new(plan, flaw, loud).await;
        world.live(plan).await
    })
}

impl World {
    async fn new(plan: &Plan, flaw: Flaw, loud: bool) -> Self {
        let (chance, began) = (Chance::new(plan.seed), Instant::now());
        let weather = Arc::new(match plan.fair {
            true => Weather::fair(began),
            false => Weather::of(chance, began, plan.lasts),
        });
        let (ends, audit) = (began + plan.lasts, Arc::new(Audit::new(loud)));
        let whisper = move |owner| {
            let subject = ("whisper", owner, began.elapsed().as_millis());
            let is_lost = Instant::now() < ends && chance.happens(100, subject);
            (!is_lost).then(|| chance.millis(1..=80, subject))
        };
        let database = Database::new(plan.sharing, Box::new(whisper));
        let names = HANDLERS.map(|name| HandlerName::new(name).unwrap());
        let ids = database.open(u64::MAX).register_handlers(&names).await.unwrap();
        let app = |app: &AppName| Wecom::new(app.clone(), chance, Arc::clone(&weather));
        Self {
            chance,
            began,
            opened: OPENED,
            database,
            turns: Arc::default(),
            wecoms: plan.apps().iter().map(app).collect(),
            outside: Outside::new(chance, Arc::clone(&weather), Arc::clone(&audit)),
            handlers: ids.into_iter().zip(names).collect(),
            weather,
            audit,
            flaw,
        }
    }

    async fn live(&self, plan: &Plan) -> Report {
        let mut fleet = Fleet::new(self, plan);
        for (at, event) in &plan.events {
            sleep_until(self.began + *at).await;
            fleet.on(event).await;
        }
        sleep_until(self.began + plan.lasts).await;
        fleet.mend().await;
        let settled_by = Instant::now() + PATIENCE;
        let mut write_at = Instant::now() + WRITES_EVERY;
        while !self.audit.is_at_rest(&self.letters()) && Instant::now() < settled_by {
            sleep(Duration::from_millis(500)).await;
            // Whoever writes is to have the time to be answered.
            if Instant::now() >= write_at && write_at + 2 * WRITES_EVERY < settled_by {
                fleet.somebody_else_writes();
                write_at += WRITES_EVERY;
            }
        }
        let letters = self.letters();
        fleet.retire().await;
        let store = self.database.open(u64::MAX);
        let duplicates = self.audit.close(&*store, &letters, &self.handlers).await;
        Report {
            findings: self.audit.findings(),
            course: self.audit.course(),
            messages: letters.len(),
            duplicates,
            took: self.began.elapsed(),
        }
    }

    /// Everything that customers wrote.
    fn letters(&self) -> Vec<(AccountKey, Msgid)> {
        let of = |wecom: &Arc<Wecom>| {
            let app = wecom.app.clone();
            let letters = wecom.everything().into_iter();
            letters.flat_map(move |(open_kfid, msgids)| {
                let account = AccountKey::new(app.clone(), open_kfid);
                msgids.into_iter().map(move |msgid| (account.clone(), msgid))
            })
        };
        self.wecoms.iter().flat_map(of).collect()
    }

    fn wecom(&self, app: &AppName) -> &Wecom {
        self.wecoms.iter().find(|wecom| wecom.app == *app).unwrap()
    }
}

/// The replicas, and what they were called for.
struct Fleet<'a> {
    world: &'a World,
    places: Vec<Option<Replica>>,
    generations: Vec<u64>,
    /// Newest callback of each account; 0 if its last message brought none.
    called: BTreeMap<AccountKey, u64>,
    calls: u64,
}

impl<'a> Fleet<'a> {
    fn new(world: &'a World, plan: &Plan) -> Self {
        let mut fleet = Self {
            world,
            places: (0..plan.places).map(|_| None).collect(),
            generations: vec![0; plan.places],
            called: BTreeMap::new(),
            calls: 0,
        };
        // Who is alone has the database alone.
        let first = if plan.sharing == Sharing::Alone { 1 } else { plan.places };
        (0..first).for_each(|place| fleet.start(place));
        fleet
    }

    fn start(&mut self, place: usize) {
        self.generations[place] += 1;
        let replica = Replica::start(self.world, place as u64, self.generations[place]);
        self.places[place] = Some(replica);
    }

    async fn on(&mut self, event: &Event) {
        self.world.audit.note(event);
        match event {
            Event::Message {
                account,
                customer,
                urgent,
            } => {
                let now = OPENED.plus(self.world.began.elapsed());
                self.world
                    .wecom(&account.app)
                    .arrive(&account.open_kfid, customer, *urgent, now);
                self.called.insert(account.clone(), 0);
            }
            Event::Callback { account, place } => self.call(account, *place),
            Event::Kill { place } => {
                if let Some(replica) = self.places[*place].take() {
                    replica.kill(self.world);
                }
            }
            Event::Stop { place } => {
                if let Some(replica) = &self.places[*place] {
                    replica.life.stop();
                    self.world.audit.disturbed(replica.life.owner());
                }
            }
            Event::GoOn { place } => {
                if let Some(replica) = &self.places[*place] {
                    replica.life.go_on();
                }
            }
            Event::Retire { place } => {
                if let Some(replica) = &self.places[*place] {
                    replica.retire();
                }
            }
            Event::Start { place } => self.replace(*place).await,
        }
    }

    /// Puts a new process where none is, or where one was asked to go, once it is gone.
    async fn replace(&mut self, place: usize) {
        if let Some(replica) = self.places[place].take() {
            for _ in 0..60 {
                if replica.has_ended() {
                    break;
                }
                sleep(Duration::from_millis(500)).await;
            }
            if !replica.has_ended() {
                replica.kill(self.world);
            }
        }
        self.start(place);
    }

    /// WeCom calls for `account`, and whoever is up at `place` or after it hears.
    fn call(&mut self, account: &AccountKey, place: usize) {
        self.calls += 1;
        let places = (0..self.places.len()).map(|n| (place + n) % self.places.len());
        let mut up = places.filter_map(|place| self.places[place].as_ref());
        if let Some(replica) = up.find(|replica| !replica.life.is_stopped() && !replica.is_retiring()) {
            replica.callback(account, self.calls);
            self.called.insert(account.clone(), self.calls);
        }
    }

    /// Brings everybody back, and calls again where a callback did not outlive the process that took it.
    async fn mend(&mut self) {
        for replica in self.places.iter().flatten() {
            replica.life.go_on();
        }
        let alone = self.world.database.sharing() == Sharing::Alone;
        let places = if alone { 1 } else { self.places.len() };
        for place in 0..places {
            if self.places[place].as_ref().is_none_or(|replica| replica.is_retiring()) {
                self.replace(place).await;
            }
        }
        // What is on its way into the store arrives.
        sleep(Duration::from_secs(15)).await;
        let called: Vec<_> = self
            .called
            .iter()
            .map(|(account, number)| (account.clone(), *number))
            .collect();
        for (account, number) in called {
            if number == 0
                || self
                    .world
                    .audit
                    .recorded(&account)
                    .is_none_or(|recorded| recorded < number)
            {
                self.call(&account, 0);
            }
        }
    }

    /// Of a handler that is handed nothing but poison nobody can tell that it works: it takes a customer with another
    /// message, and each replica sees only its own customers. So it is somebody new every time.
    fn somebody_else_writes(&mut self) {
        let now = OPENED.plus(self.world.began.elapsed());
        let customer = format!("{FRESH}{}", now.as_secs());
        let accounts: Vec<_> = self.called.keys().cloned().collect();
        for account in accounts {
            self.world
                .wecom(&account.app)
                .arrive(&account.open_kfid, &customer, false, now);
            self.call(&account, 0);
        }
    }

    async fn retire(&mut self) {
        for replica in self.places.iter().flatten() {
            replica.retire();
        }
        for replica in self.places.iter_mut().filter_map(Option::take) {
            replica.ended().await;
        }
    }
}

/// An account of an application.
pub(crate) fn account(app: &str, open_kfid: &str) -> AccountKey {
    AccountKey::new(AppName::new(app).unwrap(), OpenKfid::new(open_kfid))
}
