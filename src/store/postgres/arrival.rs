//! Everything out of another store, written in one transaction and read back before it ends.

use std::fmt;
use std::time::Duration;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};
use tokio_util::task::AbortOnDropHandle;

use super::address::Problem;
use super::failure::Failure;
use super::row::{self, get};
use super::schema;
use crate::store::moving::{Batch, Counters, Kind, TABLES, Table, Tally, Value};
use crate::store::{Durability, Settings, StoreError};

/// How long the other store may take to come up with the next batch.
const SOURCE_PATIENCE: Duration = Duration::from_mins(5);

/// Rows that are read back at once.
const FETCHED: usize = 500;

/// Rows up to which an occupied table is counted.
const COUNTED: u64 = 1_000;

/// A database that is being moved into. Unless it is committed it stays as it was.
pub(in crate::store) struct Arrival {
    client: Client,
    /// Drives the connection, which ends with this and takes with it what is not committed.
    _driver: AbortOnDropHandle<()>,
}

impl Arrival {
    /// Makes the tables, if there are none, and keeps everybody else from writing into them.
    pub(in crate::store) async fn at(settings: &Settings) -> Result<Self, Problem> {
        let connector = super::connector(settings, Durability::Full)?;
        schema::bring_up_to_date(&connector).await?;
        let (client, connection) = connector.connect().await.map_err(Failure::to_connect)?;
        let driver = AbortOnDropHandle::new(tokio::spawn(async {
            // Whoever asks next is told.
            let _ = connection.await;
        }));
        let tables: Vec<_> = TABLES.iter().map(|table| table.name).collect();
        // The limits of a session are for a server's statements; that on waiting for locks stays.
        let begin = format!(
            "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = {};
             LOCK TABLE {} IN EXCLUSIVE MODE",
            SOURCE_PATIENCE.as_millis(),
            tables.join(", ")
        );
        client.batch_execute(&begin).await?;
        Ok(Self {
            client,
            _driver: driver,
        })
    }

    /// What is there already, for people; nothing if it is empty.
    pub(in crate::store) async fn occupants(&self) -> Result<Vec<String>, StoreError> {
        let mut found = Vec::new();
        for Table { name, .. } in TABLES {
            let sql = format!(
                "SELECT count(*) FROM (SELECT FROM {name} LIMIT {}) AS counted",
                COUNTED + 1
            );
            match self.count(&sql).await? {
                0 => {}
                rows if rows > COUNTED => found.push(format!("more than {COUNTED} rows of {name}")),
                rows => found.push(format!("{rows} rows of {name}")),
            }
        }
        let alive = "SELECT count(*) FROM replica WHERE until > clock_timestamp()";
        match self.count(alive).await? {
            0 => {}
            servers => found.push(format!("{servers} servers that run on it")),
        }
        Ok(found)
    }

