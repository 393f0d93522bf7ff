//! What is answered to what.

use super::keyword::{Folded, Keyword, Match};
use crate::api::EventMessage;
use crate::message::Text;

/// What is answered to words with certain keywords, or to a tap on an entry of a menu.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Keywords, any of which will do.
    pub keywords: Vec<Keyword>,
    /// How they are looked for.
    pub matching: Match,
    /// Id of the menu entry.
    pub menu_id: Option<Box<str>>,
    /// What happens then.
    pub answer: Answer,
}

/// What a rule makes happen.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Answer {
    /// This is said.
    Say(EventMessage),
    /// A person takes over.
    HandOver,
}

impl Rule {
    fn is_tapped(&self, menu_id: Option<&str>) -> bool {
        self.menu_id.is_some() && self.menu_id.as_deref() == menu_id
    }

    fn is_asked(&self, words: &Folded) -> bool {
        self.keywords.iter().any(|keyword| keyword.is_in(words, self.matching))
    }

    /// Whether this rule, standing before `other`, answers whatever that would answer for the sake of `keyword`.
    #[must_use]
    pub fn forestalls(&self, other: &Self, keyword: &Keyword) -> bool {
        // The shortest text that `other` answers. One that is longer contains it, but is not the same.
        let shortest = keyword.folded(other.matching);
        (self.matching == Match::Contains || other.matching == Match::Exact) && self.is_asked(&shortest)
    }
}

/// The rule that decides about `text`: the one whose menu entry was tapped, else the first with a keyword in it.
pub(super) fn deciding<'a>(rules: &'a [Rule], text: &Text) -> Option<&'a Rule> {
    let menu_id = text.menu_id.as_deref();
    rules.iter().find(|rule| rule.is_tapped(menu_id)).or_else(|| {
        let words = Folded::of(&text.content);
        rules.iter().find(|rule| rule.is_asked(&words))
    })
}
