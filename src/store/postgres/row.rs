//! Columns read back into the words of the domain.

use std::borrow::Cow;
use std::error::Error;

use serde_json::value::RawValue;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use super::failure::Failure;
use crate::clock::UnixMillis;
use crate::id::{AccountKey, AppName, HandlerName, Msgid, OpenKfid};
use crate::store::Shard;

/// `text` as PostgreSQL can keep it: without NUL. For what is read by people only.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}").into()
    } else {
        text.into()
    }
}

pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<T, Failure> {
    row.try_get(column).map_err(|error| Failure::Row(Box::new(error)))
}

fn parsed<T, E>(row: &Row, column: usize, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<T, Failure>
where
    E: Error + Send + Sync + 'static,
{
    parse(get(row, column)?).map_err(|error| Failure::Row(Box::new(error)))
}

pub(super) fn handler_name(row: &Row, column: usize) -> Result<HandlerName, Failure> {
    parsed(row, column, HandlerName::new)
}

pub(super) fn body(row: &Row, column: usize) -> Result<Box<RawValue>, Failure> {
    parsed(row, column, |text| serde_json::from_str(text))
}

pub(super) fn msgid(row: &Row, column: usize) -> Result<Msgid, Failure> {
    get::<&str>(row, column).map(Msgid::from)
}

pub(super) fn millis(row: &Row, column: usize) -> Result<UnixMillis, Failure> {
    get(row, column).map(UnixMillis)
}

/// A number that is never negative.
pub(super) fn count(row: &Row, column: usize) -> Result<u64, Failure> {
    get::<i64>(row, column).map(i64::unsigned_abs)
}

pub(super) fn small(row: &Row, column: usize) -> Result<u32, Failure> {
    parsed_number(get::<i64>(row, column)?)
}

pub(super) fn shard(row: &Row, column: usize) -> Result<Shard, Failure> {
    let number: i16 = get(row, column)?;
    let shard = u8::try_from(number).ok().and_then(Shard::new);
    shard.ok_or_else(|| Failure::Row("a shard that there is not".into()))
}

fn parsed_number(number: i64) -> Result<u32, Failure> {
    u32::try_from(number).map_err(|error| Failure::Row(Box::new(error)))
}

/// An account from two columns, `app` and the one behind it, `open_kfid`.
pub(super) fn account(row: &Row, app: usize) -> Result<AccountKey, Failure> {
    let open_kfid = OpenKfid::from(get::<&str>(row, app + 1)?);
    Ok(AccountKey::new(parsed(row, app, AppName::new)?, open_kfid))
}
