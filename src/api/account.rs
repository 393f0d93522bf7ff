//! `kf/account/list`: the customer service accounts this app can see.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/94661>

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::{Answer, LooseInt};
use super::{ApiError, Ask, Call, Client, Problem};
use crate::id::OpenKfid;

/// Accounts asked for at once: the most WeCom gives.
const PAGE: usize = 100;

/// Most pages read. A corporation may have 5000 accounts, so fifty pages hold them all.
const MOST_PAGES: usize = 100;

/// A customer service account.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct KfAccount {
    /// Its id.
    pub open_kfid: OpenKfid,
    /// Its name, as customers see it.
    pub name: Box<str>,
    /// Whether this app may read and send its messages; `None` if WeCom did not say.
    pub manage_privilege: Option<bool>,
}

impl Client {
    /// Lists the accounts this app can see, those it may not manage included.
    ///
    /// WeCom tells no total: pages are read until one is not full, or brings nothing new.
    ///
    /// # Errors
    ///
    /// See [`ApiError`]. If one page fails, there is no list: half of one would look like the whole.
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/94661>
    pub async fn account_list(&self) -> Result<Vec<KfAccount>, ApiError> {
        let mut accounts: Vec<KfAccount> = Vec::new();
        let mut known = HashSet::new();
        for page in 0..MOST_PAGES {
            let body = format!(r#"{{"offset":{},"limit":{PAGE}}}"#, page * PAGE);
            let page = self.call(&Ask::post(Call::AccountList, &body), read_page).await?;
            let before = accounts.len();
            let new = page
                .accounts
                .into_iter()
                .filter(|account| known.insert(account.open_kfid.clone()));
            accounts.extend(new);
            if page.listed < PAGE || accounts.len() == before {
                return Ok(accounts);
            }
        }
        tracing::warn!(
            accounts = accounts.len(),
            "stopped listing accounts: there seems to be no end of them"
        );
        Ok(accounts)
    }
}

struct Page {
    /// How many entries it had, legible or not.
    listed: usize,
    accounts: Vec<KfAccount>,
}

#[derive(Deserialize)]
struct Body {
    account_list: Option<Vec<Box<RawValue>>>,
}

#[derive(Deserialize)]
struct Entry {
    open_kfid: OpenKfid,
    name: Option<Box<str>>,
    manage_privilege: Option<LooseInt>,
}

fn read_page(answer: &Answer) -> Result<Page, Problem> {
    let body: Body = answer.read()?;
    if answer.errcode.is_none() && body.account_list.is_none() {
        return Err(Problem::Shape { line: 1, column: 1 });
    }
    let entries = body.account_list.unwrap_or_default();
    let listed = entries.len();
    // One odd entry does not cost the others.
    let accounts = entries
        .iter()
        .filter_map(|entry| serde_json::from_str(entry.get()).ok());
    let accounts = accounts.filter(|entry: &Entry| !entry.open_kfid.as_str().is_empty());
    let accounts: Vec<_> = accounts
        .map(|entry| KfAccount {
            open_kfid: entry.open_kfid,
            name: entry.name.unwrap_or_default(),
            manage_privilege: entry.manage_privilege.map(|privilege| privilege.0 != 0),
        })
        .collect();
    if accounts.len() < listed {
        tracing::warn!(
            skipped = listed - accounts.len(),
            "some entries of the account list are illegible"
        );
    }
    Ok(Page { listed, accounts })
}
