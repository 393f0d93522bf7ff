//! Endpoints that lie where only public ones may: none is reached, in whatever spelling and however it is resolved.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const CORPUS: &str = include_str!("../../../../tests/fixtures/not_public.txt");

/// URLs of the first part, and names with their addresses of the second.
fn corpus() -> (Vec<&'static str>, Vec<(&'static str, Vec<IpAddr>)>) {
    let (_, rest) = CORPUS.split_once("== as written\n").unwrap();
    let (written, resolved) = rest.split_once("== as resolved\n").unwrap();
    // Each paragraph begins with what its lines have in common.
    let lines = |part: &'static str| {
        let paragraphs = part.trim_matches('\n').split("\n\n");
        paragraphs.flat_map(|paragraph| paragraph.lines().skip(1))
    };
    let resolved = lines(resolved).map(|line| {
        let mut words = line.split(' ');
        let name = words.next().unwrap();
        (name, words.map(|address| address.parse().unwrap()).collect())
    });
    (lines(written).collect(), resolved.collect())
}

/// Counts connections to one port of this machine, by either version of IP.
struct Trap {
    port: u16,
    sprung: Arc<AtomicUsize>,
}

impl Trap {
    async fn set() -> Self {
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = v4.local_addr().unwrap().port();
        let sprung = Arc::<AtomicUsize>::default();
        count(v4, Arc::clone(&sprung));
        // A machine may have no IPv6, and then it cannot be reached that way.
        if let Ok(v6) = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
            count(v6, Arc::clone(&sprung));
        }
        Self { port, sprung }
    }

    fn sprung(&self) -> usize {
        self.sprung.load(Ordering::SeqCst)
    }
}

fn count(listener: TcpListener, connections: Arc<AtomicUsize>) {
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            connections.fetch_add(1, Ordering::SeqCst);
        }
    });
}

const PATIENCE: Duration = Duration::from_secs(30);

/// A forwarder to `url` that asks `lookup` where names lead.
fn forwarder_to(url: &Url, reach: Reach, lookup: Lookup) -> Result<Registration, ForwardError> {
    let settings = Settings {
        reach,
        ..settings(url.as_str(), PATIENCE)
    };
    Forward::with_lookup(settings, clock(), lookup).map(|forward| registered(forward, PATIENCE))
}

/// Finds `addresses` whatever the name.
fn always(addresses: Vec<IpAddr>) -> Lookup {
    Arc::new(move |_| {
        let addresses = addresses.iter().map(|&address| (address, 0).into()).collect();
        Box::pin(async { Ok(addresses) })
    })
}

#[test]
fn no_address_is_accepted_in_any_spelling() {
    let (urls, _) = corpus();
    assert!(urls.len() >= 200, "{}", urls.len());
    let accepted = |written: &&str| {
        // What is no URL leads nowhere.
        let url = Url::parse(written);
        url.is_ok_and(|url| forwarder_to(&url, Reach::PublicOnly, always(Vec::new())).is_ok())
    };
    let accepted: Vec<_> = urls.into_iter().filter(accepted).collect();
    assert_eq!(accepted, [""; 0]);
}

#[tokio::test]
async fn no_name_leads_to_an_address_that_is_not_public() {
    let (_, names) = corpus();
    let trap = Trap::set().await;
    for (name, addresses) in names {
        let url = Url::parse(&format!("https://{name}:{}/kf", trap.port)).unwrap();
        let forwarder = forwarder_to(&url, Reach::PublicOnly, always(addresses)).unwrap();
        let attempt = forwarded(&forwarder, &read("text")).await;
        assert!(
            matches!(&attempt, Attempt::Unavailable { reason, .. } if reason.contains("no public address")),
            "{name}: {attempt:?}"
        );
    }
    assert_eq!(trap.sprung(), 0);
}

