//! Real nginx and real Caddy before the real binary, with TLS: what gets through, and what a restart costs.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use wecom_kf::callback::Sealed;
use wecom_kf::simulator::{Bells, Callbacks, EchoError};

use crate::debian;
use crate::front::{Front, Kind};
use crate::server::Server;
use crate::stage::{Pace, Stage};

/// Of one server under traffic.
const RESTARTS: usize = 4;

/// How curl is told to speak them. Caddy hangs up on who offers nothing but HTTP/1.0.
const VERSIONS: [&[&str]; 3] = [&["--http1.0", "--no-alpn"], &["--http1.1"], &["--http2"]];

/// The console waits for a second, which a busy machine may need for itself.
async fn verify_as_the_console_does(stage: &Stage) {
    for _ in 0..60 {
        match stage.wecom.verify_url().await {
            Err(EchoError::TooLate) => {}
            verified => return assert!(verified.is_ok(), "{verified:?}"),
        }
    }
    panic!("it always takes more than a second");
}

/// A callback whose ciphertext has every character that means something else in a URL.
fn with_all_of_base64(stage: &Stage, message: &[u8]) -> Sealed {
    let sealed = (0..=u8::MAX).map(|n| stage.seal(message, [n; 16]));
    let mut awkward = sealed.filter(|sealed| {
        let query = sealed.echo_query();
        ["%2B", "%2F", "%3D"].iter().all(|escaped| query.contains(escaped))
    });
    awkward.next().expect("one of 256 has them all")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_url_is_verified_through_nginx_and_caddy_however_its_echostr_is_spelled() {
    for kind in Kind::ALL {
        let front = Front::start(kind, debian::free_address(), &[]);
        let stage = Stage::behind(&front, 1, Pace::AsShipped).await;
        let server = stage.start();
        verify_as_the_console_does(&stage).await;

        let echo = "1234567890123456789";
        let query = with_all_of_base64(&stage, echo.as_bytes()).echo_query();
        let lower = query.replace("%2B", "%2b").replace("%2F", "%2f").replace("%3D", "%3d");
        let bare = query.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
        let plus = query.replace("%2B", "+");
        for path in ["/callback/main", "/callback/main/", "/callback", "/callback/"] {
            for query in [&query, &lower, &bare, &plus] {
                for version in VERSIONS {
                    let answer = front.curl(&format!("{path}?{query}"), version);
                    assert_eq!(answer, (200, echo.to_owned()), "{kind:?} {version:?} {path}?{query}");
                }
            }
        }
        assert!(server.stop().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_gets_through_nginx_and_caddy_however_it_is_sent_and_nothing_else_does() {
    for kind in Kind::ALL {
        let front = Front::start(kind, debian::free_address(), &[]);
        let stage = Stage::behind(&front, 1, Pace::AsShipped).await;
        let server = stage.start();
        let event = "<xml><MsgType>event</MsgType><Event>change_contact</Event></xml>";
        let sealed = stage.seal(event.as_bytes(), [7; 16]);
        let file = |name: &str, text: &str| {
            let path = front.folder.path().join(name);
            fs::write(&path, text).expect("it can be written");
            format!("@{}", path.display())
        };
        let body = file("sent", &sealed.body());
        let path = format!("/callback/main?{}", sealed.query());
        let slash = format!("/callback/main/?{}", sealed.query());

        let large = format!("X-Large: {}", "x".repeat(3_000));
        for arguments in [
            vec!["--http1.0", "--no-alpn"],
            vec!["--http1.1"],
            vec!["--http2"],
            vec!["--http1.1", "--header", "Transfer-Encoding: chunked"],
            vec!["--http1.1", "--header", "Expect: 100-continue"],
            vec!["--http2", "--header", "Expect: 100-continue"],
            vec!["--http1.1", "--header", &large],
            vec!["--http1.1", "--header", "X-Forwarded-For: 192.0.2.1, 198.51.100.7"],
        ] {
            for path in [&path, &slash] {
                let arguments = [&arguments[..], &["--data-binary", &body]].concat();
                let answer = front.curl(path, &arguments);
                assert_eq!(answer, (200, "success".to_owned()), "{kind:?} {arguments:?}");
            }
        }
        // One that streams announces no length.
        let streamed = ["--http2", "--request", "POST", "--upload-file", &body[1..]];
        assert_eq!(front.curl(&path, &streamed).0, 200, "{kind:?}");

        let status = |path: &str, arguments: &[&str]| front.curl(path, &[&["--http1.1"], arguments].concat()).0;
        let larger = format!("X-Larger: {}", "x".repeat(5_000));
        // nginx has a status of its own for it, 494, and says 400.
        let too_large = if kind == Kind::Nginx { 400 } else { 431 };
        let headers = [["--header", &larger]; 6].concat();
        assert_eq!(status(&path, &headers), too_large, "{kind:?}");
        // Caddy is still sending when it is answered and left, and may notice only the latter.
        let too_long: &[u16] = if kind == Kind::Nginx { &[413] } else { &[413, 502] };
        let long = file("long", &"x".repeat(64 * 1024 + 1));
        assert!(too_long.contains(&status(&path, &["--data-binary", &long])), "{kind:?}");
        let forged = format!("/callback/main?{}", stage.seal(b"another", [8; 16]).query());
        assert_eq!(status(&forged, &["--data-binary", &body]), 403, "{kind:?}");
        assert_eq!(status(&path, &["--data-binary", "<xml/>"]), 400, "{kind:?}");
        assert_eq!(status(&path, &["--request", "DELETE"]), 405, "{kind:?}");
        for private in ["/callback/nobody", "/callbacks", "/metrics", "/healthz", "/readyz", "/"] {
            assert_eq!(status(private, &[]), 404, "{kind:?} {private}");
        }
        assert!(server.stop().success());
        // Nobody is there: WeCom is told to try again.
        assert_eq!(status(&path, &["--data-binary", &body]), 502, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_nginx_nor_caddy_sends_a_callback_into_a_connection_that_may_be_closing() {
    for kind in Kind::ALL {
        let statuses = callbacks_to_one_that_hangs_up(kind, HangsUp::OnTheSecondOfAConnection, &[]).await;
        assert_eq!(statuses, [200; 4], "{kind:?}");
    }
    // What Caddy does by itself.
    let statuses =
        callbacks_to_one_that_hangs_up(Kind::Caddy, HangsUp::OnTheSecondOfAConnection, &["keepalive off"]).await;
    assert_eq!(statuses, [200, 502, 200, 502]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_asks_again_when_the_server_hangs_up_twice() {
    let statuses = callbacks_to_one_that_hangs_up(Kind::Nginx, HangsUp::OnTwoOfThreeConnections, &[]).await;
    assert_eq!(statuses, [200; 4]);
    // What nginx does by itself: it takes a POST for something that must not happen twice.
    let alone = ["proxy_next_upstream error"];
    let statuses = callbacks_to_one_that_hangs_up(Kind::Nginx, HangsUp::OnTwoOfThreeConnections, &alone).await;
    assert_eq!(statuses, [502, 502, 200, 502]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_asks_the_other_replica_when_one_is_gone_or_too_busy() {
    let well = answering("200 OK").await;
    let busy = answering("503 Service Unavailable").await;
    let gone = debian::free_address();
    let callbacks = |replicas| {
        let front = Front::before_replicas(replicas);
        [(); 4].map(|()| front.curl("/callback/main", &["--data-binary", "<xml/>"]).0)
    };
    for other in [gone, busy] {
        assert_eq!(callbacks([other, well]), [200; 4]);
        assert_eq!(callbacks([well, other]), [200; 4]);
    }
    assert_eq!(callbacks([gone, gone]), [502; 4]);
}

/// Where every request is answered with `status`.
async fn answering(status: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                if read_request(&mut stream).await {
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    address
}

/// When a server closes the connection instead of answering a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HangsUp {
    /// What a front sees when an idle connection is closed at the moment at which it is used again.
    OnTheSecondOfAConnection,
    /// What it may see when a server restarts.
    OnTwoOfThreeConnections,
}

/// Statuses of callbacks to a server that hangs up.
async fn callbacks_to_one_that_hangs_up(kind: Kind, when: HangsUp, without: &[&str]) -> [u16; 4] {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    let server = tokio::spawn(hang_up(listener, when));
    let front = Front::start(kind, upstream, without);
    let statuses = [(); 4].map(|()| front.curl("/callback/main", &["--data-binary", "<xml/>"]).0);
    server.abort();
    statuses
}

async fn hang_up(listener: TcpListener, when: HangsUp) {
    for connection in 1.. {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let hangs_up_at_once = when == HangsUp::OnTwoOfThreeConnections && connection % 3 != 0;
            if read_request(&mut stream).await && !hangs_up_at_once {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nsuccess";
                stream.write_all(answer).await.unwrap();
                // The next one is read, and not answered.
                read_request(&mut stream).await;
            }
        });
    }
}

/// Whether there was one, to its body `<xml/>`, before the end of the stream.
async fn read_request(stream: &mut TcpStream) -> bool {
    let mut request = Vec::new();
    while !request.ends_with(b"<xml/>") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return false,
        }
    }
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_under_traffic_behind_nginx_and_caddy_loses_no_notification() {
    for kind in Kind::ALL {
        let front = Front::start(kind, debian::free_address(), &[]);
        let callbacks = restarts_under_traffic(kind, &front, Stage::start).await;
        assert!(callbacks.answered[&200] > 100);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_under_traffic_on_a_socket_that_stays_open_refuses_no_callback() {
    for kind in Kind::ALL {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let front = Front::start(kind, socket.local_addr().unwrap(), &[]);
        let callbacks = restarts_under_traffic(kind, &front, |stage| stage.start_on(&socket)).await;
        if kind == Kind::Nginx {
            // Caddy does not ask again when a connection was taken from the queue just before the server stopped.
            assert_eq!(callbacks.answered.get(&502), None);
        }
    }
}

/// Talks all the while, and prints and returns what became of the callbacks.
async fn restarts_under_traffic(kind: Kind, front: &Front, start: impl Fn(&Stage) -> Server) -> Callbacks {
    let stage = Arc::new(Stage::behind(front, 1, Pace::AsShipped).await);
    let mut server = start(&stage);
    let enough = CancellationToken::new();
    let talk = tokio::spawn(talk(Arc::clone(&stage), enough.clone()));
    for n in 1..=RESTARTS {
        stage.receiver.until(n * 100).await;
        assert!(server.stop().success());
        server = start(&stage);
    }
    enough.cancel();
    talk.await.unwrap();
    stage.all_arrived().await;
    stage.wecom.quiet().await;
    assert!(server.stop().success());

    let verdict = stage.verdict();
    let callbacks = stage.wecom.counts().callbacks;
    println!(
        "{kind:?}, {RESTARTS} restarts: {} callbacks, answered {:?}, unanswered {}, given up {}: {verdict}",
        callbacks.rung, callbacks.answered, callbacks.unanswered, callbacks.given_up
    );
    assert!(verdict.is_clean(), "{verdict}");
    callbacks
}

/// Says something every few milliseconds, and rings each time.
async fn talk(stage: Arc<Stage>, enough: CancellationToken) {
    let mut beat = tokio::time::interval(Duration::from_millis(5));
    while enough.run_until_cancelled(beat.tick()).await.is_some() {
        stage.say(1, Bells::Once);
    }
}
