//! What the PostgreSQL store promises beyond the contract: about its database, and about several who share it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio_postgres::{Client, NoTls};
use wecom_kf::store::{Settings, Store, open, open_operator};

use crate::bench::Bench;

#[path = "../postgres/mod.rs"]
mod cluster;

use cluster::Cluster;

/// The cluster of this process, which its janitor ends with it.
fn cluster() -> &'static Cluster {
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
            apart(async || restore(&database, new_store().await).await);
            return Self { database };
        }
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let database = format!("store{}", MADE.fetch_add(1, Ordering::Relaxed));
        apart(async || run("postgres", &format!("CREATE DATABASE {database}")).await);
        Self { database }
    }
}

impl Drop for PostgresBench {
    fn drop(&mut self) {
        // What is left of its stores must not act on the next one's.
        let database = std::mem::take(&mut self.database);
        apart(async || {
            on("postgres", async |client| {
                let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
                while client.execute(end, &[&database]).await.unwrap() > 0 {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            })
            .await;
        });
        IDLE.lock().unwrap().push(database);
    }
}

impl PostgresBench {
    pub(crate) fn settings(&self) -> Settings {
        Settings::new(cluster().url(&self.database))
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
            restore(&left.database, &snapshot(&self.database).await).await;
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
async fn on<T>(database: &str, work: impl AsyncFnOnce(&Client) -> T) -> T {
    let (client, connection) = tokio_postgres::connect(&cluster().url(database), NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    let done = work(&client).await;
    drop(client);
    driver.await.unwrap().unwrap();
    done
}

/// Runs `sql` on `database` as any program could.
async fn run(database: &str, sql: &str) {
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
        drop(open(&Settings::new(cluster().url("new_store"))).await.unwrap());
        snapshot("new_store").await
    };
    NEW.get_or_init(make).await
}

/// Makes a database with our tables hold what a snapshot says.
async fn restore(database: &str, snapshot: &str) {
    run(database, snapshot).await;
}
