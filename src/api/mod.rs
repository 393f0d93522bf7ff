//! Talks to WeCom's server API on behalf of one app.
//!
//! A [`Client`] owns everything that must exist once per app, because WeCom counts per app: the access token, the
//! budget of each call, and the connection pool. Every failure is an [`ApiError`] that says by
//! [`class`](ApiError::class) what to do about it; nothing is retried in here except that a refused access token is
//! replaced, once.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/90664>

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::id::CorpId;

mod access_token;
mod account;
mod answer;
mod call;
mod contact_way;
mod customer;
mod errcode;
mod error;
mod field;
mod governor;
pub mod knowledge;
mod media;
pub mod outgoing;
mod pace;
mod pass;
mod qualification;
mod recall_msg;
mod remedy;
mod send_msg;
mod send_msg_on_event;
mod service_state;
mod servicer;
mod statistic;
mod sync_msg;
mod token_shelf;
mod upgrade_service;
mod wire;

#[cfg(test)]
mod tests;

pub use account::{AccountChange, KfAccount};
pub use call::Call;
pub use contact_way::ContactWay;
pub use customer::{Customer, Customers, EnterSession, EnterSessionContext, Gender};
pub use errcode::{ErrCode, ErrorClass};
pub use error::{ApiError, Problem};
pub use field::{FieldError, Unit};
pub use governor::Budget;
pub use media::{ByteRange, Download, DownloadMedia, MediaKind, Upload, Uploaded};
pub use outgoing::{EventMessage, Outgoing};
pub use pass::{BodyError, Pass, PassBody, PassError, Passed, Passing};
pub use qualification::CorpQualification;
pub use remedy::Remedy;
pub use send_msg::{OutgoingMsgid, SendMsg};
pub use send_msg_on_event::SendMsgOnEvent;
pub use service_state::{MsgCode, ServiceSession, ServiceState, Transfer, TransferTo};
pub use servicer::{DepartmentId, Reception, Receptionist, Servicer, ServicerResult, Servicers};
pub use statistic::{CorpStatistic, ServicerStatistic, StatisticDay, StatisticDays};
pub use sync_msg::{SyncMsg, SyncPage, TokenlessTurn};
pub use token_shelf::{
    ShelfError, ShelvedToken, TokenKey, TokenOffer, TokenRefusal, TokenRequest, TokenShelf, TokenTurn, Worn,
};
pub use upgrade_service::{UpgradeService, UpgradeServiceConfig, UpgradeTo};

use access_token::{AccessToken, AccessTokens, Grant, Share};
use answer::{Answer, LooseInt};
use governor::{Governor, Limit};
use media::Opening;
use pass::Lines;
use wire::{Payload, Request, Wire};

/// How to reach WeCom, and how gently. [`new`](Self::new) fills in the defaults.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Corporation.
    pub corp_id: CorpId,
    /// Secret of the self-built app that may call the customer service API.
    pub secret: SecretString,
    /// Where the API is, up to but without `/cgi-bin`. A path is allowed, for gateways.
    pub api_base: String,
    /// Calls a second, sustained, of each kind: WeCom counts every call of its API by itself. At least 1.
    pub calls_per_second: u32,
    /// Calls of one kind at once after a quiet time. At least 1.
    pub calls_burst: u32,
    /// Pulls without a callback token in any minute. At least 1; WeCom blocks at about 10.
    pub tokenless_per_minute: u32,
    /// Calls of one kind under way at the same time. At least 1.
    pub concurrency: usize,
    /// How long a call rests after its first 45009. Doubles up to an hour.
    pub rate_limit_pause: Duration,
    /// How long one HTTP exchange may take, from connecting to the last byte; for media, how long nothing of them may
    /// move. Waiting for a turn is not part of it.
    pub timeout: Duration,
    /// Most bytes of an answer that are read.
    pub max_response_bytes: usize,
    /// Where the access token is shared with other processes; `None` keeps it in this one.
    pub token_shelf: Option<Arc<dyn TokenShelf>>,
}

