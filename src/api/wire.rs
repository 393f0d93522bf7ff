//! One HTTP exchange with WeCom: bounded in time and size, counted, and silent about what it carries.
//!
//! Corp secret and access token travel in the query string, because WeCom wants them there. So no URL ever reaches a
//! log line or an error; redirects are not followed, because they would carry the query elsewhere; and a proxy named in
//! the environment, perhaps for some other program, is not used. No compression is offered, so the bound on what is read
//! is the bound on what is kept.

use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Response, Url};
use tokio::time::Instant;

use super::answer::Answer;
use super::{ApiError, Call, ErrCode, Problem, Settings};
use crate::metric;

/// How long connecting may take, TLS included. Part of the whole call's time-out.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an unused connection is kept: less than servers usually do, so that a call seldom meets one just closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection pool to one API host.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) http: reqwest::Client,
    /// Ends in `/cgi-bin/`.
    base: Url,
    pub(super) max_response_bytes: usize,
}

/// One request. Holds secrets, so it cannot be printed.
pub(super) struct Request<'a> {
    pub(super) call: Call,
    pub(super) query: &'a [(&'static str, &'a str)],
    /// JSON to post; without it the request is a GET.
    pub(super) body: Option<&'a str>,
    /// What must be struck out of WeCom's explanation, should it be quoted there.
    pub(super) secrets: &'a [&'a str],
}

impl Wire {
    pub(super) fn new(settings: &Settings) -> Result<Self, ApiError> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("wecom-kf/", env!("CARGO_PKG_VERSION")))
            .http1_only()
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .timeout(settings.timeout)
            .build()
            .map_err(|error| ApiError::Setup {
                source: without_url(error),
            })?;
        Ok(Self {
            http,
            base: parse_base(&settings.api_base)?,
            max_response_bytes: settings.max_response_bytes,
        })
    }

    /// Sends `request` and reads a successful answer with `read`.
    pub(super) async fn exchange<T>(
        &self,
        request: Request<'_>,
        read: impl FnOnce(&Answer) -> Result<T, Problem>,
    ) -> Result<T, ApiError> {
        let call = request.call;
        let started = Instant::now();
        let result = self.send(request, read).await;
        count(call, result.as_ref().map_or_else(said, |_| Ok(ErrCode::OK)), started);
        result
    }

    /// Where `call` is, with what belongs behind it.
    pub(super) fn url<'a>(&self, call: Call, query: impl IntoIterator<Item = (&'a str, &'a str)>) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{call}", self.base.path()));
        url.query_pairs_mut().extend_pairs(query);
        url
    }

    async fn send<T>(
        &self,
        request: Request<'_>,
        read: impl FnOnce(&Answer) -> Result<T, Problem>,
    ) -> Result<T, ApiError> {
        let call = request.call;
        let url = self.url(call, request.query.iter().copied());
        let http = match request.body {
            Some(body) => self
                .http
                .post(url)
                .header(CONTENT_TYPE, "application/json")
                .body(body.to_owned()),
            None => self.http.get(url),
        };
        let response = http.send().await.map_err(|error| transport(call, error))?;
        let status = response.status();
        if !status.is_success() {
            let status = status.as_u16();
            return Err(ApiError::Status { call, status });
        }
        let body = self.body(call, response).await?;
        understand(call, body, request.secrets, read)
    }

    /// Reads the body piece by piece, so that a huge one is refused before it is in memory.
    async fn body(&self, call: Call, mut response: Response) -> Result<Vec<u8>, ApiError> {
        let limit_bytes = self.max_response_bytes;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| transport(call, error))? {
            if body.len() + chunk.len() > limit_bytes {
                let problem = Problem::TooLarge { limit_bytes };
                return Err(ApiError::Unreadable { call, problem });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// Counts a call that began at `since`: what WeCom said, or why that is not known.
pub(super) fn count(call: Call, said: Result<ErrCode, &'static str>, since: Instant) {
    let errcode = said.map_or_else(Cow::from, ErrCode::label);
    let duration_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::debug!(call = call.as_str(), %errcode, duration_ms, "called WeCom");
    metrics::counter!(metric::API_REQUESTS, "call" => call.as_str(), "errcode" => errcode).increment(1);
}

/// What `error` tells of WeCom's answer, for [`count`].
pub(super) fn said(error: &ApiError) -> Result<ErrCode, &'static str> {
    match error {
        ApiError::Rejected { code, .. } => Ok(*code),
        ApiError::Status { .. } => Err("status"),
        ApiError::Unreadable { .. } => Err("unreadable"),
        _ => Err("transport"),
    }
}

fn transport(call: Call, error: reqwest::Error) -> ApiError {
    let source = without_url(error);
    ApiError::Transport { call, source }
}

fn without_url(error: reqwest::Error) -> Arc<dyn Error + Send + Sync> {
    Arc::new(error.without_url())
}

fn parse_base(api_base: &str) -> Result<Url, ApiError> {
    let refuse = |problem| {
        let name = "api_base";
        Err(ApiError::Setting { name, problem })
    };
    let Ok(mut base) = Url::parse(api_base) else {
        return refuse("is not a URL");
    };
    if !matches!(base.scheme(), "http" | "https") {
        return refuse("must begin with https:// or http://");
    }
    if !base.username().is_empty() || base.password().is_some() {
        return refuse("must not hold a user name or password");
    }
    if base.query().is_some() || base.fragment().is_some() {
        return refuse("must end before any ? or #");
    }
    base.set_path(&format!("{}/cgi-bin/", base.path().trim_end_matches('/')));
    Ok(base)
}

/// Reads the body of an answer with `read`, if it says yes. `secrets` are struck out of what it says else.
pub(super) fn understand<T>(
    call: Call,
    body: Vec<u8>,
    secrets: &[&str],
    read: impl FnOnce(&Answer) -> Result<T, Problem>,
) -> Result<T, ApiError> {
    let unreadable = |problem| ApiError::Unreadable { call, problem };
    let answer = Answer::parse(body).map_err(unreadable)?;
    match answer.errcode {
        None | Some(ErrCode::OK) => read(&answer).map_err(unreadable),
        Some(code) => Err(ApiError::Rejected {
            call,
            code,
            errmsg: answer.explanation(secrets),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_may_have_a_path_and_nothing_behind_it() {
        for (base, full) in [
            ("https://qyapi.weixin.qq.com", "https://qyapi.weixin.qq.com/cgi-bin/"),
            ("http://127.0.0.1:8080/fake/", "http://127.0.0.1:8080/fake/cgi-bin/"),
        ] {
            assert_eq!(parse_base(base).unwrap().as_str(), full);
        }
        for bad in [
            "",
            "qyapi.weixin.qq.com",
            "ftp://a.example",
            "https://u:hunter2@a.example",
            "https://a.example/?k=hunter2",
            "https://a.example/#hunter2",
        ] {
            let error = parse_base(bad).unwrap_err();
            assert!(error.to_string().starts_with("api_base "), "{error}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
