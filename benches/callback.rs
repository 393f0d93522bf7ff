//! Callbacks verified, decrypted and woken, against a bare axum handler that reads the body and answers `success`.
//!
//! Both servers take the same requests, over as many kept-alive connections, in rounds that take turns, so that what
//! else the machine does hits both. Prints medians and their ratio.
//!
//!     cargo bench --bench callback

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use rand::RngExt as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wecom_kf::callback::{KeyPair, Notification, Verifier, seal};
use wecom_kf::clock::{Clock, SystemClock};
use wecom_kf::http::{self, CallbackApp};
use wecom_kf::id::{AppName, CorpId};

const CONNECTIONS: usize = 64;
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(1);
/// Different callbacks, so that nothing profits from seeing one twice.
const CALLBACKS: usize = 500;
const RECEIVEID: &str = "ww0123456789abcdef";

fn main() {
    let keys = KeyPair::generate(&mut rand::rng());
    let pair = KeyPair::new(keys.token, keys.encoding_aes_key).expect("fresh keys are good");
    let requests: Arc<[Vec<u8>]> = (0..CALLBACKS).map(|n| request(&pair, n)).collect();
    let woken = Arc::new(AtomicU64::new(0));

    // The servers have a runtime of their own, as they would in life; the load has another.
    let servers = runtime();
    let floor = servers.block_on(bare());
    let server = servers.block_on(ours(pair, Arc::clone(&woken)));
    let load = runtime();
    load.block_on(round(floor, &requests));
    load.block_on(round(server, &requests));
    woken.store(0, Ordering::Relaxed);

    let mut rates = (Vec::new(), Vec::new());
    let mut answered = 0;
    for _ in 0..ROUNDS {
        rates.0.push(rate(load.block_on(round(floor, &requests))));
        let count = load.block_on(round(server, &requests));
        answered += count;
        rates.1.push(rate(count));
    }
    assert_eq!(
        woken.load(Ordering::Relaxed),
        answered,
        "every answered callback woke its account"
    );
    let (floor, ours) = (median(&mut rates.0), median(&mut rates.1));
    println!("callbacks answered a second, {CONNECTIONS} connections, median of {ROUNDS} rounds");
    println!("  bare axum handler        {floor:>9.0}");
    println!("  verified and woken       {ours:>9.0}");
    println!("  ratio                    {:>9.2}", ours / floor);
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}

fn rate(count: u64) -> f64 {
    count as f64 / ROUND.as_secs_f64()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A callback as WeCom sends it, head and all.
fn request(pair: &KeyPair, n: usize) -> Vec<u8> {
    let now = SystemClock.now().as_secs();
    let event = format!(
        "<xml><ToUserName><![CDATA[{RECEIVEID}]]></ToUserName><CreateTime>{now}</CreateTime>\
         <MsgType><![CDATA[event]]></MsgType><Event><![CDATA[kf_msg_or_event]]></Event>\
         <Token><![CDATA[ENC{n:060}]]></Token><OpenKfId><![CDATA[wk{:030}]]></OpenKfId></xml>",
        n % 50
    );
    let sealed = seal(
        pair,
        RECEIVEID,
        event.as_bytes(),
        now,
        &n.to_string(),
        rand::rng().random(),
    );
    let (query, body) = (sealed.query(), sealed.body());
    format!(
        "POST /callback/main?{query} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n\
         {body}",
        body.len()
    )
    .into_bytes()
}

async fn bare() -> SocketAddr {
    let router = Router::new().route("/callback/main", post(|_: Bytes| async { "success" }));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn ours(pair: KeyPair, woken: Arc<AtomicU64>) -> SocketAddr {
    let verifier = Verifier::new(vec![pair], vec![CorpId::from(RECEIVEID)]).expect("a verifier");
    let app = CallbackApp {
        name: AppName::new("main").expect("a name"),
        verifier,
    };
    let notify = Arc::new(move |_: &AppName, notification: Notification| {
        if matches!(notification, Notification::Message { .. }) {
            woken.fetch_add(1, Ordering::Relaxed);
        }
    });
    let router = http::callback_router(vec![app], Arc::new(SystemClock), notify);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(http::serve(
        listener,
        router,
        http::Limits::default(),
        CancellationToken::new(),
    ));
    address
}

/// Sends requests over all connections for one round. Returns how many were answered 200.
async fn round(address: SocketAddr, requests: &Arc<[Vec<u8>]>) -> u64 {
    let ends = Instant::now() + ROUND;
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|first| tokio::spawn(client(address, Arc::clone(requests), first, ends)))
        .collect();
    let mut answered = 0;
    for client in clients {
        answered += client
            .await
            .expect("a client does not panic")
            .expect("a client is not cut off");
    }
    answered
}

async fn client(address: SocketAddr, requests: Arc<[Vec<u8>]>, first: usize, ends: Instant) -> std::io::Result<u64> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut answered, mut buffer) = (0, [0; 1024]);
    for request in requests.iter().cycle().skip(first) {
        if Instant::now() >= ends {
            break;
        }
        stream.write_all(request).await?;
        let mut filled = 0;
        // The answers are small and the same: whole once `success` is there.
        while !buffer[..filled].ends_with(b"success") {
            let read = stream.read(&mut buffer[filled..]).await?;
            assert!(read > 0, "answered {:?}", String::from_utf8_lossy(&buffer[..filled]));
            filled += read;
        }
        assert!(
            buffer.starts_with(b"HTTP/1.1 200 "),
            "answered {:?}",
            String::from_utf8_lossy(&buffer[..filled])
        );
        answered += 1;
    }
    Ok(answered)
}
