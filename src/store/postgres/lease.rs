//! Leases: rows of `account` and `shard` with an owner, a fence and an end by the database's clock.
//!
//! Accounts are locked in the order of their names and before shards, as everywhere in this store; what is taken passes
//! over what others have locked. So nobody waits in a ring.

use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::failure::Failure;
use super::link::Link;
use super::row::{self, get};
use crate::clock::UnixMillis;
use crate::store::{Census, Fence, Lease, Quota, Right, Tenure};

fn millis(term: Duration) -> i64 {
    i64::try_from(term.as_millis()).unwrap_or(i64::MAX)
}

/// Reads a lease from the four columns `app, open_kfid, shard, fence` behind `first`; none if they are empty.
fn lease(row: &Row, first: usize) -> Result<Option<Lease>, Failure> {
    let Some(fence) = get::<Option<i64>>(row, first + 3)? else {
        return Ok(None);
    };
    let right = match get::<Option<i16>>(row, first + 2)? {
        Some(_) => Right::HandOut(row::shard(row, first + 2)?),
        None => Right::Pull(row::account(row, first)?),
    };
    Ok(Some(Lease {
        right,
        fence: Fence(fence),
    }))
}

fn leases(rows: &[Row], first: usize) -> Result<Vec<Lease>, Failure> {
    rows.iter().filter_map(|row| lease(row, first).transpose()).collect()
}

/// Also strikes out replicas that are long dead, so that the table stays as small as the fleet.
const RENEW: &str = "
    WITH beat AS (
        INSERT INTO replica (owner, until) VALUES ($1, clock_timestamp() + $2 * interval '1 ms')
        ON CONFLICT (owner) DO UPDATE SET until = excluded.until
    ), dead AS (
        SELECT owner FROM replica WHERE until < clock_timestamp() - interval '1 hour' AND owner <> $1
        FOR UPDATE SKIP LOCKED
    ), struck AS (
        DELETE FROM replica USING dead WHERE replica.owner = dead.owner
    ), my_accounts AS MATERIALIZED (
        SELECT account_id FROM account WHERE lease_owner = $1 ORDER BY app, open_kfid FOR NO KEY UPDATE
    ), pulls AS (
        UPDATE account SET lease_until = clock_timestamp() + $2 * interval '1 ms'
        FROM my_accounts WHERE account.account_id = my_accounts.account_id
        RETURNING app, open_kfid, lease_fence
    ), my_shards AS MATERIALIZED (
        SELECT shard FROM shard WHERE owner = $1 AND (SELECT count(*) FROM my_accounts) >= 0
        ORDER BY shard FOR NO KEY UPDATE
    ), shards AS (
        UPDATE shard SET until = clock_timestamp() + $2 * interval '1 ms'
        FROM my_shards WHERE shard.shard = my_shards.shard
        RETURNING shard.shard, fence
    ), lease AS (
        SELECT app, open_kfid, NULL::smallint AS shard, lease_fence AS fence FROM pulls
        UNION ALL SELECT NULL, NULL, shard, fence FROM shards
    )
    SELECT 1 + (SELECT count(*) FROM replica WHERE owner <> $1 AND until > clock_timestamp()),
        (SELECT count(*) FROM account), app, open_kfid, shard, fence,
        (extract(epoch FROM clock_timestamp()) * 1000)::bigint
    FROM (VALUES (1)) AS always LEFT JOIN lease ON true";

/// Also tells what time it is.
pub(super) async fn renew(link: &Link, owner: &str, term: Duration) -> Result<(Tenure, UnixMillis), Failure> {
    let rows = link
        .ask(RENEW, &[(&owner, Type::TEXT), (&millis(term), Type::INT8)])
        .await?;
    let first = rows.first().ok_or_else(|| Failure::Row("no count".into()))?;
    let count = |column| Ok::<_, Failure>(usize::try_from(row::count(first, column)?).unwrap_or(usize::MAX));
    let tenure = Tenure::new(leases(&rows, 2)?, count(0)?, count(1)?);
    Ok((tenure, row::millis(first, 6)?))
}

/// What time it is.
pub(super) async fn now(link: &Link) -> Result<UnixMillis, Failure> {
    let row = link
        .ask_one("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint", &[])
        .await?;
    row::millis(&row, 0)
}

