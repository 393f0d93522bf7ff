use std::sync::atomic::AtomicUsize;

use tokio::sync::Notify;
use tokio::task::{JoinSet, yield_now};
use tokio::time::advance;

use super::*;
use crate::api::ErrCode;
use crate::clock::ManualClock;

mod share;
mod shelf;

const LIFETIME: Duration = Duration::from_secs(7200);
const RATE_LIMIT_PAUSE: Duration = Duration::from_secs(60);

/// A gettoken that counts its calls and answers as it is told.
#[derive(Default)]
struct Desk {
    asked: AtomicUsize,
}

impl Desk {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    async fn grant(&self) -> Result<Grant, ApiError> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        Ok(Grant {
            access_token: format!("token-{number}").into(),
            lifetime: LIFETIME,
        })
    }

    async fn refuse(&self, code: ErrCode) -> Result<Grant, ApiError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Err(rejected(Call::GetToken, code))
    }
}

fn rejected(call: Call, code: ErrCode) -> ApiError {
    let errmsg = "no".into();
    ApiError::Rejected { call, code, errmsg }
}

fn tokens() -> (AccessTokens, ManualClock) {
    let clock = ManualClock::new(UnixMillis::from_secs(1_785_571_200));
    let tokens = AccessTokens::new(Arc::new(clock.clone()), RATE_LIMIT_PAUSE, None);
    (tokens, clock)
}

#[tokio::test]
async fn a_hundred_callers_share_one_fetch() {
    let (tokens, desk, open) = (Arc::new(tokens().0), Arc::new(Desk::default()), Arc::new(Notify::new()));
    let mut callers = JoinSet::new();
    for _ in 0..100 {
        let (tokens, desk, open) = (Arc::clone(&tokens), Arc::clone(&desk), Arc::clone(&open));
        callers.spawn(async move {
            let fetch = async {
                open.notified().await;
                desk.grant().await
            };
            tokens.get(fetch).await.unwrap().expose().to_owned()
        });
    }
    yield_now().await;
    open.notify_one();
    while let Some(token) = callers.join_next().await {
        assert_eq!(token.unwrap(), "token-1");
    }
    assert_eq!(desk.asked(), 1);
}

#[tokio::test]
async fn those_who_waited_for_a_failed_fetch_are_told_its_reason() {
    let (tokens, desk, open) = (Arc::new(tokens().0), Arc::new(Desk::default()), Arc::new(Notify::new()));
    let mut callers = JoinSet::new();
    for _ in 0..100 {
        let (tokens, desk, open) = (Arc::clone(&tokens), Arc::clone(&desk), Arc::clone(&open));
        callers.spawn(async move {
            let fetch = async {
                open.notified().await;
                desk.refuse(ErrCode::SYSTEM_BUSY).await
            };
            tokens.get(fetch).await.unwrap_err().errcode()
        });
    }
    yield_now().await;
    open.notify_one();
    while let Some(code) = callers.join_next().await {
        assert_eq!(code.unwrap(), Some(ErrCode::SYSTEM_BUSY));
    }
    assert_eq!(desk.asked(), 1);
}

#[tokio::test]
async fn when_the_one_who_asks_is_dropped_the_next_one_asks() {
    let (tokens, desk) = (Arc::new(tokens().0), Arc::new(Desk::default()));
    let leader = tokio::spawn({
        let tokens = Arc::clone(&tokens);
        async move { tokens.get(std::future::pending()).await.map(drop) }
    });
    yield_now().await;
    let follower = tokio::spawn({
        let (tokens, desk) = (Arc::clone(&tokens), Arc::clone(&desk));
        async move { tokens.get(desk.grant()).await.map(drop) }
    });
    yield_now().await;
    assert_eq!(desk.asked(), 0, "the follower waits for the leader");
    leader.abort();
    follower.await.unwrap().unwrap();
    assert_eq!(desk.asked(), 1);
}

#[tokio::test]
async fn a_token_is_renewed_early_but_not_much() {
    let (tokens, clock) = tokens();
    let desk = Desk::default();
    tokens.get(desk.grant()).await.unwrap();
    clock.advance(LIFETIME.mul_f64(0.849));
    assert_eq!(tokens.get(desk.grant()).await.unwrap().expose(), "token-1");
    clock.advance(LIFETIME.mul_f64(0.102));
    assert_eq!(tokens.get(desk.grant()).await.unwrap().expose(), "token-2");
}

#[tokio::test]
async fn two_tokens_granted_together_are_not_renewed_together() {
    let (tokens, _) = tokens();
    let grant = |number: u32| Grant {
        access_token: format!("token-{number}").into(),
        lifetime: LIFETIME,
    };
    let mut moments: Vec<_> = (0..20)
        .map(|number| tokens.land(grant(number), UnixMillis(0), 0).refresh_at)
        .collect();
    moments.dedup();
    assert!(moments.len() > 10, "{moments:?}");
}

