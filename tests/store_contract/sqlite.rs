//! What the SQLite store promises beyond the contract: about its file, and about who may open it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;
use wecom_kf::clock::UnixMillis;
use wecom_kf::id::CallbackToken;
use wecom_kf::store::{Fence, Intake, NewMessage, Seq, Settings, Store, StoreError, WakeUp, open, open_operator};

use crate::bench::{
    Bench, NOW, account, beginning, commit, json, last_page, msgids, owed, page, register, store_messages, text,
};
use crate::replies;

/// A directory of its own for each store.
pub(crate) struct SqliteBench(TempDir);

impl Default for SqliteBench {
    fn default() -> Self {
        Self(TempDir::new().unwrap())
    }
}

impl SqliteBench {
    fn path(&self) -> PathBuf {
        self.0.path().join("data/wecom-kf.db")
    }

    pub(crate) fn settings(&self) -> Settings {
        at(&self.path())
    }

    /// Runs `sql` on the file as any program could.
    pub(crate) fn tamper(&self, sql: &str) {
        Connection::open(self.path()).unwrap().execute_batch(sql).unwrap();
    }
}

impl Bench for SqliteBench {
    async fn open(&self) -> Arc<dyn Store> {
        open(&self.settings()).await.unwrap()
    }

    async fn open_operator(&self) -> Arc<dyn Store> {
        open_operator(&self.settings()).await.unwrap()
    }

    fn killed(&self) -> Self {
        // A killed process leaves its files as they are: the database, and what has not been moved into it yet.
        let left = Self::default();
        fs::create_dir(left.path().parent().unwrap()).unwrap();
        for suffix in ["", "-wal"] {
            fs::copy(beside(&self.path(), suffix), beside(&left.path(), suffix)).unwrap();
        }
        left
    }
}

