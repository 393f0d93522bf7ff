//! A shelf for access tokens in memory.

use std::collections::VecDeque;

use async_trait::async_trait;

use super::*;
use crate::api::{ShelfError, ShelvedToken, TokenOffer, TokenRefusal, TokenRequest, TokenShelf, TokenTurn, Worn};

/// Tokens age by the wall clock, rights and refusals by tokio's.
#[derive(Debug)]
pub(super) struct Memory {
    clock: ManualClock,
    row: Mutex<Row>,
    /// How it behaves with the next requests; as it should when none is left.
    moods: Mutex<VecDeque<Mood>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mood {
    Sound,
    Broken,
    Silent,
}

#[derive(Debug, Default)]
struct Row {
    version: u64,
    token: Option<(ShelvedToken, UnixMillis)>,
    right: Option<(u64, Instant)>,
    refusals: u32,
    refusal: Option<(ErrCode, Instant)>,
}

impl Memory {
    pub(super) fn new(clock: ManualClock) -> Self {
        Self {
            clock,
            row: Mutex::default(),
            moods: Mutex::default(),
        }
    }

    pub(super) fn is_as_told(&self, mood: Mood, times: usize) {
        self.moods.lock().unwrap().extend(vec![mood; times]);
    }

    /// Somebody whom nobody knows has the right to fetch a token, for `term`.
    pub(super) fn is_taken_for(&self, term: Duration) {
        self.row.lock().unwrap().right = Some((0, Instant::now() + term));
    }

    async fn row(&self) -> Result<MutexGuard<'_, Row>, ShelfError> {
        let mood = self.moods.lock().unwrap().pop_front().unwrap_or(Mood::Sound);
        match mood {
            Mood::Sound => Ok(self.row.lock().unwrap()),
            Mood::Broken => Err(ShelfError::new("connection refused")),
            Mood::Silent => std::future::pending().await,
        }
    }
}

#[async_trait]
impl TokenShelf for Memory {
    async fn ask(&self, request: &TokenRequest) -> Result<TokenOffer, ShelfError> {
        let (mut row, now) = (self.row().await?, self.clock.now());
        let alive = row.token.clone().and_then(|(token, at)| {
            let age = token.age + now.since(at);
            (age < token.lifetime).then_some(ShelvedToken { age, ..token })
        });
        let version = row.version;
        if let Some(token) = alive.filter(|_| version != request.replaces) {
            return Ok(TokenOffer::Token { version, token });
        }
        if let Some((code, until)) = row.refusal.filter(|(_, until)| *until > Instant::now()) {
            let after = until - Instant::now();
            return Ok(TokenOffer::Refused(TokenRefusal { code, after }));
        }
        let taken = |(owner, until): (u64, Instant)| owner != request.asker && until > Instant::now();
        if row.right.is_some_and(taken) {
            return Ok(TokenOffer::Wait);
        }
        if version == request.replaces && request.because == Worn::Refused {
            row.token = None;
        }
        row.right = Some((request.asker, Instant::now() + request.term));
        Ok(TokenOffer::Turn(TokenTurn {
            key: request.key.clone(),
            version: version + 1,
            asker: request.asker,
            refusals: row.refusals,
        }))
    }

    async fn put(&self, turn: &TokenTurn, token: &ShelvedToken) -> Result<(), ShelfError> {
        let mut row = self.row().await?;
        if row.version + 1 == turn.version {
            *row = Row {
                version: turn.version,
                token: Some((token.clone(), self.clock.now())),
                ..Row::default()
            };
        }
        Ok(())
    }

    async fn give_up(&self, turn: &TokenTurn, refusal: Option<TokenRefusal>) -> Result<(), ShelfError> {
        let mut row = self.row().await?;
        if row.right.is_some_and(|(owner, _)| owner == turn.asker) {
            row.right = None;
            if let Some(TokenRefusal { code, after }) = refusal {
                row.refusals += 1;
                row.refusal = Some((code, Instant::now() + after));
            }
        }
        Ok(())
    }
}
