//! The wire between a store and its database: encrypted, verified, and not trusted to answer.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::unistd::{Uid, User};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use secrecy::SecretString;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use wecom_kf::store::{Authorities, Settings, Store, StoreError, open, open_operator};

use super::bench::{PostgresBench, cluster, new_database, run};
use super::cluster::Cluster;
use super::proxy::{Proxy, Wire};
use crate::bench::{Bench as _, handler, owed, register, store_messages, text};

fn problem(opened: Result<Arc<dyn Store>, StoreError>) -> String {
    opened.unwrap_err().to_string()
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn believing(authority: &CertifiedIssuer<'_, KeyPair>) -> Option<Authorities> {
    Some(Authorities::from_pem(authority.pem().as_bytes()).unwrap())
}

/// Puts a file where the server reads it, and nobody else does.
fn give(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    if Uid::effective().is_root() {
        let user = User::from_name("postgres").unwrap().unwrap();
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
}

/// A cluster that takes TLS with a certificate that `authority` vouches for, and asks the role `keeper` for a password.
fn guarded(authority: &CertifiedIssuer<'_, KeyPair>) -> Cluster {
    let mut cluster = Cluster::start();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([cluster.address().ip().to_string()]).unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    let data = cluster.folder().join("data");
    give(&data.join("server.key"), &key.serialize_pem());
    give(&data.join("server.crt"), &certificate.pem());
    cluster.sql("postgres", "ALTER SYSTEM SET ssl = on");
    let others = fs::read_to_string(data.join("pg_hba.conf")).unwrap();
    let rules = format!("host all keeper all scram-sha-256\n{others}");
    give(&data.join("pg_hba.conf"), &rules);
    cluster.end(nix::sys::signal::Signal::SIGINT);
    cluster.resume();
    cluster
}

#[tokio::test]
async fn a_server_is_believed_if_its_authority_vouches_for_it_and_nobody_else_is() {
    let (ours, strangers) = (authority(), authority());
    let cluster = guarded(&ours);
    let encrypted = |authorities| Settings {
        authorities,
        ..Settings::new(format!("{}?sslmode=require", cluster.url("postgres")))
    };
    for unbelieved in [None, believing(&strangers)] {
        let problem = problem(open(&encrypted(unbelieved)).await);
        assert!(
            problem.contains("is not believed") && problem.contains("`ca_file`"),
            "{problem}"
        );
    }
    let store = open(&encrypted(believing(&ours))).await.unwrap();
    store.check().await.unwrap();
    let encrypted =
        "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'wecom-kf'";
    assert_eq!(cluster.sql("postgres", encrypted), "t");

    cluster.sql(
        "postgres",
        "SET password_encryption = 'scram-sha-256'; CREATE ROLE keeper LOGIN PASSWORD 'hunter2 @/?';
         CREATE DATABASE kept OWNER keeper",
    );
    let url = cluster.url("kept").replace("postgres@", "keeper@");
    let with = |password: &str| Settings {
        password: Some(SecretString::from(password)),
        ..Settings::new(&*url)
    };
    for wrong in [with("hunter3"), Settings::new(&*url)] {
        let problem = problem(open(&wrong).await);
        assert!(problem.contains("password") && !problem.contains("hunter"), "{problem}");
    }
    let within = Settings::new(url.replace("keeper@", "keeper:hunter2%20%40%2F%3F@"));
    for settings in [with("hunter2 @/?"), within] {
        let store = open(&settings).await.unwrap();
        store.check().await.unwrap();
        let shown = format!("{settings:?} {store:?}");
        assert!(!shown.contains("hunter"), "{shown}");
    }
}

#[tokio::test]
async fn a_server_elsewhere_must_take_tls_unless_the_operator_says_otherwise() {
    // Says no to TLS, and nothing more.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut request = [0; 8];
        client.read_exact(&mut request).unwrap();
        client.write_all(b"N").unwrap();
        // Nothing of what is to be kept secret follows.
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        rest
    });
    // To a name that is not known to be this machine's.
    let url = format!(
        "postgres://kf:hunter2@elsewhere.example:{}/kf?hostaddr=127.0.0.1",
        address.port()
    );
    let problem = problem(open(&Settings::new(url)).await);
    assert!(
        problem.contains("offers no TLS") && problem.contains("sslmode=disable"),
        "{problem}"
    );
    assert_eq!(server.join().unwrap(), b"");
}