fn at(path: &Path) -> Settings {
    Settings::new(format!("sqlite://{}", path.display()))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What is wrong according to a store that could not be opened: one line.
fn problem(opened: Result<Arc<dyn Store>, StoreError>) -> String {
    match opened {
        Err(StoreError::Open { problem, .. }) => {
            assert!(!problem.contains('\n'), "{problem}");
            problem
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn only_one_store_serves_from_a_file() {
    let bench = SqliteBench::default();
    let store = bench.open().await;
    assert!(problem(open(&bench.settings()).await).contains("another process serves from it"));

    let alias = bench.0.path().join("alias.db");
    symlink(bench.path(), &alias).unwrap();
    let detour = bench.0.path().join("data/../data/wecom-kf.db");
    for path in [alias, detour] {
        assert!(
            problem(open(&at(&path)).await).contains("another process serves from it"),
            "{path:?}"
        );
    }
    store.check().await.unwrap();
    drop(store);
    bench.open().await.check().await.unwrap();
}

#[tokio::test]
async fn an_operator_does_not_keep_a_server_away() {
    let bench = SqliteBench::default();
    drop(bench.open().await);
    let operator = bench.open_operator().await;
    let server = bench.open().await;
    server.check().await.unwrap();
    operator.check().await.unwrap();
    drop(operator);
    server.check().await.unwrap();
}

#[tokio::test]
async fn its_files_are_for_their_owner_only() {
    let bench = SqliteBench::default();
    let store = bench.open().await;
    store.check().await.unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for suffix in ["", "-wal", "-shm", ".lock"] {
        assert_eq!(mode(beside(&bench.path(), suffix)), 0o600, "{suffix}");
    }
    assert_eq!(mode(bench.0.path().join("data")), 0o700);
}

#[tokio::test]
async fn a_killed_process_loses_nothing_that_was_answered() {
    let bench = SqliteBench::default();
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    store_messages(&store, vec![text("m1", "wm1", &[bot])]).await;
    let left = bench.killed();
    assert!(fs::metadata(beside(&left.path(), "-wal")).unwrap().len() > 0);
    fs::write(beside(&left.path(), ".lock"), "").unwrap();

    let operator = left.open_operator().await;
    assert_eq!(msgids(&owed(&operator, bot).await), ["m1"]);
    drop(operator);
    let store = left.open().await;
    assert_eq!(msgids(&owed(&store, bot).await), ["m1"]);
}

#[tokio::test]
async fn closing_moves_everything_into_the_one_file() {
    let bench = SqliteBench::default();
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    store_messages(&store, vec![text("m1", "wm1", &[bot])]).await;
    drop(store);
    assert!(!beside(&bench.path(), "-wal").exists());
    assert_eq!(msgids(&owed(&bench.open().await, bot).await), ["m1"]);
}

#[tokio::test]
async fn what_was_asked_for_is_done_before_the_store_closes() {
    let bench = SqliteBench::default();
    let store = bench.open().await;
    let bot = register(&store, "bot").await;
    let pages: Vec<_> = (0..50)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let claim = store
                    .claim(&account(&format!("wk{n}")), Fence::FIRST, NOW)
                    .await
                    .unwrap()
                    .unwrap();
                commit(&store, page(&claim, "c", vec![text("m", "wm", &[bot])])).await;
            })
        })
        .collect();
    drop(store);
    for page in pages {
        page.await.unwrap();
    }
    assert_eq!(owed(&bench.open().await, bot).await.len(), 50);
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused_and_left_alone() {
    let bench = SqliteBench::default();
    drop(bench.open().await);
    bench.tamper("UPDATE meta SET schema_version = 7");
    for opened in [open(&bench.settings()).await, open_operator(&bench.settings()).await] {
        assert_eq!(
            problem(opened),
            "has schema version 7, this build knows 3: run the newer version, or restore a backup made before it"
        );
    }
    bench.tamper("UPDATE meta SET schema_version = 3");
    bench.open().await.check().await.unwrap();
}

/// What made the tables of older versions.
const OLDER: [&str; 2] = [
    include_str!("../../src/store/migrations/sqlite/0001_tables.sql"),
    include_str!("../../src/store/migrations/sqlite/0002_replies.sql"),
];

/// Three messages, all owed to the first handler and the last to the second. The second was tried before, and is urgent.
const IN_AN_OLDER_FILE: &str = r#"
    INSERT INTO handler VALUES (1, 'bot'), (2, 'crm');
    INSERT INTO account (account_id, app, open_kfid) VALUES (1, 'main', 'wk1');
    INSERT INTO message VALUES
        (1, 1, 0, 'm1', 69, 0, 'text', 0, '{}'),
        (2, 1, 0, 'm2', 6, 1, 'text', 0, '{}'),
        (3, 1, 0, 'm3', -1, 0, 'text', 0, '{}');
    INSERT INTO delivery VALUES
        (5, 1, 1, 69, 0, 0, 0), (6, 1, 2, 6, 1, 3, 1000), (63, 1, 3, -1, 0, 0, 0), (63, 2, 3, -1, 0, 0, 0);
    UPDATE meta SET last_seq = 3;
"#;

#[tokio::test]
async fn a_file_of_an_older_version_is_brought_up_to_date_with_what_is_in_it() {
    for version in 1..=OLDER.len() {
        let bench = SqliteBench::default();
        fs::create_dir(bench.path().parent().unwrap()).unwrap();
        bench.tamper(&OLDER[..version].concat());
        bench.tamper(&format!(
            "{IN_AN_OLDER_FILE} UPDATE meta SET schema_version = {version}"
        ));
        let refusal = problem(open_operator(&bench.settings()).await);
        let expected = format!("has schema version {version}, this build needs 3");
        assert!(refusal.starts_with(&expected), "{refusal}");

        let store = bench.open().await;
        let [bot, crm] = [register(&store, "bot").await, register(&store, "crm").await];
        let [to_bot, to_crm] = [owed(&store, bot).await, owed(&store, crm).await];
        assert_eq!((msgids(&to_bot), msgids(&to_crm)), (vec!["m1", "m2", "m3"], vec!["m3"]));
        let shards: Vec<_> = to_bot.iter().map(|delivery| delivery.lane.shard().number()).collect();
        assert_eq!(shards, [5, 6, 63]);
        assert_eq!((to_bot[1].attempts, to_bot[1].due), (3, UnixMillis(1000)));
        let urgent = store.pending_urgent(bot, &beginning(), 1).await.unwrap();
        assert_eq!(msgids(&urgent), ["m2"]);
        store.record_reply(replies::reply("bot", "r1")).await.unwrap();
        drop(store);
        bench.open_operator().await.check().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_shards_were_computed_otherwise_is_refused() {
    let bench = SqliteBench::default();
    drop(bench.open().await);
    bench.tamper("UPDATE meta SET lane_hash = 'md5 % 8'");
    assert!(problem(open(&bench.settings()).await).contains("md5 % 8"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_store_is_refused_and_left_alone() {
    let bench = SqliteBench::default();
    fs::create_dir(bench.path().parent().unwrap()).unwrap();
    let text = "dear diary, ".repeat(100);
    fs::write(bench.path(), &text).unwrap();
    for opened in [open(&bench.settings()).await, open_operator(&bench.settings()).await] {
        assert!(problem(opened).starts_with("is not an SQLite database"));
    }
    assert_eq!(fs::read_to_string(bench.path()).unwrap(), text);

    fs::remove_file(bench.path()).unwrap();
    bench.tamper("CREATE TABLE diary (entry TEXT)");
    let before = fs::read(bench.path()).unwrap();
    for opened in [open(&bench.settings()).await, open_operator(&bench.settings()).await] {
        assert!(problem(opened).starts_with("is the database of another program"));
    }
    assert_eq!(fs::read(bench.path()).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_refused_with_what_to_do() {
    let bench = SqliteBench::default();
    drop(bench.open().await);
    let conn = Connection::open(bench.path()).unwrap();
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'meta'";
    let page: usize = conn.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap() as usize - 1;
    drop(conn);
    let mut file = fs::read(bench.path()).unwrap();
    file[page * 8192..(page + 1) * 8192].fill(0x5a);
    fs::write(bench.path(), file).unwrap();
    for opened in [open(&bench.settings()).await, open_operator(&bench.settings()).await] {
        let text = problem(opened);
        assert!(text.starts_with("is damaged: restore a backup"), "{text}");
    }
}

#[tokio::test]
async fn it_tells_how_much_room_its_disk_has() {
    let bench = SqliteBench::default();
    let room = bench.open().await.room().await.unwrap().unwrap();
    assert!(0 < room.free_bytes && room.free_bytes <= room.disk_bytes, "{room:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_cannot_hold_the_file_is_refused() {
    let bench = SqliteBench::default();
    assert_eq!(
        problem(open(&at(bench.0.path())).await),
        "is a directory: name a file in it"
    );
    assert_eq!(
        problem(open_operator(&at(bench.0.path())).await),
        "is a directory: name a file in it"
    );
    let file = bench.0.path().join("file");
    fs::write(&file, "").unwrap();
    let text = problem(open(&at(&file.join("wecom-kf.db"))).await);
    assert!(text.starts_with("cannot create or write"), "{text}");
    assert!(text.contains("name a path that this user may write to"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_creates_nothing() {
    let bench = SqliteBench::default();
    assert!(problem(open_operator(&bench.settings()).await).starts_with("there is no such file"));
    assert!(!bench.path().parent().unwrap().exists());

    fs::create_dir(bench.path().parent().unwrap()).unwrap();
    fs::write(bench.path(), "").unwrap();
    assert!(problem(open_operator(&bench.settings()).await).contains("start the server once"));
    assert_eq!(fs::metadata(bench.path()).unwrap().len(), 0);
}

#[tokio::test]
async fn a_contradiction_is_put_into_quarantine_once_and_goes_with_its_message() {
    let bench = SqliteBench::default();
    let store = bench.open().await;
    let first = text("m1", "wm1", &[]);
    let second = NewMessage {
        body: json(r#"{"changed":true}"#),
        ..first.clone()
    };
    store_messages(&store, vec![first]).await;
    for _ in 0..2 {
        assert_eq!(
            store_messages(&store, vec![second.clone()]).await,
            [Intake::Conflicting]
        );
    }
    let quarantined = || -> Vec<String> {
        let conn = Connection::open(bench.path()).unwrap();
        let mut bodies = conn.prepare("SELECT body FROM quarantine").unwrap();
        let bodies = bodies.query_map([], |row| row.get(0)).unwrap();
        bodies.collect::<Result<_, _>>().unwrap()
    };
    assert_eq!(quarantined(), [second.body.get()]);
    assert_eq!(store.prune(NOW.plus(Duration::from_secs(1)), 10).await.unwrap(), 1);
    assert!(quarantined().is_empty());
}

#[tokio::test]
async fn an_answered_wake_up_leaves_no_token_in_its_row() {
    let bench = SqliteBench::default();
    let store = bench.open().await;
    let token = || -> Option<String> {
        let conn = Connection::open(bench.path()).unwrap();
        conn.query_row("SELECT wake_token FROM account", [], |row| row.get(0))
            .unwrap()
    };
    let wake_up = WakeUp {
        account: account("wk1"),
        token: Some(CallbackToken::new("ENC1")),
        at: NOW,
    };
    store.record_wake_ups(vec![wake_up]).await.unwrap();
    assert_eq!(token().as_deref(), Some("ENC1"));
    let claim = store.claim(&account("wk1"), Fence::FIRST, NOW).await.unwrap().unwrap();
    commit(&store, last_page(&claim, "c1", 1)).await;
    assert_eq!(token(), None);
}

#[tokio::test]
async fn pruning_gives_most_of_the_room_back() {
    let bench = SqliteBench::default();
    let store = bench.open().await;
    let body = json(&format!(r#"{{"text":"{}"}}"#, "x".repeat(4000)));
    let messages = (0..2000).map(|n| NewMessage {
        body: Arc::clone(&body),
        ..text(&format!("m{n}"), "wm1", &[])
    });
    store_messages(&store, messages.collect()).await;
    drop(store);
    let size = || fs::metadata(bench.path()).unwrap().len();
    let full = size();
    assert!(full > 8_000_000, "{full}");

    let store = bench.open().await;
    let tomorrow = NOW.plus(Duration::from_secs(86_400));
    while store.prune(tomorrow, 200).await.unwrap() > 0 {}
    drop(store);
    assert!(size() < full / 4, "{} of {full} bytes are left", size());
}

#[tokio::test]
async fn a_body_that_was_blanked_is_gone_from_the_disk_with_what_contradicted_it() {
    let bench = SqliteBench::default();
    let store = bench.open().await;
    let said = |what: &str| NewMessage {
        body: json(&format!(r#"{{"text":"{what}"}}"#)),
        ..text("m1", "wm1", &[])
    };
    store_messages(&store, vec![said("between you and me")]).await;
    store_messages(&store, vec![said("between us and them")]).await;
    drop(store);
    // Nobody has it open: all there is stands in the one file.
    let on_disk = || String::from_utf8_lossy(&fs::read(bench.path()).unwrap()).into_owned();
    assert!(on_disk().contains("between you and me") && on_disk().contains("between us and them"));

    let store = bench.open().await;
    let later = NOW.plus(Duration::from_secs(1));
    assert_eq!(store.blank(later, Seq::default(), 10).await.unwrap().bodies, 1);
    drop(store);
    assert!(!on_disk().contains("between"), "something is left");
    assert!(on_disk().contains("m1"), "the message is still known");
}
