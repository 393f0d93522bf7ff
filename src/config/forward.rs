//! What `[[handlers]]` of kind "forward" says beyond what every handler does.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::ca::{Ca, ca};
use super::raw;
use super::section::Section;
use crate::handler::SigningSecret;
use crate::handler::forward::Reach;

const SIGNING_SECRET_SHAPE: &str = "\"whsec_\" and 24 to 64 random bytes in base64; make one with: wecom-kf keygen";

/// Where a forwarder sends to. `Debug` shows the address without its query.
#[derive(Clone)]
#[non_exhaustive]
pub struct Forward {
    /// Address that messages are posted to: `http` or `https`, without credentials.
    pub url: Url,
    /// Keys of the signatures, all valid at once; at least one.
    pub signing_secrets: Vec<SigningSecret>,
    /// Where the endpoint may be.
    pub reach: Reach,
    /// Who vouches for the endpoint, if not those whom this machine trusts.
    pub ca: Option<Ca>,
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Forward({})", self.shown_url())
    }
}

impl Forward {
    /// Its address as it may be shown: services put keys into the query.
    #[must_use]
    pub fn shown_url(&self) -> String {
        shown(&self.url)
    }
}

/// An address as it may be shown.
pub(super) fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// The keys of a forwarder.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) url: Option<String>,
    pub(super) signing_secret: Option<raw::Secrets>,
    pub(super) public_only: Option<bool>,
}

impl Raw {
    /// Tells of every key that is set although the handler is of another `kind`.
    pub(super) fn refuse(&self, kind: &str, section: &mut Section<'_>) {
        let keys = [
            ("url", self.url.is_some()),
            ("signing_secret", self.signing_secret.is_some()),
            ("public_only", self.public_only.is_some()),
        ];
        section.refuse_keys_of("forward", kind, &keys);
    }
}

/// Reads a forwarder. `None` if anything is wrong with it.
pub(super) fn forward(raw: Raw, ca_file: Option<String>, section: &mut Section<'_>) -> Option<Forward> {
    let url = section.required(
        "url",
        raw.url,
        "the address to post messages to, such as \"http://127.0.0.1:9000/kf\"",
    );
    let url = url.and_then(|url| section.web_address("url", &url));
    let reach = match raw.public_only {
        Some(true) => Reach::PublicOnly,
        Some(false) | None => Reach::Anywhere,
    };
    let url = url.and_then(|url| match reach.check(&url) {
        Ok(()) => Some(url),
        Err(refusal) => {
            section.wrong("url", format!("{refusal}, because public_only is true"));
            None
        }
    });
    let signing_secrets = signing_secrets(raw.signing_secret, section);
    let ca = match ca_file {
        None => Some(None),
        Some(_) if url.as_ref().is_some_and(|url| url.scheme() != "https") => {
            section.wrong(
                "ca_file",
                "means nothing to an address that begins with http://: make it https://",
            );
            None
        }
        Some(path) => ca(path, section).map(Some),
    };
    Some(Forward {
        url: url?,
        signing_secrets: signing_secrets?,
        reach,
        ca: ca?,
    })
}

fn signing_secrets(raw: Option<raw::Secrets>, section: &mut Section<'_>) -> Option<Vec<SigningSecret>> {
    const KEY: &str = "signing_secret";
    match raw {
        None => signing_secret(KEY, None, section).map(|secret| vec![secret]),
        Some(raw::Secrets::One(secret)) => signing_secret(KEY, Some(secret), section).map(|secret| vec![secret]),
        Some(raw::Secrets::List(secrets)) if secrets.is_empty() => {
            section.wrong(KEY, "has no secret: name at least one");
            None
        }
        Some(raw::Secrets::List(secrets)) => {
            let numbered = secrets.into_iter().enumerate();
            let secrets: Vec<_> = numbered
                .map(|(index, secret)| signing_secret(&format!("{KEY}[{index}]"), Some(secret), section))
                .collect();
            secrets.into_iter().collect()
        }
    }
}

fn signing_secret(key: &str, raw: Option<raw::Secret>, section: &mut Section<'_>) -> Option<SigningSecret> {
    let secret: SecretString = section.secret(key, raw, SIGNING_SECRET_SHAPE)?;
    let parsed = SigningSecret::parse(secret.expose_secret()).ok();
    if parsed.is_none() {
        section.misshapen(key, &secret, SIGNING_SECRET_SHAPE);
    }
    parsed
}
