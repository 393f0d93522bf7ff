//! The power goes: what was written and not yet flushed is gone with it.

use std::fs;
use std::num::NonZeroUsize;
use std::time::Duration;

use rand::RngExt as _;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::time::sleep;
use wecom_kf::id::OpenKfid;
use wecom_kf::simulator::{Bells, Verdict};

use super::disk::Disk;
use super::{BOUND, CUSTOMERS, Lives, Toll, dice, double_rows, rounds};
use crate::stage::{Pace, Stage};

/// What a series of power cuts did.
struct Cuts {
    rounds: usize,
    seed: u64,
    /// Accounts, cut by cut, whose cursor stood before what WeCom had already been told is stored.
    fell_back: usize,
    verdict: Verdict,
    double_rows: i64,
    toll: Toll,
}

async fn cut_power(rounds: usize, durability: &str) -> Cuts {
    let (mut dice, seed) = dice();
    let stage = Stage::with_accounts(3, Pace::Fast).await;
    let disk = Disk::under(&stage.database());
    let (mut lives, mut fell_back) = (Lives::default(), 0);
    for _ in 0..rounds {
        let leak = if dice.random() { dice.random_range(1..90) } else { 0 };
        let mut serve = disk.carry(stage.serve(), leak);
        serve.env("WECOM_KF_STORE_DURABILITY", durability);
        let server = stage.start_as(serve);
        let bells = Bells::Every(NonZeroUsize::new(dice.random_range(1..40)).unwrap());
        stage.say_among(CUSTOMERS, dice.random_range(100..300), bells);
        sleep(Duration::from_millis(dice.random_range(0..200))).await;
        server.kill();
        disk.lose_power();
        lives.ended(&stage.receiver).await;
        fell_back += accounts_that_fell_back(&stage);
    }
    let server = stage.start();
    stage.all_arrived().await;
    assert!(server.stop().success());
    stage.wecom.quiet().await;
    stage.receiver.assert_contract_kept();
    Cuts {
        rounds,
        seed,
        fell_back,
        verdict: stage.verdict(),
        double_rows: double_rows(&stage),
        toll: lives.toll(&stage.receiver.received()),
    }
}

/// Accounts whose stored cursor lies before one that the server has asked WeCom with: a page that it had acknowledged,
/// and that the disk lost. A cut so early that there is no store yet has lost nothing that was.
fn accounts_that_fell_back(stage: &Stage) -> usize {
    // A copy is looked into: looking moves the WAL, and the next life is to begin with what the cut left.
    let copy = TempDir::new().unwrap();
    let (database, wal) = (stage.database(), stage.database().with_extension("db-wal"));
    for file in [&database, &wal].into_iter().filter(|file| file.exists()) {
        fs::copy(file, copy.path().join(file.file_name().unwrap())).unwrap();
    }
    let store = database
        .exists()
        .then(|| Connection::open(copy.path().join("kf.db")).unwrap());
    let stored = |account: &OpenKfid| {
        let sql = "SELECT cursor FROM account WHERE open_kfid = ?1";
        let cursor = store
            .as_ref()?
            .query_row(sql, [account.as_str()], |row| row.get::<_, Option<String>>(0));
        stage.wecom.place(account, &cursor.ok()??)
    };
    let accounts = stage.accounts();
    let behind = accounts
        .iter()
        .filter(|account| stored(account).unwrap_or(0) < stage.wecom.acknowledged(account));
    behind.count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_loses_no_page_that_was_acknowledged() {
    let cuts = cut_power(rounds(40), "full").await;
    print(&cuts, "full");
    assert_eq!(
        (cuts.fell_back, cuts.verdict.lost, cuts.verdict.order, cuts.double_rows),
        (0, 0, 0, 0)
    );
    assert_eq!(cuts.toll.within_a_life, 0);
    assert!(cuts.toll.worst <= BOUND, "one cut repeated {}", cuts.toll.worst);
}

#[tokio::test(flavor = "multi_thread")]
async fn relaxed_a_power_cut_loses_pages_and_still_no_message() {
    let cuts = cut_power(rounds(20), "relaxed").await;
    print(&cuts, "relaxed");
    assert!(
        cuts.fell_back > 0,
        "the cut takes nothing: it proves nothing about \"full\" either"
    );
    assert_eq!((cuts.verdict.lost, cuts.verdict.order, cuts.double_rows), (0, 0, 0));
}

fn print(cuts: &Cuts, durability: &str) {
    println!(
        "{} power cuts, durability = {durability:?}, seed {}: accounts_fallen_back={} lost={} double_rows={} order={} \
         dup_deliveries={} (worst {})",
        cuts.rounds,
        cuts.seed,
        cuts.fell_back,
        cuts.verdict.lost,
        cuts.double_rows,
        cuts.verdict.order,
        cuts.toll.repeated,
        cuts.toll.worst,
    );
}
