//! A million hostile callbacks, generated from a few hundred genuine ones: none is accepted, none is answered with a
//! server error, and whatever fails verification is answered alike, to the byte.
//!
//! Each is asked of the same service that `serve` runs, without a socket. The generator is seeded, so that a failure
//! comes again; `WECOM_KF_HOSTILE_CALLBACKS` says another number than a million.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "hostile_callbacks/attack.rs"]
mod attack;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use attack::{Attack, Callback, Genuine};
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tower::Service;
use wecom_kf::callback::{KeyPair, Verifier};
use wecom_kf::clock::{ManualClock, UnixMillis};
use wecom_kf::http::{CallbackApp, Callbacks};
use wecom_kf::id::{AppName, CorpId};

const A_MILLION: u64 = 1_000_000;
const THREADS: u64 = 2;

#[test]
fn no_hostile_callback_is_accepted_and_all_that_fail_verification_are_answered_alike() {
    let callbacks = how_many();
    let woken = Arc::new(AtomicU64::new(0));
    let tallies: Vec<Tally> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|seed| {
                let share = callbacks / THREADS + u64::from(seed < callbacks % THREADS);
                let edge = edge(&woken);
                scope.spawn(move || attack(seed, share, &edge))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let tally = tallies.into_iter().fold(Tally::default(), Tally::and);

    let errors: u64 = tally
        .answers
        .iter()
        .filter(|(answer, _)| answer.0.is_server_error())
        .map(|(_, n)| n)
        .sum();
    let statuses: Vec<_> = tally
        .answers
        .iter()
        .map(|((status, ..), n)| format!("{}x{n}", status.as_u16()))
        .collect();
    println!(
        "{callbacks} hostile callbacks: accepted={} 5xx={errors} answers={}",
        tally.accepted,
        statuses.join(",")
    );
    for (attack, count) in &tally.attacks {
        println!("  {count:>8} {attack:?}");
    }
    assert_eq!((tally.accepted, errors), (0, 0));
    assert_eq!(
        woken.load(Ordering::Relaxed),
        tally.genuine,
        "only what is genuine wakes an account"
    );
    // What failed verification, and what was no callback at all. One answer each, the same to the byte.
    let kinds: Vec<_> = tally.answers.keys().map(|(status, ..)| *status).collect();
    assert_eq!(kinds, [StatusCode::BAD_REQUEST, StatusCode::FORBIDDEN]);
    assert_eq!(tally.answers.values().sum::<u64>(), callbacks);
    assert!(tally.genuine > 0);
    for attack in Attack::ALL {
        assert!(tally.attacks.contains_key(attack), "{attack:?} was never tried");
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "it is for whoever runs the test, not a setting of the server"
)]
fn how_many() -> u64 {
    match std::env::var("WECOM_KF_HOSTILE_CALLBACKS") {
        Ok(number) => number.parse().expect("WECOM_KF_HOSTILE_CALLBACKS is a number"),
        Err(_) => A_MILLION,
    }
}

/// Status, headers and body, as they would stand on the wire.
type Answer = (StatusCode, String, Bytes);

#[derive(Default)]
struct Tally {
    accepted: u64,
    /// Genuine callbacks, of which every one was accepted.
    genuine: u64,
    answers: BTreeMap<Answer, u64>,
    attacks: BTreeMap<Attack, u64>,
}

impl Tally {
    fn and(mut self, other: Self) -> Self {
        self.accepted += other.accepted;
        self.genuine += other.genuine;
        for (answer, n) in other.answers {
            *self.answers.entry(answer).or_default() += n;
        }
        for (attack, n) in other.attacks {
            *self.attacks.entry(attack).or_default() += n;
        }
        self
    }
}

/// Two applications: `main` as most are set up, and `strict`, which also refuses what was signed long ago.
fn edge(woken: &Arc<AtomicU64>) -> Callbacks {
    let pair = KeyPair::new(attack::TOKEN.into(), attack::KEY.into()).unwrap();
    let verifier = Verifier::new(vec![pair], vec![CorpId::from(attack::CORP)]).unwrap();
    let app = |name, verifier| CallbackApp {
        name: AppName::new(name).unwrap(),
        verifier,
    };
    let apps = vec![
        app("main", verifier.clone()),
        app("strict", verifier.with_max_clock_skew(attack::SKEW)),
    ];
    let clock = ManualClock::new(UnixMillis::from_secs(attack::NOW));
    let woken = Arc::clone(woken);
    let notify = move |_: &AppName, _| {
        woken.fetch_add(1, Ordering::Relaxed);
    };
    Callbacks::new(apps, Arc::new(clock), Arc::new(notify))
}

fn attack(seed: u64, callbacks: u64, edge: &Callbacks) -> Tally {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut rng = StdRng::seed_from_u64(seed);
    let genuine = Genuine::generate(&mut rng);
    let mut service = edge.service();
    let mut tally = Tally::default();
    let mut ask = |callback: Callback| {
        let Callback { method, uri, body } = callback;
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .body(Body::from(body))
            .unwrap();
        runtime.block_on(async {
            let answer = service.call(request).await.unwrap();
            let (head, body) = answer.into_parts();
            let headers = format!("{:?}", head.headers);
            (head.status, headers, body.collect().await.unwrap().to_bytes())
        })
    };
    // The same bytes, unharmed, are accepted: it is the harm that is refused.
    for callback in genuine.notifications() {
        let (status, _, body) = ask(callback);
        assert_eq!((status, &*body), (StatusCode::OK, &b"success"[..]));
        tally.genuine += 1;
    }
    for callback in genuine.echoes() {
        let (status, _, body) = ask(callback);
        assert_eq!((status, &*body), (StatusCode::OK, attack::ECHO.as_bytes()));
    }
    for _ in 0..callbacks {
        let (attack, callback) = genuine.attack(&mut rng);
        let answer = ask(callback.clone());
        if answer.0.is_success() {
            eprintln!("accepted: {attack:?} {callback:?}");
            tally.accepted += 1;
        }
        *tally.answers.entry(answer).or_default() += 1;
        *tally.attacks.entry(attack).or_default() += 1;
    }
    tally
}
