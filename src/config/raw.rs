//! What the operator wrote: every key there is, all optional, none with a meaning yet.

use std::fmt;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::size::Size;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    pub(super) server: Option<Server>,
    pub(super) log: Option<Log>,
    pub(super) store: Option<Store>,
    pub(super) apps: Option<Vec<App>>,
    pub(super) sync: Option<Sync>,
    pub(super) handlers: Option<Vec<Handler>>,
    pub(super) gateway: Option<Gateway>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub(super) listen: Option<String>,
    pub(super) admin_listen: Option<String>,
    pub(super) max_connections: Option<i64>,
    pub(super) shutdown_grace: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) level: Option<String>,
    pub(super) format: Option<String>,
    pub(super) otlp_endpoint: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    pub(super) url: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) ca_file: Option<String>,
    pub(super) connections: Option<i64>,
    pub(super) lease: Option<Span>,
    pub(super) retention: Option<Span>,
    pub(super) body_retention: Option<Span>,
    pub(super) durability: Option<String>,
    pub(super) min_free: Option<Size>,
    pub(super) max_backlog: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct App {
    pub(super) name: Option<String>,
    pub(super) corp_id: Option<String>,
    pub(super) secret: Option<Secret>,
    pub(super) api_base: Option<String>,
    pub(super) callback_keys: Option<Vec<CallbackKey>>,
    pub(super) receive_ids: Option<Vec<String>>,
    pub(super) max_clock_skew: Option<Span>,
    pub(super) api_concurrency: Option<i64>,
    pub(super) api_timeout: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CallbackKey {
    pub(super) token: Option<Secret>,
    pub(super) encoding_aes_key: Option<Secret>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sync {
    pub(super) poll_interval: Option<Span>,
    pub(super) first_sync_window: Option<Span>,
    pub(super) page_limit: Option<i64>,
    pub(super) calls_per_second: Option<i64>,
    pub(super) calls_burst: Option<i64>,
    pub(super) tokenless_per_minute: Option<i64>,
    pub(super) backoff_min: Option<Span>,
    pub(super) backoff_max: Option<Span>,
    pub(super) rate_limit_pause: Option<Span>,
    pub(super) operator_pause: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Handler {
    pub(super) name: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) url: Option<String>,
    pub(super) signing_secret: Option<Secrets>,
    pub(super) public_only: Option<bool>,
    pub(super) ca_file: Option<String>,
    pub(super) servers: Option<Vec<String>>,
    pub(super) stream: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) token: Option<Secret>,
    pub(super) credentials: Option<Secret>,
    pub(super) welcome: Option<Welcome>,
    pub(super) rules: Option<Vec<Rule>>,
    pub(super) hours: Option<Hours>,
    pub(super) fallback: Option<Fallback>,
    pub(super) hand_over: Option<HandOver>,
    pub(super) apps: Option<Vec<String>>,
    pub(super) accounts: Option<Vec<String>>,
    pub(super) types: Option<Vec<String>>,
    pub(super) origins: Option<Vec<String>>,
    pub(super) timeout: Option<Span>,
    pub(super) max_attempts: Option<i64>,
    pub(super) give_up_after: Option<Span>,
    pub(super) concurrency: Option<i64>,
    pub(super) retry_schedule: Option<Vec<Span>>,
    pub(super) probe_min: Option<Span>,
    pub(super) probe_max: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Welcome {
    pub(super) reply: Option<String>,
    pub(super) menu: Option<Vec<MenuEntry>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MenuEntry {
    pub(super) id: Option<String>,
    pub(super) text: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) keywords: Option<Vec<String>>,
    pub(super) r#match: Option<String>,
    pub(super) menu_id: Option<String>,
    pub(super) reply: Option<String>,
    pub(super) menu: Option<Vec<MenuEntry>>,
    pub(super) hand_over: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hours {
    pub(super) utc_offset: Option<String>,
    pub(super) open: Option<Vec<String>>,
    pub(super) closed_reply: Option<String>,
    pub(super) every: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fallback {
    pub(super) reply: Option<String>,
    pub(super) menu: Option<Vec<MenuEntry>>,
    pub(super) every: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HandOver {
    pub(super) servicer_userid: Option<String>,
    pub(super) reply: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gateway {
    pub(super) listen: Option<String>,
    pub(super) keys: Option<Vec<Secret>>,
    pub(super) apps: Option<Vec<String>>,
    pub(super) calls: Option<Vec<String>>,
    pub(super) request_timeout: Option<Span>,
}

/// A duration with its unit, `"30s"`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span(pub(super) Duration);

impl Span {
    pub(super) const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    pub(super) const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    pub(super) const fn mins(mins: u64) -> Self {
        Self::secs(mins * 60)
    }

    pub(super) const fn hours(hours: u64) -> Self {
        Self::mins(hours * 60)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;

        impl Visitor<'_> for Words {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration in quotes, such as \"30s\", \"5m\" or \"72h\"")
            }

            fn visit_str<E: Error>(self, words: &str) -> Result<Span, E> {
                humantime::parse_duration(words).map(Span).map_err(|_| {
                    E::custom(format!(
                        "{words:?} is no duration: write a number and a unit, such as \"30s\", \"5m\" or \"72h\""
                    ))
                })
            }
        }

        deserializer.deserialize_str(Words)
    }
}

/// A secret, or where to find it.
#[derive(Debug)]
pub(super) enum Secret {
    /// It stands here.
    Inline(SecretString),
    /// In an environment variable.
    Env(String),
    /// In a file.
    File(String),
    /// In a table that names no place, or two.
    Unclear,
}

/// Table form of a secret.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    env: Option<String>,
    file: Option<String>,
}

// By hand, because an untagged enum would name neither the wrong key nor what was expected.
impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;

        impl<'de> Visitor<'de> for Form {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a secret in quotes, { env = \"NAME\" } or { file = \"/run/secrets/x\" }")
            }

            fn visit_str<E: Error>(self, secret: &str) -> Result<Secret, E> {
                Ok(Secret::Inline(secret.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Secret, A::Error> {
                let place = Place::deserialize(MapAccessDeserializer::new(map))?;
                Ok(match (place.env, place.file) {
                    (Some(name), None) => Secret::Env(name),
                    (None, Some(path)) => Secret::File(path),
                    _ => Secret::Unclear,
                })
            }
        }

        deserializer.deserialize_any(Form)
    }
}

/// A secret, or a list of those that are valid at once.
#[derive(Debug)]
pub(super) enum Secrets {
    /// There is one.
    One(Secret),
    /// As many as are listed.
    List(Vec<Secret>),
}

impl<'de> Deserialize<'de> for Secrets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;

        impl<'de> Visitor<'de> for Form {
            type Value = Secrets;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a secret in quotes, { env = \"NAME\" } or { file = \"/run/secrets/x\" }, or a list of such",
                )
            }

            fn visit_str<E: Error>(self, secret: &str) -> Result<Secrets, E> {
                Ok(Secrets::One(Secret::Inline(secret.into())))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Secrets, A::Error> {
                Secret::deserialize(MapAccessDeserializer::new(map)).map(Secrets::One)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Secrets, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Secrets::List)
            }
        }

        deserializer.deserialize_any(Form)
    }
}

/// Names of the keys that a table read as `T` may have, in the order of its fields.
pub(super) fn keys<T: DeserializeOwned>() -> Vec<String> {
    // No key of ours is empty, and serde, on meeting one that is not ours, lists those that are.
    let stranger = toml::Table::from_iter([(String::new(), toml::Value::Boolean(true))]);
    match T::deserialize(stranger) {
        Ok(_) => Vec::new(),
        Err(error) => keys_named_by(error.message()),
    }
}

/// The keys that serde names as expected in its message about an unknown one.
///
/// ``unknown field `x`, expected one of `a`, `b` ``: what stands in the second and further pairs of backquotes.
pub(super) fn keys_named_by(message: &str) -> Vec<String> {
    message.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}
