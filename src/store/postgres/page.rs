//! One page: the cursor, the messages and their deliveries move together, in one call of `commit_page`
//! (`migrations/postgres/0002_commit_page.sql`).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use tokio_postgres::types::Type;

use super::account;
use super::failure::Failure;
use super::link::Link;
use super::row::{get, text};
use crate::store::{Commit, Intake, Letter, NewMessage, Page, PageEnds, Seq, ShardSet, Stored};

const COMMIT: &str = "SELECT * FROM commit_page($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";

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
                (&columns.send_times, Type::INT8_ARRAY),
                (&columns.msgids, Type::TEXT_ARRAY),
                (&columns.lanes, Type::INT8_ARRAY),
                (&columns.urgents, Type::BOOL_ARRAY),
                (&columns.kinds, Type::TEXT_ARRAY),
                (&columns.bodies, Type::TEXT_ARRAY),
                (&columns.owed_nths, Type::INT8_ARRAY),
                (&columns.owed_to, Type::INT8_ARRAY),
                (&columns.owing_shards, Type::INT4_ARRAY),
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
    let seqs: Vec<Option<i64>> = get(row, 3)?;
    let conflicts: Vec<i64> = get::<Option<_>>(row, 4)?.unwrap_or_default();
    if seqs.len() != page.messages.len() {
        return Err(Failure::Row("a number for each message was to be given".into()));
    }
    let intake = |(seq, nth): (&Option<i64>, i64)| match seq {
        Some(_) => Intake::New,
        None if conflicts.contains(&nth) => Intake::Conflicting,
        None => Intake::Repeated,
    };
    let messages = seqs.iter().zip(1..).map(intake).collect();
    let new = page.messages.iter().zip(&seqs);
    let new = new.filter_map(|(message, seq)| Some((message, Seq((*seq)?))));
    let mut shards = ShardSet::default();
    let account = Arc::new(page.claim.account.clone());
    let mut known = link.letters();
    for (message, seq) in new.filter(|(message, _)| !message.owed_to.is_empty()) {
        shards.insert(message.lane.shard());
        known.renew(seq, Letter::of(message, &account, page.received));
    }
    drop(known);
    Ok(Committed {
        shards,
        newest: seqs.iter().flatten().max().map(|seq| Seq(*seq)).unwrap_or_default(),
        commit: Commit::Stored(Stored {
            claim: account::renewed(&page.claim, row)?,
            messages,
        }),
    })
}

/// The messages of a page, turned into one array for each column.
#[derive(Default)]
struct Columns<'a> {
    send_times: Vec<i64>,
    msgids: Vec<&'a str>,
    lanes: Vec<i64>,
    urgents: Vec<bool>,
    kinds: Vec<Cow<'a, str>>,
    bodies: Vec<&'a str>,
    /// Which message, from 1, is owed …
    owed_nths: Vec<i64>,
    /// … to which handler.
    owed_to: Vec<i64>,
    /// Those that may get work, lowest first.
    owing_shards: Vec<i32>,
}

impl<'a> Columns<'a> {
    fn of(messages: &'a [NewMessage]) -> Self {
        let mut columns = Self::default();
        let mut owed = BTreeSet::new();
        for (message, nth) in messages.iter().zip(1..) {
            columns.send_times.push(message.send_time.cast_signed());
            columns.msgids.push(message.msgid.as_str());
            columns.lanes.push(message.lane.to_row());
            columns.urgents.push(message.urgent);
            columns.kinds.push(text(&message.kind));
            columns.bodies.push(message.body.get());
            let shard = message.lane.shard().number();
            owed.extend(message.owed_to.iter().map(|handler| (i32::from(shard), handler.0, nth)));
        }
        for (shard, handler, nth) in owed {
            columns.owed_nths.push(nth);
            columns.owed_to.push(handler);
            columns.owing_shards.push(shard);
        }
        columns.owing_shards.dedup();
        columns
    }
}
