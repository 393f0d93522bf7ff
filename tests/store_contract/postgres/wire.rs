//! The wire between a store and its database: encrypted, verified, and not trusted to answer.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::unistd::{Uid, User};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use secrecy::SecretString;
use wecom_kf::store::{Authorities, Settings, Store, StoreError, open};

use super::bench::{PostgresBench, cluster, new_database, run};
use super::cluster::Cluster;

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

/// Passes on what comes, until it is told to swallow it.
struct Relay {
    address: SocketAddr,
    /// How many connections were made.
    made: Arc<AtomicUsize>,
    /// How many of them, the first ones, are swallowed.
    swallowed: Arc<AtomicUsize>,
}

impl Relay {
    fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (made, swallowed) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let relay = Self {
            address,
            made: Arc::clone(&made),
            swallowed: Arc::clone(&swallowed),
        };
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(server).unwrap());
                let number = made.fetch_add(1, Ordering::SeqCst);
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let swallowed = Arc::clone(&swallowed);
                    thread::spawn(move || pass_on(from, to, || swallowed.load(Ordering::SeqCst) > number));
                }
            }
        });
        relay
    }

    /// From now on nothing comes through that was there before.
    fn swallow(&self) {
        self.swallowed.store(self.made.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, swallows: impl Fn() -> bool) {
    let mut buffer = [0; 16384];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if !swallows() && to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wire_that_swallows_everything_is_given_up() {
    let bench = PostgresBench::default();
    let relay = Relay::before(cluster().address());
    let url = format!("postgres://postgres@{}/{}", relay.address, bench.database());
    let store = open(&Settings::new(url)).await.unwrap();
    // Several connections, so that the next call does not get a new one.
    let (first, second, third) = tokio::join!(store.check(), store.check(), store.check());
    first.and(second).and(third).unwrap();
    relay.swallow();
    let recovers = async {
        while store.check().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let patience = Duration::from_secs(180);
    tokio::time::timeout(patience, recovers).await.expect("a call ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_error_says_does_not_quote_a_row() {
    let database = new_database("").await;
    let store = open(&super::bench::settings(&database)).await.unwrap();
    run(&database, "ALTER TABLE reply ADD CHECK (in_reply_to <> 'm1')").await;
    crate::bench::register(&store, "bot").await;
    let error = store
        .record_reply(crate::replies::reply("bot", "secret-text"))
        .await
        .unwrap_err();
    let shown = format!(
        "{error} {error:?} {:?}",
        std::error::Error::source(&error).map(ToString::to_string)
    );
    assert!(shown.contains("23514"), "{shown}");
    assert!(!shown.contains("secret-text"), "{shown}");
}
