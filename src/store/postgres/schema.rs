//! The tables, and how an older database gets them.
//!
//! Migrations only go forward and only add, so that the version before can still work while replicas are replaced one by
//! one. Replicas that start together take turns. A database written by a newer version is refused: nobody can know what its
//! rows mean.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::Client;

use super::address::Problem;
use super::connector::Connector;
use super::failure::Failure;

/// The `n`-th entry takes a database from version `n` to `n + 1`.
const MIGRATIONS: [&str; 2] = [
    include_str!("../migrations/postgres/0001_tables.sql"),
    include_str!("../migrations/postgres/0002_commit_page.sql"),
];

/// Version of the tables that this build works with.
const VERSION: i64 = MIGRATIONS.len() as i64;

/// What [`Lane`](crate::store::Lane) and [`Shard`](crate::store::Shard) compute; stored rows depend on it.
const LANE_HASH: &str = "xxh3_64 % 64";

/// A new index on a large table takes its time, and the others wait for their turn meanwhile.
const PATIENCE: Duration = Duration::from_mins(10);

/// Keeps replicas that start together from migrating together: `wecom-kf` in ASCII.
const TURN: i64 = i64::from_be_bytes(*b"wecom-kf");

/// Creates the tables in a new database, and brings an older one up to date.
pub(super) async fn bring_up_to_date(connector: &Connector) -> Result<(), Problem> {
    on_a_connection(connector, async |client| {
        // The limits of a session are for what it does later.
        let begin = format!(
            "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock({TURN})"
        );
        client.batch_execute(&begin).await?;
        let found = version(client).await?;
        for (done, migration) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
            client.batch_execute(migration).await?;
            let note = format!("UPDATE meta SET schema_version = {done}");
            client.batch_execute(&note).await?;
        }
        require_lane_hash(client).await?;
        client.batch_execute("COMMIT").await?;
        Ok(())
    })
    .await
}

/// Refuses a database whose tables are not those of this build.
pub(super) async fn require_current(connector: &Connector) -> Result<(), Problem> {
    on_a_connection(connector, async |client| match version(client).await? {
        0 => Err(Problem::Missing),
        VERSION => require_lane_hash(client).await,
        found => Err(Problem::Older { found, known: VERSION }),
    })
    .await
}

async fn on_a_connection(
    connector: &Connector,
    work: impl AsyncFnOnce(&Client) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let (client, connection) = connector.connect().await.map_err(Failure::to_connect)?;
    let work = async {
        let done = work(&client).await;
        // The connection ends with its client, and with it what was begun and not committed.
        drop(client);
        done
    };
    let both = async { tokio::join!(work, connection).0 };
    timeout(PATIENCE, both).await.map_err(|_| Failure::Late(PATIENCE))?
}

/// Version of the tables in the database: 0 if there are none, never above [`VERSION`].
async fn version(client: &Client) -> Result<i64, Problem> {
    // Tables of an extension are nobody's.
    let sql = "
        SELECT current_schema(),
            current_setting('server_encoding'),
            (SELECT count(*) FROM pg_class
             WHERE relnamespace = to_regnamespace(quote_ident(current_schema())) AND relkind IN ('r', 'p')
                 AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')),
            (SELECT count(*) FROM pg_attribute
             WHERE attrelid = to_regclass(quote_ident(current_schema()) || '.meta') AND attname = 'lane_hash')";
    let row = client.query_typed_one(sql, &[]).await?;
    let (schema, encoding): (Option<&str>, &str) = (row.try_get(0)?, row.try_get(1)?);
    let (tables, ours): (i64, i64) = (row.try_get(2)?, row.try_get(3)?);
    if schema.is_none() {
        return Err(Problem::NoSchema);
    }
    if encoding != "UTF8" {
        return Err(Problem::Encoding(encoding.to_owned()));
    }
    if ours == 0 {
        return if tables == 0 { Ok(0) } else { Err(Problem::Foreign) };
    }
    let row = client.query_typed_one("SELECT schema_version FROM meta", &[]).await?;
    match row.try_get(0)? {
        found if found > VERSION => Err(Problem::Newer { found, known: VERSION }),
        found => Ok(found),
    }
}

async fn require_lane_hash(client: &Client) -> Result<(), Problem> {
    let row = client.query_typed_one("SELECT lane_hash FROM meta", &[]).await?;
    match row.try_get(0)? {
        LANE_HASH => Ok(()),
        other => Err(Problem::OtherLanes(str::to_owned(other))),
    }
}
