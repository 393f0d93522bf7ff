//! One page: the cursor, the messages and their deliveries move together, in one statement.
//!
//! The parts of the statement run in the order in which they need each other's rows:
//!
//! 1. `moved` moves the cursor, unless the claim is out of date. Where it is, there is no row, and nothing follows.
//! 2. `locked` takes a lock on each shard that gets work, lowest first, until the end of the transaction.
//! 3. `page` looks for what is known already, and gives numbers to what is new. Whoever gave numbers in one of these
//!    shards before has committed, so a reader that sees a number of a shard has seen all lower ones of it, or never will.
//! 4. `stored` keeps what is new, `owing` owes it, `again` compares the rest with what is stored.
//!
//! `ON CONFLICT DO NOTHING` would do without the look, but takes twice as long for each row, and nearly all are new. Only
//! the same page, sent again while it is being committed, can come between look and insert: then the server undoes the
//! statement, and it is [asked again](Link::ask).

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use tokio_postgres::types::Type;

use super::account;
use super::failure::Failure;
use super::link::Link;
use super::row::{get, text};
use crate::store::{Commit, Intake, Letter, NewMessage, Page, PageEnds, Seq, ShardSet, Stored};

/// Sets the locks on shards apart from those that others may take in the same database: `wekf`.
pub(super) const LOCKS: i32 = i32::from_be_bytes(*b"wekf");

const COMMIT: &str = "
    WITH moved AS MATERIALIZED (
        UPDATE account SET
            cursor = coalesce($4, cursor),
            pulled_ms = CASE WHEN $5::bigint IS NULL THEN pulled_ms ELSE $6 END,
            answered = greatest(answered, least(coalesce($5, 0), wake_number)),
            -- The token has served its purpose once the latest wake-up is answered.
            wake_token = CASE WHEN $5 >= wake_number THEN NULL ELSE wake_token END
        WHERE account_id = $1 AND fence = $2 AND cursor IS NOT DISTINCT FROM $3
        RETURNING cursor, first_pull_ms, pulled_ms IS NULL AS first_pull
    ), locked AS MATERIALIZED (
        SELECT count(pg_advisory_xact_lock($7, shard)) AS shards FROM moved CROSS JOIN unnest($8::int[]) AS shard
    ), page AS MATERIALIZED (
        SELECT CASE WHEN known IS NULL AND first = nth THEN nextval('message_seq') END AS seq, looked_up.*
        FROM (
            SELECT known.seq AS known, known.same, p.*
            FROM moved CROSS JOIN locked
            CROSS JOIN unnest(
                $9::bigint[], $10::text[], $11::bigint[], $12::boolean[], $13::text[], $14::text[], $15::bigint[]
            ) WITH ORDINALITY AS p (send_time, msgid, lane, urgent, kind, body, first, nth)
            LEFT JOIN LATERAL (
                -- A message without its body is not compared. Most are younger than all that is stored, and not looked for.
                SELECT m.seq, m.body IN (p.body, '') AS same FROM message AS m
                WHERE m.account_id = $1 AND m.send_time = p.send_time AND m.msgid = p.msgid
                    AND p.send_time <= (SELECT max(send_time) FROM message WHERE account_id = $1)
                LIMIT 1
            ) AS known ON true
            ORDER BY p.nth
        ) AS looked_up
    ), stored AS (
        INSERT INTO message (seq, account_id, send_time, msgid, lane, urgent, kind, recv_ms, body)
        SELECT seq, $1, send_time, msgid, lane, urgent, kind, $6, body FROM page WHERE seq IS NOT NULL
    ), owing AS (
        -- A handler that is not registered has no id: the delivery is refused, and with it the page.
        INSERT INTO delivery (shard, handler_id, seq, lane, urgent)
        SELECT (page.lane & 63)::smallint, handler.handler_id, seq, page.lane, page.urgent
        FROM page JOIN unnest($16::bigint[], $17::bigint[]) AS owed (nth, handler_id) ON owed.nth = page.nth
        LEFT JOIN handler ON handler.handler_id = owed.handler_id
        WHERE seq IS NOT NULL
        ORDER BY 1, 2, 3
    ), again AS MATERIALIZED (
        -- What is neither new nor known has come in this very page before.
        SELECT again.nth, again.body, coalesce(again.known, first.seq) AS seq,
            coalesce(again.same, again.body = first.body) AS same
        FROM page AS again LEFT JOIN page AS first ON first.nth = again.first
        WHERE again.seq IS NULL
    ), contradicting AS (
        INSERT INTO quarantine (seq, digest, body, recv_ms)
        SELECT seq, sha256(convert_to(body, 'UTF8')), body, $6 FROM again WHERE NOT same
        ON CONFLICT (seq, digest) DO NOTHING
    )
    SELECT cursor, first_pull_ms, first_pull,
        ARRAY(SELECT nth FROM again WHERE same),
        ARRAY(SELECT nth FROM again WHERE NOT same),
        ARRAY(SELECT seq FROM page WHERE seq IS NOT NULL ORDER BY nth)
    FROM moved";

