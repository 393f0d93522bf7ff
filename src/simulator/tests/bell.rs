use std::sync::Mutex;

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use bytes::Bytes;

use super::*;
use crate::callback::{KeyPair, Notification, Verifier};
use crate::id::CorpId;

const TOKEN: &str = "simulatedToken";
const AES_KEY: &str = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfG";
const CORP: &str = "ww0123456789abcdef";

/// How a receiver answers the `n`-th callback, counted from 0.
type Answer = fn(usize) -> Option<StatusCode>;

/// A server that is called back, and remembers it.
struct Receiver {
    book: Arc<Book>,
    address: SocketAddr,
}

struct Book {
    answer: Answer,
    requests: Mutex<Vec<(String, Bytes)>>,
}

impl Receiver {
    /// Answers as `answer` says; with nothing at all where that is `None`.
    async fn start(answer: Answer) -> Self {
        let book = Arc::new(Book {
            answer,
            requests: Mutex::default(),
        });
        let router = Router::new().fallback(receive).with_state(book.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { book, address }
    }

    fn target(&self) -> CallbackTarget {
        let url = format!("http://{}/callback?app=7", self.address);
        CallbackTarget::new(&url, TOKEN.into(), AES_KEY.into(), CORP).unwrap()
    }

    fn requests(&self) -> Vec<(String, Bytes)> {
        self.book.requests.lock().unwrap().clone()
    }

    /// What the callbacks said, in the order in which they came.
    fn notifications(&self) -> Vec<Notification> {
        let open = |(query, body): &(String, Bytes)| verifier().open(query, body, START).unwrap();
        self.requests().iter().map(open).collect()
    }
}

async fn receive(State(book): State<Arc<Book>>, method: Method, uri: Uri, body: Bytes) -> (StatusCode, Vec<u8>) {
    let query = uri.query().unwrap().strip_prefix("app=7&").unwrap().to_owned();
    if method == Method::GET {
        return (StatusCode::OK, verifier().verify_url(&query, START).unwrap());
    }
    let number = {
        let mut requests = book.requests.lock().unwrap();
        requests.push((query, body));
        requests.len() - 1
    };
    match (book.answer)(number) {
        Some(status) => (status, b"success".to_vec()),
        None => std::future::pending().await,
    }
}

fn verifier() -> Verifier {
    let pair = KeyPair::new(TOKEN.into(), AES_KEY.into()).unwrap();
    Verifier::new(vec![pair], vec![CorpId::from(CORP)]).unwrap()
}

/// WeCom's rules, but without pauses and without haste where an answer is expected.
const PATIENT: BellRules = BellRules {
    answer_within: Duration::from_secs(30),
    retries: 3,
    pause: Duration::ZERO,
    echo_within: Duration::from_secs(30),
};

async fn start(receiver: &Receiver) -> Simulator {
    start_with(receiver, PATIENT).await
}

async fn start_with(receiver: &Receiver, rules: BellRules) -> Simulator {
    let mut settings = settings(&ManualClock::default());
    settings.callback = Some(receiver.target());
    settings.bell = rules;
    Simulator::start(settings).await.unwrap()
}

async fn rung(receiver: &Receiver, rules: BellRules) -> Callbacks {
    let simulator = start_with(receiver, rules).await;
    simulator.say(&wk1(), hello()).unwrap();
    simulator.quiet().await;
    simulator.counts().callbacks
}

fn open_kfids(notifications: &[Notification]) -> Vec<&str> {
    let of = |notification: &'_ Notification| match notification {
        Notification::Message {
            open_kfid: Some(id), ..
        } => Some(id.as_str().to_owned()),
        _ => None,
    };
    let known = ["wk1", "wk2"];
    let ids = notifications.iter().filter_map(of);
    ids.filter_map(|id| known.into_iter().find(|known| *known == id))
        .collect()
}

#[tokio::test]
async fn a_message_rings_with_a_token_that_opens_its_account() {
    let receiver = Receiver::start(|_| Some(StatusCode::OK)).await;
    let simulator = start(&receiver).await;
    let msgid = simulator.say(&wk1(), hello()).unwrap();
    simulator.quiet().await;
    let [
        Notification::Message {
            open_kfid: Some(open_kfid),
            token: Some(token),
            create_time,
        },
    ] = &receiver.notifications()[..]
    else {
        panic!("not one message")
    };
    assert_eq!((open_kfid.as_str(), *create_time), ("wk1", START.as_secs()));
    let client = Client::new(&simulator).await;
    let page = client
        .sync(json!({ "open_kfid": open_kfid, "token": token.expose() }))
        .await;
    assert_eq!(msgids(&page), [msgid]);
    assert_eq!(simulator.counts().tokenless, 0);
}

#[tokio::test]
async fn an_answered_bell_is_not_repeated() {
    let receiver = Receiver::start(|_| Some(StatusCode::OK)).await;
    let callbacks = rung(&receiver, PATIENT).await;
    assert_eq!((callbacks.rung, callbacks.sent, callbacks.given_up), (1, 1, 0));
    assert_eq!(callbacks.answered, [(200, 1)].into());
}

