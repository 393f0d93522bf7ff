//! Accounts: wake-ups, claims, and what the last pull left behind.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::row;
use crate::clock::UnixMillis;
use crate::id::{AccountKey, CallbackToken};
use crate::store::{AccountState, Claim, FirstPull, UnansweredWakeUp, WakeUp};

pub(super) fn record_wake_ups(conn: &Connection, wake_ups: &[WakeUp]) -> rusqlite::Result<Vec<u64>> {
    let mut record = conn.prepare_cached(
        "INSERT INTO account (app, open_kfid, wake_number, wake_ms, wake_token) VALUES (?1, ?2, 1, ?3, ?4)
         ON CONFLICT (app, open_kfid) DO UPDATE
         SET wake_number = wake_number + 1, wake_ms = excluded.wake_ms, wake_token = excluded.wake_token
         RETURNING wake_number",
    )?;
    let number = |wake_up: &WakeUp| {
        let AccountKey { app, open_kfid } = &wake_up.account;
        let token = wake_up.token.as_ref().map(CallbackToken::expose);
        record.query_row(params![app.as_str(), open_kfid.as_str(), wake_up.at.0, token], |row| {
            row.get(0).map(i64::cast_unsigned)
        })
    };
    wake_ups.iter().map(number).collect()
}

pub(super) fn claim(conn: &Connection, account: &AccountKey, now: UnixMillis) -> rusqlite::Result<Claim> {
    // The first pull begins with the first claim, not with a wake-up that came before it.
    conn.prepare_cached(
        "INSERT INTO account (app, open_kfid, fence, first_pull_ms) VALUES (?1, ?2, 1, ?3)
         ON CONFLICT (app, open_kfid) DO UPDATE
         SET fence = fence + 1, first_pull_ms = coalesce(first_pull_ms, excluded.first_pull_ms)
         RETURNING cursor, first_pull_ms, pulled_ms IS NULL, account_id, fence",
    )?
    .query_row(
        params![account.app.as_str(), account.open_kfid.as_str(), now.0],
        |row| {
            Ok(Claim {
                account: account.clone(),
                cursor: row.get(0)?,
                first_pull: first_pull(row)?,
                account_id: row.get(3)?,
                fence: row.get(4)?,
            })
        },
    )
}

pub(super) fn reset_cursor(conn: &Connection, claim: &Claim) -> rusqlite::Result<Option<Claim>> {
    conn.prepare_cached(
        "UPDATE account SET cursor = NULL WHERE account_id = ?1 AND fence = ?2 AND cursor IS ?3
         RETURNING cursor, first_pull_ms, pulled_ms IS NULL",
    )?
    .query_row(params![claim.account_id, claim.fence, claim.cursor], |row| {
        renewed(claim, row)
    })
    .optional()
}

/// `claim` after a change to its account that returned the columns `cursor, first_pull_ms, pulled_ms IS NULL`.
pub(super) fn renewed(claim: &Claim, row: &Row<'_>) -> rusqlite::Result<Claim> {
    Ok(Claim {
        account: claim.account.clone(),
        cursor: row.get(0)?,
        first_pull: first_pull(row)?,
        ..*claim
    })
}

fn first_pull(row: &Row<'_>) -> rusqlite::Result<Option<FirstPull>> {
    let under_way: bool = row.get(2)?;
    let began = UnixMillis(row.get(1)?);
    Ok(under_way.then_some(FirstPull { began }))
}

pub(super) fn all(conn: &Connection) -> rusqlite::Result<Vec<AccountState>> {
    conn.prepare_cached(
        "SELECT app, open_kfid, pulled_ms, wake_number > answered, wake_number, wake_ms, wake_token FROM account",
    )?
    .query_map([], |row| {
        let unanswered: bool = row.get(3)?;
        let wake_up = || {
            Ok::<_, rusqlite::Error>(UnansweredWakeUp {
                number: row.get(4).map(i64::cast_unsigned)?,
                at: UnixMillis(row.get(5)?),
                token: row.get::<_, Option<String>>(6)?.map(CallbackToken::new),
            })
        };
        Ok(AccountState {
            account: row::account(row, 0)?,
            pulled_at: row.get::<_, Option<i64>>(2)?.map(UnixMillis),
            newest_wake_up: row.get(4).map(i64::cast_unsigned)?,
            wake_up: unanswered.then(wake_up).transpose()?,
        })
    })?
    .collect()
}
