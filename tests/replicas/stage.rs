//! Everything a test plays on: a simulated WeCom, three replicas behind a load balancer, their database, and a receiver.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, NoTls};
use wecom_kf::callback::{GeneratedKeys, KeyPair};
use wecom_kf::clock::{Clock, ScaledClock, SystemClock};
use wecom_kf::id::OpenKfid;
use wecom_kf::simulator::samples;
use wecom_kf::simulator::{Account, CallbackTarget, Dial, Fault, Faults, Limits, Settings, Simulator};

use crate::balancer::Balancer;
use crate::life::Life;
use crate::moment::{Moment, Origin};
use crate::post::SIGNING_SECRET;
use crate::postgres::Cluster;
use crate::postgres::pgbouncer::Pgbouncer;
use crate::proxy::Proxy;
use crate::receiver::{Manners, Receiver};
use crate::replica::Replica;
use crate::tenure::Tenures;
use crate::trouble::Troubles;
use crate::verdict::{CONCURRENCY, Evidence, Verdict};
use crate::witness;

/// How many replicas there are.
pub(crate) const REPLICAS: usize = 3;
/// `store.lease`: short, so that a round is.
pub(crate) const LEASE: Duration = Duration::from_secs(3);
/// Who owns the cluster, and may do anything.
const USER: &str = "postgres";
const DATABASE: &str = "kf";
/// Far longer than anything takes: what has not happened by then will not.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What is different from one stage to the next.
#[derive(Clone, Copy)]
pub(crate) struct Scene {
    /// How the receiver answers.
    pub(crate) manners: Manners,
    /// What the clock of each replica is wrong by.
    pub(crate) clocks: [Option<&'static str>; REPLICAS],
    pub(crate) way: Way,
    /// WeCom's clock: how many of its seconds pass in one of ours.
    pub(crate) speed: u32,
    /// `sync.poll_interval`.
    pub(crate) poll_interval: &'static str,
}

/// How replicas reach their database.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Direct,
    ThroughPgbouncer,
}

impl Scene {
    /// Nothing special. WeCom's minute takes a tenth of a second, so that its blocks are over soon.
    pub(crate) const PLAIN: Self = Self {
        manners: Manners::PROMPT,
        clocks: [None; REPLICAS],
        way: Way::Direct,
        speed: 600,
        poll_interval: "500ms",
    };
}

pub(crate) struct Stage {
    pub(crate) origin: Origin,
    pub(crate) wecom: Arc<Simulator>,
    pub(crate) accounts: Vec<OpenKfid>,
    pub(crate) receiver: Receiver,
    /// Ended before their database is, so that their last words are about something else.
    pub(crate) replicas: Vec<Replica>,
    bouncer: Option<Pgbouncer>,
    pub(crate) cluster: Cluster,
    pub(crate) troubles: Troubles,
    balancer: Balancer,
    scene: Scene,
    corp_id: String,
    secret: String,
    keys: GeneratedKeys,
    _folder: TempDir,
}

impl Stage {
    /// Starts everything but the replicas, for `accounts` accounts.
    pub(crate) async fn set(scene: Scene, accounts: usize) -> Self {
        let origin = Origin::now();
        let accounts = samples::accounts(7, accounts);
        let settings = settings(scene, &accounts);
        let (corp_id, secret) = (settings.corp_id.to_string(), settings.secret.expose_secret().to_owned());
        let wecom = Simulator::start(settings).await.expect("the simulator starts");
        let receiver = Receiver::start(origin, scene.manners).await;
        let balancer = Balancer::start(REPLICAS).await;
        let keys = KeyPair::generate(&mut rand::rng());
        let cluster = cluster();
        cluster.sql(USER, &format!("CREATE DATABASE {DATABASE}"));
        let folder = TempDir::new().expect("a folder");
        let mut replicas = Vec::new();
        for (number, clock) in (0_u8..).zip(scene.clocks) {
            let proxy = Proxy::start(cluster.address()).await;
            let config = folder.path().join(format!("{number}.toml"));
            replicas.push(Replica::new(number, proxy, config, clock));
        }
        let bouncer = (scene.way == Way::ThroughPgbouncer).then(|| {
            let ways: Vec<_> = replicas.iter().map(|replica| replica.proxy.address).collect();
            replicas.iter_mut().for_each(|replica| replica.is_pooled = true);
            Pgbouncer::along(&ways, &cluster, DATABASE)
        });
        let stage = Self {
            origin,
            wecom: Arc::new(wecom),
            accounts,
            receiver,
            cluster,
            replicas,
            troubles: Troubles::default(),
            balancer,
            bouncer,
            scene,
            corp_id,
            secret,
            keys,
            _folder: folder,
        };
        stage.ring_at_the_balancer();
        stage
    }

