//! What somebody without the keys, or with captured requests, may send.

use std::time::Duration;

use axum::http::Method;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use rand::{Rng, RngExt as _};
use wecom_kf::callback::{KeyPair, Sealed, seal};

pub(crate) const TOKEN: &str = "kf0Test1Token2Vector3";
pub(crate) const KEY: &str = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfG";
pub(crate) const CORP: &str = "ww0123456789abcdef";
pub(crate) const NOW: u64 = 1_760_000_000;
pub(crate) const SKEW: Duration = Duration::from_secs(600);
pub(crate) const ECHO: &str = "1616140317555161061";

const OTHER_TOKEN: &str = "QDG6eK";
const OTHER_KEY: &str = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C";
const OTHER_CORP: &str = "ww0123456789abcdee";

/// Genuine callbacks of each kind to start from.
const CAPTURED: usize = 100;

/// A request, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Callback {
    pub(crate) method: Method,
    pub(crate) uri: String,
    pub(crate) body: Vec<u8>,
}

/// One way to be hostile.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Attack {
    /// A byte of a signed value, or of a parameter's name, is another.
    ByteOfQuery,
    /// A byte of the ciphertext is another.
    ByteOfCiphertext,
    /// Several bytes of both are others.
    ManyBytes,
    /// The query ends early.
    QueryCut,
    /// The body ends early.
    BodyCut,
    /// Bytes are moved between timestamp, nonce and ciphertext, whose order in the signed string stays.
    BoundaryShifted,
    /// A captured request under another time.
    ReplayAtAnotherTime,
    /// A captured request under another nonce.
    ReplayUnderAnotherNonce,
    /// A captured request long after, where age matters.
    ReplayTooLate,
    /// Query of one capture, body of another.
    Swapped,
    /// A parameter stands there twice.
    ParameterTwice,
    /// A parameter is missing.
    ParameterMissing,
    /// Sealed with another token.
    WrongToken,
    /// Sealed with our token, which leaked, and another AES key.
    WrongKey,
    /// Sealed with our keys, for somebody else.
    WrongReceiver,
    /// An envelope that only an attacker would send, around a genuine ciphertext.
    Envelope,
    /// Well-shaped, and signed by nobody.
    Forged,
    /// Bytes without a meaning.
    Garbage,
    /// A captured notification, to be decrypted as if it were the check of a URL.
    NotificationAsEcho,
    /// A check of the URL with a byte changed.
    ByteOfEcho,
}

impl Attack {
    pub(crate) const ALL: &'static [Self] = &[
        Self::ByteOfQuery,
        Self::ByteOfCiphertext,
        Self::ManyBytes,
        Self::QueryCut,
        Self::BodyCut,
        Self::BoundaryShifted,
        Self::ReplayAtAnotherTime,
        Self::ReplayUnderAnotherNonce,
        Self::ReplayTooLate,
        Self::Swapped,
        Self::ParameterTwice,
        Self::ParameterMissing,
        Self::WrongToken,
        Self::WrongKey,
        Self::WrongReceiver,
        Self::Envelope,
        Self::Forged,
        Self::Garbage,
        Self::NotificationAsEcho,
        Self::ByteOfEcho,
    ];
}

/// A sealed callback in the parts that an attacker works on.
struct Captured {
    signature: String,
    timestamp: String,
    nonce: String,
    encrypt: String,
    query: String,
    echo_query: String,
    body: String,
}

impl Captured {
    fn new(sealed: &Sealed) -> Self {
        let (query, echo_query, body) = (sealed.query(), sealed.echo_query(), sealed.body());
        let value = |name: &str| {
            let (_, rest) = echo_query.split_once(&format!("{name}=")).expect("the parameter");
            let value = rest.split('&').next().expect("a value");
            percent_decode_str(value).decode_utf8().expect("text").into_owned()
        };
        Self {
            signature: value("msg_signature"),
            timestamp: value("timestamp"),
            nonce: value("nonce"),
            encrypt: value("echostr"),
            query,
            echo_query,
            body,
        }
    }
}

