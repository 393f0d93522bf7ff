//! What is read of them in a build that can publish.

use secrecy::ExposeSecret as _;
use url::Url;

use super::Raw;
use crate::config::ca::{Ca, ca};
use crate::config::raw;
use crate::config::section::Section;
use crate::handler::nats::{Credentials, Key, StreamName, SubjectTemplate};

const SERVERS: &str = "the servers of one cluster, such as [\"nats://127.0.0.1:4222\"]";
const KEY_SHAPE: &str = "an NKey seed, which begins with SU, or what stands in a credentials file (.creds)";

/// Where a publisher publishes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Nats {
    /// Servers of one cluster, at least one: all by `nats`, or all by `tls`, without credentials.
    pub servers: Vec<Url>,
    /// Stream that must take the messages, if it must be a certain one.
    pub stream: Option<StreamName>,
    /// Subjects to publish on.
    pub subject: SubjectTemplate,
    /// What the servers are told about who we are.
    pub credentials: Credentials,
    /// Who vouches for the servers, if not those whom this machine trusts.
    pub ca: Option<Ca>,
}

/// Reads a publisher. `None` if anything is wrong with it.
pub(in crate::config) fn nats(raw: Raw, ca_file: Option<String>, section: &mut Section<'_>) -> Option<Nats> {
    let servers = section.required("servers", raw.servers, SERVERS);
    let servers = servers.and_then(|servers| {
        let if_empty = format!("has no server: name {SERVERS}");
        section.list("servers", &servers, &if_empty, server)
    });
    let servers = servers.and_then(|servers| of_one_scheme(servers, section));
    let stream = match raw.stream {
        None => Some(None),
        Some(name) => section.parsed("stream", &name, StreamName::new).map(Some),
    };
    let subject = match raw.subject {
        None => Some(SubjectTemplate::default()),
        Some(template) => section.parsed("subject", &template, SubjectTemplate::parse),
    };
    let credentials = credentials(raw.user, raw.password, raw.token, raw.credentials, section);
    let in_plain = |servers: &Vec<Url>| servers.iter().any(|url| url.scheme() != "tls");
    let ca = match ca_file {
        None => Some(None),
        Some(_) if servers.as_ref().is_some_and(in_plain) => {
            section.wrong(
                "ca_file",
                "means nothing to servers that may be spoken to in plain: make them tls://",
            );
            None
        }
        Some(path) => ca(path, section).map(Some),
    };
    Some(Nats {
        servers: servers?,
        stream: stream?,
        subject: subject?,
        credentials: credentials?,
        ca: ca?,
    })
}

/// The address of one server. Nothing of it is repeated: it may carry a password.
fn server(section: &mut Section<'_>, key: &str, text: &str) -> Option<Url> {
    const MEND: &str = "write nats://host:4222, or tls://host:4222";
    let problem = match Url::parse(text) {
        Err(error) => format!("is no URL ({error}): {MEND}"),
        Ok(url) if !matches!(url.scheme(), "nats" | "tls") => {
            format!(
                "must begin with nats:// or tls://, but its scheme is {:?}",
                url.scheme()
            )
        }
        Ok(url) if !url.has_host() => format!("names no host: {MEND}"),
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "must not carry credentials, since URLs end up in logs: put them into user and password, or token"
                .to_owned()
        }
        Ok(url) if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() => {
            format!("must end with the port: {MEND}")
        }
        Ok(url) => return Some(url),
    };
    section.wrong(key, problem);
    None
}

fn of_one_scheme(servers: Vec<Url>, section: &mut Section<'_>) -> Option<Vec<Url>> {
    let schemes = servers.iter().zip(servers.iter().skip(1));
    if schemes.into_iter().any(|(a, b)| a.scheme() != b.scheme()) {
        section.wrong("servers", "must all begin with nats://, or all with tls://");
        return None;
    }
    Some(servers)
}

fn credentials(
    user: Option<String>,
    password: Option<raw::Secret>,
    token: Option<raw::Secret>,
    key: Option<raw::Secret>,
    section: &mut Section<'_>,
) -> Option<Credentials> {
    let ways = [
        ("user", user.is_some() || password.is_some()),
        ("token", token.is_some()),
        ("credentials", key.is_some()),
    ];
    let mut given = ways.into_iter().filter(|(_, given)| *given).map(|(way, _)| way);
    if let (Some(first), Some(second)) = (given.next(), given.next()) {
        section.wrong(second, format!("is a second way to log in, beside {first}: leave one"));
        return None;
    }
    if user.is_some() || password.is_some() {
        let user = section.required("user", user, "the name that the password belongs to");
        let password = section.secret("password", password, "the password of user");
        return Some(Credentials::Password {
            user: user?,
            password: password?,
        });
    }
    if token.is_some() {
        let token = section.secret("token", token, "the token")?;
        return Some(Credentials::Token(token));
    }
    if key.is_some() {
        let text = section.secret_text("credentials", key, KEY_SHAPE)?;
        let key = Key::parse(text.expose_secret()).ok();
        if key.is_none() {
            section.misshapen("credentials", &text, KEY_SHAPE);
        }
        return key.map(Credentials::Key);
    }
    Some(Credentials::None)
}
