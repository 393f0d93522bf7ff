//! `kf/account`: the customer service accounts.
//!
//! Sources: <https://developer.work.weixin.qq.com/document/path/94661> (list),
//! <https://developer.work.weixin.qq.com/document/path/94662> (add),
//! <https://developer.work.weixin.qq.com/document/path/94663> (del) and
//! <https://developer.work.weixin.qq.com/document/path/94664> (update)

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::answer::{Answer, LooseInt, done};
use super::field::{required, required_bytes, required_characters};
use super::{ApiError, Ask, Call, Client, FieldError, Problem};
use crate::id::{MediaId, OpenKfid};

/// Most characters of an account's name.
const NAME_CHARACTERS: usize = 16;

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
    /// Address of its picture.
    pub avatar: Option<Box<str>>,
    /// Whether this app may read and send its messages; `None` if WeCom did not say.
    pub manage_privilege: Option<bool>,
}

/// What to change of an account: at least one of the two.
#[derive(Clone, Copy, Default, Debug)]
pub struct AccountChange<'a> {
    /// Its name. 1–16 characters.
    pub name: Option<&'a str>,
    /// Its picture, uploaded as `image`. At most 128 bytes.
    pub media_id: Option<&'a MediaId>,
}

impl AccountChange<'_> {
    fn check(&self) -> Result<(), FieldError> {
        if let Some(name) = self.name {
            required_characters("name", name, NAME_CHARACTERS)?;
        }
        match (self.name, self.media_id) {
            (None, None) => Err(FieldError::missing("name")),
            (_, None) => Ok(()),
            (_, Some(media_id)) => required_bytes("media_id", media_id.as_str(), 128),
        }
    }
}

impl Client {
    /// Adds an account. A corporation may have 5000 (95005), and ten while it is not verified (95027).
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/94662>
    pub async fn account_add(&self, name: &str, picture: &MediaId) -> Result<OpenKfid, ApiError> {
        let call = Call::AccountAdd;
        let whole = AccountChange {
            name: Some(name),
            media_id: Some(picture),
        };
        call.checked(whole.check())?;
        let body = json!({ "name": name, "media_id": picture });
        self.post(call, &body, &[], read_added).await
    }

    /// Deletes an account.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/94663>
    pub async fn account_del(&self, open_kfid: &OpenKfid) -> Result<(), ApiError> {
        let call = Call::AccountDel;
        call.checked(required("open_kfid", open_kfid.as_str()))?;
        self.post(call, &json!({ "open_kfid": open_kfid }), &[], done).await
    }

    /// Changes an account's name or picture.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/94664>
    pub async fn account_update(&self, open_kfid: &OpenKfid, change: &AccountChange<'_>) -> Result<(), ApiError> {
        let call = Call::AccountUpdate;
        call.checked(required("open_kfid", open_kfid.as_str()))?;
        call.checked(change.check())?;
        let mut body = json!({ "open_kfid": open_kfid });
        if let Some(name) = change.name {
            body["name"] = name.into();
        }
        if let Some(media_id) = change.media_id {
            body["media_id"] = media_id.as_str().into();
        }
        self.post(call, &body, &[], done).await
    }

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

#[derive(Deserialize)]
struct Added {
    open_kfid: OpenKfid,
}

fn read_added(answer: &Answer) -> Result<OpenKfid, Problem> {
    let Added { open_kfid } = answer.read()?;
    Ok(open_kfid)
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
    avatar: Option<Box<str>>,
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
            avatar: entry.avatar.filter(|avatar| !avatar.is_empty()),
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
