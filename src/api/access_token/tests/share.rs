//! Several clients around one shelf.

use super::shelf::{Memory, Mood};
use super::*;
use crate::api::{TokenKey, TokenShelf};
use crate::id::CorpId;

/// Three replicas, their shelf and their clock.
struct Replicas {
    all: Vec<Arc<AccessTokens>>,
    shelf: Arc<Memory>,
    clock: ManualClock,
}

fn replicas() -> Replicas {
    let clock = ManualClock::new(UnixMillis::from_secs(1_785_571_200));
    let shelf = Arc::new(Memory::new(clock.clone()));
    let key = TokenKey::of(&CorpId::from("ww1"), &"canary".into());
    let replica = |_| {
        let share = Share::new(Arc::clone(&shelf) as Arc<dyn TokenShelf>, key.clone());
        Arc::new(AccessTokens::new(
            Arc::new(clock.clone()),
            RATE_LIMIT_PAUSE,
            Some(share),
        ))
    };
    Replicas {
        all: (0..3).map(replica).collect(),
        shelf,
        clock,
    }
}

/// What each has now, one after the other.
async fn get_each(replicas: &Replicas, desk: &Desk) -> Vec<String> {
    let mut got = Vec::new();
    for tokens in &replicas.all {
        let token = tokens.get(desk.grant()).await.unwrap();
        tokens.served(&token);
        got.push(token.expose().to_owned());
    }
    got
}

#[tokio::test(start_paused = true)]
async fn three_replicas_fetch_one_token_for_each_life_of_one() {
    let (replicas, desk) = (replicas(), Desk::default());
    for life in 1..=10 {
        assert_eq!(get_each(&replicas, &desk).await, vec![format!("token-{life}"); 3]);
        replicas.clock.advance(LIFETIME + Duration::from_secs(1));
    }
    assert_eq!(desk.asked(), 10);
}

