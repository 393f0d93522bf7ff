//! The shared store as the place where replicas find an access token.

use std::sync::Arc;

use async_trait::async_trait;

use crate::api::{
    ErrCode, ShelfError, ShelvedToken, TokenOffer, TokenRefusal, TokenRequest, TokenShelf, TokenTurn, Worn,
};
use crate::store::{
    SharedTokens, Spent, Store, StoreError, StoredToken, TokenAsk, TokenDenied, TokenFound, TokenRight,
};

/// The place in `store` where servers share access tokens; `None` if no other process can have it open.
#[must_use]
pub fn token_shelf(store: &Arc<dyn Store>) -> Option<Arc<dyn TokenShelf>> {
    store.shared()?.tokens()?;
    Some(Arc::new(StoreShelf(Arc::clone(store))))
}

/// A store that several processes share.
#[derive(Debug)]
struct StoreShelf(Arc<dyn Store>);

impl StoreShelf {
    fn tokens(&self) -> Result<&dyn SharedTokens, ShelfError> {
        let tokens = self.0.shared().and_then(|shared| shared.tokens());
        tokens.ok_or_else(|| ShelfError::new(StoreError::Closed))
    }
}

#[async_trait]
impl TokenShelf for StoreShelf {
    async fn ask(&self, request: &TokenRequest) -> Result<TokenOffer, ShelfError> {
        let ask = TokenAsk {
            key: request.key.as_str().into(),
            replaces: request.replaces,
            spent: match request.because {
                Worn::Aged => Spent::Aged,
                Worn::Refused => Spent::Refused,
            },
            asker: request.asker,
            term: request.term,
        };
        let found = self.tokens()?.ask_token(ask).await.map_err(ShelfError::new)?;
        Ok(match found {
            TokenFound::Token {
                version,
                token: StoredToken { value, lifetime, age },
            } => TokenOffer::Token {
                version,
                token: ShelvedToken { value, lifetime, age },
            },
            TokenFound::Right { right, refusals } => TokenOffer::Turn(TokenTurn {
                key: request.key.clone(),
                version: right.version,
                asker: right.asker,
                refusals,
            }),
            TokenFound::Taken => TokenOffer::Wait,
            TokenFound::Denied(TokenDenied { code, lasts }) => TokenOffer::Refused(TokenRefusal {
                code: ErrCode(code),
                after: lasts,
            }),
        })
    }

    async fn put(&self, turn: &TokenTurn, token: &ShelvedToken) -> Result<(), ShelfError> {
        let ShelvedToken { value, lifetime, age } = token.clone();
        let token = StoredToken { value, lifetime, age };
        let put = self.tokens()?.put_token(right(turn), token);
        put.await.map_err(ShelfError::new)
    }

    async fn give_up(&self, turn: &TokenTurn, refusal: Option<TokenRefusal>) -> Result<(), ShelfError> {
        let denied = refusal.map(|TokenRefusal { code, after }| TokenDenied {
            code: code.0,
            lasts: after,
        });
        let given_up = self.tokens()?.give_up_token(right(turn), denied);
        given_up.await.map_err(ShelfError::new)
    }
}

fn right(turn: &TokenTurn) -> TokenRight {
    TokenRight {
        key: turn.key.as_str().into(),
        version: turn.version,
        asker: turn.asker,
    }
}
