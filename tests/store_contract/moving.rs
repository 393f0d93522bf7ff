//! Moving everything from an SQLite store into a PostgreSQL one.

use std::sync::Arc;
use std::time::Duration;

use wecom_kf::clock::UnixMillis;
use wecom_kf::id::{AccountKey, AppName, CallbackToken, Msgid, OpenKfid};
use wecom_kf::store::{
    DeadSelect, Fence, Intake, Lane, MoveError, NewMessage, Page, SentReply, Seq, Settings, Store, Verdict, WakeUp,
    move_all,
};

use crate::bench::{
    Bench, NOW, account, beginning, commit, dead, finish, handler, json, last_page, owed, page, register,
    store_messages, text, urgent,
};
use crate::postgres::bench::PostgresBench;
use crate::sqlite::SqliteBench;

/// Everything that handlers, customers and operators can see of a store.
async fn portrait(store: &Arc<dyn Store>) -> Vec<String> {
    let mut seen = Vec::new();
    for state in store.accounts().await.unwrap() {
        let token = state.wake_up.as_ref().and_then(|wake_up| wake_up.token.clone());
        seen.push(format!("{state:?} {:?}", token.as_ref().map(CallbackToken::expose)));
    }
    seen.sort();
    let mut backlog = store.backlog().await.unwrap();
    backlog.sort_by_key(|owing| owing.id);
    for owing in backlog {
        seen.push(format!("{owing:?}"));
        let urgent = store.pending_urgent(owing.id, &beginning(), 100).await.unwrap();
        let mut urgent: Vec<_> = urgent.iter().map(|pending| pending.seq).collect();
        urgent.sort();
        seen.push(format!("{urgent:?}"));
        for pending in owed(store, owing.id).await {
            let letter = &pending.letter;
            let (lane, due, received) = (pending.lane, pending.due, letter.received);
            seen.push(format!("{pending:?} {lane:?} {due:?} {received:?} {}", letter.body));
        }
    }
    for letter in store.dead_letters(DeadSelect::default(), 100).await.unwrap() {
        seen.push(format!(
            "{letter:?} {:?} {:?} {}",
            letter.account, letter.at, letter.body
        ));
    }
    for msgid in ["m1", "m2"] {
        let replies = store.replies_to(alice(), &Msgid::from(msgid)).await.unwrap();
        seen.extend(replies.iter().map(|reply| format!("{reply:?}")));
    }
    seen.push(format!("{} replays", store.replays().await.unwrap()));
    seen
}

fn alice() -> Lane {
    Lane::of(&account("wk1"), "alice")
}

fn elsewhere() -> AccountKey {
    AccountKey::new(AppName::new("other").unwrap(), OpenKfid::from("wk1"))
}

fn saying(msgid: &str, body: &str) -> NewMessage {
    NewMessage {
        body: json(body),
        ..text(msgid, msgid, &[])
    }
}

fn reply(msgid: &str, in_reply_to: &str, part: u32) -> SentReply {
    SentReply {
        lane: alice(),
        in_reply_to: Msgid::from(in_reply_to),
        msgid: Msgid::from(msgid),
        handler: handler("bot"),
        index: 1,
        part,
        at: NOW,
    }
}

