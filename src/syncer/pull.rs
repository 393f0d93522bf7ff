//! One pull of one account: page after page, each committed together with its cursor.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument as _, Level};

use super::Settings;
use super::floodgate::Floodgate;
use super::intake::{self, Batch};
use super::upstream::Upstream;
use super::wake_ups::WakeUps;
use crate::api::{ApiError, ErrCode, SyncMsg, SyncPage, TokenlessTurn};
use crate::clock::Clock;
use crate::handler::Roster;
use crate::id::{AccountKey, CallbackToken};
use crate::lease::{Leases, Title};
use crate::metric;
use crate::span;
use crate::store::{Claim, Commit, Fence, Intake, Page, PageEnds, Store, StoreError};

/// Pages after which a pull lets other accounts have a turn.
const PAGES_PER_TURN: u32 = 10;
/// Pages in a row that may say "more" without moving the cursor.
const UNMOVED_PAGES: u32 = 3;

/// Everything the pulls of one application share.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) store: Arc<dyn Store>,
    pub(super) upstream: Arc<dyn Upstream>,
    pub(super) wake_ups: Arc<WakeUps>,
    pub(super) roster: Arc<Roster>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) floodgate: Arc<Floodgate>,
    pub(super) leases: Leases,
    pub(super) settings: Settings,
}

/// What a pull may spend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fare {
    /// Only calls that carry a callback's token.
    Token,
    /// Also calls without, which WeCom allows few of.
    Tokenless,
}

/// How a pull ended.
#[derive(Debug)]
pub(super) enum End {
    /// There is nothing more.
    Reached,
    /// There is more; others are to have a turn first, or there is no room for it.
    Yielded,
    /// It had to go on without a token and may not.
    NeedsTokenless,
    /// Somebody else claimed the account.
    Superseded,
    /// WeCom says there is more and does not move on.
    NoProgress,
    /// A call failed.
    Api(ApiError),
    /// The store failed.
    Store(StoreError),
    /// The process is stopping, or the account is not its to pull any more.
    Stopped,
}

impl End {
    /// Its name in traces.
    fn as_str(&self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::Yielded => "yielded",
            Self::NeedsTokenless => "needs_tokenless",
            Self::Superseded => "superseded",
            Self::NoProgress => "no_progress",
            Self::Api(error) => error.class().as_str(),
            Self::Store(_) => "store",
            Self::Stopped => "stopped",
        }
    }
}

/// What a call is made with.
enum Ticket {
    Token(CallbackToken),
    Turn(TokenlessTurn),
}

/// A pull of one account.
pub(super) struct Pull {
    pub(super) source: Arc<Source>,
    pub(super) account: AccountKey,
    /// Kept until the last page is committed.
    pub(super) title: Title,
    /// Kept from pull to pull: claiming costs a write.
    pub(super) claim: Option<Claim>,
    /// Messages asked for at once.
    pub(super) limit: u32,
    pub(super) fare: Fare,
    /// Pages committed so far that brought the account on.
    pub(super) pages: u32,
}

/// What is left of a pull.
pub(super) struct Ended {
    pub(super) account: AccountKey,
    /// Under which it was pulled.
    pub(super) under: Fence,
    pub(super) claim: Option<Claim>,
    /// Pages committed that brought the account on.
    pub(super) pages: u32,
    pub(super) end: End,
}

