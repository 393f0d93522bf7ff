//! `dead`, beside a server and without one.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};
use wecom_kf::id::{ExternalUserid, OpenKfid};
use wecom_kf::simulator::Draft;

use crate::bot::{Bot, SIGNING_SECRET};
use crate::command::{Ended, assert_says, run, run_on};
use crate::stage::{ACCOUNT, Stage};

/// Far longer than a message takes to become a dead letter.
const PATIENCE: Duration = Duration::from_secs(120);

impl Stage {
    fn dead(&self, action: &str) -> Ended {
        run_on(&self.config, &format!("dead {action}"))
    }

    /// Lines of `dead list`.
    fn dead_letters(&self) -> Vec<String> {
        self.dead("list").good().lines().map(str::to_owned).collect()
    }

    /// `dead list`, once it has `count` lines.
    async fn until_dead(&self, count: usize) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let letters = self.dead_letters();
            if letters.len() == count {
                return letters;
            }
            assert!(Instant::now() < deadline, "not {count}: {letters:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn say(&self, words: &[&str]) {
        for (n, text) in words.iter().enumerate() {
            let customer = ExternalUserid::from(format!("wmCustomer{n}").as_str());
            self.wecom
                .say(&OpenKfid::from(ACCOUNT), Draft::text(&customer, *text))
                .unwrap();
        }
    }
}

/// What `list` calls a dead letter: the first word of its line.
fn id(line: &str) -> &str {
    line.split_whitespace().next().unwrap()
}

/// Texts that the bot took.
fn texts(bot: &Bot) -> Vec<String> {
    let text = |body: Value| body["data"]["text"]["content"].as_str().unwrap().to_owned();
    bot.taken().into_iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_shown_replayed_and_dropped_beside_a_server_and_without_one() {
    let bot = Bot::start().await;
    bot.refuse();
    let stage = Stage::new(&bot.handler()).await;
    let server = stage.start();
    stage.say(&["one", "two", "three", "four", "five"]);
    let letters = stage.until_dead(5).await;
    bot.accept();

    // Which text is under which id, by what `show` prints.
    let id_of = |text: &str| {
        let named = letters.iter().map(|line| id(line).to_owned());
        let shows = |id: &String| {
            let shown = stage.dead(&format!("show {id}")).good();
            let (line, message) = shown.split_once('\n').unwrap();
            assert!(letters.iter().any(|letter| letter == line), "{line}");
            let message: Value = serde_json::from_str(message).unwrap();
            assert_says(
                line,
                &[
                    ACCOUNT,
                    "  text  ",
                    "  1 attempt  ",
                    "422",
                    message["msgid"].as_str().unwrap(),
                ],
            );
            message["text"]["content"] == text
        };
        named.filter(shows).collect::<Vec<_>>().join(" ")
    };
    let ids = ["one", "two", "three", "four", "five"].map(id_of);
    for (n, id) in ids.iter().enumerate() {
        let (handler, number) = id.split_once(':').unwrap();
        assert_eq!((handler, number.parse::<u64>().is_ok()), ("bot", true), "{id}");
        assert_eq!(ids.iter().position(|other| other == id), Some(n), "{ids:?}");
    }
    let [one, two, three, four, _] = &ids;

    // The server runs, and notices.
    assert_eq!(
        stage.dead(&format!("replay {one}")).good(),
        "1 to be handed out again\n"
    );
    bot.until(1).await;
    assert_eq!(texts(&bot), ["one"]);
    assert_eq!(stage.dead(&format!("drop {two}")).good(), "1 dropped\n");
    assert_eq!(stage.dead_letters().len(), 3);
    assert_eq!(stage.dead("list --limit 2").good().lines().count(), 2);
    assert_eq!(stage.dead("list --handler other").good(), "");
    assert!(server.stop().success());

    // It is stopped, and takes up what is owed when it starts again.
    assert_eq!(stage.dead_letters().len(), 3);
    assert_says(&stage.dead(&format!("show {three}")).good(), &["three"]);
    assert_eq!(
        stage.dead(&format!("replay {three}")).good(),
        "1 to be handed out again\n"
    );
    assert_eq!(stage.dead(&format!("drop {four}")).good(), "1 dropped\n");
    assert_eq!(stage.dead("drop --handler other").good(), "0 dropped\n");
    assert_eq!(stage.dead("replay --handler bot").good(), "1 to be handed out again\n");
    assert_eq!(stage.dead("replay --all").good(), "0 to be handed out again\n");
    assert_eq!(stage.dead_letters(), [""; 0]);
    let server = stage.start();
    bot.until(3).await;
    assert!(server.stop().success());
    let mut taken = texts(&bot);
    taken.sort_unstable();
    assert_eq!(taken, ["five", "one", "three"], "once each, and what was dropped never");
    assert_eq!(stage.dead_letters(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_is_not_there_is_named_and_no_secret_shown() {
    let bot = Bot::start().await;
    bot.refuse();
    let stage = Stage::new(&bot.handler()).await;
    let server = stage.start();
    stage.say(&["one"]);
    stage.until_dead(1).await;
    for action in ["show", "replay", "drop"] {
        for id in ["bot:999999", "nobody:1"] {
            let ended = stage.dead(&format!("{action} {id}"));
            assert_says(ended.complaint(1), &["no dead letter", id, "wecom-kf dead list"]);
            assert_eq!(ended.stdout, "");
        }
    }
    let listed = stage.dead("list");
    listed.tells_none_of(&stage.secrets());
    listed.tells_none_of(&[SIGNING_SECRET, "wmCustomer0"]);
    assert_says(&run_on(&stage.config, "check").good(), &["1 dead letters of bot"]);
    assert!(server.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_store_there_is_nothing_to_list_and_none_is_made() {
    let stage = Stage::new("").await;
    assert_says(stage.dead("list").complaint(1), &["no such file", "start the server"]);
    assert!(!stage.store().exists());
    let config = stage.config.to_str().unwrap();
    assert_eq!(
        run(["dead", "--config", config, "list"]).code,
        Some(1),
        "the config may stand before the action"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_owed_to_a_handler_that_left_is_told_and_can_be_forgotten() {
    let bot = Bot::start().await;
    bot.refuse();
    let stage = Stage::new(&bot.handler()).await;
    let server = stage.start();
    stage.say(&["one", "two", "three"]);
    let letters = stage.until_dead(3).await;
    assert!(server.stop().success());
    let configured = run_on(&stage.config, "retire bot");
    assert_says(configured.complaint(1), &["bot is in the config", "restart"]);

    // It is renamed: what it left behind waits for nobody.
    stage.change("name = \"bot\"", "name = \"robot\"");
    assert_says(
        run_on(&stage.config, "retire nobody").complaint(1),
        &["no handler", "nobody"],
    );
    let replayed = stage.dead(&format!("replay {}", id(&letters[0]))).good();
    assert_eq!(
        replayed,
        "1 to be handed out again\n1 wait for bot, which is not in the config\n"
    );
    assert_eq!(
        stage.dead("replay --handler robot").good(),
        "0 to be handed out again\n"
    );
    assert_says(
        &run_on(&stage.config, "check").good(),
        &["1 messages wait for bot", "wecom-kf retire bot"],
    );
    assert_eq!(
        run_on(&stage.config, "retire bot").good(),
        "1 deliveries to bot forgotten\n2 dead letters are kept: wecom-kf dead drop --handler bot\n"
    );
    assert_eq!(
        run_on(&stage.config, "retire bot").good(),
        "0 deliveries to bot forgotten\n2 dead letters are kept: wecom-kf dead drop --handler bot\n"
    );
}
