//! Access tokens that processes share.
//!
//! Times are the store's own, so these tests wait for them to pass: a right of theirs lasts a second where its end is
//! awaited, and hours where it must not come.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use wecom_kf::api::{self, Client};
use wecom_kf::app;
use wecom_kf::clock::SystemClock;
use wecom_kf::simulator::{self, Dial, Fault, Simulator};
use wecom_kf::store::{SharedTokens, Spent, Store, StoredToken, TokenAsk, TokenDenied, TokenFound, TokenRight};

use crate::bench::Bench;
use crate::postgres::bench::PostgresBench;

const LONG: Duration = Duration::from_secs(7200);
const SHORT: Duration = Duration::from_secs(1);

fn tokens(store: &Arc<dyn Store>) -> &dyn SharedTokens {
    let shared = store.shared().expect("processes share it");
    shared.tokens().expect("they share tokens")
}

/// Asker `asker` has nothing yet.
fn first(asker: u64) -> TokenAsk {
    TokenAsk {
        key: "ww1:digest".into(),
        replaces: 0,
        spent: Spent::Aged,
        asker,
        term: LONG,
    }
}

fn token(value: &str) -> StoredToken {
    StoredToken {
        value: value.into(),
        lifetime: LONG,
        age: Duration::ZERO,
    }
}

async fn ask(store: &Arc<dyn Store>, ask: &TokenAsk) -> TokenFound {
    tokens(store).ask_token(ask.clone()).await.unwrap()
}

/// The right, which must be had.
async fn right(store: &Arc<dyn Store>, wanted: &TokenAsk) -> TokenRight {
    match ask(store, wanted).await {
        TokenFound::Right { right, .. } => right,
        other => panic!("no right: {other:?}"),
    }
}

/// Version and value of the token, which must be there.
async fn found(store: &Arc<dyn Store>, wanted: &TokenAsk) -> (u64, String) {
    match ask(store, wanted).await {
        TokenFound::Token { version, token } => (version, token.value.expose_secret().to_owned()),
        other => panic!("no token: {other:?}"),
    }
}

async fn assert_taken(store: &Arc<dyn Store>, wanted: &TokenAsk) {
    let found = ask(store, wanted).await;
    assert!(matches!(found, TokenFound::Taken), "{found:?}");
}

async fn put(store: &Arc<dyn Store>, right: &TokenRight, value: &str) {
    tokens(store).put_token(right.clone(), token(value)).await.unwrap();
}