#[tokio::test]
async fn a_refused_bell_is_repeated_three_times_and_given_up() {
    let receiver = Receiver::start(|_| Some(StatusCode::SERVICE_UNAVAILABLE)).await;
    let callbacks = rung(&receiver, PATIENT).await;
    assert_eq!((callbacks.sent, callbacks.given_up), (4, 1));
    assert_eq!(callbacks.answered, [(503, 4)].into());
    let requests = receiver.requests();
    assert!(
        requests.iter().all(|request| *request == requests[0]),
        "the same bytes each time"
    );
}

#[tokio::test]
async fn a_bell_that_nobody_answers_in_time_is_repeated() {
    let receiver = Receiver::start(|_| None).await;
    let hasty = BellRules {
        answer_within: Duration::from_millis(50),
        ..PATIENT
    };
    let callbacks = rung(&receiver, hasty).await;
    assert_eq!((callbacks.sent, callbacks.unanswered, callbacks.given_up), (4, 4, 1));
    assert!(callbacks.answered.is_empty());
}

#[tokio::test]
async fn a_repeated_bell_that_is_answered_is_done() {
    let receiver = Receiver::start(|n| Some([StatusCode::BAD_GATEWAY, StatusCode::FOUND, StatusCode::OK][n])).await;
    let callbacks = rung(&receiver, PATIENT).await;
    assert_eq!(callbacks.answered, [(502, 1), (302, 1), (200, 1)].into());
    assert_eq!(callbacks.given_up, 0);
}

#[tokio::test]
async fn a_bell_at_a_closed_door_is_repeated_and_given_up() {
    let receiver = Receiver::start(|_| None).await;
    let mut settings = settings(&ManualClock::default());
    settings.bell = PATIENT;
    // A port that was free a moment ago and that nobody listens on.
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let url = format!("http://127.0.0.1:{port}/");
    settings.callback = Some(CallbackTarget {
        url: url.parse().unwrap(),
        ..receiver.target()
    });
    let simulator = Simulator::start(settings).await.unwrap();
    simulator.ring(&wk1());
    simulator.quiet().await;
    let callbacks = simulator.counts().callbacks;
    assert_eq!((callbacks.sent, callbacks.unanswered, callbacks.given_up), (4, 4, 1));
}

#[tokio::test]
async fn much_can_be_said_with_few_bells() {
    let receiver = Receiver::start(|_| Some(StatusCode::OK)).await;
    let simulator = start(&receiver).await;
    let every_four = Bells::Every(NonZeroUsize::new(4).unwrap());
    for (bells, expected) in [(Bells::Silent, 0), (Bells::Once, 1), (every_four, 3)] {
        let before = simulator.counts().callbacks.rung;
        simulator.say_many(&wk1(), vec![hello(); 10], bells).unwrap();
        assert_eq!(simulator.counts().callbacks.rung - before, expected, "{bells:?}");
    }
}

