//! Access tokens that several processes share: one row for each, counted by versions.

use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;

use super::StoreError;

/// Lets one process at a time fetch an access token, and shows it to the others.
///
/// All times are spans by the store's own clock. Each method is one step: nobody sees half of it. The tokens lie in the
/// store as they are, so whoever reads it can use them until they expire.
#[async_trait]
pub trait SharedTokens: Send + Sync {
    /// Finds a token to take the place of the one in `ask`; if there is none, gives the sole right to fetch one, unless
    /// somebody else has it or none is to be asked for.
    async fn ask_token(&self, ask: TokenAsk) -> Result<TokenFound, StoreError>;

    /// Stores the token that was fetched by `right`, unless another of its version is there already; the right ends.
    /// Rows whose token expired more than a day ago go.
    async fn put_token(&self, right: TokenRight, token: StoredToken) -> Result<(), StoreError>;

    /// Ends `right`, if it has not ended, without a token. With a `refusal` nobody else gets it until that is over.
    async fn give_up_token(&self, right: TokenRight, refusal: Option<TokenDenied>) -> Result<(), StoreError>;
}

/// Which token is needed, and by whom.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "whoever asks says all of it")]
pub struct TokenAsk {
    /// Name of the row. Tells nothing secret.
    pub key: Box<str>,
    /// Version that the asker had last; 0 if none.
    pub replaces: u64,
    /// Whether anybody can use that one any more.
    pub spent: Spent,
    /// Who asks: a random number.
    pub asker: u64,
    /// How long the right lasts, should the asker get it.
    pub term: Duration,
}

/// Whether a token that is to be replaced can still be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "it is one or the other")]
pub enum Spent {
    /// As long as it lasts.
    Aged,
    /// No more, whatever its age.
    Refused,
}

/// What was found.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "whoever asks has to know what to do with each")]
pub enum TokenFound {
    /// Another token than the one to replace.
    Token {
        /// Its version.
        version: u64,
        /// The token.
        token: StoredToken,
    },
    /// None, and the asker has the right to fetch one.
    Right {
        /// The right.
        right: TokenRight,
        /// How many were refused in a row.
        refusals: u32,
    },
    /// None, and somebody else has that right.
    Taken,
    /// None, and none is to be asked for.
    Denied(TokenDenied),
}

/// The right to fetch a token.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a row, and what must stand in it")]
pub struct TokenRight {
    /// Name of the row.
    pub key: Box<str>,
    /// Version that the token will have.
    pub version: u64,
    /// Who has the right.
    pub asker: u64,
}

/// A token, and the two ends of its life.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a token, and the two ends of its life")]
pub struct StoredToken {
    /// The token.
    pub value: SecretString,
    /// How long its life is.
    pub lifetime: Duration,
    /// How much of that has passed.
    pub age: Duration,
}

/// That none is to be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "why, and for how long")]
pub struct TokenDenied {
    /// WeCom's reason, a number.
    pub code: i64,
    /// How long.
    pub lasts: Duration,
}
