//! A place where all processes that serve one app find the same access token.
//!
//! WeCom wants gettoken asked rarely, and bans an IP that asks with a wrong secret again and again; several replicas
//! may share one. So where they share anything they share the token too: one of them has the right to fetch the next,
//! the others use what it puts on the shelf, and what WeCom refused to one is refused to all for a while.
//!
//! A shelf saves calls, and nothing depends on it: whoever finds it out of order fetches a token for itself.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::ErrCode;
use crate::id::CorpId;

/// Where a token lies that several processes use. Versions grow by one with every token of a key.
///
/// All times are spans, measured by the shelf's own clock: the processes' clocks are never compared.
#[async_trait]
pub trait TokenShelf: Send + Sync + fmt::Debug + 'static {
    /// Looks for a token that may take the place of the one in `request`. If there is none, and nobody else is fetching
    /// one, and WeCom did not refuse one lately, gives the asker the right to.
    async fn ask(&self, request: &TokenRequest) -> Result<TokenOffer, ShelfError>;

    /// Puts the token on the shelf that was fetched by this right, unless another is there already.
    async fn put(&self, turn: &TokenTurn, token: &ShelvedToken) -> Result<(), ShelfError>;

    /// Gives the right back: no token was to be had. With a `refusal` nobody gets the right before it is over.
    async fn give_up(&self, turn: &TokenTurn, refusal: Option<TokenRefusal>) -> Result<(), ShelfError>;
}

/// Names the token of one app: by its corporation and a digest of its secret, so that a new secret begins anew.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TokenKey(Box<str>);

impl TokenKey {
    /// Name of the token that WeCom grants to `corp_id` for `secret`.
    pub(super) fn of(corp_id: &CorpId, secret: &SecretString) -> Self {
        let corp_id = corp_id.as_str();
        // A secret is 43 random characters: nobody finds it by trying, so plain SHA-256 does.
        let digest = Sha256::new()
            .chain_update("wecom-kf access token\0")
            .chain_update(corp_id)
            .chain_update([0])
            .chain_update(secret.expose_secret())
            .finalize();
        let digest: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("{corp_id}:{digest}").into())
    }

    /// As text, which tells nothing secret.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is asked of a shelf.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "whoever asks says all of it")]
pub struct TokenRequest {
    /// Whose token.
    pub key: TokenKey,
    /// Version that is to be replaced: the one the asker had last. 0 if it had none from the shelf.
    pub replaces: u64,
    /// What is the matter with that one.
    pub because: Worn,
    /// Who asks: a random number, one for each client.
    pub asker: u64,
    /// How long the asker has the right to fetch a token, should it get it.
    pub term: Duration,
}

/// What is the matter with a token that is to be replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "it is one or the other")]
pub enum Worn {
    /// It nears its end or has reached it; others go on with it while it works.
    Aged,
    /// WeCom refuses it, so that nobody needs to try it any more.
    Refused,
}

/// What a shelf has to offer.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "whoever asks has to know what to do with each answer"
)]
pub enum TokenOffer {
    /// A token that somebody else fetched.
    Token {
        /// Its version.
        version: u64,
        /// The token.
        token: ShelvedToken,
    },
    /// The sole right to fetch one.
    Turn(TokenTurn),
    /// Nothing yet: somebody else is fetching one.
    Wait,
    /// Nothing for a while: WeCom refused one.
    Refused(TokenRefusal),
}

/// The sole right to fetch a token, for a while.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "shelves make it, and find their place again by it"
)]
pub struct TokenTurn {
    /// Whose token.
    pub key: TokenKey,
    /// Version that the token will have.
    pub version: u64,
    /// Who has the right.
    pub asker: u64,
    /// How often WeCom has refused one in a row, whoever asked.
    pub refusals: u32,
}

/// A token, and how long it is good.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a token, and the two ends of its life")]
pub struct ShelvedToken {
    /// The token.
    pub value: SecretString,
    /// How long its life is, as WeCom said.
    pub lifetime: Duration,
    /// How much of that has passed.
    pub age: Duration,
}

/// That WeCom grants no token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "why, and for how long")]
pub struct TokenRefusal {
    /// WeCom's reason.
    pub code: ErrCode,
    /// When it is worth asking again.
    pub after: Duration,
}

/// A shelf is out of order.
#[derive(Debug, thiserror::Error)]
#[error("the place where replicas share an access token is out of order")]
pub struct ShelfError(#[source] Box<dyn Error + Send + Sync>);

impl ShelfError {
    /// Out of order for this reason.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_corporations_and_secrets_apart_and_not_the_secret() {
        let key = |corp_id: &str, secret: &str| TokenKey::of(&CorpId::from(corp_id), &secret.into());
        assert_eq!(key("ww1", "canary"), key("ww1", "canary"));
        assert_ne!(key("ww1", "canary"), key("ww1", "canary2"));
        assert_ne!(key("ww1", "2canary"), key("ww12", "canary"));
        let shown = format!("{:?}", key("ww1", "canary"));
        assert!(shown.contains("ww1:") && !shown.contains("canary"), "{shown}");
    }
}
