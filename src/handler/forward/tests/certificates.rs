//! Endpoints whose certificates nobody vouches for, or somebody else.

use std::net::Ipv4Addr;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::*;

/// Name that every lookup finds on this machine.
const NAME: &str = "bot.example";

/// An authority of our own.
fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// What an endpoint shows: a certificate, and the key to it.
struct Shows(CertificateDer<'static>, PrivateKeyDer<'static>);

impl Shows {
    fn self_signed() -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = named(NAME).self_signed(&key).unwrap();
        Self(certificate.der().clone(), key.into())
    }

    fn signed_by(authority: &CertifiedIssuer<'_, KeyPair>, params: &CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, authority).unwrap();
        Self(certificate.der().clone(), key.into())
    }
}

fn named(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).unwrap()
}

/// An endpoint on this machine that shows a certificate and answers 204. Returns its port.
async fn endpoint(Shows(certificate, key): Shows) -> u16 {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await.ok()?;
                hostile::read_request(&mut stream).await;
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.ok()
            });
        }
    });
    port
}

/// Forwards a text to `NAME` at `port`, which is on this machine, believing `authorities`.
async fn sent_to_port(port: u16, authorities: Option<Authorities>) -> Attempt {
    let patience = Duration::from_secs(30);
    let settings = Settings {
        authorities,
        ..settings(&format!("https://{NAME}:{port}/kf?key=s3cret"), patience)
    };
    let lookup: Lookup = Arc::new(|_| Box::pin(async { Ok(vec![(Ipv4Addr::LOCALHOST, 0).into()]) }));
    let forward = Forward::with_lookup(settings, clock(), lookup).unwrap();
    forwarded(&registered(forward, patience), &read("text")).await
}

fn believing(authority: &CertifiedIssuer<'_, KeyPair>) -> Option<Authorities> {
    Some(Authorities::from_pem(authority.pem().as_bytes()).unwrap())
}

#[tokio::test]
async fn an_endpoint_is_believed_if_the_named_authority_vouches_for_its_name() {
    let authority = authority("ours");
    let port = endpoint(Shows::signed_by(&authority, &named(NAME))).await;
    assert_eq!(sent_to_port(port, believing(&authority)).await, Attempt::Done);
}

#[tokio::test]
async fn an_endpoint_that_nobody_vouches_for_costs_no_attempt_and_is_told_of_without_its_query() {
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let mut expired = named(NAME);
    expired.not_before = date_time_ymd(2020, 1, 1);
    expired.not_after = date_time_ymd(2021, 1, 1);
    let mut early = named(NAME);
    early.not_before = date_time_ymd(2090, 1, 1);
    let cases = [
        ("self-signed", Shows::self_signed(), believing(&ours), "UnknownIssuer"),
        (
            "by another authority",
            Shows::signed_by(&theirs, &named(NAME)),
            believing(&ours),
            "UnknownIssuer",
        ),
        (
            "unknown to this machine",
            Shows::signed_by(&ours, &named(NAME)),
            None,
            "certificate",
        ),
        (
            "expired",
            Shows::signed_by(&ours, &expired),
            believing(&ours),
            "expired",
        ),
        (
            "not valid yet",
            Shows::signed_by(&ours, &early),
            believing(&ours),
            "not valid yet",
        ),
        (
            "for another host",
            Shows::signed_by(&ours, &named("crm.example")),
            believing(&ours),
            "not valid for name",
        ),
    ];
    for (case, shows, authorities, expected) in cases {
        let port = endpoint(shows).await;
        let attempt = sent_to_port(port, authorities).await;
        let Attempt::Unavailable { after: None, reason } = attempt else {
            panic!("{case}: {attempt:?}");
        };
        assert!(
            reason.contains("certificate") && reason.contains(expected),
            "{case}: {reason}"
        );
        assert!(!reason.contains("s3cret"), "{case}: {reason}");
    }
}

#[tokio::test]
async fn an_endpoint_that_speaks_no_tls_costs_no_attempt() {
    let address = hostile::raw_endpoint(|mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let attempt = sent_to_port(address.port(), None).await;
    assert!(matches!(attempt, Attempt::Unavailable { .. }), "{attempt:?}");
}