#[tokio::test]
async fn a_token_that_wecom_gives_out_again_until_it_ends_is_asked_for_once_before_that() {
    let (tokens, clock) = tokens();
    let asked = AtomicUsize::new(0);
    let began = clock.now();
    while clock.now().since(began) < LIFETIME {
        let fetch = async {
            asked.fetch_add(1, Ordering::SeqCst);
            Ok(Grant {
                access_token: "the-same".into(),
                lifetime: LIFETIME.saturating_sub(clock.now().since(began)),
            })
        };
        let token = tokens.get(fetch).await.unwrap();
        tokens.served(&token);
        clock.advance(Duration::from_secs(1));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn while_one_caller_renews_the_others_go_on_with_the_old_token() {
    let (tokens, clock) = tokens();
    let (tokens, desk) = (Arc::new(tokens), Desk::default());
    tokens.get(desk.grant()).await.unwrap();
    clock.advance(LIFETIME.mul_f64(0.96));
    let renewal = tokio::spawn({
        let tokens = Arc::clone(&tokens);
        async move { tokens.get(std::future::pending()).await.map(drop) }
    });
    yield_now().await;
    assert_eq!(tokens.get(desk.grant()).await.unwrap().expose(), "token-1");
    assert_eq!(desk.asked(), 1);
    renewal.abort();
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_renewed_is_used_until_it_expires() {
    let (tokens, clock) = tokens();
    let desk = Desk::default();
    tokens.get(desk.grant()).await.unwrap();
    clock.advance(LIFETIME.mul_f64(0.96));
    for _ in 0..10 {
        let token = tokens.get(desk.refuse(ErrCode::INVALID_SECRET)).await.unwrap();
        assert_eq!(token.expose(), "token-1");
    }
    assert_eq!(desk.asked(), 2, "the renewal is tried once, then not for a while");
    clock.advance(LIFETIME.mul_f64(0.05));
    let error = tokens.get(desk.grant()).await.unwrap_err();
    assert_eq!(error.errcode(), Some(ErrCode::INVALID_SECRET));
}

#[tokio::test(start_paused = true)]
async fn a_refused_secret_is_not_tried_again_for_ten_minutes() {
    let (tokens, _clock) = tokens();
    let desk = Desk::default();
    for _ in 0..1000 {
        let error = tokens.get(desk.refuse(ErrCode::INVALID_SECRET)).await.unwrap_err();
        assert!(matches!(error, ApiError::NoAccessToken { .. }));
        assert_eq!(error.class(), ErrorClass::Operator);
        advance(Duration::from_millis(599)).await;
    }
    assert_eq!(desk.asked(), 1);
    advance(Duration::from_secs(1)).await;
    tokens.get(desk.grant()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failing_gettoken_is_asked_ever_more_rarely_and_never_more_than_six_times_a_minute() {
    let (tokens, _clock) = tokens();
    let desk = Desk::default();
    let mut asked_at = Vec::new();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2 * 3600) {
        let before = desk.asked();
        tokens.get(desk.refuse(ErrCode::SYSTEM_BUSY)).await.unwrap_err();
        if desk.asked() > before {
            asked_at.push(start.elapsed());
        }
        advance(Duration::from_millis(100)).await;
    }
    for (index, first) in asked_at.iter().enumerate() {
        let minute = asked_at[index..]
            .iter()
            .take_while(|at| **at < *first + Duration::from_secs(60));
        assert!(minute.count() <= 6, "{asked_at:?}");
    }
    let late = asked_at.iter().filter(|at| **at > Duration::from_secs(3600)).count();
    assert!((6..=60).contains(&late), "{late} in the second hour");
}

#[tokio::test]
async fn fetches_that_were_given_up_count_against_the_limit() {
    let (tokens, _clock) = tokens();
    for _ in 0..6 {
        let given_up = tokio::time::timeout(Duration::ZERO, tokens.get(std::future::pending()));
        given_up.await.unwrap_err();
    }
    let error = tokens.get(async { panic!("a seventh fetch") }).await.unwrap_err();
    assert!(matches!(
        error,
        ApiError::RateLimited {
            call: Call::GetToken,
            ..
        }
    ));
}

#[tokio::test]
async fn only_the_current_token_can_be_invalidated() {
    let (tokens, _clock) = tokens();
    let desk = Desk::default();
    let expired = rejected(Call::SyncMsg, ErrCode::ACCESS_TOKEN_EXPIRED);
    let first = tokens.get(desk.grant()).await.unwrap();
    tokens.served(&first);
    for _ in 0..100 {
        tokens.invalidate(&first, &expired);
        assert_eq!(tokens.get(desk.grant()).await.unwrap().expose(), "token-2");
    }
    assert_eq!(desk.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn tokens_that_never_serve_are_asked_for_ever_more_rarely() {
    let (tokens, _clock) = tokens();
    let desk = Desk::default();
    let invalid = rejected(Call::SyncMsg, ErrCode::INVALID_ACCESS_TOKEN);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(600) {
        if let Ok(token) = tokens.get(desk.grant()).await {
            tokens.invalidate(&token, &invalid);
        }
        advance(Duration::from_millis(100)).await;
    }
    assert!(desk.asked() < 40, "{} tokens in ten minutes", desk.asked());
}
