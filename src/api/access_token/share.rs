//! One token for all processes: who fetches it, and what the others do meanwhile.
//!
//! A process comes here when it needs another token than the one it has, so about once in the life of each. It takes what
//! lies on the shelf, or fetches the next with the right to, which ends by itself after [`TERM`] should the process die.
//! The others wait for that long and a little more, and while the old token works they do not wait at all.
//!
//! A shelf that is out of order is as good as none: the token is fetched for this process, and within its limits.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{AccessToken, AccessTokens, Grant};
use crate::api::{
    ApiError, Call, ShelfError, ShelvedToken, TokenKey, TokenOffer, TokenRefusal, TokenRequest, TokenShelf, TokenTurn,
    Worn,
};

/// How long one process has the right to fetch. One that takes longer may find that another has been quicker.
const TERM: Duration = Duration::from_secs(10);

/// How long to wait for a token that another process is fetching: until its right is over, and another's has begun.
const PATIENCE: Duration = Duration::from_secs(15);

/// How often to look whether it has come.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How often to look while the old token works.
const LOOK_AGAIN_AT_LEISURE: Duration = Duration::from_secs(1);

/// How long the shelf may take to answer.
const SHELF_PATIENCE: Duration = Duration::from_secs(3);

/// A client's access to a shelf.
#[derive(Debug)]
pub(in crate::api) struct Share {
    shelf: Arc<dyn TokenShelf>,
    key: TokenKey,
    /// Tells this client from all others.
    asker: u64,
}

impl Share {
    pub(in crate::api) fn new(shelf: Arc<dyn TokenShelf>, key: TokenKey) -> Self {
        let asker = rand::random();
        Self { shelf, key, asker }
    }

    async fn ask(&self, (replaces, because): (u64, Worn)) -> Result<TokenOffer, ShelfError> {
        let request = TokenRequest {
            key: self.key.clone(),
            replaces,
            because,
            asker: self.asker,
            term: TERM,
        };
        in_time(self.shelf.ask(&request)).await
    }
}

impl AccessTokens {
    /// The next token, for a process that is not alone. `has_old` tells whether there is one that works.
    pub(super) async fn get_shared(
        &self,
        share: &Share,
        fetch: impl Future<Output = Result<Grant, ApiError>>,
        has_old: bool,
    ) -> Result<Arc<AccessToken>, ApiError> {
        let until = Instant::now() + PATIENCE;
        loop {
            let asked_at = self.clock.now();
            let last = self.state().last;
            match share.ask(last).await {
                Ok(TokenOffer::Token { version, token }) => {
                    let grant = Grant {
                        access_token: token.value,
                        lifetime: token.lifetime,
                    };
                    return Ok(self.land(grant, asked_at.minus(token.age), version));
                }
                Ok(TokenOffer::Turn(turn)) => return self.fetch_for_all(share, &turn, fetch).await,
                Ok(TokenOffer::Refused(TokenRefusal { code, after })) => {
                    let error = ApiError::Rejected {
                        call: Call::GetToken,
                        code,
                        errmsg: "another replica was told so".into(),
                    };
                    return Err(self.state().refuse(error, after));
                }
                Ok(TokenOffer::Wait) if has_old => {
                    let after = LOOK_AGAIN_AT_LEISURE;
                    self.state().renewed_elsewhere = Some(Instant::now() + after);
                    let call = Call::GetToken;
                    return Err(ApiError::RateLimited { call, after });
                }
                Ok(TokenOffer::Wait) if Instant::now() < until => sleep(LOOK_AGAIN).await,
                Ok(TokenOffer::Wait) => {
                    tracing::warn!("no other replica gets hold of an access token: fetching one for this one");
                    return self.fetch(fetch, 0).await;
                }
                Err(error) => {
                    warn(&error, "fetching an access token for this replica alone");
                    return self.fetch(fetch, 0).await;
                }
            }
        }
    }

    /// Fetches with the right to, and tells the others what came of it.
    async fn fetch_for_all(
        &self,
        share: &Share,
        turn: &TokenTurn,
        fetch: impl Future<Output = Result<Grant, ApiError>>,
    ) -> Result<Arc<AccessToken>, ApiError> {
        {
            let mut state = self.state();
            state.failures = state.failures.max(turn.refusals);
        }
        let asked_at = Instant::now();
        let fetched = self.fetch(fetch, turn.version).await;
        let told = match &fetched {
            Ok(token) => {
                let token = ShelvedToken {
                    value: token.value.clone(),
                    lifetime: token.expires_at.since(token.granted_at),
                    age: asked_at.elapsed(),
                };
                in_time(share.shelf.put(turn, &token)).await
            }
            Err(error) => in_time(share.shelf.give_up(turn, refusal_for_all(error))).await,
        };
        // The right ends by itself.
        if let Err(error) = told {
            warn(&error, "other replicas will ask for an access token themselves");
        }
        fetched
    }
}

/// What other processes need not ask WeCom again. A line that is cut may be ours alone.
fn refusal_for_all(error: &ApiError) -> Option<TokenRefusal> {
    let code = error.errcode().filter(|code| !code.is_about_this_machine())?;
    let after = error.retry_after()?;
    Some(TokenRefusal { code, after })
}

fn warn(error: &ShelfError, consequence: &str) {
    let error = error as &dyn Error;
    tracing::warn!(error, "{consequence}");
}

async fn in_time<T>(work: impl Future<Output = Result<T, ShelfError>>) -> Result<T, ShelfError> {
    match timeout(SHELF_PATIENCE, work).await {
        Ok(done) => done,
        Err(late) => Err(ShelfError::new(late)),
    }
}