/// What a page brought, and who has to hear of it.
pub(super) struct Committed {
    pub(super) commit: Commit,
    /// Shards that were owed something new.
    pub(super) shards: ShardSet,
    /// Its newest number.
    pub(super) newest: Seq,
}

pub(super) async fn commit(link: &Link, page: &Page) -> Result<Committed, Failure> {
    let answers = match page.ends {
        PageEnds::More => None,
        PageEnds::Pull { answers } => Some(answers.cast_signed()),
    };
    let columns = Columns::of(&page.messages);
    let rows = link
        .write(
            1 + page.messages.len(),
            COMMIT,
            &[
                (&page.claim.account_id, Type::INT8),
                (&page.claim.fence, Type::INT8),
                (&page.claim.cursor, Type::TEXT),
                (&page.next_cursor, Type::TEXT),
                (&answers, Type::INT8),
                (&page.received.0, Type::INT8),
                (&LOCKS, Type::INT4),
                (&columns.shards, Type::INT4_ARRAY),
                (&columns.send_times, Type::INT8_ARRAY),
                (&columns.msgids, Type::TEXT_ARRAY),
                (&columns.lanes, Type::INT8_ARRAY),
                (&columns.urgent, Type::BOOL_ARRAY),
                (&columns.kinds, Type::TEXT_ARRAY),
                (&columns.bodies, Type::TEXT_ARRAY),
                (&columns.firsts, Type::INT8_ARRAY),
                (&columns.owed_nth, Type::INT8_ARRAY),
                (&columns.owed_to, Type::INT8_ARRAY),
            ],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Ok(Committed {
            commit: Commit::Superseded,
            shards: ShardSet::default(),
            newest: Seq::default(),
        });
    };
    let mut messages = vec![Intake::New; page.messages.len()];
    for (column, intake) in [(3, Intake::Repeated), (4, Intake::Conflicting)] {
        for nth in get::<Vec<i64>>(row, column)? {
            let place = usize::try_from(nth - 1).ok().and_then(|place| messages.get_mut(place));
            *place.ok_or_else(|| Failure::Row("a message that was not in the page".into()))? = intake;
        }
    }
    let given: Vec<i64> = get(row, 5)?;
    let new = page.messages.iter().zip(&messages);
    let new = new.filter(|(_, intake)| **intake == Intake::New);
    let new_and_owed = given
        .iter()
        .zip(new)
        .filter(|(_, (message, _))| !message.owed_to.is_empty());
    let mut shards = ShardSet::default();
    let mut known = link.letters();
    for (seq, (message, _)) in new_and_owed {
        shards.insert(message.lane.shard());
        known.renew(Seq(*seq), Letter::of(message, &page.claim, page.received));
    }
    drop(known);
    Ok(Committed {
        shards,
        newest: given.iter().max().map(|seq| Seq(*seq)).unwrap_or_default(),
        commit: Commit::Stored(Stored {
            claim: account::renewed(&page.claim, row)?,
            messages,
        }),
    })
}

/// The messages of a page, turned into one array for each column.
#[derive(Default)]
struct Columns<'a> {
    /// Those that may get work, lowest first.
    shards: Vec<i32>,
    send_times: Vec<i64>,
    msgids: Vec<&'a str>,
    lanes: Vec<i64>,
    urgent: Vec<bool>,
    kinds: Vec<Cow<'a, str>>,
    bodies: Vec<&'a str>,
    /// Which message, from 1, was the first of the page with its identity.
    firsts: Vec<i64>,
    /// Which message, from 1, is owed …
    owed_nth: Vec<i64>,
    /// … to which handler.
    owed_to: Vec<i64>,
}

impl<'a> Columns<'a> {
    fn of(messages: &'a [NewMessage]) -> Self {
        let mut columns = Self::default();
        let mut shards = ShardSet::default();
        let mut firsts = HashMap::with_capacity(messages.len());
        for (message, nth) in messages.iter().zip(1..) {
            let first = *firsts.entry((message.send_time, &message.msgid)).or_insert(nth);
            columns.firsts.push(first);
            columns.send_times.push(message.send_time.cast_signed());
            columns.msgids.push(message.msgid.as_str());
            columns.lanes.push(message.lane.to_row());
            columns.urgent.push(message.urgent);
            columns.kinds.push(text(&message.kind));
            columns.bodies.push(message.body.get());
            let owed_to: BTreeSet<_> = message.owed_to.iter().collect();
            for handler in owed_to {
                columns.owed_nth.push(nth);
                columns.owed_to.push(handler.0);
                shards.insert(message.lane.shard());
            }
        }
        columns.shards = shards.iter().map(|shard| shard.number().into()).collect();
        columns
    }
}
