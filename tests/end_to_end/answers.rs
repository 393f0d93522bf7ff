//! Customers who follow a script talk to the bots of `examples/bots` through the real server.
//!
//! A customer enters, is welcomed, and then says several lines at a time; the bot answers each line with a message.
//! WeCom takes five answers to what a customer says, so a customer waits for all of them before going on.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use rusqlite::{Connection, OpenFlags};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use wecom_kf::id::{ExternalUserid, OpenKfid};
use wecom_kf::simulator::{Dial, Fault, Faults, Occasion};

use crate::bot::{Bot, Language};
use crate::post::SIGNING_SECRET;
use crate::server::binary;
use crate::stage::{Pace, Stage};

/// Far longer than anything takes: who has not been answered by then never will be.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often one looks whether something has happened.
const GLANCE: Duration = Duration::from_millis(5);
/// What both bots say to whoever enters.
const WELCOME: &str = "您好，请问有什么可以帮您？";

/// A stage whose only endpoint is at `url`.
async fn stage_with(url: &str) -> Stage {
    let stage = Stage::with_accounts(1, Pace::Fast).await;
    stage.change(&stage.receiver.url, url);
    // Colleagues are not answered.
    stage.change(r#"origins = ["all"]"#, "");
    stage
}

/// Everything that can happen to an answer on its way to the customer, and to what it answers.
fn trouble() -> Faults {
    let faults = [
        (Fault::Busy, 0.05),
        (Fault::RateLimited, 0.005),
        (Fault::ConcurrencyLimited, 0.01),
        (Fault::AccessTokenRevoked, 0.02),
        (Fault::CallLost, 0.02),
        (Fault::Http5xx, 0.02),
        // These take effect before the answer is lost.
        (Fault::ResetBeforeBody, 0.05),
        (Fault::ResetInBody, 0.02),
        (Fault::TruncatedJson, 0.02),
        (Fault::Html, 0.02),
    ];
    faults.into_iter().fold(Faults::default(), |faults, (fault, chance)| {
        faults.with(fault, Dial::Chance(chance))
    })
}

/// One customer, and how far they are in their script.
struct Talk {
    customer: ExternalUserid,
    said: usize,
    /// What they should have read by now.
    expected: Vec<String>,
}

/// What customers read, held against what they should have read.
#[derive(Default)]
struct Figures {
    answers: usize,
    lost: usize,
    double: usize,
    order: usize,
    stray: usize,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            answers,
            lost,
            double,
            order,
            stray,
        } = self;
        write!(
            f,
            "{answers} answers, lost={lost} double={double} order={order} stray={stray}"
        )
    }
}

impl Figures {
    fn is_clean(&self) -> bool {
        (self.lost, self.double, self.order, self.stray) == (0, 0, 0, 0)
    }

    fn count(&mut self, expected: &[String], read: &[String]) {
        let place: HashMap<&str, usize> = expected.iter().enumerate().map(|(at, line)| (&**line, at)).collect();
        let (mut seen, mut last) = (HashSet::new(), 0);
        for line in read {
            match place.get(&**line) {
                None => self.stray += 1,
                Some(_) if !seen.insert(&**line) => self.double += 1,
                Some(at) if *at < last => self.order += 1,
                Some(at) => last = *at,
            }
        }
        self.answers += read.len();
        self.lost += expected.len() - seen.len();
    }
}

/// Several customers of one account, and what each has to say.
struct Scene<'a> {
    stage: &'a Stage,
    account: OpenKfid,
    talks: Vec<Talk>,
    turns: usize,
}

impl<'a> Scene<'a> {
    fn new(stage: &'a Stage, customers: usize, turns: usize) -> Self {
        let talk = |number| Talk {
            customer: ExternalUserid::from(format!("wmTalks{number}").as_str()),
            said: 0,
            expected: Vec::new(),
        };
        Self {
            stage,
            account: stage.accounts().remove(0),
            talks: (0..customers).map(talk).collect(),
            turns,
        }
    }

    /// Everything that will have been answered in the end.
    fn answers(&self) -> usize {
        let lines = (0..self.talks.len()).flat_map(|number| (1..self.turns).map(move |turn| lines(number, turn).len()));
        self.talks.len() + lines.sum::<usize>()
    }

    /// Lets everybody who has been answered go on. Returns how much has been read, until there is nothing left to say.
    fn go_on(&mut self) -> Option<usize> {
        let read = self.read();
        let mut silent = 0;
        for (number, talk) in self.talks.iter_mut().enumerate() {
            if read.get(&talk.customer).map_or(0, Vec::len) < talk.expected.len() {
                continue;
            }
            let customer = self.stage.wecom.customer(&self.account, &talk.customer);
            match talk.said {
                0 => {
                    customer.enters().expect("the account exists");
                    talk.expected.push(WELCOME.to_owned());
                }
                turn if turn < self.turns => {
                    let lines = lines(number, turn);
                    customer.writes(lines.join("\n")).expect("the account exists");
                    talk.expected.extend(lines);
                }
                _ => {
                    silent += 1;
                    continue;
                }
            }
            talk.said += 1;
        }
        (silent < self.talks.len()).then(|| read.values().map(Vec::len).sum())
    }

    /// What each customer read, in order.
    fn read(&self) -> HashMap<ExternalUserid, Vec<String>> {
        let mut read: HashMap<_, Vec<_>> = HashMap::new();
        for seen in self.stage.wecom.seen().iter().filter(|seen| seen.arrived()) {
            let text = seen.text.clone().unwrap_or_default();
            read.entry(seen.external_userid.clone()).or_default().push(text);
        }
        read
    }

    fn figures(&self) -> Figures {
        let read = self.read();
        let mut figures = Figures::default();
        for talk in &self.talks {
            figures.count(&talk.expected, read.get(&talk.customer).map_or(&[], Vec::as_slice));
        }
        figures
    }