    pub(in crate::store) async fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        let Batch { table, rows } = batch;
        let columns: Vec<Column> = (0..table.columns.len())
            .map(|place| Column::of(table.columns[place].1, rows, place))
            .collect();
        let params: Vec<_> = columns.iter().map(Column::param).collect();
        let written = self.client.query_typed(&insert(table), &params).await;
        written.map_err(Failure::from)?;
        Ok(())
    }

    /// Lets numbers go on behind those that were given, and looks at what there is, so that questions are answered well
    /// from the first moment.
    pub(in crate::store) async fn settle(&self, counters: Counters) -> Result<(), StoreError> {
        let Counters { last_seq, replays } = counters;
        let names: Vec<_> = TABLES.iter().map(|table| table.name).collect();
        let sql = format!(
            "UPDATE meta SET replays = {replays};
             SELECT setval('message_seq', {last_seq}, true) WHERE {last_seq} > 0;
             SELECT setval(pg_get_serial_sequence('handler', 'handler_id'), max(handler_id)) FROM handler;
             SELECT setval(pg_get_serial_sequence('account', 'account_id'), max(account_id)) FROM account;
             SELECT setval(pg_get_serial_sequence('reply', 'reply_no'), max(reply_no)) FROM reply;
             ANALYZE {}",
            names.join(", ")
        );
        self.client.batch_execute(&sql).await.map_err(Failure::from)?;
        Ok(())
    }

    /// Reads a table back.
    pub(in crate::store) async fn tally(&self, table: &Table) -> Result<Tally, StoreError> {
        Ok(self.read_back(table).await?)
    }

    async fn read_back(&self, table: &Table) -> Result<Tally, Failure> {
        let columns = table.columns(|name, kind| match kind {
            Kind::Number => format!("{name}::bigint"),
            Kind::Flag => format!("{name}::int::bigint"),
            Kind::Text => name.to_owned(),
        });
        let open = format!(
            "DECLARE arrived NO SCROLL CURSOR FOR SELECT {columns} FROM {}",
            table.name
        );
        self.client.batch_execute(&open).await?;
        let fetch = format!("FETCH {FETCHED} FROM arrived");
        let mut tally = Tally::default();
        loop {
            let rows = self.client.query_typed(&fetch, &[]).await?;
            for row in &rows {
                tally.add(&values(table, row)?);
            }
            if rows.len() < FETCHED {
                break;
            }
        }
        self.client.batch_execute("CLOSE arrived").await?;
        Ok(tally)
    }

    /// Makes it all durable.
    pub(in crate::store) async fn commit(self) -> Result<(), StoreError> {
        self.client.batch_execute("COMMIT").await.map_err(Failure::from)?;
        Ok(())
    }

    async fn count(&self, sql: &str) -> Result<u64, Failure> {
        let row = self.client.query_typed_one(sql, &[]).await?;
        row::count(&row, 0)
    }
}

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Arrival")
    }
}

/// A statement that takes each column as one array.
fn insert(table: &Table) -> String {
    let mut names = table.columns(|name, _| name.to_owned());
    let mut values = table.columns(|name, kind| match kind {
        Kind::Number | Kind::Text => name.to_owned(),
        Kind::Flag => format!("{name} <> 0"),
    });
    let arrays = (1..).zip(table.columns).map(|(place, (_, kind))| match kind {
        Kind::Number | Kind::Flag => format!("${place}::bigint[]"),
        Kind::Text => format!("${place}::text[]"),
    });
    let arrays: Vec<_> = arrays.collect();
    let given = table.columns(|name, _| name.to_owned());
    // Its key holds a digest of the body here.
    if table.name == "quarantine" {
        names.push_str(", digest");
        values.push_str(", sha256(convert_to(body, 'UTF8'))");
    }
    format!(
        "INSERT INTO {} ({names}) OVERRIDING SYSTEM VALUE SELECT {values} FROM unnest({}) AS given ({given})",
        table.name,
        arrays.join(", ")
    )
}

/// One column of a batch.
enum Column<'a> {
    Numbers(Vec<Option<i64>>),
    Texts(Vec<Option<&'a str>>),
}

impl<'a> Column<'a> {
    fn of(kind: Kind, rows: &'a [Vec<Value>], place: usize) -> Self {
        let values = rows.iter().map(|row| &row[place]);
        match kind {
            Kind::Number | Kind::Flag => Self::Numbers(values.map(Value::number).collect()),
            Kind::Text => Self::Texts(values.map(Value::text).collect()),
        }
    }

    fn param(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Self::Numbers(numbers) => (numbers, Type::INT8_ARRAY),
            Self::Texts(texts) => (texts, Type::TEXT_ARRAY),
        }
    }
}

fn values(table: &Table, row: &Row) -> Result<Vec<Value>, Failure> {
    let columns = (0..).zip(table.columns);
    let value = |(place, (_, kind)): (usize, &(&str, Kind))| {
        Ok(match kind {
            Kind::Number | Kind::Flag => get::<Option<i64>>(row, place)?.map_or(Value::Null, Value::Number),
            Kind::Text => get::<Option<String>>(row, place)?.map_or(Value::Null, Value::Text),
        })
    };
    columns.map(value).collect()
}
