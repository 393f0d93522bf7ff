//! The access token every business call carries: one per app, fetched by one caller while the others wait.
//!
//! WeCom does not say how often gettoken may be called, only "not frequently", and bans the IP for an hour after
//! repeated wrong secrets. So a token is renewed early, at about nine tenths of its life, while the old one still works;
//! a refused one is replaced only by whoever still holds the current one; and failures are remembered, so that the next
//! caller is told the reason instead of asking again.
//!
//! A fetch counts as good when its token has **served** a call. The second token in a row that is refused before it
//! served counts as a failed fetch: otherwise a WeCom that hands out dead tokens would be asked for another by every
//! single call.
//!
//! Where several processes serve one app, all of this goes on in each of them, and a [shelf](super::TokenShelf) beside it lets
//! one fetch for all ([`Share`]).
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/91039>

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngExt;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::governor::LONGEST_PAUSE;
use super::pace::{Pace, Window};
use super::{ApiError, Call, ErrorClass, Worn};
use crate::backoff::Backoff;
use crate::clock::{Clock, UnixMillis};

mod share;
#[cfg(test)]
mod tests;

pub(super) use share::Share;

/// How long a refused secret is not tried again. Four tries in the time for which WeCom bans an IP.
const REFUSED_PAUSE: Duration = Duration::from_secs(10 * 60);

/// Waits while WeCom answers gettoken with some passing trouble.
const TROUBLE: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10 * 60));

/// Waits while WeCom cannot be reached at all: it does not feel these, and the way back should be short.
const OUTAGE: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

/// Most fetches a minute that gave no usable token, whatever the reason; given-up ones included.
const FRUITLESS_PER_MINUTE: u32 = 6;

/// What gettoken grants.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) access_token: SecretString,
    pub(super) lifetime: Duration,
}

/// One access token. Two grants are two tokens, also if WeCom gives out the same string twice.
#[derive(Debug)]
pub(super) struct AccessToken {
    value: SecretString,
    /// On the shelf; 0 if it was fetched without one.
    version: u64,
    granted_at: UnixMillis,
    refresh_at: UnixMillis,
    expires_at: UnixMillis,
    /// Whether a call made with it was answered with anything but a refusal of the token.
    served: AtomicBool,
}

impl AccessToken {
    pub(super) fn expose(&self) -> &str {
        self.value.expose_secret()
    }
}

/// Keeps the current token and gets the next.
///
/// Expiry runs by the wall clock, because WeCom's does and a suspended machine must notice; pauses run by tokio's.
#[derive(Debug)]
pub(super) struct AccessTokens {
    clock: Arc<dyn Clock>,
    rate_limit: Backoff,
    /// Its one permit belongs to whoever is asking WeCom. If that caller is dropped, the next in line asks.
    flight: Semaphore,
    /// With which other processes; `None` if this one is alone.
    share: Option<Share>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    current: Option<Arc<AccessToken>>,
    /// Version of the last token there was, and what is the matter with it once it is no longer good.
    last: (u64, Worn),
    /// Until when the current token is used although it is due, because another process is renewing it.
    renewed_elsewhere: Option<Instant>,
    /// Fruitless fetches in a row.
    failures: u32,
    /// How the last of them ended, and until when nobody asks again.
    refusal: Option<(ApiError, Instant)>,
    /// Fetches since a token last served.
    fetches: Window,
}

/// What there is to work with.
enum Supply {
    /// A token, and nothing to do about it.
    Good(Arc<AccessToken>),
    /// A token that still works and should be renewed.
    Due(Arc<AccessToken>),
    /// No token.
    None,
}

impl AccessTokens {
    pub(super) fn new(clock: Arc<dyn Clock>, rate_limit_pause: Duration, share: Option<Share>) -> Self {
        Self {
            clock,
            rate_limit: Backoff::new(rate_limit_pause, LONGEST_PAUSE),
            flight: Semaphore::new(1),
            share,
            state: Mutex::new(State {
                current: None,
                last: (0, Worn::Aged),
                renewed_elsewhere: None,
                failures: 0,
                refusal: None,
                fetches: Window::per_minute(FRUITLESS_PER_MINUTE),
            }),
        }
    }

    /// The current token. If there is none, or it nears its end, `fetch` is run to get the next; else it is dropped
    /// without having begun.
    pub(super) async fn get(
        &self,
        fetch: impl Future<Output = Result<Grant, ApiError>>,
    ) -> Result<Arc<AccessToken>, ApiError> {
        let _flight = match self.supply()? {
            Supply::Good(token) => return Ok(token),
            // One caller renews; the others go on with what still works.
            Supply::Due(token) => match self.flight.try_acquire() {
                Ok(flight) => flight,
                Err(_) => return Ok(token),
            },
            // Unwrap safety: nobody closes the semaphore.
            Supply::None => self.flight.acquire().await.expect("the flight is never closed"),
        };
        // Another caller may have landed meanwhile, with a token or with a refusal that holds for all who waited.
        let old = match self.supply()? {
            Supply::Good(token) => return Ok(token),
            Supply::Due(token) => Some(token),
            Supply::None => None,
        };
        let next = match &self.share {
            // In a box: every call carries this future, and one in thousands needs it.
            Some(share) => Box::pin(self.get_shared(share, fetch, old.is_some())).await,
            None => Box::pin(self.fetch(fetch, 0)).await,
        };
        next.or_else(|error| old.ok_or(error))
    }