/// A store behind a wire that does as it is told.
struct Wired {
    proxy: Proxy,
    store: Arc<dyn Store>,
    /// Keeps the database, and leads to it by another way.
    bench: PostgresBench,
}

impl Wired {
    /// Opens what speaks only when it is asked, over so many connections.
    async fn over(connections: usize) -> Self {
        let bench = PostgresBench::default();
        // It makes the tables.
        drop(bench.open().await);
        let proxy = Proxy::start(cluster().address()).await;
        let settings = Settings {
            connections,
            ..Settings::new(format!("postgres://postgres@{}/{}", proxy.address, bench.database()))
        };
        let store = open_operator(&settings).await.unwrap();
        let mut checks = JoinSet::new();
        for _ in 0..connections {
            let store = Arc::clone(&store);
            checks.spawn(async move { store.check().await.unwrap() });
        }
        checks.join_all().await;
        Self { proxy, store, bench }
    }

    /// Loses the answer to `call`, which breaks its connection, once another way shows that it `is_done`.
    async fn unanswered<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
        is_done: impl AsyncFn(&Arc<dyn Store>) -> bool,
    ) -> Result<T, StoreError> {
        let other = self.bench.open().await;
        self.proxy.set(Wire::DeafReplica);
        let cut = async {
            while !is_done(&other).await {
                sleep(Duration::from_millis(5)).await;
            }
            self.proxy.set(Wire::Cut);
            self.proxy.set(Wire::Sound);
        };
        let both = async { tokio::join!(call, cut).0 };
        timeout(Duration::from_secs(60), both).await.expect("it is done")
    }
}

/// What went wrong, and why.
fn causes(error: &StoreError) -> String {
    let mut causes = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        causes = format!("{causes}: {cause}");
        source = cause.source();
    }
    causes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_may_be_made_twice_is_made_again_when_its_connection_breaks() {
    let wired = Wired::over(3).await;
    register(&wired.store, "bot").await;
    let reply = crate::replies::reply("bot", "r1");
    let (lane, told) = (reply.lane, reply.msgid.clone());
    let record = wired.store.record_reply(reply);
    wired
        .unanswered(record, async |other| {
            other.reply(lane, told.as_str()).await.unwrap().is_some()
        })
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_counts_what_it_did_is_not_made_twice() {
    let wired = Wired::over(1).await;
    let bot = register(&wired.store, "bot").await;
    store_messages(&wired.store, vec![text("m1", "wm1", &[bot])]).await;
    let name = handler("bot");
    let forget = wired.store.forget_owed(&name, 10);
    let unknown = wired
        .unanswered(forget, async |other| owed(other, bot).await.is_empty())
        .await
        .unwrap_err();
    assert!(
        causes(&unknown).contains("connection to postgres broke"),
        "{}",
        causes(&unknown)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wire_that_swallows_everything_is_given_up() {
    let wired = Wired::over(3).await;
    wired.proxy.forget();
    // Not asked again, which would take as long once more. Whoever comes next gets none of the others.
    let late = wired.store.check().await.unwrap_err();
    assert!(causes(&late).contains("did not answer within"), "{}", causes(&late));
    wired.store.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_a_connection_whose_last_caller_went_away_without_an_answer() {
    let wired = Wired::over(1).await;
    wired.proxy.forget();
    let call = wired.store.check();
    assert!(timeout(Duration::from_millis(100), call).await.is_err(), "answered");
    wired.store.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_gone_is_told_from_one_that_is_slow() {
    let wired = Wired::over(1).await;
    wired.proxy.set(Wire::Cut);
    let gone = wired.store.check().await.unwrap_err();
    assert!(causes(&gone).contains("cannot be reached"), "{}", causes(&gone));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_error_says_does_not_quote_a_row() {
    let database = new_database("").await;
    let store = open(&super::bench::settings(&database)).await.unwrap();
    run(&database, "ALTER TABLE reply ADD CHECK (in_reply_to <> 'm1')").await;
    register(&store, "bot").await;
    let error = store
        .record_reply(crate::replies::reply("bot", "secret-text"))
        .await
        .unwrap_err();
    let shown = format!("{} {error:?}", causes(&error));
    assert!(shown.contains("23514"), "{shown}");
    assert!(!shown.contains("secret-text"), "{shown}");
}