impl Pull {
    /// Pulls until the end of a turn. A page that has come is committed even if `stop` comes.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Ended {
        let span = tracing::info_span!(
            target: span::TARGET,
            "pull",
            app = %self.account.app,
            open_kfid = %self.account.open_kfid,
            pages = Empty,
            end = Empty,
            otel.status_code = Empty,
        );
        if let Some(callback) = self.source.wake_ups.take_callback(&self.account.open_kfid) {
            span.follows_from(&callback);
        }
        let end = self
            .pages(&stop)
            .instrument(span.clone())
            .await
            .unwrap_or_else(|end| end);
        span.record("pages", self.pages).record("end", end.as_str());
        if matches!(end, End::NoProgress | End::Api(_) | End::Store(_)) {
            span::failed(&span);
        }
        Ended {
            account: self.account,
            under: self.title.fence(),
            claim: self.claim,
            pages: self.pages,
            end,
        }
    }

    async fn pages(&mut self, stop: &CancellationToken) -> Result<End, End> {
        let mut unmoved = 0;
        for _ in 0..PAGES_PER_TURN {
            if self.source.floodgate.held().is_some() {
                return Ok(End::Yielded);
            }
            if !self.title.stands() {
                return Ok(End::Stopped);
            }
            let claim = self.claim().await?;
            let answers = self.source.wake_ups.number(&self.account.open_kfid);
            let page = tokio::select! {
                biased;
                page = self.fetch(&claim) => page?,
                () = stop.cancelled() => return Ok(End::Stopped),
            };
            let moved = page.next_cursor.is_some() && page.next_cursor != claim.cursor;
            let more = page.has_more;
            if more && !moved && page.items.is_empty() {
                return Ok(End::NoProgress);
            }
            let ends = if more {
                PageEnds::More
            } else {
                PageEnds::Pull { answers }
            };
            self.commit(claim, page, ends).await?;
            if moved || !more {
                self.pages += 1;
            }
            if !more {
                return Ok(End::Reached);
            }
            unmoved = if moved { 0 } else { unmoved + 1 };
            if unmoved >= UNMOVED_PAGES {
                return Ok(End::NoProgress);
            }
        }
        Ok(End::Yielded)
    }

    async fn claim(&mut self) -> Result<Claim, End> {
        if let Some(claim) = &self.claim {
            return Ok(claim.clone());
        }
        let claim = self
            .source
            .store
            .claim(&self.account, self.title.fence(), self.source.clock.now())
            .await
            .map_err(End::Store)?
            .ok_or(End::Superseded)?;
        self.claim = Some(claim.clone());
        Ok(claim)
    }

    /// Asks for the page after the claim's cursor, with a callback's token if there is one.
    async fn fetch(&self, claim: &Claim) -> Result<SyncPage, End> {
        let Source { upstream, wake_ups, .. } = &*self.source;
        let open_kfid = &self.account.open_kfid;
        let tokenless = SyncMsg {
            open_kfid,
            cursor: claim.cursor.as_deref(),
            token: None,
            limit: self.limit,
        };
        loop {
            let ticket = self.ticket().await?;
            // That may have taken minutes.
            if !self.title.stands() {
                return Err(End::Stopped);
            }
            let token = match ticket {
                Ticket::Token(token) => token,
                Ticket::Turn(turn) => return upstream.sync_msg_in_turn(&tokenless, turn).await.map_err(End::Api),
            };
            let token_paid = SyncMsg {
                token: Some(&token),
                ..tokenless
            };
            match upstream.sync_msg(&token_paid).await {
                Err(error) if error.errcode() == Some(ErrCode::INVALID_CALLBACK_TOKEN) => {
                    tracing::debug!(account = %self.account, "callback token refused, going on without it");
                    wake_ups.token_refused(open_kfid, &token);
                }
                answer => return answer.map_err(End::Api),
            }
        }
    }

    /// What the next call may be made with. Waits for a turn without a token, unless a callback brings one meanwhile.
    async fn ticket(&self) -> Result<Ticket, End> {
        let Source {
            upstream,
            wake_ups,
            clock,
            ..
        } = &*self.source;
        let turn = upstream.tokenless_turn();
        tokio::pin!(turn);
        loop {
            let woken = wake_ups.changed();
            if let Some(token) = wake_ups.token(&self.account.open_kfid, clock.now()) {
                return Ok(Ticket::Token(token));
            }
            if self.fare == Fare::Token {
                return Err(End::NeedsTokenless);
            }
            tokio::select! {
                biased;
                turn = &mut turn => return Ok(Ticket::Turn(turn)),
                () = woken => {}
            }
        }
    }

    async fn commit(&mut self, claim: Claim, page: SyncPage, ends: PageEnds) -> Result<(), End> {
        let Source {
            store,
            roster,
            clock,
            floodgate,
            settings,
            ..
        } = &*self.source;
        let batch = Batch::decode(page.items, &claim, roster, settings.first_sync_window);
        let (app, newest, received) = (claim.account.app.clone(), batch.newest(), clock.now());
        let Batch { messages, labels, .. } = batch;
        let collected = tracing::enabled!(target: span::TARGET, Level::INFO);
        let msgids = collected.then(|| messages.iter().map(|message| message.msgid.clone()).collect::<Vec<_>>());
        // None keeps a cursor that an empty one must never overwrite.
        let page = Page {
            claim,
            next_cursor: page.next_cursor,
            messages,
            received,
            ends,
        };
        match store.commit_page(page).await.map_err(End::Store)? {
            Commit::Stored(stored) => {
                floodgate.stored();
                intake::count(&app, &labels, &stored.messages);
                let intake = stored.messages.iter();
                for (msgid, _) in msgids.iter().flatten().zip(intake).filter(|(_, i)| **i == Intake::New) {
                    tracing::info!(target: span::TARGET, %msgid, "stored");
                }
                // A pull that ends with nothing new has caught up. Without this an old page would be shown until the next
                // message comes.
                let lag = match newest {
                    Some(newest) => Some(received.since(newest).as_secs_f64()),
                    None => (ends != PageEnds::More).then_some(0.0),
                };
                if let Some(lag) = lag {
                    metrics::gauge!(metric::SYNC_LAG_SECONDS, "app" => app.to_string()).set(lag);
                }
                self.claim = Some(stored.claim);
                Ok(())
            }
            Commit::Superseded => {
                self.claim = None;
                Err(End::Superseded)
            }
        }
    }
}
