//! From the items of a page to rows: decoded one by one, and owed to whoever subscribes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;

use crate::clock::UnixMillis;
use crate::handler::Roster;
use crate::id::AppName;
use crate::message::{Content, Message};
use crate::metric;
use crate::store::{Claim, FirstPull, Intake, Lane, NewMessage};

/// Kind under which an item is stored that names no type.
const NAMELESS: &str = "malformed";

/// The items of one page, decoded.
pub(super) struct Batch {
    pub(super) messages: Vec<NewMessage>,
    pub(super) labels: Labels,
    newest: u64,
}

/// What the metrics say about the messages of a page, in its order.
pub(super) struct Labels(Vec<Label>);

/// What the metrics say about one message.
struct Label {
    kind: &'static str,
    problem: Option<&'static str>,
}

impl Batch {
    /// Decodes `items` and decides whom each is owed to. Never fails, whatever the items are.
    pub(super) fn decode(
        items: Vec<Arc<RawValue>>,
        claim: &Claim,
        roster: &Roster,
        first_sync_window: Duration,
    ) -> Self {
        let mut batch = Self {
            messages: Vec::with_capacity(items.len()),
            labels: Labels(Vec::new()),
            newest: 0,
        };
        for item in items {
            let message = Message::decode(item, &claim.account.open_kfid);
            batch.newest = batch.newest.max(message.send_time);
            batch.labels.0.push(Label::of(&message));
            let owed_to = if is_history(&message, claim.first_pull, first_sync_window) {
                Vec::new()
            } else {
                roster.wanted_by(&claim.account, &message)
            };
            batch.messages.push(NewMessage {
                lane: Lane::of(&claim.account, &message.party()),
                kind: message.kind().unwrap_or(NAMELESS).into(),
                urgent: message.is_urgent(),
                body: Arc::clone(message.raw()),
                send_time: message.send_time,
                msgid: message.msgid.clone(),
                decoded: Some(Arc::new(message)),
                owed_to,
            });
        }
        batch
    }

    /// When the newest of them was sent, if any says so.
    pub(super) fn newest(&self) -> Option<UnixMillis> {
        (self.newest > 0).then(|| UnixMillis::from_secs(self.newest))
    }
}

/// Counts a page that was committed.
pub(super) fn count(app: &AppName, labels: &Labels, intake: &[Intake]) {
    let (mut kinds, mut problems) = (BTreeMap::<_, u64>::new(), BTreeMap::<_, u64>::new());
    for (label, intake) in labels.0.iter().zip(intake) {
        let problem = match intake {
            Intake::New => {
                *kinds.entry(label.kind).or_default() += 1;
                label.problem
            }
            Intake::Conflicting => Some("conflicting"),
            Intake::Repeated => None,
        };
        if let Some(problem) = problem {
            *problems.entry(problem).or_default() += 1;
        }
    }
    metrics::counter!(metric::SYNC_PAGES, "app" => app.to_string()).increment(1);
    for (kind, count) in kinds {
        metrics::counter!(metric::MESSAGES, "app" => app.to_string(), "type" => kind).increment(count);
    }
    for (problem, count) in problems {
        metrics::counter!(metric::ANOMALIES, "app" => app.to_string(), "problem" => problem).increment(count);
    }
}

impl Label {
    fn of(message: &Message) -> Self {
        let problem = match &message.content {
            Content::Malformed(_) => Some("malformed"),
            Content::Unknown => Some("unknown"),
            _ => None,
        };
        Self {
            kind: message.kind_label(),
            problem,
        }
    }
}

/// Whether a message is too old to be handed out: only the first pull of an account meets history. What does not say
/// when it was sent counts as old there.
fn is_history(message: &Message, first_pull: Option<FirstPull>, window: Duration) -> bool {
    first_pull.is_some_and(|pull| UnixMillis::from_secs(message.send_time) < pull.began.minus(window))
}
