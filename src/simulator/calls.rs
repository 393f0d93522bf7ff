//! Who may ask what, and how often: `gettoken`, `account/list`, and the door to `sync_msg`.
//!
//! Sources: <https://developer.work.weixin.qq.com/document/path/91039> (gettoken),
//! <https://developer.work.weixin.qq.com/document/path/94661> (account/list),
//! <https://developer.work.weixin.qq.com/document/path/94670> (sync_msg).

use rand::RngExt;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::fault::Fault;
use super::limits::{Budget, Grant, HOUR, Limits, MINUTE, Quota};
use super::mint::Purpose;
use super::refusal::Refusal;
use super::tokens::Worth;
use super::wecom::Wecom;
use crate::clock::UnixMillis;
use crate::id::OpenKfid;

/// Longest cursor and longest callback token that are looked at, in bytes.
const MAX_CURSOR: usize = 64;
const MAX_CALLBACK_TOKEN: usize = 128;

/// Most accounts that `account/list` answers at once.
const MAX_ACCOUNTS: usize = 100;

/// What WeCom's callback tokens begin with.
const CALLBACK_TOKEN_PREFIX: &str = "ENC";

/// What is left of every limit.
#[derive(Debug)]
pub(super) struct Quotas {
    gettoken: Quota,
    wrong_secrets: Quota,
    sync_msg: Budget,
    tokenless: Quota,
    account_list: Budget,
}

impl Quotas {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            gettoken: Quota::new(limits.gettoken_per_minute, MINUTE),
            wrong_secrets: Quota::new(limits.wrong_secrets_per_hour, HOUR),
            sync_msg: Budget::new(limits),
            tokenless: Quota::new(limits.tokenless_per_minute, MINUTE),
            account_list: Budget::new(limits),
        }
    }
}

/// A call that needs an access token.
#[derive(Clone, Copy, Debug)]
enum Api {
    SyncMsg,
    AccountList,
}

/// What a client sends to `sync_msg`.
#[derive(Deserialize, Debug)]
pub(super) struct SyncRequest {
    pub(super) open_kfid: Option<String>,
    cursor: Option<String>,
    token: Option<String>,
    limit: Option<u32>,
    voice_format: Option<u32>,
}

/// A `sync_msg` request that may be answered with a page.
#[derive(Debug)]
pub(super) struct Pull {
    pub(super) open_kfid: OpenKfid,
    pub(super) cursor: Option<String>,
    pub(super) limit: usize,
}

/// What a client sends to `account/list`.
#[derive(Deserialize, Debug)]
struct ListRequest {
    offset: Option<usize>,
    limit: Option<usize>,
}

/// Reads a request as WeCom does: what is no JSON and what is the wrong JSON are two errors.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        if error.is_data() {
            Refusal::parameter("invalid Request Parameter")
        } else {
            Refusal::BAD_JSON
        }
    })
}

impl Wecom {
    /// `GET /cgi-bin/gettoken`.
    pub(super) fn gettoken(
        &mut self,
        corpid: Option<&str>,
        secret: Option<&str>,
        now: UnixMillis,
    ) -> Result<String, Refusal> {
        self.counts.gettoken += 1;
        let corpid = corpid.filter(|id| !id.is_empty()).ok_or(Refusal::NO_CORPID)?;
        let secret = secret.filter(|secret| !secret.is_empty()).ok_or(Refusal::NO_SECRET)?;
        if corpid != self.settings.corp_id.as_str() {
            return Err(Refusal::WRONG_CORPID);
        }
        if self.quotas.wrong_secrets.is_blocked(now) {
            self.spend(Grant::Blocked)?;
        }
        if secret != self.settings.secret.expose_secret() {
            let grant = self.quotas.wrong_secrets.take(now);
            self.spend(grant)?;
            return Err(Refusal::WRONG_SECRET);
        }
        let grant = self.quotas.gettoken.take(now);
        self.spend(grant)?;
        if self.suffers(Fault::GettokenFails) {
            return Err(Refusal::BUSY);
        }
        if self.suffers(Fault::GettokenLimited) {
            self.quotas.gettoken.block(now);
            return Err(Refusal::TOO_OFTEN);
        }
        let (token, left) = self.access_tokens.issue(now, &mut self.rng);
        let answer = json!({
            "errcode": 0, "errmsg": "ok", "access_token": token, "expires_in": left.as_secs()
        });
        Ok(answer.to_string())
    }

    /// `POST /cgi-bin/kf/account/list`.
    pub(super) fn account_list(
        &mut self,
        access_token: Option<&str>,
        body: &[u8],
        now: UnixMillis,
    ) -> Result<String, Refusal> {
        self.counts.account_list += 1;
        self.admit(Api::AccountList, access_token, now)?;
        let request: ListRequest = parse(body)?;
        let limit = request.limit.unwrap_or(MAX_ACCOUNTS);
        if !(1..=MAX_ACCOUNTS).contains(&limit) {
            return Err(Refusal::parameter("invalid limit"));
        }
        let accounts = self
            .settings
            .accounts
            .iter()
            .skip(request.offset.unwrap_or(0))
            .take(limit);
        let accounts: Vec<_> = accounts
            .map(|account| {
                json!({
                    "open_kfid": account.open_kfid, "name": account.name,
                    "avatar": "https://images.example.com/avatar.png", "manage_privilege": true
                })
            })
            .collect();
        Ok(json!({ "errcode": 0, "errmsg": "ok", "account_list": accounts }).to_string())
    }