#[tokio::test]
async fn other_events_are_told_too() {
    let receiver = Receiver::start(|_| Some(StatusCode::OK)).await;
    let simulator = start(&receiver).await;
    for event in samples::OTHER_EVENTS {
        simulator.ring_other(event);
        simulator.quiet().await;
    }
    simulator.grant(Account::new("wk3", "three"));
    simulator.quiet().await;
    simulator.withdraw(&wk1());
    simulator.quiet().await;
    let notifications = receiver.notifications();
    let (others, accounts) = notifications.split_at(samples::OTHER_EVENTS.len());
    for (notification, event) in others.iter().zip(samples::OTHER_EVENTS) {
        assert!(
            matches!(notification, Notification::Other { name } if **name == *event),
            "{event}"
        );
    }
    let changes = accounts.iter().map(|notification| match notification {
        Notification::AccountsChanged { added, removed } => (added.clone(), removed.clone()),
        other => panic!("{other:?}"),
    });
    let expected = [(vec![OpenKfid::from("wk3")], vec![]), (vec![], vec![wk1()])];
    assert_eq!(changes.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn the_url_is_verified_by_its_echo() {
    let receiver = Receiver::start(|_| None).await;
    let simulator = start(&receiver).await;
    simulator.verify_url().await.unwrap();
    simulator.set_callback(None);
    assert!(matches!(simulator.verify_url().await, Err(EchoError::NoTarget)));
}

#[tokio::test]
async fn a_wrong_echo_is_told_from_none() {
    async fn echo(uri: Uri) -> (StatusCode, &'static str) {
        match uri.path() {
            "/late" => std::future::pending().await,
            "/wrong" => (StatusCode::OK, "1234567890123456789"),
            _ => (StatusCode::NOT_FOUND, ""),
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(echo)).await });
    let verify = async |path: &str, echo_within: Duration| {
        let mut settings = settings(&ManualClock::default());
        let url = format!("http://{address}{path}");
        settings.callback = Some(CallbackTarget::new(&url, TOKEN.into(), AES_KEY.into(), CORP).unwrap());
        settings.bell.echo_within = echo_within;
        let simulator = Simulator::start(settings).await.unwrap();
        simulator.verify_url().await.unwrap_err()
    };
    assert!(matches!(
        verify("/late", Duration::from_millis(50)).await,
        EchoError::TooLate
    ));
    assert!(matches!(verify("/wrong", MINUTE).await, EchoError::WrongEcho));
    assert!(matches!(verify("/nowhere", MINUTE).await, EchoError::Status(404)));
}

#[test]
fn a_target_that_cannot_be_called_is_refused() {
    let target = |url, key: &str| CallbackTarget::new(url, TOKEN.into(), key.into(), CORP).unwrap_err();
    assert_eq!(target("not a url", AES_KEY), TargetError::Url);
    assert_eq!(target("ftp://127.0.0.1/", AES_KEY), TargetError::Url);
    assert!(matches!(target("http://127.0.0.1/", "short"), TargetError::Keys(_)));
}

#[tokio::test]
async fn a_dropped_bell_does_not_ring() {
    let receiver = Receiver::start(|_| Some(StatusCode::OK)).await;
    let simulator = start(&receiver).await;
    simulator.set_faults(Faults::only(Fault::CallbackDropped, Dial::Next(1)));
    simulator.ring(&wk1());
    simulator.ring(&OpenKfid::from("wk2"));
    simulator.quiet().await;
    assert_eq!(open_kfids(&receiver.notifications()), ["wk2"]);
    let callbacks = simulator.counts().callbacks;
    assert_eq!((callbacks.rung, callbacks.dropped, callbacks.sent), (2, 1, 1));
}

#[tokio::test]
async fn a_duplicated_bell_rings_two_to_four_times() {
    let receiver = Receiver::start(|_| Some(StatusCode::OK)).await;
    let simulator = start(&receiver).await;
    simulator.set_faults(Faults::only(Fault::CallbackDuplicated, Dial::Next(1)));
    simulator.ring(&wk1());
    simulator.quiet().await;
    let requests = receiver.requests();
    assert!((2..=4).contains(&requests.len()));
    assert!(requests.iter().all(|request| *request == requests[0]));
}

#[tokio::test]
async fn a_reordered_bell_rings_after_a_later_one() {
    let receiver = Receiver::start(|_| Some(StatusCode::OK)).await;
    let simulator = start(&receiver).await;
    let mut faults = Faults::only(Fault::CallbackReordered, Dial::Next(1));
    faults.slowness = Duration::from_secs(60);
    simulator.set_faults(faults);
    simulator.ring(&wk1());
    // Until the first one waits, the second would not find it waiting.
    tokio::task::yield_now().await;
    simulator.ring(&OpenKfid::from("wk2"));
    simulator.quiet().await;
    assert_eq!(open_kfids(&receiver.notifications()), ["wk2", "wk1"]);
}

#[tokio::test]
async fn a_reordered_bell_that_stays_alone_rings_all_the_same() {
    let receiver = Receiver::start(|_| Some(StatusCode::OK)).await;
    let simulator = start(&receiver).await;
    let mut faults = Faults::only(Fault::CallbackReordered, Dial::Next(1));
    faults.slowness = Duration::from_millis(1);
    simulator.set_faults(faults);
    simulator.ring(&wk1());
    simulator.quiet().await;
    assert_eq!(open_kfids(&receiver.notifications()), ["wk1"]);
}

#[tokio::test]
async fn a_delayed_bell_does_not_hold_up_others() {
    let receiver = Receiver::start(|_| Some(StatusCode::OK)).await;
    let simulator = start(&receiver).await;
    let mut faults = Faults::only(Fault::CallbackDelayed, Dial::Next(1));
    faults.slowness = 1_000 * HOUR;
    simulator.set_faults(faults);
    let answered = simulator.world.answered.notified();
    simulator.ring(&wk1());
    simulator.ring(&OpenKfid::from("wk2"));
    answered.await;
    assert_eq!(open_kfids(&receiver.notifications()), ["wk2"]);
    simulator.stop().await;
}

#[tokio::test]
async fn a_delayed_bell_rings_at_last() {
    let receiver = Receiver::start(|_| Some(StatusCode::OK)).await;
    let simulator = start(&receiver).await;
    let mut faults = Faults::only(Fault::CallbackDelayed, Dial::Next(1));
    faults.slowness = Duration::from_millis(10);
    simulator.set_faults(faults);
    simulator.ring(&wk1());
    simulator.quiet().await;
    assert_eq!(open_kfids(&receiver.notifications()), ["wk1"]);
}

#[tokio::test]
async fn a_replayed_bell_is_an_old_one() {
    let receiver = Receiver::start(|_| Some(StatusCode::OK)).await;
    let simulator = start(&receiver).await;
    simulator.ring(&wk1());
    simulator.quiet().await;
    simulator.set_faults(Faults::only(Fault::CallbackReplayed, Dial::Next(1)));
    simulator.ring(&OpenKfid::from("wk2"));
    simulator.quiet().await;
    let requests = receiver.requests();
    assert_eq!(requests.len(), 3);
    let again = requests[1..].iter().filter(|request| **request == requests[0]);
    assert_eq!(again.count(), 1);
}