/// What differs from JSON to JSON and from byte to byte, as WeCom may send it.
fn odd_bodies() -> Vec<String> {
    vec![
        r#"{"text":"你好 👋🏽 \u0000 \ud83d \" \\ \/ \n","n":1e400}"#.to_owned(),
        "{\n\t\"spaced\" :  [ ] , \"twice\":1,\"twice\":2 }".to_owned(),
        format!(r#"{{"largest":"{}"}}"#, "大".repeat(3_000_000)),
        "null".to_owned(),
    ]
}

/// Fills a store with something of everything.
async fn fill(store: &Arc<dyn Store>) {
    let [bot, log, _idle] = [
        register(store, "bot").await,
        register(store, "log").await,
        register(store, "idle").await,
    ];
    let both = [bot, log];
    let wake_up = |account: &AccountKey, token: Option<&str>| WakeUp {
        account: account.clone(),
        token: token.map(CallbackToken::new),
        at: NOW,
    };
    let wake_ups = [
        wake_up(&account("wk1"), Some("ENCanswered")),
        wake_up(&account("wk2"), Some("ENCopen")),
        wake_up(&elsewhere(), None),
        wake_up(&account("wk2"), Some("ENCnewer")),
    ];
    store.record_wake_ups(wake_ups.into()).await.unwrap();
    // wk1 has been pulled to its end, wk2 is in the middle of its first pull, the third was never pulled.
    let mut messages = vec![
        text("m1", "alice", &both),
        text("m2", "alice", &both),
        urgent("m3", "alice", &[bot]),
        text("m4", "bob", &both),
        text("history", "bob", &[]),
        text("conflict", "bob", &[log]),
    ];
    for (number, body) in odd_bodies().iter().enumerate() {
        let owed_to = vec![bot];
        messages.push(NewMessage {
            owed_to,
            ..saying(&format!("odd{number}"), body)
        });
    }
    store_messages(store, messages).await;
    let claim = store.claim(&account("wk1"), Fence::FIRST, NOW).await.unwrap().unwrap();
    commit(store, last_page(&claim, "end", 1)).await;
    assert_eq!(
        store_messages(store, vec![saying("conflict", r#"{"another":1}"#)]).await,
        [Intake::Conflicting]
    );
    let claim = store
        .claim(&account("wk2"), Fence::FIRST, NOW.plus(Duration::from_secs(1)))
        .await
        .unwrap()
        .unwrap();
    commit(store, page(&claim, "half", vec![text("m1", "carol", &[bot])])).await;
    // The newest number given belongs to a message that is gone, and what one of the others said is.
    let claim = store.claim(&account("wk1"), Fence::FIRST, NOW).await.unwrap().unwrap();
    let day = Duration::from_secs(24 * 3600);
    let received = NOW.minus(10 * day);
    commit(
        store,
        Page {
            received,
            ..page(&claim, "end.", vec![text("gone", "dave", &[])])
        },
    )
    .await;
    assert_eq!(store.prune(NOW.minus(day), 100).await.unwrap(), 1);
    assert_eq!(store.blank(NOW.plus(day), Seq::default(), 100).await.unwrap().bodies, 1);

    let pending = owed(store, bot).await;
    let named = |msgid: &str| {
        pending
            .iter()
            .find(|delivery| delivery.letter.msgid.as_str() == msgid)
            .unwrap()
    };
    let due = NOW.plus(Duration::from_secs(77));
    let finished = [
        finish(bot, named("m1"), Verdict::Done),
        finish(bot, named("m2"), Verdict::Retry { attempts: 3, due }),
        finish(bot, named("m4"), dead(NOW)),
        finish(bot, named("odd0"), dead(NOW.plus(Duration::from_secs(1)))),
        finish(log, named("m4"), dead(NOW)),
    ];
    assert_eq!(store.finish(finished.into()).await.unwrap(), 0);
    let select = DeadSelect {
        handler: Some(handler("log")),
        seq: None,
    };
    assert_eq!(store.replay_dead(select, NOW).await.unwrap(), 1);
    for (msgid, in_reply_to, part) in [("r1", "m1", 0), ("r2", "m1", 1), ("r3", "m2", 0)] {
        store.record_reply(reply(msgid, in_reply_to, part)).await.unwrap();
    }
}

struct Houses {
    sqlite: SqliteBench,
    postgres: PostgresBench,
}

impl Houses {
    fn new() -> Self {
        Self {
            sqlite: SqliteBench::default(),
            postgres: PostgresBench::default(),
        }
    }

    fn from(&self) -> Settings {
        self.sqlite.settings()
    }

    async fn migrate(&self) -> Result<Vec<(&'static str, u64)>, MoveError> {
        let moved = move_all(&self.from(), &self.postgres.settings()).await?;
        Ok(moved.iter().map(|moved| (moved.table, moved.rows)).collect())
    }

    /// Why nothing is moved.
    async fn refusal(&self) -> String {
        self.migrate().await.unwrap_err().to_string()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_moved_says_what_it_said_before_and_goes_on_from_there() {
    let houses = Houses::new();
    let old = houses.sqlite.open().await;
    fill(&old).await;
    let before = portrait(&old).await;
    let newest = owed(&old, register(&old, "bot").await).await.last().unwrap().seq;
    drop(old);
    let moved = houses.migrate().await.unwrap();
    let expected = [
        ("handler", 3),
        ("account", 3),
        ("message", 11),
        ("delivery", 10),
        ("dead", 2),
        ("quarantine", 1),
        ("reply", 3),
    ];
    assert_eq!(moved, expected);

    let new = houses.postgres.open().await;
    assert_eq!(portrait(&new).await, before);
    let [bot, later] = [register(&new, "bot").await, register(&new, "later").await];
    let claim = new
        .claim(&account("wk2"), Fence::FIRST, UnixMillis(0))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(claim.cursor.as_deref(), Some("half"));
    assert_eq!(claim.first_pull.unwrap().began, NOW.plus(Duration::from_secs(1)));
    let claim = new.claim(&account("wk1"), Fence::FIRST, NOW).await.unwrap().unwrap();
    assert!(claim.first_pull.is_none(), "it was pulled to its end");
    // What is known is known, also what it says.
    let again = [
        text("m1", "alice", &[bot]),
        saying("history", r#"{"x":1}"#),
        saying("conflict", r#"{"another":1}"#),
    ];
    let intake = commit(&new, page(&claim, "next", again.into())).await.messages;
    assert_eq!(intake, [Intake::Repeated, Intake::Repeated, Intake::Conflicting]);
    store_messages(&new, vec![text("new", "alice", &[bot, later])]).await;
    let next = owed(&new, later).await[0].seq;
    assert!(
        next > Seq(newest.0 + 1),
        "{next:?} follows {newest:?} and the one that is gone"
    );
    new.record_reply(reply("r4", "m1", 2)).await.unwrap();
    let replies = new.replies_to(alice(), &Msgid::from("m1")).await.unwrap();
    let replies: Vec<_> = replies.iter().map(|reply| reply.msgid.as_str()).collect();
    assert_eq!(replies, ["r1", "r2", "r4"]);
    let fourth = AccountKey::new(AppName::new("other").unwrap(), OpenKfid::from("wk4"));
    new.claim(&fourth, Fence::FIRST, NOW).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rows_arrive_all_of_them() {
    let houses = Houses::new();
    let old = houses.sqlite.open().await;
    let bot = register(&old, "bot").await;
    for thousand in 0..10 {
        let numbers = thousand * 1000..(thousand + 1) * 1000;
        let messages = numbers.map(|number| text(&format!("m{number}"), &format!("wm{}", number % 97), &[bot]));
        store_messages(&old, messages.collect()).await;
    }
    let before = portrait(&old).await;
    drop(old);
    assert_eq!(
        houses.migrate().await.unwrap()[2..4],
        [("message", 10_000), ("delivery", 10_000)]
    );
    assert_eq!(portrait(&houses.postgres.open().await).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_store_moves_too() {
    let houses = Houses::new();
    drop(houses.sqlite.open().await);
    assert!(houses.migrate().await.unwrap().iter().all(|(_, rows)| *rows == 0));
    let new = houses.postgres.open().await;
    let bot = register(&new, "bot").await;
    store_messages(&new, vec![text("m1", "alice", &[bot])]).await;
    assert_eq!(owed(&new, bot).await[0].seq, Seq(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_with_anything_in_it_is_refused_and_left_alone() {
    let houses = Houses::new();
    fill(&houses.sqlite.open().await).await;
    let occupied = houses.postgres.open().await;
    let bot = register(&occupied, "bot").await;
    store_messages(&occupied, vec![text("m1", "alice", &[bot])]).await;
    let before = portrait(&occupied).await;
    let refusal = houses.refusal().await;
    for found in [
        "not empty",
        "1 rows of handler",
        "1 rows of account",
        "1 rows of message",
        "1 rows of delivery",
    ] {
        assert!(refusal.contains(found), "{found}: {refusal}");
    }
    assert_eq!(portrait(&occupied).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_somebody_serves_from_is_refused() {
    let houses = Houses::new();
    drop(houses.sqlite.open().await);
    let served = houses.postgres.open().await;
    served.shared().unwrap().renew(Duration::from_secs(3600)).await.unwrap();
    let refusal = houses.refusal().await;
    assert!(refusal.contains("1 servers that run on it"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_somebody_serves_from_or_that_is_none_is_refused() {
    let houses = Houses::new();
    // Its database is used again, and is then taken to have tables.
    drop(houses.postgres.open().await);
    let missing = houses.refusal().await;
    assert!(missing.contains("there is no such file"), "{missing}");
    let served = houses.sqlite.open().await;
    let taken = houses.refusal().await;
    assert!(taken.contains("another process serves from it"), "{taken}");
    drop(served);
    houses.sqlite.tamper("UPDATE meta SET schema_version = 1");
    let older = houses.refusal().await;
    assert!(
        older.contains("has schema version 1") && older.contains("start the server once"),
        "{older}"
    );
    houses.sqlite.tamper("UPDATE meta SET schema_version = 99");
    let newer = houses.refusal().await;
    assert!(newer.contains("has schema version 99"), "{newer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_from_sqlite_to_postgres_only() {
    let houses = Houses::new();
    // Its database is used again, and is then taken to have tables.
    drop(houses.postgres.open().await);
    let (sqlite, postgres) = (houses.from(), houses.postgres.settings());
    for (from, to) in [(&postgres, &sqlite), (&sqlite, &sqlite), (&postgres, &postgres)] {
        let refusal = move_all(from, to).await.unwrap_err().to_string();
        assert!(refusal.contains("moves from sqlite:// to postgres://"), "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_fails_half_way_leaves_the_target_empty_and_the_source_as_it_was() {
    let houses = Houses::new();
    let old = houses.sqlite.open().await;
    fill(&old).await;
    let before = portrait(&old).await;
    drop((old, houses.postgres.open().await));
    houses.postgres.tamper(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'canary'; END $$;
         CREATE TRIGGER half_way BEFORE INSERT ON reply FOR EACH ROW EXECUTE FUNCTION fail()",
    );
    houses.migrate().await.unwrap_err();
    // What is altered on its way is found out before the commit.
    houses.postgres.tamper(
        "DROP TRIGGER half_way ON reply;
         CREATE FUNCTION alter_it() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN NEW.body := replace(NEW.body, '大', '小'); RETURN NEW; END $$;
         CREATE TRIGGER half_way BEFORE INSERT ON message FOR EACH ROW EXECUTE FUNCTION alter_it()",
    );
    let altered = houses.refusal().await;
    assert!(altered.contains("table message did not arrive as it left"), "{altered}");
    houses.postgres.tamper("DROP TRIGGER half_way ON message");
    assert_eq!(portrait(&houses.sqlite.open().await).await, before);
    houses.migrate().await.unwrap();
    assert_eq!(portrait(&houses.postgres.open().await).await, before);
}