    /// `POST /cgi-bin/kf/sync_msg`.
    pub(super) fn sync_msg(
        &mut self,
        access_token: Option<&str>,
        request: Result<SyncRequest, Refusal>,
        now: UnixMillis,
    ) -> Result<String, Refusal> {
        self.counts.sync_msg += 1;
        self.admit(Api::SyncMsg, access_token, now)?;
        let request = request?;
        self.refuse_empty_strings(&request)?;
        let open_kfid = self.existing_account(request.open_kfid.as_deref())?;
        if !self
            .settings
            .accounts
            .iter()
            .any(|account| account.open_kfid == open_kfid)
        {
            return Err(Refusal::NOT_GRANTED);
        }
        if let Some(errcode) = self.faults.refusals.get(&open_kfid) {
            return Err(Refusal::of(*errcode));
        }
        let maximum = self.settings.page_maximum;
        let limit = request.limit.unwrap_or(maximum);
        if !(1..=maximum).contains(&limit) {
            return Err(Refusal::parameter("invalid limit"));
        }
        if request.voice_format.is_some_and(|format| format > 1) {
            return Err(Refusal::parameter("invalid voice_format"));
        }
        self.check_callback_token(&open_kfid, request.token.as_deref(), now)?;
        if request.cursor.as_ref().is_some_and(|cursor| cursor.len() > MAX_CURSOR) {
            return Err(Refusal::BAD_CURSOR);
        }
        let pull = Pull {
            open_kfid,
            cursor: request.cursor,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
        };
        self.page(&pull, now)
    }

    /// Lets a call in that has a good access token and is not made too often.
    fn admit(&mut self, api: Api, access_token: Option<&str>, now: UnixMillis) -> Result<(), Refusal> {
        let token = access_token
            .filter(|token| !token.is_empty())
            .ok_or(Refusal::NO_ACCESS_TOKEN)?;
        if self.access_tokens.worth(token, now) == Worth::Valid && self.suffers(Fault::AccessTokenRevoked) {
            if self.rng.random() {
                self.access_tokens.revoke();
            } else {
                self.access_tokens.expire(now);
            }
        }
        match self.access_tokens.worth(token, now) {
            Worth::Valid => {}
            Worth::Expired => return Err(Refusal::EXPIRED_ACCESS_TOKEN),
            Worth::Unknown => return Err(Refusal::UNKNOWN_ACCESS_TOKEN),
        }
        let grant = self.budget(api).take(now);
        self.spend(grant)?;
        if self.suffers(Fault::RateLimited) {
            self.budget(api).block(now);
            return Err(Refusal::TOO_OFTEN);
        }
        if self.suffers(Fault::ConcurrencyLimited) {
            return Err(Refusal::TOO_MANY_AT_ONCE);
        }
        if self.suffers(Fault::Busy) {
            return Err(Refusal::BUSY);
        }
        Ok(())
    }

    fn budget(&mut self, api: Api) -> &mut Budget {
        match api {
            Api::SyncMsg => &mut self.quotas.sync_msg,
            Api::AccountList => &mut self.quotas.account_list,
        }
    }

    /// Turns what a quota said into an answer.
    fn spend(&mut self, grant: Grant) -> Result<(), Refusal> {
        match grant {
            Grant::Granted => Ok(()),
            Grant::Exceeded => Err(Refusal::TOO_OFTEN),
            Grant::Blocked => {
                self.counts.violations.calls_while_blocked += 1;
                Err(Refusal::TOO_OFTEN)
            }
        }
    }

    fn refuse_empty_strings(&mut self, request: &SyncRequest) -> Result<(), Refusal> {
        for (field, value) in [("cursor", &request.cursor), ("token", &request.token)] {
            if value.as_deref() == Some("") {
                self.counts.violations.empty_strings += 1;
                return Err(Refusal::empty_string(field));
            }
        }
        Ok(())
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

    /// Takes a callback token of this account, not older than it may be; without one the call counts as tokenless.
    fn check_callback_token(
        &mut self,
        open_kfid: &OpenKfid,
        token: Option<&str>,
        now: UnixMillis,
    ) -> Result<(), Refusal> {
        let Some(token) = token else {
            return self.spend_tokenless(now);
        };
        if token.len() > MAX_CALLBACK_TOKEN {
            return Err(Refusal::parameter("invalid token"));
        }
        let minted = token
            .strip_prefix(CALLBACK_TOKEN_PREFIX)
            .and_then(|coin| self.mint.read(Purpose::CallbackToken, open_kfid, coin))
            .map(|millis| UnixMillis(millis.cast_signed()));
        let is_stale = minted.is_some_and(|minted| now.since(minted) > self.settings.callback_token_lifetime);
        if is_stale {
            self.counts.violations.stale_tokens += 1;
        }
        if minted.is_none() || is_stale {
            self.spend_tokenless(now)?;
            return Err(Refusal::BAD_CALLBACK_TOKEN);
        }
        if self.suffers(Fault::CallbackTokenRefused) {
            return Err(Refusal::BAD_CALLBACK_TOKEN);
        }
        Ok(())
    }

    /// A wrong token counts like none; too many of either block `sync_msg` altogether.
    fn spend_tokenless(&mut self, now: UnixMillis) -> Result<(), Refusal> {
        self.counts.tokenless += 1;
        let grant = self.quotas.tokenless.take(now);
        if grant == Grant::Exceeded {
            self.quotas.sync_msg.block(now);
        }
        self.spend(grant)
    }

    /// A callback token of `open_kfid`, good from `now` on.
    pub(super) fn new_callback_token(&mut self, open_kfid: &OpenKfid, now: UnixMillis) -> String {
        let coin = self.mint.make(
            Purpose::CallbackToken,
            open_kfid,
            now.0.cast_unsigned(),
            self.rng.random(),
        );
        format!("{CALLBACK_TOKEN_PREFIX}{coin}")
    }
}
