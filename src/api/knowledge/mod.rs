//! `kf/knowledge`: the questions and answers of WeCom's robot, in groups.
//!
//! For self-built apps only. A group holds at most 200 questions, a corporation 100 groups; no question may be twice.
//!
//! Sources: <https://developer.work.weixin.qq.com/document/path/95971> (groups) and
//! <https://developer.work.weixin.qq.com/document/path/95972> (questions)

use serde::Deserialize;

use super::answer::LooseInt;
use super::field::at_most;
use super::{FieldError, Unit};

mod attachment;
mod group;
mod intent;

pub use attachment::{Attachment, StoredAttachment};
pub use group::{Group, ListGroups};
pub use intent::{Intent, IntentAnswer, IntentChange, ListIntents, StoredAnswer, StoredIntent};

/// Most entries of a page.
const PAGE: usize = 1000;

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
        Some(0) => Err(FieldError::malformed("limit", "must be at least 1")),
        Some(limit) => at_most("limit", limit as usize, PAGE, Unit::Items),
        None => Ok(()),
    }
}