pub(crate) async fn one_asker_at_a_time_has_the_right(bench: &impl Bench) {
    let stores = [bench.open().await, bench.open().await, bench.open().await];
    let mut askers = JoinSet::new();
    for asker in 0..60 {
        let store = Arc::clone(&stores[asker % 3]);
        askers.spawn(async move { ask(&store, &first(asker as u64)).await });
    }
    let mut rights = 0;
    while let Some(found) = askers.join_next().await {
        match found.unwrap() {
            TokenFound::Right { right, refusals } => {
                assert_eq!((right.version, refusals), (1, 0));
                rights += 1;
            }
            TokenFound::Taken => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(rights, 1);
}

pub(crate) async fn whoever_has_the_right_may_ask_again(bench: &impl Bench) {
    let store = bench.open().await;
    let once = right(&store, &first(1)).await;
    assert_eq!(right(&store, &first(1)).await, once);
    assert_taken(&store, &first(2)).await;
}

pub(crate) async fn a_token_is_found_by_others_and_is_as_old_as_it_is(bench: &impl Bench) {
    let store = bench.open().await;
    let right = right(&store, &first(1)).await;
    let before = Instant::now();
    let (lifetime, age) = (Duration::from_secs(100), Duration::from_secs(30));
    let old = StoredToken {
        lifetime,
        age,
        ..token("t1")
    };
    tokens(&store).put_token(right, old).await.unwrap();
    let other = bench.open().await;
    let TokenFound::Token { version, token } = ask(&other, &first(2)).await else {
        panic!("no token")
    };
    assert_eq!((version, token.value.expose_secret()), (1, "t1"));
    let late = before.elapsed() + Duration::from_millis(1);
    assert!((age..=age + late).contains(&token.age), "{:?}", token.age);
    let off = token.lifetime.abs_diff(lifetime);
    assert!(off < Duration::from_millis(1), "{:?}", token.lifetime);
}

pub(crate) async fn the_token_to_replace_is_not_offered_again(bench: &impl Bench) {
    let store = bench.open().await;
    put(&store, &right(&store, &first(1)).await, "t1").await;
    let next = TokenAsk {
        replaces: 1,
        ..first(2)
    };
    let right = right(&store, &next).await;
    assert_eq!(right.version, 2);
    // While it is being renewed, whoever has none gets the old one, and whoever has it waits.
    assert_eq!(found(&store, &first(3)).await, (1, "t1".to_owned()));
    assert_taken(
        &store,
        &TokenAsk {
            asker: 3,
            ..next.clone()
        },
    )
    .await;
    put(&store, &right, "t2").await;
    assert_eq!(found(&store, &next).await, (2, "t2".to_owned()));
    assert_eq!(found(&store, &first(3)).await, (2, "t2".to_owned()));
}

pub(crate) async fn a_refused_token_is_offered_to_nobody(bench: &impl Bench) {
    let store = bench.open().await;
    put(&store, &right(&store, &first(1)).await, "t1").await;
    let spent = Spent::Refused;
    let refused = TokenAsk {
        replaces: 1,
        spent,
        ..first(2)
    };
    let right = right(&store, &refused).await;
    assert_taken(&store, &first(3)).await;
    put(&store, &right, "t2").await;
    // Somebody who hears of the first one's end only now does not harm the second.
    assert_eq!(
        found(&store, &TokenAsk { asker: 3, ..refused }).await,
        (2, "t2".to_owned())
    );
    assert_eq!(found(&store, &first(4)).await, (2, "t2".to_owned()));
}

pub(crate) async fn a_right_ends_by_itself(bench: &impl Bench) {
    let store = bench.open().await;
    let asked_at = Instant::now();
    let lost = right(
        &store,
        &TokenAsk {
            term: SHORT,
            ..first(1)
        },
    )
    .await;
    let taken_over = loop {
        match ask(&store, &first(2)).await {
            TokenFound::Right { right, .. } => break right,
            _ => sleep(Duration::from_millis(10)).await,
        }
    };
    assert!(asked_at.elapsed() >= SHORT, "{:?}", asked_at.elapsed());
    // The first to put wins, and what comes late harms nobody.
    put(&store, &lost, "slow").await;
    put(&store, &taken_over, "quick").await;
    assert_eq!(found(&store, &first(3)).await, (1, "slow".to_owned()));
    tokens(&store).give_up_token(taken_over, None).await.unwrap();
    assert_eq!(found(&store, &first(3)).await, (1, "slow".to_owned()));
}

pub(crate) async fn a_token_ends_with_its_life(bench: &impl Bench) {
    let store = bench.open().await;
    let right_to = right(&store, &first(1)).await;
    let brief = StoredToken {
        lifetime: SHORT,
        ..token("t1")
    };
    tokens(&store).put_token(right_to, brief).await.unwrap();
    let put_at = Instant::now();
    let next = loop {
        match ask(&store, &first(2)).await {
            TokenFound::Token { version: 1, .. } => sleep(Duration::from_millis(10)).await,
            TokenFound::Right { right, .. } => break right,
            other => panic!("{other:?}"),
        }
    };
    assert!(put_at.elapsed() >= SHORT / 2, "{:?}", put_at.elapsed());
    assert_eq!(next.version, 2);
}

pub(crate) async fn a_right_that_was_given_up_is_free_at_once(bench: &impl Bench) {
    let store = bench.open().await;
    let given_up = right(&store, &first(1)).await;
    tokens(&store).give_up_token(given_up.clone(), None).await.unwrap();
    right(&store, &first(2)).await;
    // It can be given up once: the next owner keeps it.
    tokens(&store).give_up_token(given_up, None).await.unwrap();
    assert_taken(&store, &first(3)).await;
}

pub(crate) async fn a_refusal_holds_for_all_until_it_is_over(bench: &impl Bench) {
    let store = bench.open().await;
    let denied = |lasts| Some(TokenDenied { code: 40001, lasts });
    let refused = right(&store, &first(1)).await;
    tokens(&store).give_up_token(refused, denied(SHORT)).await.unwrap();
    let since = Instant::now();
    let refused = loop {
        match ask(&store, &first(2)).await {
            TokenFound::Denied(TokenDenied { code, lasts }) => {
                assert_eq!(code, 40001);
                assert!(lasts <= SHORT, "{lasts:?}");
                sleep(Duration::from_millis(10)).await;
            }
            TokenFound::Right { right, refusals } => {
                assert_eq!(refusals, 1);
                break right;
            }
            // Its end came between two looks of one statement.
            TokenFound::Taken => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(since.elapsed() >= SHORT / 2, "{:?}", since.elapsed());
    // What is over is an answer to nobody.
    assert_taken(&store, &first(3)).await;
    tokens(&store).give_up_token(refused, denied(LONG)).await.unwrap();
    for asker in 1..4 {
        let found = ask(&store, &first(asker)).await;
        let TokenFound::Denied(TokenDenied { lasts, .. }) = found else {
            panic!("{found:?}")
        };
        assert!(lasts > LONG / 2, "{lasts:?}");
    }
}

pub(crate) async fn a_token_that_works_is_offered_although_its_renewal_was_refused(bench: &impl Bench) {
    let store = bench.open().await;
    put(&store, &right(&store, &first(1)).await, "t1").await;
    let next = TokenAsk {
        replaces: 1,
        ..first(1)
    };
    let renewal = right(&store, &next).await;
    let denied = TokenDenied {
        code: 45009,
        lasts: LONG,
    };
    tokens(&store).give_up_token(renewal, Some(denied)).await.unwrap();
    assert_eq!(found(&store, &first(2)).await, (1, "t1".to_owned()));
    let found = ask(&store, &next).await;
    assert!(
        matches!(found, TokenFound::Denied(TokenDenied { code: 45009, .. })),
        "{found:?}"
    );
}

pub(crate) async fn apps_do_not_meet(bench: &impl Bench) {
    let store = bench.open().await;
    let other = TokenAsk {
        key: "ww1:another".into(),
        ..first(1)
    };
    let [mine, theirs] = [right(&store, &first(1)).await, right(&store, &other).await];
    put(&store, &mine, "t1").await;
    assert_taken(
        &store,
        &TokenAsk {
            asker: 2,
            ..other.clone()
        },
    )
    .await;
    put(&store, &theirs, "t2").await;
    let asked = [first(2), TokenAsk { asker: 2, ..other }];
    for (ask, value) in asked.iter().zip(["t1", "t2"]) {
        assert_eq!(found(&store, ask).await, (1, value.to_owned()));
    }
}

pub(crate) async fn a_token_outlives_the_process_and_debug_does_not_show_it(bench: &impl Bench) {
    let store = bench.open().await;
    put(&store, &right(&store, &first(1)).await, "canary").await;
    drop(store);
    let store = bench.open().await;
    let shown = format!("{:?}", ask(&store, &first(2)).await);
    assert!(shown.contains("version: 1") && !shown.contains("canary"), "{shown}");
}

/// A simulated WeCom whose tokens live so long, and three replicas' clients.
async fn three_clients(bench: &impl Bench, lifetime: Duration) -> (Simulator, Vec<Client>) {
    let mut settings = simulator::Settings::default();
    settings.access_token_lifetime = lifetime;
    let (corp_id, secret) = (settings.corp_id.clone(), settings.secret.clone());
    let wecom = Simulator::start(settings).await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut settings = api::Settings::new(corp_id.clone(), secret.clone());
        settings.api_base = wecom.base_url();
        settings.token_shelf = app::token_shelf(&bench.open().await);
        clients.push(Client::new(settings, Arc::new(SystemClock)).unwrap());
    }
    (wecom, clients)
}

pub(crate) async fn three_clients_ask_wecom_once_for_each_token_that_is_revoked(bench: &impl Bench) {
    let (wecom, clients) = three_clients(bench, LONG).await;
    for asked in 1..20 {
        call_at_once(&clients).await;
        assert_eq!(wecom.counts().gettoken, asked);
        wecom.set_fault(Fault::AccessTokenRevoked, Dial::Next(1));
    }
}

/// WeCom gives out the same token until it ends, so there is one vain attempt at renewing each.
pub(crate) async fn three_clients_ask_wecom_no_more_than_one_would(bench: &impl Bench) {
    let life = Duration::from_secs(3);
    let (wecom, clients) = three_clients(bench, life).await;
    let since = Instant::now();
    while since.elapsed() < 3 * life {
        call_at_once(&clients).await;
        sleep(Duration::from_millis(20)).await;
    }
    let lives = since.elapsed().as_secs() / life.as_secs() + 1;
    let asked = wecom.counts().gettoken;
    println!("{asked} calls of gettoken in {lives} lives of a token");
    assert!((3..=2 * lives).contains(&asked), "{asked} in {lives} lives");
}

async fn call_at_once(clients: &[Client]) {
    let mut calls = JoinSet::new();
    for client in clients {
        let client = client.clone();
        calls.spawn(async move { client.account_list().await });
    }
    while let Some(called) = calls.join_next().await {
        called.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_row_of_a_secret_that_is_used_no_more_goes_a_day_after_its_token() {
    let bench = PostgresBench::default();
    let store = bench.open().await;
    let key = |key: &str| TokenAsk {
        key: key.into(),
        ..first(1)
    };
    for name in ["retired", "idle", "used"] {
        put(&store, &right(&store, &key(name)).await, "t1").await;
    }
    for (name, age) in [("retired", "25 hours"), ("idle", "23 hours")] {
        bench.tamper(&format!(
            "UPDATE access_token SET expires_at = now() - interval '{age}' WHERE key = '{name}'"
        ));
    }
    let next = TokenAsk {
        replaces: 1,
        ..key("used")
    };
    put(&store, &right(&store, &next).await, "t2").await;
    for (name, version) in [("retired", 1), ("idle", 2)] {
        assert_eq!(right(&store, &key(name)).await.version, version, "{name}");
    }
}