#[tokio::test(start_paused = true)]
async fn replicas_that_need_a_token_at_once_wait_for_the_one_that_fetches() {
    let (replicas, desk) = (replicas(), Arc::new(Desk::default()));
    let mut callers = JoinSet::new();
    for tokens in replicas.all.iter().cycle().take(99) {
        let (tokens, desk) = (Arc::clone(tokens), Arc::clone(&desk));
        callers.spawn(async move {
            let fetch = async {
                tokio::time::sleep(Duration::from_secs(5)).await;
                desk.grant().await
            };
            tokens.get(fetch).await.unwrap().expose().to_owned()
        });
    }
    while let Some(token) = callers.join_next().await {
        assert_eq!(token.unwrap(), "token-1");
    }
    assert_eq!(desk.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_refused_to_one_replica_is_replaced_once_for_all() {
    let (replicas, desk) = (replicas(), Desk::default());
    let revoked = rejected(Call::SyncMsg, ErrCode::ACCESS_TOKEN_EXPIRED);
    get_each(&replicas, &desk).await;
    for tokens in &replicas.all {
        let token = tokens.get(desk.grant()).await.unwrap();
        assert_eq!(token.expose(), "token-1");
        tokens.invalidate(&token, &revoked);
        assert_eq!(tokens.get(desk.grant()).await.unwrap().expose(), "token-2");
    }
    assert_eq!(desk.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_comes_late_is_not_given_what_another_is_replacing() {
    let (replicas, desk) = (replicas(), Arc::new(Desk::default()));
    let [first, _, late] = &replicas.all[..] else { panic!() };
    let token = first.get(desk.grant()).await.unwrap();
    first.invalidate(&token, &rejected(Call::SyncMsg, ErrCode::INVALID_ACCESS_TOKEN));
    let replacing = tokio::spawn({
        let (first, desk) = (Arc::clone(first), Arc::clone(&desk));
        let fetch = async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            desk.grant().await
        };
        async move { first.get(fetch).await.map(drop) }
    });
    yield_now().await;
    assert_eq!(late.get(desk.grant()).await.unwrap().expose(), "token-2");
    replacing.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn when_the_replica_that_fetches_dies_another_does_within_ten_seconds_or_so() {
    let (replicas, desk) = (replicas(), Desk::default());
    let dying = tokio::spawn({
        let tokens = Arc::clone(&replicas.all[0]);
        async move { tokens.get(std::future::pending()).await.map(drop) }
    });
    yield_now().await;
    dying.abort();
    let since = Instant::now();
    assert_eq!(replicas.all[1].get(desk.grant()).await.unwrap().expose(), "token-1");
    let waited = since.elapsed();
    assert!((10_000..11_000).contains(&waited.as_millis()), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_gave_up_a_fetch_may_begin_another_at_once() {
    let (replicas, desk) = (replicas(), Desk::default());
    let given_up = tokio::time::timeout(Duration::from_secs(1), replicas.all[0].get(std::future::pending()));
    given_up.await.unwrap_err();
    let since = Instant::now();
    replicas.all[0].get(desk.grant()).await.unwrap();
    assert_eq!(since.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn while_one_replica_renews_the_others_go_on_with_the_old_token() {
    let (replicas, desk) = (replicas(), Arc::new(Desk::default()));
    get_each(&replicas, &desk).await;
    replicas.clock.advance(LIFETIME.mul_f64(0.96));
    let renewal = tokio::spawn({
        let (tokens, desk) = (Arc::clone(&replicas.all[0]), Arc::clone(&desk));
        let fetch = async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            desk.grant().await
        };
        async move { tokens.get(fetch).await.map(drop) }
    });
    yield_now().await;
    let since = Instant::now();
    for tokens in &replicas.all {
        assert_eq!(tokens.get(desk.grant()).await.unwrap().expose(), "token-1");
    }
    assert_eq!(since.elapsed(), Duration::ZERO, "nobody waits");
    renewal.await.unwrap().unwrap();
    assert_eq!(get_each(&replicas, &desk).await, ["token-2"; 3]);
    assert_eq!(desk.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_taken_from_the_shelf_is_as_old_as_it_is() {
    let (replicas, desk) = (replicas(), Desk::default());
    replicas.all[0].get(desk.grant()).await.unwrap();
    replicas.clock.advance(LIFETIME.mul_f64(0.5));
    replicas.all[1].get(desk.grant()).await.unwrap();
    replicas.clock.advance(LIFETIME.mul_f64(0.46));
    assert_eq!(replicas.all[1].get(desk.grant()).await.unwrap().expose(), "token-2");
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_to_one_replica_is_not_asked_by_another_for_ten_minutes() {
    for code in [ErrCode::INVALID_SECRET, ErrCode::INVALID_CORPID] {
        let (replicas, desk) = (replicas(), Desk::default());
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(599) {
            for tokens in &replicas.all {
                let error = tokens.get(desk.refuse(code)).await.unwrap_err();
                assert_eq!((error.class(), error.errcode()), (ErrorClass::Operator, Some(code)));
            }
            advance(Duration::from_secs(1)).await;
        }
        assert_eq!(desk.asked(), 1);
        advance(Duration::from_secs(2)).await;
        assert_eq!(get_each(&replicas, &desk).await, ["token-2"; 3]);
    }
}

#[tokio::test(start_paused = true)]
async fn rate_limits_of_gettoken_are_waited_for_together_and_ever_longer() {
    let (replicas, desk) = (replicas(), Desk::default());
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(3600) {
        for tokens in &replicas.all {
            tokens.get(desk.refuse(ErrCode::FREQUENCY_LIMIT)).await.unwrap_err();
        }
        advance(Duration::from_secs(1)).await;
    }
    // After 0, 1, 3, 7, 15 and 31 minutes.
    assert_eq!(desk.asked(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_replica_whose_line_or_address_is_at_fault_does_not_stop_the_others() {
    let refused = |code| rejected(Call::GetToken, code);
    let cut = ApiError::Transport {
        call: Call::GetToken,
        source: Arc::new(std::io::Error::other("cut")),
    };
    for error in [refused(ErrCode::UNTRUSTED_IP), refused(ErrCode::IP_NOT_ALLOWED), cut] {
        let (replicas, desk) = (replicas(), Desk::default());
        let since = Instant::now();
        replicas.all[0].get(async { Err(error) }).await.unwrap_err();
        assert_eq!(replicas.all[1].get(desk.grant()).await.unwrap().expose(), "token-1");
        assert_eq!(since.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn without_its_shelf_each_replica_fetches_for_itself_and_within_its_limit() {
    let (replicas, desk) = (replicas(), Desk::default());
    replicas.shelf.is_as_told(Mood::Broken, 3);
    assert_eq!(get_each(&replicas, &desk).await, ["token-1", "token-2", "token-3"]);
    // The shelf is well again: what was fetched alone is good, and the next is shared.
    replicas.clock.advance(LIFETIME);
    assert_eq!(get_each(&replicas, &desk).await, ["token-4"; 3]);

    replicas.shelf.is_as_told(Mood::Broken, 1000);
    replicas.clock.advance(LIFETIME);
    for _ in 0..6 {
        let given_up = tokio::time::timeout(Duration::ZERO, replicas.all[0].get(std::future::pending()));
        given_up.await.unwrap_err();
    }
    let error = replicas.all[0]
        .get(async { panic!("a seventh fetch") })
        .await
        .unwrap_err();
    assert!(matches!(error, ApiError::RateLimited { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_shelf_that_does_not_answer_costs_seconds_and_no_call() {
    let (replicas, desk) = (replicas(), Desk::default());
    let tokens = &replicas.all[0];
    for moods in [&[Mood::Silent][..], &[Mood::Sound, Mood::Silent]] {
        moods.iter().for_each(|mood| replicas.shelf.is_as_told(*mood, 1));
        let since = Instant::now();
        let token = tokens.get(desk.grant()).await.unwrap();
        tokens.served(&token);
        assert_eq!(since.elapsed(), Duration::from_secs(3));
        replicas.clock.advance(LIFETIME);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shelf_on_which_somebody_always_fetches_is_left_alone_in_the_end() {
    let (replicas, desk) = (replicas(), Desk::default());
    replicas.shelf.is_taken_for(Duration::from_secs(3600));
    let since = Instant::now();
    assert_eq!(replicas.all[0].get(desk.grant()).await.unwrap().expose(), "token-1");
    let waited = since.elapsed().as_secs();
    assert!((15..17).contains(&waited), "{waited} s");
}

#[tokio::test(start_paused = true)]
async fn a_right_that_was_lost_meanwhile_does_not_undo_what_another_put() {
    let (replicas, desk) = (replicas(), Arc::new(Desk::default()));
    let slow = tokio::spawn({
        let (tokens, desk) = (Arc::clone(&replicas.all[0]), Arc::clone(&desk));
        let fetch = async move {
            tokio::time::sleep(Duration::from_secs(12)).await;
            desk.grant().await
        };
        async move { tokens.get(fetch).await.unwrap().expose().to_owned() }
    });
    yield_now().await;
    assert_eq!(replicas.all[1].get(desk.grant()).await.unwrap().expose(), "token-1");
    assert_eq!(slow.await.unwrap(), "token-2", "what it fetched is good for it");
    assert_eq!(replicas.all[2].get(desk.grant()).await.unwrap().expose(), "token-1");
}

#[tokio::test(start_paused = true)]
async fn tokens_that_never_serve_anybody_are_asked_for_ever_more_rarely_by_all_together() {
    let (replicas, desk) = (replicas(), Desk::default());
    let invalid = rejected(Call::SyncMsg, ErrCode::INVALID_ACCESS_TOKEN);
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(600) {
        for tokens in &replicas.all {
            if let Ok(token) = tokens.get(desk.grant()).await {
                tokens.invalidate(&token, &invalid);
            }
        }
        advance(Duration::from_millis(100)).await;
    }
    assert!(desk.asked() < 60, "{} tokens in ten minutes", desk.asked());
}

#[tokio::test]
async fn nothing_of_it_shows_the_token() {
    let replicas = replicas();
    let grant = async {
        Ok(Grant {
            access_token: "canary-token".into(),
            lifetime: LIFETIME,
        })
    };
    replicas.all[0].get(grant).await.unwrap();
    let shown = format!("{:?} {:?}", replicas.all[0], replicas.shelf);
    assert!(!shown.contains("canary") && shown.contains("ww1:"), "{shown}");
}