#[tokio::test]
async fn the_same_names_and_spellings_do_lead_there_when_they_may() {
    let trap = Trap::set().await;
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127。0。0。1",
        "[::ffff:127.0.0.1]",
        "0",
        "bot.example",
    ] {
        let before = trap.sprung();
        let url = Url::parse(&format!("https://{host}:{}/kf", trap.port)).unwrap();
        let local = always(vec![Ipv4Addr::LOCALHOST.into()]);
        let forwarder = forwarder_to(&url, Reach::Anywhere, local).unwrap();
        // The trap speaks no TLS, and hangs up.
        let attempt = forwarded(&forwarder, &read("text")).await;
        assert!(matches!(attempt, Attempt::Unavailable { .. }), "{host}: {attempt:?}");
        assert_eq!(trap.sprung(), before + 1, "{host}");
    }
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_after_it_was_looked_at_gains_nothing() {
    let asked = Arc::<AtomicUsize>::default();
    let rebinding: Lookup = {
        let asked = Arc::clone(&asked);
        Arc::new(move |_| {
            let address: [u8; 4] = match asked.fetch_add(1, Ordering::SeqCst) {
                0 => [93, 184, 215, 14],
                _ => [127, 0, 0, 1],
            };
            Box::pin(async move { Ok(vec![(address, 0).into()]) })
        })
    };
    let trap = Trap::set().await;
    let url = Url::parse(&format!("https://bot.example:{}/kf", trap.port)).unwrap();
    let mut tcp = connect::tcp(Resolver::new(rebinding, Reach::PublicOnly), PATIENCE);
    // From here the public address has no route: nothing leaves this machine.
    tcp.set_local_address(Some(Ipv4Addr::LOCALHOST.into()));
    let settings = Settings {
        reach: Reach::PublicOnly,
        ..settings(url.as_str(), PATIENCE)
    };
    let forwarder = registered(Forward::over(tcp, settings, clock()).unwrap(), PATIENCE);

    let attempts = [
        forwarded(&forwarder, &read("text")).await,
        forwarded(&forwarder, &read("text")).await,
    ];
    let refused = |attempt: &Attempt| matches!(attempt, Attempt::Unavailable { reason, .. } if reason.contains("no public address"));
    assert_eq!(attempts.each_ref().map(refused), [false, true], "{attempts:?}");
    assert_eq!((asked.load(Ordering::SeqCst), trap.sprung()), (2, 0));
}

#[tokio::test]
async fn of_several_addresses_only_public_ones_are_tried() {
    let mixed = [
        "127.0.0.1",
        "93.184.215.14",
        "::1",
        "10.0.0.1",
        "2606:2800:21f:cb07:6820:80da:af6b:8b2c",
    ];
    let lookup = always(mixed.map(|address| address.parse().unwrap()).to_vec());
    let name = "bot.example".parse().unwrap();
    let found = tower::Service::call(&mut Resolver::new(lookup, Reach::PublicOnly), name)
        .await
        .unwrap();
    let found: Vec<_> = found.map(|address| address.ip().to_string()).collect();
    assert_eq!(found, [mixed[1], mixed[4]]);
}

#[tokio::test]
async fn a_resolver_that_fails_leads_nowhere() {
    let trap = Trap::set().await;
    for reach in [Reach::Anywhere, Reach::PublicOnly] {
        let failing: Lookup = Arc::new(|_| Box::pin(async { Err(io::Error::other("the resolver is on fire")) }));
        let url = Url::parse(&format!("https://bot.example:{}/kf?key=s3cret", trap.port)).unwrap();
        let forwarder = forwarder_to(&url, reach, failing).unwrap();
        let attempt = forwarded(&forwarder, &read("text")).await;
        assert!(
            matches!(&attempt, Attempt::Unavailable { reason, .. } if reason.contains("on fire") && !reason.contains("s3cret")),
            "{attempt:?}"
        );
    }
    assert_eq!(trap.sprung(), 0);
}