    /// Plays it to the end on a server that is killed so many times in between.
    async fn play(&mut self, kills: usize) {
        let (all, mut killed) = (self.answers(), 0);
        let mut server = self.stage.start();
        let (mut last, mut deadline) = (0, Instant::now() + PATIENCE);
        while let Some(read) = self.go_on() {
            if read > last {
                (last, deadline) = (read, Instant::now() + PATIENCE);
            }
            if killed < kills && read * (kills + 1) > (killed + 1) * all {
                server.kill();
                server = self.stage.start();
                killed += 1;
            }
            assert!(Instant::now() < deadline, "waiting for answers: {}", self.figures());
            sleep(GLANCE).await;
        }
        assert_eq!(killed, kills);
        // Whatever would still be said again has been by then.
        until("nothing is owed", || owed(self.stage) == 0).await;
        assert!(server.stop().success());
        self.stage.wecom.quiet().await;
    }
}

/// What the customer of that number says in a turn: one to five lines, no two alike.
fn lines(number: usize, turn: usize) -> Vec<String> {
    let count = 1 + (number + turn) % 5;
    (0..count).map(|line| format!("第{number}位 {turn}.{line}")).collect()
}

/// Waits until `holds`.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never came: {what}");
        sleep(GLANCE).await;
    }
}

/// Deliveries that are not over.
fn owed(stage: &Stage) -> i64 {
    let store = Connection::open_with_flags(stage.database(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    store.busy_timeout(PATIENCE).unwrap();
    store
        .query_row("SELECT count(*) FROM delivery", [], |row| row.get(0))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_of_the_python_bot_arrives_once_and_in_order_whatever_happens() {
    let bot = Bot::that_answers(Language::Python, SIGNING_SECRET);
    let stage = stage_with(&bot.url).await;
    // Attempts that an outage does not excuse are not what this is about.
    stage.change("retry_schedule", "max_attempts = 1000\nretry_schedule");
    stage.wecom.set_faults(trouble());
    let mut scene = Scene::new(&stage, 30, 8);
    scene.play(8).await;

    let (figures, faults) = (scene.figures(), stage.wecom.counts().faults);
    println!("python, 8 kill -9, {} faults: {figures}", faults.values().sum::<u64>());
    assert!(figures.is_clean(), "{figures}");
    assert!(faults.len() > 5, "hardly anything happened: {faults:?}");
    let welcomes = stage.wecom.seen();
    let welcomes = welcomes.iter().filter(|seen| seen.occasion == Occasion::Welcome);
    assert_eq!(
        welcomes.count(),
        30,
        "those who enter are welcomed by the code they brought"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_of_the_node_bot_arrives_once_and_in_order() {
    let bot = Bot::that_answers(Language::Node, SIGNING_SECRET);
    let stage = stage_with(&bot.url).await;
    let mut scene = Scene::new(&stage, 10, 4);
    scene.play(1).await;
    let figures = scene.figures();
    println!("node, 1 kill -9: {figures}");
    assert!(figures.is_clean(), "{figures}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_for_a_person_is_handed_over_and_hears_no_bot_after_that() {
    for language in Language::ALL {
        let bot = Bot::that_answers(language, SIGNING_SECRET);
        let stage = stage_with(&bot.url).await;
        let server = stage.start();
        let customer = ExternalUserid::from("wmAsks");
        let customer = stage.wecom.customer(&stage.accounts()[0], &customer);
        customer.writes("人工").unwrap();
        until("the bot's last word", || customer.read() == ["人工"]).await;
        // Nobody has taken the session yet, and the customer goes on.
        customer.writes("还在吗").unwrap();
        crate::privacy::until_counted(
            &server,
            &[r#"wecom_kf_deliveries_total{handler="bot",result="skip"} 1"#.to_owned()],
        )
        .await;
        assert_eq!(customer.read(), ["人工"], "{language:?}");
        until("nothing is owed", || owed(&stage) == 0).await;
        assert!(server.stop().success());
    }
}

/// An endpoint that answers nonsense until it is mended.
async fn careless_endpoint() -> (String, Arc<AtomicBool>) {
    let mended = Arc::<AtomicBool>::default();
    let is_mended = Arc::clone(&mended);
    let answer = move || {
        let msgtype = if is_mended.load(Ordering::SeqCst) {
            "text"
        } else {
            "hologram"
        };
        let replies = format!(r#"{{"replies":[{{"msgtype":"{msgtype}","text":{{"content":"here you are"}}}}]}}"#);
        async move { (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], replies).into_response() as Response }
    };
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let url = format!("http://{}/kf", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    (url, mended)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_answered_badly_is_a_dead_letter_that_tells_why_and_can_be_replayed() {
    let (url, mended) = careless_endpoint().await;
    let stage = stage_with(&url).await;
    let server = stage.start();
    let customer = ExternalUserid::from("wmWaits");
    let customer = stage.wecom.customer(&stage.accounts()[0], &customer);
    customer.writes("where is it?").unwrap();

    let dead = |action: &str| {
        let mut command = binary();
        command
            .arg("dead")
            .args(action.split(' '))
            .arg("--config")
            .arg(stage.config());
        let ended = command.output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stdout).unwrap()
    };
    until("a dead letter", || !dead("list").is_empty()).await;
    let letter = dead("list");
    assert!(
        letter.contains(r#"replies[0].msgtype "hologram" is none of text, image"#),
        "{letter}"
    );
    assert!(customer.read().is_empty());

    mended.store(true, Ordering::SeqCst);
    dead("replay --all");
    until("the answer", || customer.read() == ["here you are"]).await;
    assert!(server.stop().success());
}
