//! Access tokens: one row for each, whose version tells whether somebody has been quicker.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::failure::Failure;
use super::link::Link;
use super::row::{self, get};
use crate::store::{Spent, StoredToken, TokenAsk, TokenDenied, TokenFound, TokenRight};

/// Takes the right if it is to be had, and tells what the row says otherwise. Where somebody takes it at the same moment,
/// what this statement sees of the row is older than what it was refused for: nothing in it then is an answer, and the
/// asker comes again.
const ASK: &str = "
    WITH taken AS (
        INSERT INTO access_token AS t (key, refresher, refresh_until)
        VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))
        ON CONFLICT (key) DO UPDATE SET
            refresher = excluded.refresher,
            refresh_until = excluded.refresh_until,
            token = CASE WHEN t.version = $4 AND $5 THEN NULL ELSE t.token END
        WHERE (t.token IS NULL OR t.version = $4 OR t.expires_at <= clock_timestamp())
            AND t.retry_at <= clock_timestamp()
            AND (t.refresher = $2 OR t.refresh_until <= clock_timestamp())
        RETURNING version, refusals
    )
    SELECT true AS taken, version, refusals, NULL AS token, NULL AS lifetime, NULL AS age, NULL AS code, NULL AS lasts
    FROM taken
    UNION ALL
    SELECT false, version, refusals,
        CASE WHEN version <> $4 AND expires_at > clock_timestamp() THEN token END,
        extract(epoch FROM expires_at - granted_at)::float8,
        extract(epoch FROM clock_timestamp() - granted_at)::float8,
        refused_with,
        extract(epoch FROM retry_at - clock_timestamp())::float8
    FROM access_token WHERE key = $1 AND NOT EXISTS (SELECT FROM taken)";

pub(super) async fn ask(link: &Link, ask: &TokenAsk) -> Result<TokenFound, Failure> {
    let rows = link
        .ask(
            ASK,
            &[
                (&&*ask.key, Type::TEXT),
                (&ask.asker.cast_signed(), Type::INT8),
                (&ask.term.as_secs_f64(), Type::FLOAT8),
                (&ask.replaces.cast_signed(), Type::INT8),
                (&(ask.spent == Spent::Refused), Type::BOOL),
            ],
        )
        .await?;
    match rows.first() {
        Some(row) => found(ask, row),
        None => Ok(TokenFound::Taken),
    }
}

fn found(ask: &TokenAsk, row: &Row) -> Result<TokenFound, Failure> {
    let version = row::count(row, 1)?;
    if get(row, 0)? {
        return Ok(TokenFound::Right {
            right: TokenRight {
                key: ask.key.clone(),
                version: version + 1,
                asker: ask.asker,
            },
            refusals: row::small(row, 2)?,
        });
    }
    if let Some(value) = get::<Option<String>>(row, 3)? {
        let token = StoredToken {
            value: SecretString::from(value),
            lifetime: span(row, 4)?,
            age: span(row, 5)?,
        };
        return Ok(TokenFound::Token { version, token });
    }
    Ok(match (get(row, 6)?, span(row, 7)?) {
        (Some(code), lasts) if !lasts.is_zero() => TokenFound::Denied(TokenDenied { code, lasts }),
        _ => TokenFound::Taken,
    })
}

/// Seconds in a column; none if they lie behind.
fn span(row: &Row, column: usize) -> Result<Duration, Failure> {
    let secs: f64 = get(row, column)?;
    Duration::try_from_secs_f64(secs.max(0.0)).map_err(|error| Failure::Row(Box::new(error)))
}

pub(super) async fn put(link: &Link, right: &TokenRight, token: &StoredToken) -> Result<(), Failure> {
    // The row of a secret that is used no more has nobody else to clear it away.
    let sql = "
        WITH put AS (
            UPDATE access_token SET
                version = $2,
                token = $3,
                granted_at = clock_timestamp() - make_interval(secs => $4),
                expires_at = clock_timestamp() - make_interval(secs => $4) + make_interval(secs => $5),
                refresh_until = 'epoch', retry_at = 'epoch', refusals = 0, refused_with = NULL
            WHERE key = $1 AND version = $2 - 1
        )
        DELETE FROM access_token
        WHERE key <> $1 AND greatest(expires_at, refresh_until, retry_at) < clock_timestamp() - interval '1 day'";
    link.ask(
        sql,
        &[
            (&&*right.key, Type::TEXT),
            (&right.version.cast_signed(), Type::INT8),
            (&token.value.expose_secret(), Type::TEXT),
            (&token.age.as_secs_f64(), Type::FLOAT8),
            (&token.lifetime.as_secs_f64(), Type::FLOAT8),
        ],
    )
    .await?;
    Ok(())
}

pub(super) async fn give_up(link: &Link, right: &TokenRight, refusal: Option<TokenDenied>) -> Result<(), Failure> {
    let sql = "
        UPDATE access_token SET
            refresh_until = 'epoch',
            retry_at = coalesce(clock_timestamp() + make_interval(secs => $4), retry_at),
            refused_with = coalesce($5, refused_with),
            refusals = refusals + ($5 IS NOT NULL)::int
        WHERE key = $1 AND refresher = $2 AND version = $3 - 1 AND refresh_until <> 'epoch'";
    link.ask(
        sql,
        &[
            (&&*right.key, Type::TEXT),
            (&right.asker.cast_signed(), Type::INT8),
            (&right.version.cast_signed(), Type::INT8),
            (&refusal.map(|refusal| refusal.lasts.as_secs_f64()), Type::FLOAT8),
            (&refusal.map(|refusal| refusal.code), Type::INT8),
        ],
    )
    .await?;
    Ok(())
}
