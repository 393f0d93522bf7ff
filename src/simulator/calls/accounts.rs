//! Customer service accounts.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/94661>

use serde::Deserialize;
use serde_json::json;

use super::Answer;
use crate::id::OpenKfid;
use crate::simulator::refusal::Refusal;
use crate::simulator::wecom::Wecom;

/// Most accounts that `account/list` answers at once.
const MAX_ACCOUNTS: usize = 100;

/// What a client sends to `account/list`.
#[derive(Deserialize, Debug)]
pub(super) struct ListRequest {
    offset: Option<usize>,
    limit: Option<usize>,
}

impl Wecom {
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
                    "avatar": "https://images.example.com/avatar.png", "manage_privilege": true
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