impl Settings {
    /// Where WeCom's API is.
    pub const API_BASE: &str = "https://qyapi.weixin.qq.com";
    /// Keeps below 150 000 calls an hour, WeCom's limit for one corporation and API.
    pub const CALLS_PER_SECOND: u32 = 35;
    /// Enough to pull many accounts at once after a quiet time, and far from 10 000 calls a minute.
    pub const CALLS_BURST: u32 = 300;
    /// Below the ten a minute that WeCom punishes.
    pub const TOKENLESS_PER_MINUTE: u32 = 8;
    /// A safe number of calls of one kind at a time; WeCom does not say where 45033 begins.
    pub const CONCURRENCY: usize = 8;
    /// Shortest block that WeCom imposes.
    pub const RATE_LIMIT_PAUSE: Duration = Duration::from_secs(60);
    /// Long enough for a full page on a slow line.
    pub const TIMEOUT: Duration = Duration::from_secs(20);
    /// Thirty times a usual page of 1000 messages.
    pub const MAX_RESPONSE_BYTES: usize = 32 * 1024 * 1024;

    /// Settings for one app, with the default for everything else.
    #[must_use]
    pub fn new(corp_id: CorpId, secret: SecretString) -> Self {
        Self {
            corp_id,
            secret,
            api_base: Self::API_BASE.to_owned(),
            calls_per_second: Self::CALLS_PER_SECOND,
            calls_burst: Self::CALLS_BURST,
            tokenless_per_minute: Self::TOKENLESS_PER_MINUTE,
            concurrency: Self::CONCURRENCY,
            rate_limit_pause: Self::RATE_LIMIT_PAUSE,
            timeout: Self::TIMEOUT,
            max_response_bytes: Self::MAX_RESPONSE_BYTES,
            token_shelf: None,
        }
    }

    fn check(&self) -> Result<(), ApiError> {
        let counts = [
            ("calls_per_second", self.calls_per_second as usize),
            ("calls_burst", self.calls_burst as usize),
            ("tokenless_per_minute", self.tokenless_per_minute as usize),
            ("concurrency", self.concurrency),
        ];
        match counts.iter().find(|(_, count)| *count == 0) {
            None => Ok(()),
            Some((name, _)) => Err(ApiError::Setting {
                name,
                problem: "must be at least 1",
            }),
        }
    }
}

/// Calls WeCom's API for one app. Clones share everything.
#[derive(Clone, Debug)]
pub struct Client(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    corp_id: CorpId,
    secret: SecretString,
    wire: Wire,
    governor: Governor,
    /// For what is passed on.
    lines: Lines,
    access_tokens: AccessTokens,
}

/// A business call, apart from how its answer is read.
struct Ask<'a> {
    call: Call,
    limit: Limit,
    /// What stands in the URL, beside the access token.
    query: &'a [(&'static str, &'a str)],
    payload: Payload<'a>,
    /// What in the request must not be quoted in an error: tickets, and whom it is about.
    private: &'a [&'a str],
}

impl<'a> Ask<'a> {
    /// Posts `body`, which is JSON.
    fn post(call: Call, body: &'a str) -> Self {
        Self {
            payload: Payload::Json(body),
            ..Self::get(call, &[])
        }
    }

    /// Gets what `query` names.
    fn get(call: Call, query: &'a [(&'static str, &'a str)]) -> Self {
        Self {
            call,
            limit: Limit::Ordinary,
            query,
            payload: Payload::None,
            private: &[],
        }
    }

    fn request<'r>(&'r self, token: &'r AccessToken) -> Request<'r> {
        Request {
            call: self.call,
            query: [&[("access_token", token.expose())], self.query].concat(),
            payload: self.payload,
            secrets: [&[token.expose()], self.private].concat(),
        }
    }
}