    /// Lets WeCom call whoever the balancer chooses.
    pub(crate) fn ring_at_the_balancer(&self) {
        self.ring_at(self.balancer.address);
    }

    /// Lets WeCom call `address`.
    pub(crate) fn ring_at(&self, address: std::net::SocketAddr) {
        let GeneratedKeys {
            token,
            encoding_aes_key,
            ..
        } = &self.keys;
        let url = format!("http://{address}/callback/main");
        let target = CallbackTarget::new(&url, token.clone(), encoding_aes_key.clone(), self.corp_id.as_str());
        self.wecom.set_callback(Some(target.expect("a good target")));
    }

    /// Starts all replicas, and lets the database see as soon as the first has made its tables.
    pub(crate) async fn start_all(&mut self) {
        for number in 0..REPLICAS {
            self.launch(number);
            if number == 0 {
                witness::watch(&self.database().await, self.replicas[0].life).await;
            }
        }
        self.all_share().await;
    }

    /// Starts replica `number`, which does not run.
    pub(crate) fn launch(&mut self, number: usize) {
        let config = self.config(number, self.replicas[number].upcoming());
        let callbacks = self.replicas[number].launch(&config).callbacks;
        self.balancer.set(number, callbacks);
    }

    /// A connection of the test's own to the database, that no proxy can cut.
    pub(crate) async fn database(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.cluster.url(DATABASE), NoTls)
            .await
            .expect("the database can be reached");
        tokio::spawn(connection);
        client
    }

    /// Who held what until now.
    pub(crate) async fn tenures(&self) -> Tenures {
        Tenures::of(&witness::hands(&self.database().await, &self.origin).await)
    }

    /// Waits until every replica that runs holds something.
    pub(crate) async fn all_share(&self) {
        self.until("every replica holds something", async |stage: &Self| {
            let tenures = stage.tenures().await;
            let now = stage.origin.elapsed();
            let mut running = stage.replicas.iter().filter(|replica| replica.is_running());
            running.all(|replica| !tenures.held(replica.life, now).is_empty())
        })
        .await;
    }

    /// Waits until others have everything that `life` held at `then`.
    pub(crate) async fn taken_over_from(&self, life: Life, then: Moment) {
        self.until("everything is taken over", async |stage: &Self| {
            !stage.tenures().await.takeovers(life, then).contains(&Moment::MAX)
        })
        .await;
    }

    /// Waits until every replica that runs says that it is ready.
    pub(crate) async fn all_ready(&self) {
        self.until("every replica is ready", async |stage: &Self| {
            for replica in stage.replicas.iter().filter(|replica| replica.is_running()) {
                if stage.readiness(replica).await.0 != 200 {
                    return false;
                }
            }
            true
        })
        .await;
    }

    /// What `/readyz` of a replica answers.
    pub(crate) async fn readiness(&self, replica: &Replica) -> (u16, String) {
        let url = format!("http://{}/readyz", replica.server().admin);
        match reqwest::get(url).await {
            Ok(answer) => (answer.status().as_u16(), answer.text().await.unwrap_or_default()),
            Err(_) => (0, String::new()),
        }
    }

    /// Waits until `it_is` so.
    pub(crate) async fn until(&self, what: &str, it_is: impl AsyncFn(&Self) -> bool) {
        let waiting = async {
            while !it_is(self).await {
                sleep(Duration::from_millis(50)).await;
            }
        };
        assert!(
            timeout(PATIENCE, waiting).await.is_ok(),
            "not within {PATIENCE:?}: {what}"
        );
    }

    /// Waits until everything that was said has arrived, or nothing more does.
    pub(crate) async fn all_arrived(&self) {
        let ledger = self.wecom.ledger();
        let mut enough = ledger.said.len();
        while self.receiver.book.until(enough, PATIENCE).await {
            let taken = self.receiver.book.taken();
            match ledger.verdict(&taken).lost {
                0 => return,
                // Something else was among what came: so many more are needed at least.
                lost => enough = taken.len() + usize::try_from(lost).expect("a small number"),
            }
        }
    }

    /// Ends every replica that runs and compares everything.
    pub(crate) async fn verdict(&mut self) -> Verdict {
        let running = self.replicas.iter_mut().filter(|replica| replica.is_running());
        running.for_each(Replica::stop);
        self.wecom.quiet().await;
        let database = self.database().await;
        let double = "SELECT coalesce(sum(n - 1), 0)::bigint FROM (SELECT count(*) AS n FROM message GROUP BY account_id, msgid) t";
        let owed = witness::number(&database, "SELECT count(*) FROM delivery").await;
        let book = &self.receiver.book;
        let verdict = Verdict::of(&Evidence {
            ledger: &self.wecom.ledger(),
            attempts: &book.attempts(),
            taken: &book.taken(),
            log: &witness::seen(&database, &self.origin).await,
            troubles: &self.troubles.all(),
            double_rows: witness::number(&database, double).await,
            dead: witness::number(&database, "SELECT count(*) FROM dead").await,
        });
        assert_eq!(book.wrong(), [""; 0], "not what the contract says");
        assert_eq!(book.wrong_keys(), 0, "an idempotency key is not that of its message");
        assert_eq!(owed, 0, "still owed though everything arrived: {verdict}");
        verdict
    }

    fn config(&self, number: usize, life: Life) -> String {
        let Scene { poll_interval, .. } = self.scene;
        let store = match &self.bouncer {
            Some(bouncer) => bouncer.url(&number.to_string()),
            None => format!("postgres://{USER}@{}/{DATABASE}", self.replicas[number].proxy.address),
        };
        format!(
            r#"
            [server]
            listen = "127.0.0.1:0"
            admin_listen = "127.0.0.1:0"
            [log]
            format = "json"
            [store]
            url = "{store}"
            lease = "{lease}s"
            [sync]
            poll_interval = "{poll_interval}"
            page_limit = 100
            calls_per_second = 10000
            calls_burst = 10000
            tokenless_per_minute = 10000
            backoff_min = "5ms"
            backoff_max = "100ms"
            rate_limit_pause = "110ms"
            operator_pause = "200ms"
            [[apps]]
            name = "main"
            corp_id = "{corp_id}"
            secret = "{secret}"
            api_base = "{api_base}"
            callback_keys = [{{ token = "{token}", encoding_aes_key = "{encoding_aes_key}" }}]
            [[handlers]]
            name = "bot"
            kind = "forward"
            url = "{url}"
            signing_secret = "{SIGNING_SECRET}"
            origins = ["all"]
            concurrency = {CONCURRENCY}
            retry_schedule = ["20ms", "50ms", "100ms"]
            probe_min = "20ms"
            probe_max = "100ms"
            "#,
            lease = LEASE.as_secs(),
            corp_id = self.corp_id,
            secret = self.secret,
            api_base = self.wecom.base_url(),
            token = self.keys.token.expose_secret(),
            encoding_aes_key = self.keys.encoding_aes_key.expose_secret(),
            url = self.receiver.url(life),
        )
    }
}