    /// Asks WeCom, unless it was asked in vain too often. The token gets this `version`.
    async fn fetch(
        &self,
        fetch: impl Future<Output = Result<Grant, ApiError>>,
        version: u64,
    ) -> Result<Arc<AccessToken>, ApiError> {
        if let Err(after) = self.state().fetches.take(Instant::now()) {
            let call = Call::GetToken;
            return Err(ApiError::RateLimited { call, after });
        }
        // Its life began before the answer arrived, at the latest when it was asked for.
        let asked_at = self.clock.now();
        match fetch.await {
            Ok(grant) => Ok(self.land(grant, asked_at, version)),
            Err(error) => Err(self.state().fail(error, &self.rate_limit)),
        }
    }

    /// Notes that a call made with `token` was answered, so that `token` is good.
    pub(super) fn served(&self, token: &AccessToken) {
        if !token.served.swap(true, Ordering::Relaxed) {
            let mut state = self.state();
            state.failures = 0;
            state.refusal = None;
            state.fetches.clear();
        }
    }

    /// Drops `token` because WeCom refused it with `error`, unless another has taken its place already.
    pub(super) fn invalidate(&self, token: &Arc<AccessToken>, error: &ApiError) {
        let mut state = self.state();
        if state
            .current
            .as_ref()
            .is_none_or(|current| !Arc::ptr_eq(current, token))
        {
            return;
        }
        state.current = None;
        state.last = (token.version, Worn::Refused);
        if token.served.load(Ordering::Relaxed) {
            return;
        }
        // One dead token may be bad luck, and the call under way deserves its second try.
        if state.failures == 0 {
            state.failures = 1;
        } else {
            state.fail(error.clone(), &self.rate_limit);
        }
    }

    fn supply(&self) -> Result<Supply, ApiError> {
        let now = self.clock.now();
        let state = self.state();
        let refusal = state.standing_refusal();
        match state.current.as_ref().filter(|token| now < token.expires_at) {
            Some(token) if now < token.refresh_at || refusal.is_some() || state.is_renewed_elsewhere() => {
                Ok(Supply::Good(Arc::clone(token)))
            }
            Some(token) => Ok(Supply::Due(Arc::clone(token))),
            None => refusal.map_or(Ok(Supply::None), Err),
        }
    }

    fn land(&self, grant: Grant, asked_at: UnixMillis, version: u64) -> Arc<AccessToken> {
        let Grant { access_token, lifetime } = grant;
        let mut state = self.state();
        let is_the_same = |current: &Arc<AccessToken>| current.expose() == access_token.expose_secret();
        let share = match state.current.as_ref().is_some_and(is_the_same) {
            // WeCom may give out the same token until it ends: then there is no other before.
            true => 1.0,
            // Apps that started together must not come back together.
            false => rand::rng().random_range(0.85..=0.95),
        };
        let token = Arc::new(AccessToken {
            value: access_token,
            version,
            granted_at: asked_at,
            refresh_at: asked_at.plus(lifetime.mul_f64(share)),
            expires_at: asked_at.plus(lifetime),
            served: AtomicBool::new(false),
        });
        state.current = Some(Arc::clone(&token));
        state.last = (version, Worn::Aged);
        token
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Remembers a fruitless fetch. Returns what callers are told until the next may begin.
    fn fail(&mut self, error: ApiError, rate_limit: &Backoff) -> ApiError {
        self.failures = self.failures.saturating_add(1);
        let rng = &mut rand::rng();
        let after = match &error {
            ApiError::Rejected { code, .. } => match code.class() {
                ErrorClass::Retry | ErrorClass::Refresh => TROUBLE.wait(self.failures, rng),
                ErrorClass::RetryLong => rate_limit.bound(self.failures),
                ErrorClass::Permanent | ErrorClass::Operator => REFUSED_PAUSE,
            },
            _ => OUTAGE.wait(self.failures, rng),
        };
        self.refuse(error, after)
    }

    /// Asks nobody for a while, and tells callers this `error` instead.
    fn refuse(&mut self, error: ApiError, after: Duration) -> ApiError {
        self.refusal = Some((error.clone(), Instant::now() + after));
        let source = Box::new(error);
        ApiError::NoAccessToken { after, source }
    }

    fn is_renewed_elsewhere(&self) -> bool {
        self.renewed_elsewhere.is_some_and(|until| Instant::now() < until)
    }

    fn standing_refusal(&self) -> Option<ApiError> {
        let (error, until) = self.refusal.as_ref()?;
        let after = until.saturating_duration_since(Instant::now());
        (!after.is_zero()).then(|| ApiError::NoAccessToken {
            after,
            source: Box::new(error.clone()),
        })
    }
}
