//! Who may ask, and how often: access tokens and limits.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/91039> (gettoken).

use std::collections::BTreeMap;

use rand::RngExt;
use secrecy::ExposeSecret;
use serde_json::json;

use super::{Answer, Api, Request};
use crate::clock::UnixMillis;
use crate::simulator::fault::Fault;
use crate::simulator::limits::{Budget, Grant, HOUR, Limits, MINUTE, Quota};
use crate::simulator::refusal::Refusal;
use crate::simulator::tokens::Worth;
use crate::simulator::wecom::Wecom;

/// What is left of every limit.
#[derive(Debug)]
pub(in crate::simulator) struct Quotas {
    limits: Limits,
    gettoken: Quota,
    wrong_secrets: Quota,
    pub(super) tokenless: Quota,
    /// Of each call that needs an access token, once it was made.
    calls: BTreeMap<Api, Budget>,
}

impl Quotas {
    pub(in crate::simulator) fn new(limits: &Limits) -> Self {
        Self {
            limits: *limits,
            gettoken: Quota::new(limits.gettoken_per_minute, MINUTE),
            wrong_secrets: Quota::new(limits.wrong_secrets_per_hour, HOUR),
            tokenless: Quota::new(limits.tokenless_per_minute, MINUTE),
            calls: BTreeMap::new(),
        }
    }

    pub(super) fn of(&mut self, api: Api) -> &mut Budget {
        self.calls.entry(api).or_insert_with(|| Budget::new(&self.limits))
    }
}

impl Wecom {
    /// `GET /cgi-bin/gettoken`.
    pub(super) fn gettoken(&mut self, request: &Request<'_>, now: UnixMillis) -> Answer {
        self.counts.gettoken += 1;
        let [corpid, secret] = ["corpid", "corpsecret"].map(|name| request.parameter(name));
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
        Ok(json!({ "access_token": token, "expires_in": left.as_secs() }))
    }

    /// Lets a call in that has a good access token and is not made too often. Counts it either way.
    pub(in crate::simulator) fn admit(
        &mut self,
        api: Api,
        request: &Request<'_>,
        now: UnixMillis,
    ) -> Result<(), Refusal> {
        request.must_suit(api)?;
        self.counts.count(api);
        let token = request
            .parameter("access_token")
            .filter(|token| !token.is_empty())
            .ok_or(Refusal::NO_ACCESS_TOKEN)?;
        if self.access_tokens.worth(&token, now) == Worth::Valid && self.suffers_on(api, Fault::AccessTokenRevoked) {
            if self.rng.random() {
                self.access_tokens.revoke();
            } else {
                self.access_tokens.expire(now);
            }
        }
        match self.access_tokens.worth(&token, now) {
            Worth::Valid => {}
            Worth::Expired => return Err(Refusal::EXPIRED_ACCESS_TOKEN),
            Worth::Unknown => return Err(Refusal::UNKNOWN_ACCESS_TOKEN),
        }
        let grant = self.quotas.of(api).take(now);
        self.spend(grant)?;
        if self.suffers_on(api, Fault::RateLimited) {
            self.quotas.of(api).block(now);
            return Err(Refusal::TOO_OFTEN);
        }
        if self.suffers_on(api, Fault::ConcurrencyLimited) {
            return Err(Refusal::TOO_MANY_AT_ONCE);
        }
        if self.suffers_on(api, Fault::Busy) {
            return Err(Refusal::BUSY);
        }
        Ok(())
    }

    /// Turns what a quota said into an answer.
    pub(super) fn spend(&mut self, grant: Grant) -> Result<(), Refusal> {
        match grant {
            Grant::Granted => Ok(()),
            Grant::Exceeded => Err(Refusal::TOO_OFTEN),
            Grant::Blocked => {
                self.counts.violations.calls_while_blocked += 1;
                Err(Refusal::TOO_OFTEN)
            }
        }
    }
}
