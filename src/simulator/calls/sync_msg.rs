//! The door to `sync_msg`: what a pull must say before it is answered with a page.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/94670>

use rand::RngExt;
use serde::Deserialize;

use super::{Api, Request};
use crate::clock::UnixMillis;
use crate::id::OpenKfid;
use crate::simulator::fault::Fault;
use crate::simulator::limits::Grant;
use crate::simulator::mint::Purpose;
use crate::simulator::refusal::Refusal;
use crate::simulator::wecom::Wecom;

/// Longest cursor and longest callback token that are looked at, in bytes.
const MAX_CURSOR: usize = 64;
const MAX_CALLBACK_TOKEN: usize = 128;

/// What WeCom's callback tokens begin with.
const CALLBACK_TOKEN_PREFIX: &str = "ENC";

/// What a client sends to `sync_msg`.
#[derive(Deserialize, Debug)]
pub(in crate::simulator) struct SyncRequest {
    pub(in crate::simulator) open_kfid: Option<String>,
    cursor: Option<String>,
    token: Option<String>,
    limit: Option<u32>,
    voice_format: Option<u32>,
}

/// A `sync_msg` request that may be answered with a page.
#[derive(Debug)]
pub(in crate::simulator) struct Pull {
    pub(in crate::simulator) open_kfid: OpenKfid,
    pub(in crate::simulator) cursor: Option<String>,
    pub(in crate::simulator) limit: usize,
}

impl Wecom {
    /// `POST /cgi-bin/kf/sync_msg`.
    pub(in crate::simulator) fn sync_msg(
        &mut self,
        request: &Request<'_>,
        asked: Result<SyncRequest, Refusal>,
        now: UnixMillis,
    ) -> Result<String, Refusal> {
        self.admit(Api::SyncMsg, request, now)?;
        let request = asked?;
        self.refuse_empty_strings(&request)?;
        let open_kfid = self.granted_account(request.open_kfid.as_deref())?;
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

    fn refuse_empty_strings(&mut self, request: &SyncRequest) -> Result<(), Refusal> {
        for (field, value) in [("cursor", &request.cursor), ("token", &request.token)] {
            if value.as_deref() == Some("") {
                self.counts.violations.empty_strings += 1;
                return Err(Refusal::empty_string(field));
            }
        }
        Ok(())
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
            self.quotas.of(Api::SyncMsg).block(now);
        }
        self.spend(grant)
    }

    /// A callback token of `open_kfid`, good from `now` on.
    pub(in crate::simulator) fn new_callback_token(&mut self, open_kfid: &OpenKfid, now: UnixMillis) -> String {
        let coin = self.mint.make(
            Purpose::CallbackToken,
            open_kfid,
            now.0.cast_unsigned(),
            self.rng.random(),
        );
        format!("{CALLBACK_TOKEN_PREFIX}{coin}")
    }
}
