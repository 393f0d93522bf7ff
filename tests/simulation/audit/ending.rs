//! What must be when everything has come to rest.

use std::collections::BTreeSet;

use wecom_kf::id::{AccountKey, HandlerName};
use wecom_kf::store::{DeadSelect, HandlerId, Store};

use super::{Audit, Check, Letter};

impl Audit {
    /// Whether everything in `letters` is stored, and nothing is owed.
    pub(crate) fn is_at_rest(&self, letters: &[Letter]) -> bool {
        let books = self.books();
        books.owed.is_empty() && letters.iter().all(|letter| books.rows.contains_key(letter))
    }

    /// Holds the end of the run against what customers wrote. Returns how often a handler acted more than once on one
    /// message.
    pub(crate) async fn close(
        &self,
        store: &dyn Store,
        letters: &[Letter],
        handlers: &[(HandlerId, HandlerName)],
    ) -> u64 {
        let dead = store.dead_letters(DeadSelect::default(), usize::MAX).await.unwrap();
        let dead: BTreeSet<(HandlerName, AccountKey, _)> = dead
            .into_iter()
            .map(|letter| (letter.handler, letter.account, letter.msgid))
            .collect();
        let mut books = self.books();
        for (account, msgid) in letters {
            if !books.rows.contains_key(&(account.clone(), msgid.clone())) {
                books.found(Check::Lost, format!("{account} {msgid} was never stored"));
                continue;
            }
            for (handler, name) in handlers {
                let debt = (*handler, account.clone(), msgid.clone());
                let is_dead = dead.contains(&(name.clone(), account.clone(), msgid.clone()));
                if !is_dead && !books.acted.contains_key(&debt) {
                    let owed = books.owed.contains_key(&debt);
                    let what = format!("{account} {msgid} never reached {name}, still owed: {owed}");
                    books.found(Check::Lost, what);
                }
            }
        }
        books.acted.values().map(|acted| u64::from(acted - 1)).sum()
    }
}
