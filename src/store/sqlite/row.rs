//! Columns read back into the words of the domain.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;

use rusqlite::types::Type;
use rusqlite::{Connection, Row};
use serde_json::value::RawValue;

use crate::id::{AccountKey, AppName, HandlerName, Msgid, OpenKfid};

fn parsed<T, E>(row: &Row<'_>, column: usize, parse: impl FnOnce(&str) -> Result<T, E>) -> rusqlite::Result<T>
where
    E: Error + Send + Sync + 'static,
{
    let text = row.get_ref(column)?.as_str()?;
    parse(text).map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

pub(super) fn handler_name(row: &Row<'_>, column: usize) -> rusqlite::Result<HandlerName> {
    parsed(row, column, HandlerName::new)
}

pub(super) fn body(row: &Row<'_>, column: usize) -> rusqlite::Result<Box<RawValue>> {
    parsed(row, column, |text| serde_json::from_str(text))
}

pub(super) fn msgid(row: &Row<'_>, column: usize) -> rusqlite::Result<Msgid> {
    Ok(Msgid::from(row.get_ref(column)?.as_str()?))
}

/// An account from two columns, `app` and the one behind it, `open_kfid`.
pub(super) fn account(row: &Row<'_>, app: usize) -> rusqlite::Result<AccountKey> {
    let open_kfid = OpenKfid::from(row.get_ref(app + 1)?.as_str()?);
    Ok(AccountKey::new(parsed(row, app, AppName::new)?, open_kfid))
}

/// Accounts by row, each read once.
#[derive(Default, Debug)]
pub(super) struct Accounts(HashMap<i64, Arc<AccountKey>>);

impl Accounts {
    pub(super) fn get(&mut self, conn: &Connection, account_id: i64) -> rusqlite::Result<Arc<AccountKey>> {
        if let Some(known) = self.0.get(&account_id) {
            return Ok(Arc::clone(known));
        }
        let account = conn
            .prepare_cached("SELECT app, open_kfid FROM account WHERE account_id = ?1")?
            .query_row([account_id], |row| account(row, 0))
            .map(Arc::new)?;
        self.0.insert(account_id, Arc::clone(&account));
        Ok(account)
    }
}