/// A database server that lets in whoever comes from any address of the loopback.
pub(crate) fn cluster() -> Cluster {
    let cluster = Cluster::start();
    let access = cluster.folder().join("data/pg_hba.conf");
    let mut access = File::options().append(true).open(access).expect("it is there");
    writeln!(access, "host all all 127.0.0.0/8 trust").expect("it can be written");
    cluster.sql(USER, "SELECT pg_reload_conf()");
    cluster
}

/// Everything goes wrong now and then at WeCom and on the way to it.
pub(crate) fn all_faults() -> Faults {
    let mut faults = Faults::all(0.02);
    faults.slowness = Duration::from_millis(50);
    faults
}

/// Nobody is called any more: what is left must be found without.
pub(crate) fn no_callbacks() -> Faults {
    Faults::only(Fault::CallbackDropped, Dial::Chance(1.0))
}

fn settings(scene: Scene, accounts: &[OpenKfid]) -> Settings {
    let mut settings = Settings::default();
    settings.accounts = accounts.iter().map(|id| Account::new(id.as_str(), "客服")).collect();
    let system: Arc<dyn Clock> = Arc::new(SystemClock);
    settings.clock = Arc::new(ScaledClock::new(system, scene.speed));
    let mut limits = Limits::default();
    limits.per_minute = u32::MAX;
    limits.per_hour = u32::MAX;
    limits.tokenless_per_minute = u32::MAX;
    limits.gettoken_per_minute = u32::MAX;
    settings.limits = limits;
    // The servers live in real time, in which these would soon be over.
    settings.access_token_lifetime *= scene.speed;
    settings.callback_token_lifetime *= scene.speed;
    settings.history *= scene.speed;
    settings.replies.welcome_code = settings.replies.window;
    settings
}
