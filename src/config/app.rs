//! Section `[[apps]]`.

use url::{Host, Url};

use super::App;
use super::raw::{self, Span};
use super::section::{LONGEST, SHORTEST, Section};
use crate::callback::{KeyError, KeyPair};
use crate::id::{AppName, CorpId};

const API_BASE: &str = "https://qyapi.weixin.qq.com";
const API_CONCURRENCY: i64 = 8;
const API_TIMEOUT: Span = Span::secs(20);

/// Enough for any corporation; above it WeCom answers 45033.
const MOST_CONCURRENCY: usize = 1000;

const TOKEN_SHAPE: &str = "1 to 32 letters and digits (`Token` on the callback page of the WeCom console)";
const AES_KEY_SHAPE: &str = "43 symbols of base64 (`EncodingAESKey` on the callback page of the WeCom console)";

/// Reads all applications. `None` if any is wrong, or there is none.
pub(super) fn apps(raw: Vec<raw::App>, root: &mut Section<'_>) -> Option<Vec<App>> {
    if raw.is_empty() {
        root.wrong(
            "apps",
            "missing: the server needs at least one [[apps]] entry to receive for",
        );
        return None;
    }
    root.refuse_repeated_names("apps", raw.iter().map(|app| app.name.as_deref()));
    let apps: Vec<_> = raw
        .into_iter()
        .enumerate()
        .map(|(index, raw)| app(raw, &mut root.at(&format!("apps[{index}]"))))
        .collect();
    apps.into_iter().collect()
}

fn app(raw: raw::App, section: &mut Section<'_>) -> Option<App> {
    let name = section.name(
        raw.name.as_deref(),
        "a name for the callback path, such as \"main\"",
        AppName::new,
    );
    let corp_id = section.required(
        "corp_id",
        raw.corp_id,
        "the id of the corporation, \"ww…\", at the foot of the console's page about it",
    );
    let corp_id = corp_id.and_then(|id| corp_id_of(id, section));
    let secret = section.secret(
        "secret",
        raw.secret,
        "the secret of the application, from its page in the console",
    );
    let api_base = api_base(raw.api_base.as_deref().unwrap_or(API_BASE), section);
    let callback_keys = callback_keys(raw.callback_keys, section);
    let receive_ids = match raw.receive_ids {
        None => corp_id.clone().map(|id| vec![id]),
        Some(ids) if ids.is_empty() => {
            section.wrong(
                "receive_ids",
                "accepts no callback at all: leave it out to accept those for corp_id",
            );
            None
        }
        Some(ids) => Some(ids.into_iter().map(CorpId::new).collect()),
    };
    let mut wait = |key, span| section.duration(key, span, SHORTEST..=LONGEST);
    let max_clock_skew = raw.max_clock_skew.map(|skew| wait("max_clock_skew", skew));
    let api_timeout = wait("api_timeout", raw.api_timeout.unwrap_or(API_TIMEOUT));
    let api_concurrency = section.number(
        "api_concurrency",
        raw.api_concurrency.unwrap_or(API_CONCURRENCY),
        1..=MOST_CONCURRENCY,
    );
    Some(App {
        name: name?,
        corp_id: corp_id?,
        secret: secret?,
        api_base: api_base?,
        callback_keys: callback_keys?,
        receive_ids: receive_ids?,
        max_clock_skew: match max_clock_skew {
            Some(skew) => Some(skew?),
            None => None,
        },
        api_concurrency: api_concurrency?,
        api_timeout: api_timeout?,
    })
}

fn corp_id_of(id: String, section: &mut Section<'_>) -> Option<CorpId> {
    if !id.is_empty()
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    {
        return Some(CorpId::new(id));
    }
    section.wrong(
        "corp_id",
        format!("{id:?} is no corporation id: it looks like \"ww0123456789abcdef\""),
    );
    None
}

fn api_base(text: &str, section: &mut Section<'_>) -> Option<Url> {
    let url = section.web_address("api_base", text)?;
    let problem = if url.scheme() != "https" && !is_this_machine(&url) {
        "must begin with https://: the secret and access tokens travel in it (http:// is for this machine only)"
    } else if url.query().is_some() || url.fragment().is_some() {
        "must end with the host or a path, without ? and #"
    } else {
        return Some(url);
    };
    section.wrong("api_base", problem);
    None
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

fn callback_keys(raw: Option<Vec<raw::CallbackKey>>, section: &mut Section<'_>) -> Option<Vec<KeyPair>> {
    const MEND: &str = "[{ token = …, encoding_aes_key = … }] from the callback page of the WeCom console";
    let raw = section.required("callback_keys", raw.filter(|keys| !keys.is_empty()), MEND)?;
    let keys: Vec<_> = raw
        .into_iter()
        .enumerate()
        .map(|(index, raw)| {
            let mut section = section.at(&format!("callback_keys[{index}]"));
            let token = section.secret("token", raw.token, TOKEN_SHAPE);
            let aes_key = section.secret("encoding_aes_key", raw.encoding_aes_key, AES_KEY_SHAPE);
            let (token, aes_key) = (token?, aes_key?);
            match KeyPair::new(token.clone(), aes_key.clone()) {
                Ok(pair) => return Some(pair),
                Err(KeyError::TokenLength { .. } | KeyError::TokenAlphabet) => {
                    section.misshapen("token", &token, TOKEN_SHAPE);
                }
                Err(KeyError::KeyLength { .. } | KeyError::KeyAlphabet) => {
                    section.misshapen("encoding_aes_key", &aes_key, AES_KEY_SHAPE);
                }
            }
            None
        })
        .collect();
    keys.into_iter().collect()
}
