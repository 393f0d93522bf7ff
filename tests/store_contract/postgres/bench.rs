//! A place for PostgreSQL stores: one private cluster for all tests of the process, a database for each store.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio_postgres::{Client, NoTls};
use wecom_kf::store::{Settings, Store, open, open_operator};

use super::cluster::Cluster;
use super::cluster::pgbouncer::Pgbouncer;
use crate::bench::Bench;

/// The cluster of this process, which its janitor ends with it.
pub(super) fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(Cluster::start)
}

/// Databases that no bench uses at the moment, with our tables. Making one takes far longer than emptying it.
static IDLE: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A database of its own for each store.
pub(crate) struct PostgresBench {
    database: String,
}

impl Default for PostgresBench {
    fn default() -> Self {
        let idle = IDLE.lock().unwrap().pop();
        if let Some(database) = idle {
            apart(async || run(&database, new_store().await).await);
            return Self { database };
        }
        let database = apart(async || new_database("").await);
        Self { database }
    }
}

/// Makes a database with nothing in it.
pub(super) async fn new_database(options: &str) -> String {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let database = format!("store{}", MADE.fetch_add(1, Ordering::Relaxed));
    run("postgres", &format!("CREATE DATABASE {database} {options}")).await;
    database
}

/// How to open a store in `database`.
pub(super) fn settings(database: &str) -> Settings {
    Settings::new(cluster().url(database))
}

impl Drop for PostgresBench {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // What is left of its stores must not act on the next one's.
        let database = std::mem::take(&mut self.database);
        apart(async || {
            while end_sessions(&database).await > 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        IDLE.lock().unwrap().push(database);
    }
}

/// Ends every session in `database`, and returns how many there were.
pub(super) async fn end_sessions(database: &str) -> u64 {
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
    on("postgres", async |client| {
        client.execute(end, &[&database]).await.unwrap()
    })
    .await
}

impl PostgresBench {
    pub(super) fn database(&self) -> &str {
        &self.database
    }

    pub(crate) fn settings(&self) -> Settings {
        settings(&self.database)
    }

    /// Runs `sql` on the database as any program could.
    pub(crate) fn tamper(&self, sql: &str) {
        apart(async || run(&self.database, sql).await);
    }
}

impl Bench for PostgresBench {
    async fn open(&self) -> Arc<dyn Store> {
        open(&self.settings()).await.unwrap()
    }

    async fn open_operator(&self) -> Arc<dyn Store> {
        open_operator(&self.settings()).await.unwrap()
    }

    fn killed(&self) -> Self {
        // Whoever has the store open holds nothing but what is committed: that is what others find.
        let left = Self::default();
        apart(async || {
            drop(left.open().await);
            run(&left.database, &snapshot(&self.database).await).await;
        });
        left
    }
}

/// Runs `work` on a thread of its own, from wherever it is called.
fn apart<T: Send>(work: impl AsyncFnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(work())
        });
        work.join().unwrap()
    })
}

/// Runs `work` on a connection to `database`.
pub(super) async fn on<T>(database: &str, work: impl AsyncFnOnce(&Client) -> T) -> T {
    let (client, connection) = tokio_postgres::connect(&cluster().url(database), NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    let done = work(&client).await;
    drop(client);
    driver.await.unwrap().unwrap();
    done
}

/// Runs `sql` on `database` as any program could.
pub(super) async fn run(database: &str, sql: &str) {
    on(database, async |client| client.batch_execute(sql).await.unwrap()).await;
}

/// What a store holds: a statement for each table and each counter that brings it back.
async fn snapshot(database: &str) -> String {
    // All tables by one statement, so that they are from one moment.
    let gather = "
        SELECT 'SELECT ' || string_agg(format(
            'format(''DELETE FROM %1$I; INSERT INTO %1$I OVERRIDING SYSTEM VALUE
                SELECT * FROM json_populate_recordset(NULL::%1$I, %%L);'',
                (SELECT coalesce(json_agg(t), ''[]'') FROM %1$I t)::text)',
            tablename), ' || ')
        FROM pg_tables WHERE schemaname = 'public'";
    let counters = "
        SELECT string_agg(format('SELECT setval(%L, %s, %L);',
            sequencename, coalesce(last_value, 1), last_value IS NOT NULL), '')
        FROM pg_sequences WHERE schemaname = 'public'";
    on(database, async |client| {
        let gather: String = client.query_one(gather, &[]).await.unwrap().get(0);
        let tables: String = client.query_one(&gather, &[]).await.unwrap().get(0);
        let counters: String = client.query_one(counters, &[]).await.unwrap().get(0);
        tables + &counters
    })
    .await
}

/// What a new store holds.
async fn new_store() -> &'static str {
    static NEW: tokio::sync::OnceCell<String> = tokio::sync::OnceCell::const_new();
    let make = async || {
        run("postgres", "CREATE DATABASE new_store").await;
        drop(open(&settings("new_store")).await.unwrap());
        snapshot("new_store").await
    };
    NEW.get_or_init(make).await
}

/// The same, with pgbouncer before it, which hands each call to a server connection of its choice.
#[derive(Default)]
pub(crate) struct PooledBench(PostgresBench);

impl PooledBench {
    fn settings(&self) -> Settings {
        static POOLER: OnceLock<Pgbouncer> = OnceLock::new();
        let pooler = POOLER.get_or_init(|| Pgbouncer::before(cluster()));
        Settings::new(pooler.url(self.0.database()))
    }
}

impl Bench for PooledBench {
    async fn open(&self) -> Arc<dyn Store> {
        open(&self.settings()).await.unwrap()
    }

    async fn open_operator(&self) -> Arc<dyn Store> {
        open_operator(&self.settings()).await.unwrap()
    }

    fn killed(&self) -> Self {
        Self(self.0.killed())
    }
}
