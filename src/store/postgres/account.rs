//! Accounts: wake-ups, claims, and what the last pull left behind.
//!
//! Whoever locks several accounts does it in the order of their names, so that nobody waits in a ring.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::failure::Failure;
use super::link::Link;
use super::row::{self, get};
use crate::clock::UnixMillis;
use crate::id::{AccountKey, CallbackToken};
use crate::store::{AccountState, Claim, Fence, FirstPull, UnansweredWakeUp, WakeUp};

pub(super) async fn record_wake_ups(link: &Link, wake_ups: &[WakeUp]) -> Result<Vec<u64>, Failure> {
    // One row cannot be changed twice by a statement: what several wake-ups do to one account is done at once.
    let sql = "
        WITH given AS (
            SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[])
                WITH ORDINALITY AS g (app, open_kfid, at_ms, token, nth)
        ), latest AS (
            SELECT DISTINCT ON (app, open_kfid) *, count(*) OVER (PARTITION BY app, open_kfid) AS wake_ups
            FROM given ORDER BY app, open_kfid, nth DESC
        ), noted AS (
            INSERT INTO account (app, open_kfid, wake_number, wake_ms, wake_token)
            SELECT app, open_kfid, wake_ups, at_ms, token FROM latest ORDER BY app, open_kfid
            ON CONFLICT (app, open_kfid) DO UPDATE
            SET wake_number = account.wake_number + excluded.wake_number,
                wake_ms = excluded.wake_ms, wake_token = excluded.wake_token
            RETURNING app, open_kfid, wake_number
        )
        SELECT wake_number + 1 - row_number() OVER (PARTITION BY app, open_kfid ORDER BY nth DESC)
        FROM given JOIN noted USING (app, open_kfid) ORDER BY nth";
    let apps: Vec<_> = wake_ups.iter().map(|wake_up| wake_up.account.app.as_str()).collect();
    let open_kfids: Vec<_> = wake_ups.iter().map(|w| w.account.open_kfid.as_str()).collect();
    let at: Vec<_> = wake_ups.iter().map(|wake_up| wake_up.at.0).collect();
    let tokens: Vec<_> = wake_ups
        .iter()
        .map(|wake_up| wake_up.token.as_ref().map(CallbackToken::expose))
        .collect();
    let rows = link
        .write(
            wake_ups.len(),
            sql,
            &[
                (&apps, Type::TEXT_ARRAY),
                (&open_kfids, Type::TEXT_ARRAY),
                (&at, Type::INT8_ARRAY),
                (&tokens, Type::TEXT_ARRAY),
            ],
        )
        .await?;
    rows.iter().map(|row| row::count(row, 0)).collect()
}

pub(super) async fn claim(
    link: &Link,
    account: &AccountKey,
    under: Fence,
    now: UnixMillis,
) -> Result<Option<Claim>, Failure> {
    // The first pull begins with the first claim, not with a wake-up that came before it. An account that nobody ever
    // took is created; one that somebody took is there.
    let sql = "
        INSERT INTO account (app, open_kfid, fence, first_pull_ms)
        SELECT $1, $2, 1, $3
        WHERE $4 = 0 OR EXISTS (SELECT FROM account WHERE app = $1 AND open_kfid = $2)
        ON CONFLICT (app, open_kfid) DO UPDATE
        SET fence = account.fence + 1, first_pull_ms = coalesce(account.first_pull_ms, excluded.first_pull_ms)
        WHERE account.lease_fence = $4
        RETURNING cursor, first_pull_ms, pulled_ms IS NULL, account_id, fence";
    let rows = link
        .write(
            1,
            sql,
            &[
                (&account.app.as_str(), Type::TEXT),
                (&account.open_kfid.as_str(), Type::TEXT),
                (&now.0, Type::INT8),
                (&under.0, Type::INT8),
            ],
        )
        .await?;
    let claim = |row: &Row| {
        Ok(Claim {
            account: account.clone(),
            cursor: get(row, 0)?,
            first_pull: first_pull(row)?,
            account_id: get(row, 3)?,
            fence: get(row, 4)?,
        })
    };
    rows.first().map(claim).transpose()
}

pub(super) async fn reset_cursor(link: &Link, claim: &Claim) -> Result<Option<Claim>, Failure> {
    let sql = "
        UPDATE account SET cursor = NULL
        WHERE account_id = $1 AND fence = $2 AND cursor IS NOT DISTINCT FROM $3
        RETURNING cursor, first_pull_ms, pulled_ms IS NULL";
    let rows = link
        .write(
            1,
            sql,
            &[
                (&claim.account_id, Type::INT8),
                (&claim.fence, Type::INT8),
                (&claim.cursor, Type::TEXT),
            ],
        )
        .await?;
    rows.first().map(|row| renewed(claim, row)).transpose()
}

/// `claim` after a change to its account that returned the columns `cursor, first_pull_ms, pulled_ms IS NULL`.
pub(super) fn renewed(claim: &Claim, row: &Row) -> Result<Claim, Failure> {
    Ok(Claim {
        account: claim.account.clone(),
        cursor: get(row, 0)?,
        first_pull: first_pull(row)?,
        ..*claim
    })
}

fn first_pull(row: &Row) -> Result<Option<FirstPull>, Failure> {
    let under_way: bool = get(row, 2)?;
    let began = row::millis(row, 1)?;
    Ok(under_way.then_some(FirstPull { began }))
}

/// Columns that [`state`] reads.
macro_rules! select_states {
    ($rest:literal) => {
        concat!(
            "SELECT app, open_kfid, pulled_ms, wake_number > answered, wake_number, wake_ms, wake_token FROM account ",
            $rest
        )
    };
}

pub(super) async fn all(link: &Link) -> Result<Vec<AccountState>, Failure> {
    let rows = link.ask(select_states!(""), &[]).await?;
    rows.iter().map(state).collect()
}

/// Those that `owner` holds and nobody has answered.
pub(super) async fn woken(link: &Link, owner: &str) -> Result<Vec<AccountState>, Failure> {
    let sql = select_states!("WHERE wake_number > answered AND lease_owner = $1 AND lease_until > clock_timestamp()");
    let rows = link.ask(sql, &[(&owner, Type::TEXT)]).await?;
    rows.iter().map(state).collect()
}

fn state(row: &Row) -> Result<AccountState, Failure> {
    let wake_up = || {
        Ok::<_, Failure>(UnansweredWakeUp {
            number: row::count(row, 4)?,
            at: row::millis(row, 5)?,
            token: get::<Option<String>>(row, 6)?.map(CallbackToken::new),
        })
    };
    Ok(AccountState {
        account: row::account(row, 0)?,
        pulled_at: get::<Option<i64>>(row, 2)?.map(UnixMillis),
        newest_wake_up: row::count(row, 4)?,
        wake_up: get::<bool>(row, 3)?.then(wake_up).transpose()?,
    })
}