/// The claim number of an account goes up with its fence, so that a page under an older claim finds in the row that it
/// locks anyway that it comes too late.
const TAKE: &str = "
    WITH free_accounts AS MATERIALIZED (
        SELECT account_id FROM account
        WHERE lease_until < clock_timestamp() AND lease_owner IS DISTINCT FROM $1
        ORDER BY app, open_kfid LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED
    ), pulls AS (
        UPDATE account SET lease_owner = $1, lease_until = clock_timestamp() + $2 * interval '1 ms',
            lease_fence = lease_fence + 1, fence = fence + 1
        FROM free_accounts WHERE account.account_id = free_accounts.account_id
        RETURNING app, open_kfid, lease_fence
    ), free_shards AS MATERIALIZED (
        SELECT shard FROM shard
        WHERE until < clock_timestamp() AND owner IS DISTINCT FROM $1
        ORDER BY shard LIMIT $4 FOR NO KEY UPDATE SKIP LOCKED
    ), shards AS (
        UPDATE shard SET owner = $1, until = clock_timestamp() + $2 * interval '1 ms', fence = fence + 1
        FROM free_shards WHERE shard.shard = free_shards.shard
        RETURNING shard.shard, fence
    )
    SELECT app, open_kfid, NULL::smallint, lease_fence FROM pulls
    UNION ALL SELECT NULL, NULL, shard, fence FROM shards";

pub(super) async fn take(link: &Link, owner: &str, most: Quota, term: Duration) -> Result<Vec<Lease>, Failure> {
    let limit = |most: usize| i64::try_from(most).unwrap_or(i64::MAX);
    let params = [
        (&owner as _, Type::TEXT),
        (&millis(term) as _, Type::INT8),
        (&limit(most.pulls) as _, Type::INT8),
        (&limit(most.shards) as _, Type::INT8),
    ];
    leases(&link.all_once(TAKE, &params).await?, 0)
}

/// What ran out for this process itself comes back with its next renewal, and is nothing to take.
const CENSUS: &str = "
    SELECT 1 + (SELECT count(*) FROM replica WHERE owner <> $1 AND until > clock_timestamp()), count(*),
        count(*) FILTER (WHERE lease_until < clock_timestamp() AND lease_owner IS DISTINCT FROM $1),
        (SELECT count(*) FROM shard WHERE until < clock_timestamp() AND owner IS DISTINCT FROM $1)
    FROM account";

pub(super) async fn census(link: &Link, owner: &str) -> Result<Census, Failure> {
    let row = link.ask_one(CENSUS, &[(&owner, Type::TEXT)]).await?;
    let count = |column| Ok::<_, Failure>(usize::try_from(row::count(&row, column)?).unwrap_or(usize::MAX));
    Ok(Census {
        replicas: count(0)?,
        accounts: count(1)?,
        vacant: Quota {
            pulls: count(2)?,
            shards: count(3)?,
        },
    })
}

/// Others hear of it with the commit.
const GIVE_BACK: &str = "
    WITH accounts AS MATERIALIZED (
        SELECT account_id FROM account JOIN unnest($2::text[], $3::text[], $4::bigint[]) AS given (app, open_kfid, fence)
            USING (app, open_kfid)
        WHERE lease_owner = $1 AND lease_fence = given.fence
        ORDER BY app, open_kfid FOR NO KEY UPDATE OF account
    ), pulls AS (
        UPDATE account SET lease_owner = NULL, lease_until = '-infinity'
        FROM accounts WHERE account.account_id = accounts.account_id
    ), shards AS MATERIALIZED (
        SELECT shard.shard FROM shard JOIN unnest($5::smallint[], $6::bigint[]) AS given (shard, fence)
            USING (shard)
        WHERE owner = $1 AND shard.fence = given.fence AND (SELECT count(*) FROM accounts) >= 0
        ORDER BY shard.shard FOR NO KEY UPDATE OF shard
    ), hand_outs AS (
        UPDATE shard SET owner = NULL, until = '-infinity'
        FROM shards WHERE shard.shard = shards.shard
    )
    SELECT pg_notify($7, $8)";

pub(super) async fn give_back(
    link: &Link,
    owner: &str,
    given_back: &[Lease],
    (channel, payload): (&str, &str),
) -> Result<(), Failure> {
    let (mut apps, mut open_kfids, mut pull_fences) = (Vec::new(), Vec::new(), Vec::new());
    let (mut shards, mut shard_fences) = (Vec::new(), Vec::new());
    for Lease { right, fence } in given_back {
        match right {
            Right::Pull(account) => {
                apps.push(account.app.as_str());
                open_kfids.push(account.open_kfid.as_str());
                pull_fences.push(fence.0);
            }
            Right::HandOut(shard) => {
                shards.push(i16::from(shard.number()));
                shard_fences.push(fence.0);
            }
        }
    }
    link.ask(
        GIVE_BACK,
        &[
            (&owner, Type::TEXT),
            (&apps, Type::TEXT_ARRAY),
            (&open_kfids, Type::TEXT_ARRAY),
            (&pull_fences, Type::INT8_ARRAY),
            (&shards, Type::INT2_ARRAY),
            (&shard_fences, Type::INT8_ARRAY),
            (&channel, Type::TEXT),
            (&payload, Type::TEXT),
        ],
    )
    .await?;
    Ok(())
}

pub(super) async fn leave(link: &Link, owner: &str) -> Result<(), Failure> {
    link.ask("DELETE FROM replica WHERE owner = $1", &[(&owner, Type::TEXT)])
        .await?;
    Ok(())
}
