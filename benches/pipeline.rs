//! Messages pulled, stored, and completed by a no-op handler, against a bare rusqlite loop that inserts the same items.
//!
//! The floor is what nobody can do without: one row per item in a table with a unique msgid, one FULL transaction per
//! page of 1,000, no decoding, no deliveries, no HTTP. Ours pulls the same items over loopback HTTP from the simulated
//! WeCom, which runs in this process too. Both get the same items, in rounds that take turns.
//!
//!     cargo bench --bench pipeline

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rusqlite::{Connection, params};
use secrecy::ExposeSecret as _;
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wecom_kf::app::App;
use wecom_kf::callback::KeyPair;
use wecom_kf::config::{Config, Environment};
use wecom_kf::handler::{Filter, Outcome, Registration, from_fn};
use wecom_kf::id::{HandlerName, OpenKfid};
use wecom_kf::simulator::samples::{self, Chatter};
use wecom_kf::simulator::{Account, Bells, CallbackTarget, Ledger, Settings, Simulator};

const MESSAGES: usize = 100_000;
const ACCOUNTS: usize = 4;
const PAGE: usize = 1_000;
const ROUNDS: usize = 5;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (mut floors, mut rates) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (took, ledger) = runtime.block_on(ours(round as u64));
        rates.push(rate(took));
        floors.push(rate(floor(&ledger)));
    }
    let (floor, ours) = (median(&mut floors), median(&mut rates));
    println!("messages a second, {MESSAGES} in pages of {PAGE}, median of {ROUNDS} rounds");
    println!("  bare rusqlite loop                 {floor:>9.0}");
    println!("  pulled, stored, handled            {ours:>9.0}");
    println!("  ratio                              {:>9.2}", ours / floor);
}

fn rate(took: Duration) -> f64 {
    MESSAGES as f64 / took.as_secs_f64()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Inserts what the ledger holds, and nothing more.
fn floor(ledger: &Ledger) -> Duration {
    let folder = TempDir::new().expect("a folder");
    let mut db = Connection::open(folder.path().join("floor.db")).expect("a database");
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE item (msgid TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;",
    )
    .expect("a table");
    let began = Instant::now();
    for page in ledger.said.chunks(PAGE) {
        let transaction = db.transaction().expect("a transaction");
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO item VALUES (?1, ?2)")
                .expect("a statement");
            for item in page {
                insert
                    .execute(params![item.msgid.as_str(), &*item.raw])
                    .expect("an insert");
            }
        }
        transaction.commit().expect("a commit");
    }
    began.elapsed()
}

/// Lets the server pull and handle everything. Returns how long it took from the first bell, and what there was.
async fn ours(seed: u64) -> (Duration, Ledger) {
    let accounts: Vec<OpenKfid> = samples::accounts(seed, ACCOUNTS);
    let mut settings = Settings::default();
    settings.accounts = accounts.iter().map(|id| Account::new(id.as_str(), "bench")).collect();
    let (corp_id, secret) = (settings.corp_id.clone(), settings.secret.clone());
    let wecom = Simulator::start(settings).await.expect("the simulator starts");
    let keys = KeyPair::generate(&mut rand::rng());
    let folder = TempDir::new().expect("a folder");
    let config = format!(
        r#"
        [server]
        listen = "127.0.0.1:0"
        admin_listen = "127.0.0.1:0"
        [store]
        url = "sqlite://{}"
        [[apps]]
        name = "main"
        corp_id = "{corp_id}"
        secret = "{}"
        api_base = "{}"
        callback_keys = [{{ token = "{}", encoding_aes_key = "{}" }}]
        "#,
        folder.path().join("kf.db").display(),
        secret.expose_secret(),
        wecom.base_url(),
        keys.token.expose_secret(),
        keys.encoding_aes_key.expose_secret(),
    );
    let config = Config::parse(&config, &Environment::default())
        .expect("a good config")
        .config;

    let (handled, all) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let count = from_fn({
        let (handled, all) = (Arc::clone(&handled), Arc::clone(&all));
        move |_, _| {
            if handled.fetch_add(1, Ordering::Relaxed) + 1 == MESSAGES {
                all.notify_one();
            }
            async { Ok(Outcome::Done) }
        }
    });
    let everything = Filter {
        origins: None,
        ..Filter::default()
    };
    let handler = Registration::new(HandlerName::new("count").expect("a name"), count).with_filter(everything);
    let server = App::builder(config)
        .handler(handler)
        .build()
        .await
        .expect("an app")
        .bind()
        .await
        .expect("free ports");
    let url = format!(
        "http://{}/callback/main",
        server.callback_address().expect("an address")
    );
    let target = CallbackTarget::new(&url, keys.token, keys.encoding_aes_key, corp_id.as_str()).expect("a target");
    let stop = CancellationToken::new();
    let server = tokio::spawn(server.run(stop.clone()));

    for (n, account) in accounts.iter().enumerate() {
        let customers = samples::customers(n as u64, 500);
        let drafts = Chatter::new(seed, customers).take(MESSAGES / ACCOUNTS);
        wecom
            .say_many(account, drafts, Bells::Silent)
            .expect("the account exists");
    }
    wecom.set_callback(Some(target));
    let began = Instant::now();
    accounts.iter().for_each(|account| wecom.ring(account));
    all.notified().await;
    let took = began.elapsed();
    stop.cancel();
    server.await.expect("the server does not panic");
    let ledger = wecom.ledger();
    wecom.stop().await;
    (took, ledger)
}