fn query(signature: &str, timestamp: &str, nonce: &str) -> String {
    let [signature, timestamp, nonce] =
        [signature, timestamp, nonce].map(|text| utf8_percent_encode(text, NON_ALPHANUMERIC));
    format!("msg_signature={signature}&timestamp={timestamp}&nonce={nonce}")
}

fn envelope(encrypt: &str) -> String {
    format!("<xml><ToUserName>{CORP}</ToUserName><Encrypt><![CDATA[{encrypt}]]></Encrypt></xml>")
}

fn post(app: &str, query: &str, body: impl Into<Vec<u8>>) -> Callback {
    Callback {
        method: Method::POST,
        uri: format!("/callback/{app}?{query}"),
        body: body.into(),
    }
}

fn get(query: &str) -> Callback {
    Callback {
        method: Method::GET,
        uri: format!("/callback/main?{query}"),
        body: Vec::new(),
    }
}

/// What an attacker captured, or made with keys of its own.
pub(crate) struct Genuine {
    notifications: Vec<Captured>,
    /// The nonce is a number, as WeCom's own are. Then some cuts of the signed string read as another timestamp and
    /// nonce: what verifies says nothing new, and whoever minds has the age checked.
    numbered: Vec<Captured>,
    /// Signed too long ago.
    old: Vec<Captured>,
    echoes: Vec<Captured>,
    wrong_token: Vec<Captured>,
    wrong_key: Vec<Captured>,
    wrong_receiver: Vec<Captured>,
}

impl Genuine {
    pub(crate) fn generate(rng: &mut impl Rng) -> Self {
        let pair = |token: &str, key: &str| KeyPair::new(token.into(), key.into()).expect("good keys");
        let ours = pair(TOKEN, KEY);
        let mut batch = |pair: &KeyPair, corp: &str, at: u64, numbered: bool, echo: bool| {
            let captured = |n: usize| {
                let news = format!(
                    "<xml><Event>kf_msg_or_event</Event><Token>ENC{n}</Token><OpenKfId>wk{n}</OpenKfId>{}</xml>",
                    " ".repeat(n)
                );
                let message = if echo { ECHO } else { &news };
                let nonce = rng.random_range(100_000_000..u32::MAX).to_string();
                // A letter that sorts behind every digit.
                let nonce = if numbered { nonce } else { format!("z{nonce}") };
                let at = at + n as u64;
                Captured::new(&seal(pair, corp, message.as_bytes(), at, &nonce, rng.random()))
            };
            (0..CAPTURED).map(captured).collect::<Vec<_>>()
        };
        Self {
            notifications: batch(&ours, CORP, NOW, false, false),
            numbered: batch(&ours, CORP, NOW, true, false),
            old: batch(&ours, CORP, NOW - 10_000, true, false),
            echoes: batch(&ours, CORP, NOW, false, true),
            wrong_token: batch(&pair(OTHER_TOKEN, KEY), CORP, NOW, false, false),
            wrong_key: batch(&pair(TOKEN, OTHER_KEY), CORP, NOW, false, false),
            wrong_receiver: batch(&ours, OTHER_CORP, NOW, false, false),
        }
    }

    /// Everything that a notification is made hostile from, unharmed, and sent where it is to be refused harmed.
    pub(crate) fn notifications(&self) -> impl Iterator<Item = Callback> {
        let strict = self.numbered.iter().map(|it| post("strict", &it.query, &*it.body));
        let main = self.notifications.iter().chain(&self.old);
        main.map(|it| post("main", &it.query, &*it.body)).chain(strict)
    }

    /// The same for the check of a URL.
    pub(crate) fn echoes(&self) -> impl Iterator<Item = Callback> {
        self.echoes.iter().map(|it| get(&it.echo_query))
    }

