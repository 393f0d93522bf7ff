//! What the syncer asks of WeCom.

use std::fmt;

use async_trait::async_trait;

use crate::api::{ApiError, Client, KfAccount, SyncMsg, SyncPage, TokenlessTurn};

/// Where the messages of one application are: WeCom, as its [`Client`] knows it, or whoever plays WeCom's part.
///
/// Nothing is retried in here, and whoever gives a page has kept WeCom's limits.
#[async_trait]
pub trait Upstream: Send + Sync + fmt::Debug + 'static {
    /// Reads one page with the callback's token of the request; without one it waits for its turn under the strict
    /// limit. See [`Client::sync_msg`].
    async fn sync_msg(&self, request: &SyncMsg<'_>) -> Result<SyncPage, ApiError>;

    /// Waits until a page may be read without a callback's token. Dropping the future gives the place in line up.
    async fn tokenless_turn(&self) -> TokenlessTurn;

    /// Reads one page in a turn that was waited for.
    async fn sync_msg_in_turn(&self, request: &SyncMsg<'_>, turn: TokenlessTurn) -> Result<SyncPage, ApiError>;

    /// Lists the accounts that the application may read.
    async fn account_list(&self) -> Result<Vec<KfAccount>, ApiError>;
}

#[async_trait]
impl Upstream for Client {
    async fn sync_msg(&self, request: &SyncMsg<'_>) -> Result<SyncPage, ApiError> {
        Self::sync_msg(self, request).await
    }

    async fn tokenless_turn(&self) -> TokenlessTurn {
        Self::tokenless_turn(self).await
    }

    async fn sync_msg_in_turn(&self, request: &SyncMsg<'_>, turn: TokenlessTurn) -> Result<SyncPage, ApiError> {
        Self::sync_msg_in_turn(self, request, turn).await
    }

    async fn account_list(&self) -> Result<Vec<KfAccount>, ApiError> {
        Self::account_list(self).await
    }
}
