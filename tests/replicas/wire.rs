//! What the wire of these tests does to what is sent on it.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::postgres::pgbouncer::Pgbouncer;
use crate::proxy::{Proxy, Wire};
use crate::stage;

const PATIENCE: Duration = Duration::from_secs(60);
/// Long enough for something to arrive that must not.
const A_WHILE: Duration = Duration::from_millis(100);

/// Both ends of one connection through a proxy.
struct Ends {
    proxy: Proxy,
    database: TcpListener,
    replica: TcpStream,
    server: TcpStream,
}

impl Ends {
    async fn connected() -> Self {
        let database = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Proxy::start(database.local_addr().unwrap()).await;
        let replica = TcpStream::connect(proxy.address).await.unwrap();
        let server = database.accept().await.unwrap().0;
        Self {
            proxy,
            database,
            replica,
            server,
        }
    }
}

async fn say(to: &mut TcpStream, text: &[u8]) {
    to.write_all(text).await.unwrap();
}

async fn hear(from: &mut TcpStream, text: &[u8]) {
    let mut heard = vec![0; text.len()];
    timeout(PATIENCE, from.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard, text);
}

async fn hear_nothing(from: &mut TcpStream) {
    let heard = timeout(A_WHILE, from.read_u8()).await;
    assert!(heard.is_err(), "{heard:?} arrived");
}

async fn hear_a_reset(from: &mut TcpStream) {
    let heard = timeout(PATIENCE, from.read_u8()).await.unwrap();
    assert_eq!(heard.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_sound_wire_carries_both_ways_and_tells_of_the_end() {
    let mut ends = Ends::connected().await;
    say(&mut ends.replica, b"select 1").await;
    hear(&mut ends.server, b"select 1").await;
    say(&mut ends.server, b"1").await;
    hear(&mut ends.replica, b"1").await;
    drop(ends.replica);
    let rest = timeout(PATIENCE, ends.server.read(&mut [0; 1])).await.unwrap().unwrap();
    assert_eq!(rest, 0, "an end in good order");
}

#[tokio::test]
async fn a_cut_resets_both_ends_even_if_it_heals_at_once() {
    let mut ends = Ends::connected().await;
    ends.proxy.set(Wire::Cut);
    ends.proxy.set(Wire::Sound);
    hear_a_reset(&mut ends.replica).await;
    hear_a_reset(&mut ends.server).await;

    let mut again = TcpStream::connect(ends.proxy.address).await.unwrap();
    let mut server = ends.database.accept().await.unwrap().0;
    say(&mut again, b"select 1").await;
    hear(&mut server, b"select 1").await;
}

#[tokio::test]
async fn a_cut_wire_takes_no_new_connection() {
    let mut ends = Ends::connected().await;
    ends.proxy.set(Wire::Cut);
    hear_a_reset(&mut ends.replica).await;
    // The connection is accepted by the system before anybody can refuse it.
    let mut again = TcpStream::connect(ends.proxy.address).await.unwrap();
    hear_a_reset(&mut again).await;
}

#[tokio::test]
async fn a_silent_wire_holds_what_is_said_until_it_heals() {
    let mut ends = Ends::connected().await;
    ends.proxy.set(Wire::Silent);
    say(&mut ends.replica, b"commit").await;
    say(&mut ends.server, b"done").await;
    let mut newcomer = TcpStream::connect(ends.proxy.address).await.unwrap();
    say(&mut newcomer, b"hello").await;
    hear_nothing(&mut ends.server).await;
    hear_nothing(&mut ends.replica).await;
    assert!(timeout(A_WHILE, ends.database.accept()).await.is_err());

    ends.proxy.set(Wire::Sound);
    hear(&mut ends.server, b"commit").await;
    hear(&mut ends.replica, b"done").await;
    let mut server = timeout(PATIENCE, ends.database.accept()).await.unwrap().unwrap().0;
    hear(&mut server, b"hello").await;
}

#[tokio::test]
async fn a_half_open_wire_carries_one_way() {
    let mut ends = Ends::connected().await;
    ends.proxy.set(Wire::DeafReplica);
    say(&mut ends.replica, b"commit").await;
    hear(&mut ends.server, b"commit").await;
    say(&mut ends.server, b"done").await;
    hear_nothing(&mut ends.replica).await;

    ends.proxy.set(Wire::DeafDatabase);
    hear(&mut ends.replica, b"done").await;
    say(&mut ends.replica, b"commit").await;
    hear_nothing(&mut ends.server).await;
}

#[tokio::test]
async fn a_cut_drops_what_a_silent_wire_held() {
    let mut ends = Ends::connected().await;
    ends.proxy.set(Wire::DeafDatabase);
    say(&mut ends.replica, b"commit").await;
    hear_nothing(&mut ends.server).await;
    ends.proxy.set(Wire::Cut);
    // Not even at the moment when it heals.
    ends.proxy.set(Wire::Sound);
    hear_a_reset(&mut ends.server).await;
}

#[tokio::test]
async fn a_wire_that_forgets_its_connections_carries_new_ones() {
    let mut ends = Ends::connected().await;
    ends.proxy.forget();
    say(&mut ends.replica, b"select 1").await;
    say(&mut ends.server, b"1").await;
    let mut again = TcpStream::connect(ends.proxy.address).await.unwrap();
    let mut server = ends.database.accept().await.unwrap().0;
    say(&mut again, b"select 2").await;
    hear(&mut server, b"select 2").await;
    hear_nothing(&mut ends.server).await;
    hear_nothing(&mut ends.replica).await;
}

#[tokio::test]
async fn the_database_sees_who_is_speaking() {
    let ends = Ends::connected().await;
    let replica = Ipv4Addr::new(127, 99, 0, 7);
    ends.proxy.speak_from(replica);
    let _again = TcpStream::connect(ends.proxy.address).await.unwrap();
    let (_, peer) = timeout(PATIENCE, ends.database.accept()).await.unwrap().unwrap();
    assert_eq!(peer.ip(), replica);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_leads_to_each_of_its_databases_by_a_way_of_its_own() {
    let cluster = stage::cluster();
    let (mut ways, mut addresses) = (Vec::new(), Vec::new());
    for n in 0..2 {
        let (way, from) = (Proxy::start(cluster.address()).await, Ipv4Addr::new(127, 98, 0, n));
        way.speak_from(from);
        addresses.push(way.address);
        ways.push((way, from));
    }
    let bouncer = Pgbouncer::along(&addresses, &cluster, "postgres");
    for (number, (_, from)) in ways.iter().enumerate() {
        let url = bouncer.url(&number.to_string());
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let answer = client.simple_query("SELECT host(inet_client_addr())").await.unwrap();
        let row = answer.into_iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        assert_eq!(row.unwrap().get(0), Some(from.to_string().as_str()));
    }
}