    /// Makes up a hostile callback.
    pub(crate) fn attack(&self, rng: &mut impl Rng) -> (Attack, Callback) {
        let attack = Attack::ALL[rng.random_range(0..Attack::ALL.len())];
        let it = pick(rng, &self.notifications);
        let callback = match attack {
            Attack::ByteOfQuery => post("main", &with_another_byte(rng, &it.query, 1), &*it.body),
            Attack::ByteOfCiphertext => post("main", &it.query, envelope(&with_another_byte(rng, &it.encrypt, 1))),
            Attack::ManyBytes => {
                let (in_query, in_encrypt) = (rng.random_range(1..8), rng.random_range(1..8));
                let body = envelope(&with_another_byte(rng, &it.encrypt, in_encrypt));
                post("main", &with_another_byte(rng, &it.query, in_query), body)
            }
            Attack::QueryCut => post("main", &it.query[..rng.random_range(0..it.query.len())], &*it.body),
            Attack::BodyCut => post(
                "main",
                &it.query,
                &it.body.as_bytes()[..rng.random_range(0..it.body.len())],
            ),
            Attack::BoundaryShifted => {
                let it = pick(rng, &self.numbered);
                boundary_shifted(rng, it)
            }
            Attack::ReplayAtAnotherTime => {
                let other = NOW + 1_000 + rng.random_range(0..1_000_000);
                post("main", &query(&it.signature, &other.to_string(), &it.nonce), &*it.body)
            }
            Attack::ReplayUnderAnotherNonce => {
                let other = format!("y{}", rng.random::<u32>());
                post("main", &query(&it.signature, &it.timestamp, &other), &*it.body)
            }
            Attack::ReplayTooLate => {
                let it = pick(rng, &self.old);
                post("strict", &it.query, &*it.body)
            }
            Attack::Swapped => {
                let first = rng.random_range(0..CAPTURED);
                let second = (first + rng.random_range(1..CAPTURED)) % CAPTURED;
                post(
                    "main",
                    &self.notifications[first].query,
                    &*self.notifications[second].body,
                )
            }
            Attack::ParameterTwice => {
                let name = pick(rng, &["msg_signature", "timestamp", "nonce", "non%63e", "%6eonce"]);
                let values = [&*it.signature, &it.timestamp, &it.nonce, "", "0"];
                let value = pick(rng, &values);
                let query = match rng.random() {
                    true => format!("{}&{name}={value}", it.query),
                    false => format!("{name}={value}&{}", it.query),
                };
                post("main", &query, &*it.body)
            }
            Attack::ParameterMissing => {
                let mut parameters: Vec<_> = it.query.split('&').collect();
                parameters.remove(rng.random_range(0..parameters.len()));
                post("main", &parameters.join("&"), &*it.body)
            }
            Attack::WrongToken => whole(pick(rng, &self.wrong_token)),
            Attack::WrongKey => whole(pick(rng, &self.wrong_key)),
            Attack::WrongReceiver => whole(pick(rng, &self.wrong_receiver)),
            Attack::Envelope => post("main", &it.query, hostile_envelope(rng, &it.encrypt)),
            Attack::Forged => {
                let signature: String = (0..40).map(|_| *pick(rng, b"0123456789abcdef") as char).collect();
                let encrypt: String = (0..4 * rng.random_range(1..100))
                    .map(|_| *pick(rng, SYMBOLS) as char)
                    .collect();
                let timestamp = rng.random_range(1_000_000_000_u64..10_000_000_000).to_string();
                post("main", &query(&signature, &timestamp, "n"), envelope(&encrypt))
            }
            Attack::Garbage => {
                let garbage: Vec<u8> = (0..rng.random_range(0..300)).map(|_| rng.random()).collect();
                let query = (0..rng.random_range(0..80)).map(|_| *pick(rng, QUERY_BYTES) as char);
                post("main", &query.collect::<String>(), garbage)
            }
            Attack::NotificationAsEcho => get(&it.echo_query),
            Attack::ByteOfEcho => {
                let it = pick(rng, &self.echoes);
                let mut values = [&it.signature, &it.timestamp, &it.nonce, &it.encrypt].map(String::clone);
                let place = rng.random_range(0..values.len());
                values[place] = with_another_byte(rng, &values[place], 1);
                let [signature, timestamp, nonce, encrypt] = values;
                let encrypt = utf8_percent_encode(&encrypt, NON_ALPHANUMERIC);
                get(&format!("{}&echostr={encrypt}", query(&signature, &timestamp, &nonce)))
            }
        };
        (attack, callback)
    }
}