impl Client {
    /// A client for one app. Sends nothing yet.
    ///
    /// # Errors
    ///
    /// [`ApiError::Setting`] names the setting that makes no sense; [`ApiError::Setup`] when there are no root
    /// certificates to trust, for example.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, ApiError> {
        settings.check()?;
        let key = TokenKey::of(&settings.corp_id, &settings.secret);
        let share = settings.token_shelf.clone().map(|shelf| Share::new(shelf, key));
        Ok(Self(Arc::new(Shared {
            wire: Wire::new(&settings)?,
            governor: Governor::new(&settings),
            lines: Lines::new(&settings),
            access_tokens: AccessTokens::new(clock, settings.rate_limit_pause, share),
            corp_id: settings.corp_id,
            secret: settings.secret,
        })))
    }

    /// Makes sure that there is an access token, asking for one if need be: shows whether corp id and secret are right
    /// and WeCom can be reached.
    ///
    /// # Errors
    ///
    /// [`ApiError::NoAccessToken`], whose source and [`errcode`](ApiError::errcode) tell the reason;
    /// [`ApiError::RateLimited`] when WeCom was asked in vain six times within a minute.
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/91039>
    pub async fn ensure_access_token(&self) -> Result<(), ApiError> {
        self.access_token().await.map(drop)
    }

    /// How much may be called at once before anybody has to wait.
    #[must_use]
    pub fn budget(&self) -> Budget {
        self.0.governor.budget()
    }

    /// Posts `body`, and reads the answer with `read`. What is `private` in it is not quoted in an error.
    async fn post<T>(
        &self,
        call: Call,
        body: &impl Serialize,
        private: &[&str],
        read: fn(&Answer) -> Result<T, Problem>,
    ) -> Result<T, ApiError> {
        // Unwrap safety: bodies are made of strings and finite numbers, and all keys of their maps are strings.
        let body = serde_json::to_string(body).expect("a request is JSON");
        let ask = Ask {
            private,
            ..Ask::post(call, &body)
        };
        self.call(&ask, read).await
    }

    /// Makes a call that is answered with JSON, and reads the answer with `read`.
    async fn call<T>(&self, ask: &Ask<'_>, read: fn(&Answer) -> Result<T, Problem>) -> Result<T, ApiError> {
        let wire = &self.0.wire;
        self.in_turn(
            ask,
            |token| async move { wire.exchange(&ask.request(&token), read).await },
        )
        .await
    }

    /// Makes a call that is answered with a file.
    async fn open(&self, ask: &Ask<'_>) -> Result<Opening, ApiError> {
        let wire = &self.0.wire;
        self.in_turn(ask, |token| async move { wire.open(&ask.request(&token)).await })
            .await
    }

    /// Waits for a turn and sends; if the access token is refused, gets the next one and sends once more.
    async fn in_turn<T, S>(&self, ask: &Ask<'_>, send: impl Fn(Arc<AccessToken>) -> S) -> Result<T, ApiError>
    where
        S: Future<Output = Result<T, ApiError>>,
    {
        let _turn = self.0.governor.turn(ask.call, ask.limit).await?;
        match self.attempt(ask.call, &send).await {
            Err(ApiError::Rejected { code, .. }) if code.refuses_access_token() => self.attempt(ask.call, &send).await,
            result => result,
        }
    }

    /// Sends with the current access token, and notes what the answer says about it and about the limits.
    async fn attempt<T, S>(&self, call: Call, send: &impl Fn(Arc<AccessToken>) -> S) -> Result<T, ApiError>
    where
        S: Future<Output = Result<T, ApiError>>,
    {
        let Shared {
            governor,
            access_tokens,
            ..
        } = &*self.0;
        let token = self.access_token().await?;
        let result = send(Arc::clone(&token)).await;
        match &result {
            Ok(_) => {
                access_tokens.served(&token);
                governor.succeeded(call);
            }
            Err(error @ ApiError::Rejected { code, .. }) if code.refuses_access_token() => {
                access_tokens.invalidate(&token, error);
            }
            Err(ApiError::Rejected { code, .. }) => {
                access_tokens.served(&token);
                if code.class() == ErrorClass::RetryLong {
                    governor.limited(call);
                }
            }
            Err(_) => {}
        }
        result
    }

    async fn access_token(&self) -> Result<Arc<AccessToken>, ApiError> {
        self.0.access_tokens.get(self.fetch_access_token()).await
    }

    async fn fetch_access_token(&self) -> Result<Grant, ApiError> {
        let secret = self.0.secret.expose_secret();
        let request = Request {
            call: Call::GetToken,
            query: vec![("corpid", self.0.corp_id.as_str()), ("corpsecret", secret)],
            payload: Payload::None,
            secrets: vec![secret],
        };
        self.0.wire.exchange(&request, read_grant).await
    }
}

#[derive(Deserialize)]
struct GetTokenBody {
    access_token: String,
    expires_in: Option<LooseInt>,
}

fn read_grant(answer: &Answer) -> Result<Grant, Problem> {
    let body: GetTokenBody = answer.read()?;
    if body.access_token.is_empty() {
        return Err(Problem::Shape { line: 1, column: 1 });
    }
    // Two hours is what WeCom documents; a number outside of a week is no lifetime.
    let lifetime_secs = match body.expires_in {
        Some(LooseInt(secs @ 1..=604_800)) => secs.unsigned_abs(),
        _ => 7200,
    };
    Ok(Grant {
        access_token: body.access_token.into(),
        lifetime: Duration::from_secs(lifetime_secs),
    })
}
