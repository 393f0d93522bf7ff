//! `kf/knowledge`: the questions and answers of WeCom's robot, in groups.
//!
//! For self-built apps only. A group holds at most 200 questions, a corporation 100 groups; no question may be twice.
//!
//! Sources: <https://developer.work.weixin.qq.com/document/path/95971> (groups) and
//! <https://developer.work.weixin.qq.com/document/path/95972> (questions)

use serde::Deserialize;

use super::FieldError;
use super::answer::LooseInt;

mod attachment;
mod group;
mod intent;

pub use attachment::{Attachment, StoredAttachment};
pub use group::{Group, ListGroups};
pub use intent::{Intent, IntentAnswer, IntentChange, ListIntents, StoredAnswer, StoredIntent};

/// One page of a list.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next page begins; `None` if this is the last.
    pub next_cursor: Option<Box<str>>,
}

/// How WeCom says that there is more.
#[derive(Deserialize)]
struct More {
    next_cursor: Option<Box<str>>,
    has_more: Option<LooseInt>,
}

impl More {
    fn page<T>(self, items: Vec<T>) -> Page<T> {
        let has_more = self.has_more.is_some_and(|more| more.0 != 0);
        let next_cursor = self.next_cursor.filter(|cursor| has_more && !cursor.is_empty());
        Page { items, next_cursor }
    }
}

fn check_limit(limit: Option<u32>) -> Result<(), FieldError> {
    match limit {
        None | Some(1..=1000) => Ok(()),
        Some(_) => Err(FieldError::malformed("limit", "must be between 1 and 1000")),
    }
}