const SYMBOLS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Bytes that may stand in a query string.
const QUERY_BYTES: &[u8] = b"ABCXYZabcxyz0123456789-._~!$&'()*+,;=:@/?%";

fn pick<'a, T>(rng: &mut impl Rng, from: &'a [T]) -> &'a T {
    &from[rng.random_range(0..from.len())]
}

fn whole(captured: &Captured) -> Callback {
    post("main", &captured.query, &*captured.body)
}

/// `text` with `count` of its bytes replaced by others that may stand there.
fn with_another_byte(rng: &mut impl Rng, text: &str, count: usize) -> String {
    let mut bytes = text.as_bytes().to_owned();
    while bytes == text.as_bytes() {
        for _ in 0..count {
            let place = rng.random_range(0..bytes.len());
            bytes[place] = *pick(rng, QUERY_BYTES);
        }
    }
    String::from_utf8(bytes).expect("ASCII")
}

/// Cuts the signed string elsewhere. The token's place in it cannot be moved.
fn boundary_shifted(rng: &mut impl Rng, it: &Captured) -> Callback {
    let mut parts = [&*it.timestamp, &*it.nonce, &*it.encrypt];
    parts.sort_unstable();
    let joined = parts.concat();
    loop {
        let first = near(rng, parts[0].len(), joined.len());
        let second = near(rng, parts[0].len() + parts[1].len(), joined.len());
        let (first, second) = (first.min(second), first.max(second));
        let mut pieces = [&joined[..first], &joined[first..second], &joined[second..]];
        pieces.rotate_left(rng.random_range(0..3));
        if rng.random() {
            pieces.swap(0, 1);
        }
        let [timestamp, nonce, encrypt] = pieces;
        if [timestamp, nonce, encrypt] != [&it.timestamp, &it.nonce, &it.encrypt] {
            return post("strict", &query(&it.signature, timestamp, nonce), envelope(encrypt));
        }
    }
}

/// A place in a string of `length`, near `boundary` more often than elsewhere.
fn near(rng: &mut impl Rng, boundary: usize, length: usize) -> usize {
    if rng.random() {
        rng.random_range(boundary.saturating_sub(5)..=(boundary + 5).min(length))
    } else {
        rng.random_range(0..=length)
    }
}

/// XML in which some reader might find the genuine ciphertext.
fn hostile_envelope(rng: &mut impl Rng, encrypt: &str) -> String {
    let own = format!("<Encrypt>{encrypt}</Encrypt>");
    match rng.random_range(0..12) {
        0 => format!("<!DOCTYPE xml><xml>{own}</xml>"),
        1 => format!("<!DOCTYPE xml [<!ENTITY e \"{encrypt}\">]><xml><Encrypt>&e;</Encrypt></xml>"),
        2 => format!("<!DOCTYPE xml SYSTEM \"file:///etc/passwd\"><xml>{own}</xml>"),
        3 => format!("<xml>{own}{own}</xml>"),
        4 => format!("<xml><Encrypt/>{own}</xml>"),
        5 => format!("<xml><x>{own}</x></xml>"),
        6 => format!("<xml>{own}</xml><xml>{own}</xml>"),
        7 => format!("<xml><?php {encrypt} ?>{own}</xml>"),
        8 => format!("{}{own}{}", "<xml>".repeat(20), "</xml>".repeat(20)),
        9 => format!("<xml><!--{own}--></xml>"),
        10 => format!("{{\"Encrypt\":\"{encrypt}\"}}"),
        _ => format!("<xml><encrypt>{encrypt}</encrypt><Encrypt> {encrypt}</Encrypt></xml>"),
    }
}
