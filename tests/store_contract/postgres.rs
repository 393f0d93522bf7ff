//! What the PostgreSQL store promises beyond the contract: about its database, and about several who share it.

use std::sync::{Arc, Mutex};

use tokio_postgres::{Client, NoTls};
use wecom_kf::store::{Settings, Store, open, open_operator};

use crate::bench::Bench;

#[path = "../postgres/mod.rs"]
mod cluster;

use cluster::Cluster;

/// The cluster of this process, which its janitor ends with it.
fn cluster() -> &'static Cluster {
    static CLUSTER: std::sync::OnceLock<Cluster> = std::sync::OnceLock::new();
    CLUSTER.get_or_init(Cluster::start)
}

/// Databases that no bench uses at the moment. Making one takes far longer than emptying it.
static IDLE: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A database of its own for each store.
pub(crate) struct PostgresBench {
    database: String,
}

impl Default for PostgresBench {
    fn default() -> Self {
        let idle = IDLE.lock().unwrap().pop();
        let database = match idle {
            Some(database) => {
                let empty = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";
                apart(async || run(&database, empty).await);
                database
            }
            None => {
                static MADE: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
                let number = MADE.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let database = format!("store{number}");
                let create = format!("CREATE DATABASE {database} TEMPLATE template0");
                apart(async || run("postgres", &create).await);
                database
            }
        };
        Self { database }
    }
}

impl Drop for PostgresBench {
    fn drop(&mut self) {
        // What is left of its stores must not act on the next one's.
        let database = std::mem::take(&mut self.database);
        let end = format!("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = '{database}'");
        apart(async || run("postgres", &end).await);
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
            copy(&self.database, &left.database).await;
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

/// Copies what is committed in the store `from` to the store `to`, whose tables are empty.
async fn copy(from: &str, to: &str) {
    // All tables by one statement, so that they are from one moment.
    let gather = "
        SELECT format('SELECT json_build_object(%s)::text', string_agg(format('%L, (SELECT json_agg(t) FROM %I t)', tablename, tablename), ', '))
        FROM pg_tables WHERE schemaname = 'public'";
    let (rows, numbers) = on(from, async |client| {
        let gather: String = client.query_one(gather, &[]).await.unwrap().get(0);
        let rows: String = client.query_one(&gather, &[]).await.unwrap().get(0);
        let numbers = "SELECT string_agg(format('SELECT setval(%L, %s)', sequencename, last_value), ';') FROM pg_sequences WHERE last_value IS NOT NULL";
        let numbers: Option<String> = client.query_one(numbers, &[]).await.unwrap().get(0);
        (rows, numbers.unwrap_or_default())
    })
    .await;
    let scatter = "
        SELECT string_agg(format('TRUNCATE %I; INSERT INTO %I OVERRIDING SYSTEM VALUE SELECT * FROM json_populate_recordset(NULL::%I, $rows$%s$rows$)',
            key, key, key, value), ';')
        FROM json_each($1::text::json) WHERE json_typeof(value) <> 'null'";
    on(to, async |client| {
        let scatter: Option<String> = client.query_one(scatter, &[&rows]).await.unwrap().get(0);
        client.batch_execute(&scatter.unwrap_or_default()).await.unwrap();
        client.batch_execute(&numbers).await.unwrap();
    })
    .await;
}
