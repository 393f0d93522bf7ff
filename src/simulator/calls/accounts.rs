//! Customer service accounts.
//!
//! Sources: <https://developer.work.weixin.qq.com/document/path/94662> (add),
//! <https://developer.work.weixin.qq.com/document/path/94663> (del),
//! <https://developer.work.weixin.qq.com/document/path/94664> (update),
//! <https://developer.work.weixin.qq.com/document/path/94661> (list).

use serde::Deserialize;
use serde_json::json;

use super::Answer;
use super::fields::{Fields, text};
use crate::clock::UnixMillis;
use crate::id::OpenKfid;
use crate::simulator::media::MediaKind;
use crate::simulator::refusal::Refusal;
use crate::simulator::samples::alphanumeric;
use crate::simulator::settings::Account;
use crate::simulator::wecom::Wecom;

/// Most accounts that `account/list` answers at once.
const MAX_ACCOUNTS: usize = 100;

/// Most accounts that a corporation can have, and longest name of one, in characters.
const MOST_ACCOUNTS: usize = 5_000;
const MAX_NAME: usize = 16;

/// What a client sends to `account/list`.
#[derive(Deserialize, Debug)]
pub(super) struct ListRequest {
    offset: Option<usize>,
    limit: Option<usize>,
}

impl Wecom {
    /// `POST /cgi-bin/kf/account/add`.
    pub(super) fn account_add(&mut self, request: &Fields, now: UnixMillis) -> Answer {
        let name = name(request)?.ok_or(Refusal::BAD_ACCOUNT_NAME)?;
        let avatar = self.avatar(request, now)?.ok_or(Refusal::NO_MEDIA_ID)?;
        if self.settings.accounts.len() >= MOST_ACCOUNTS {
            return Err(Refusal::ACCOUNT_COUNT);
        }
        let mut account = Account::new(format!("wk{}", alphanumeric(30, &mut self.rng)), name);
        account.avatar = avatar;
        let open_kfid = account.open_kfid.clone();
        self.grant(account);
        Ok(json!({ "open_kfid": open_kfid }))
    }

    /// `POST /cgi-bin/kf/account/del`.
    pub(super) fn account_del(&mut self, request: &Fields) -> Answer {
        let open_kfid = self.granted_account(text(request, "open_kfid")?)?;
        if self.settings.accounts.len() == 1 {
            return Err(Refusal::ACCOUNT_COUNT);
        }
        self.withdraw(&open_kfid);
        self.streams.remove(&open_kfid);
        Ok(json!({}))
    }

    /// `POST /cgi-bin/kf/account/update`.
    pub(super) fn account_update(&mut self, request: &Fields, now: UnixMillis) -> Answer {
        let open_kfid = self.granted_account(text(request, "open_kfid")?)?;
        let (name, avatar) = (name(request)?, self.avatar(request, now)?);
        let mut accounts = self.settings.accounts.iter_mut();
        if let Some(account) = accounts.find(|account| account.open_kfid == open_kfid) {
            if let Some(name) = name {
                name.clone_into(&mut account.name);
            }
            if let Some(avatar) = avatar {
                account.avatar = avatar;
            }
        }
        Ok(json!({}))
    }

    /// Where the picture can be seen that a request names.
    fn avatar(&self, request: &Fields, now: UnixMillis) -> Result<Option<String>, Refusal> {
        let Some(media_id) = text(request, "media_id")? else {
            return Ok(None);
        };
        if self.media.find(media_id, now)?.kind != MediaKind::Image {
            return Err(Refusal::WRONG_MEDIA_TYPE);
        }
        Ok(Some(format!("https://images.example.com/{media_id}")))
    }

    /// `POST /cgi-bin/kf/account/list`.
    pub(super) fn account_list(&self, request: &ListRequest) -> Answer {
        let limit = request.limit.unwrap_or(MAX_ACCOUNTS);
        if !(1..=MAX_ACCOUNTS).contains(&limit) {
            return Err(Refusal::parameter("invalid limit"));
        }
        let accounts = self.settings.accounts.iter();
        let accounts = accounts.skip(request.offset.unwrap_or(0)).take(limit);
        let accounts: Vec<_> = accounts
            .map(|account| {
                json!({
                    "open_kfid": account.open_kfid, "name": account.name,
                    "avatar": account.avatar, "manage_privilege": true
                })
            })
            .collect();
        Ok(json!({ "account_list": accounts }))
    }

    /// The account that a request names, if the application may manage it.
    pub(in crate::simulator) fn granted_account(&self, open_kfid: Option<&str>) -> Result<OpenKfid, Refusal> {
        let open_kfid = self.existing_account(open_kfid)?;
        let mut granted = self.settings.accounts.iter();
        if granted.any(|account| account.open_kfid == open_kfid) {
            Ok(open_kfid)
        } else {
            Err(Refusal::NOT_GRANTED)
        }
    }

    fn existing_account(&self, open_kfid: Option<&str>) -> Result<OpenKfid, Refusal> {
        match open_kfid {
            None => Err(Refusal::NO_OPEN_KFID),
            Some("") => Err(Refusal::empty_string("open_kfid")),
            Some(id) => match self.streams.get_key_value(id) {
                Some((known, _)) => Ok(known.clone()),
                None if id.starts_with("wk") => Err(Refusal::UNKNOWN_OPEN_KFID),
                None => Err(Refusal::BAD_OPEN_KFID),
            },
        }
    }
}

/// The name that a request gives an account.
fn name(request: &Fields) -> Result<Option<&str>, Refusal> {
    let name = text(request, "name")?;
    match name {
        Some(name) if name.is_empty() || name.chars().count() > MAX_NAME => Err(Refusal::BAD_ACCOUNT_NAME),
        name => Ok(name),
    }
}
