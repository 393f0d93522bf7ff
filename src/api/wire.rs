//! One HTTP exchange with WeCom: bounded in time and size, counted, and silent about what it carries.
//!
//! JSON answers are read whole, in a time that counts from connecting. Files take as long as they take, up and down, and
//! only may not stand still for that long.
//!
//! Corp secret and access token travel in the query string, because WeCom wants them there. So no URL ever reaches a
//! log line or an error; redirects are not followed, because they would carry the query elsewhere; and a proxy named in
//! the environment, perhaps for some other program, is not used. No compression is offered, so the bound on what is read
//! is the bound on what is kept.

use std::borrow::Cow;
use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Response, Url};
use tokio::sync::watch;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout};

use super::answer::Answer;
use super::media::{ByteRange, Form, Opening};
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
    pub(super) timeout: Duration,
    pub(super) max_response_bytes: u64,
}

/// What a request carries beside its query.
#[derive(Clone, Copy)]
pub(super) enum Payload<'a> {
    /// Nothing: a GET.
    None,
    /// A part of a file to get.
    Range(ByteRange),
    /// JSON to post.
    Json(&'a str),
    /// A file to post.
    Form(&'a Form),
}

/// One request. Holds secrets, so it cannot be printed.
pub(super) struct Request<'a> {
    pub(super) call: Call,
    pub(super) query: Vec<(&'static str, &'a str)>,
    pub(super) payload: Payload<'a>,
    /// What must be struck out of WeCom's explanation, should it be quoted there.
    pub(super) secrets: Vec<&'a str>,
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
            .build()
            .map_err(|error| ApiError::Setup {
                source: without_url(error),
            })?;
        Ok(Self {
            http,
            base: parse_base(&settings.api_base)?,
            timeout: settings.timeout,
            max_response_bytes: settings.max_response_bytes as u64,
        })
    }

    /// Sends `request` and reads a successful answer with `read`.
    pub(super) async fn exchange<T>(
        &self,
        request: &Request<'_>,
        read: impl FnOnce(&Answer) -> Result<T, Problem>,
    ) -> Result<T, ApiError> {
        let call = request.call;
        observed(call, async {
            let (moves, moved) = watch::channel(());
            let answer = async { self.body(call, self.send(request, moves).await?).await };
            let body = unless_it_stands_still(self.timeout, moved, answer).await;
            understand(
                call,
                body.map_err(|error| stood_still(call, error))??,
                &request.secrets,
                read,
            )
        })
        .await
    }

    /// Sends `request` and returns the file that comes back. JSON that says no is recognised.
    pub(super) async fn open(&self, request: &Request<'_>) -> Result<Opening, ApiError> {
        let call = request.call;
        observed(call, async {
            let head = timeout(self.timeout, self.send(request, watch::Sender::default())).await;
            let response = head.map_err(|error| stood_still(call, error))??;
            Opening::read(call, Chunks::new(call, response, self.timeout), &request.secrets).await
        })
        .await
    }

    /// Where `call` is, with what belongs behind it.
    pub(super) fn url<'a>(&self, call: Call, query: impl IntoIterator<Item = (&'a str, &'a str)>) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{call}", self.base.path()));
        url.query_pairs_mut().extend_pairs(query);
        url
    }

    /// Sends `request`, telling `moves` of every piece of a file that leaves.
    async fn send(&self, request: &Request<'_>, moves: watch::Sender<()>) -> Result<Response, ApiError> {
        let call = request.call;
        let url = self.url(call, request.query.iter().copied());
        let http = match request.payload {
            Payload::None => self.http.get(url),
            Payload::Range(range) => self.http.get(url).header(RANGE, range.to_string()),
            Payload::Json(body) => {
                let http = self.http.post(url).header(CONTENT_TYPE, "application/json");
                http.body(body.to_owned())
            }
            Payload::Form(form) => {
                let http = self.http.post(url).header(CONTENT_TYPE, form.content_type());
                http.body(form.body(moves))
            }
        };
        let response = http.send().await.map_err(|error| transport(call, error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let status = status.as_u16();
        Err(ApiError::Status { call, status })
    }

    /// Reads the body piece by piece, so that a huge one is refused before it is in memory.
    async fn body(&self, call: Call, mut response: Response) -> Result<Vec<u8>, ApiError> {
        let limit_bytes = self.max_response_bytes;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| transport(call, error))? {
            if (body.len() + chunk.len()) as u64 > limit_bytes {
                let problem = Problem::TooLarge { limit_bytes };
                return Err(ApiError::Unreadable { call, problem });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// The body of an answer, piece by piece.
#[derive(Debug)]
pub(super) struct Chunks {
    call: Call,
    response: Response,
    idle: Duration,
}

impl Chunks {
    fn new(call: Call, response: Response, idle: Duration) -> Self {
        Self { call, response, idle }
    }

    /// The answer's status and headers.
    pub(super) fn response(&self) -> &Response {
        &self.response
    }

    /// The next piece, or `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        let call = self.call;
        let chunk = timeout(self.idle, self.response.chunk()).await;
        let chunk = chunk.map_err(|error| stood_still(call, error))?;
        chunk.map_err(|error| transport(call, error))
    }
}

/// Logs and counts a call.
async fn observed<T>(call: Call, exchange: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
    let started = Instant::now();
    let result = exchange.await;
    count(call, result.as_ref().map_or_else(said, |_| Ok(ErrCode::OK)), started);
    result
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

/// Runs `work`, for at most `idle` since its request last moved.
async fn unless_it_stands_still<T>(
    idle: Duration,
    mut moved: watch::Receiver<()>,
    work: impl Future<Output = T>,
) -> Result<T, Elapsed> {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            moved = timeout(idle, moved.changed()) => if moved?.is_err() {
                // All has been sent.
                return timeout(idle, work).await;
            },
        }
    }
}

fn stood_still(call: Call, error: Elapsed) -> ApiError {
    let source = Arc::new(error);
    ApiError::Transport { call, source }
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
    accept(call, &answer, secrets)?;
    read(&answer).map_err(unreadable)
}

/// Makes WeCom's no an error. `secrets` are struck out of its explanation.
pub(super) fn accept(call: Call, answer: &Answer, secrets: &[&str]) -> Result<(), ApiError> {
    match answer.errcode {
        None | Some(ErrCode::OK) => Ok(()),
        Some(code) => Err(ApiError::Rejected {
            call,
            code,
            errmsg: answer.explanation(secrets),
        }),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const IDLE: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_request_may_take_any_time_while_it_moves() {
        let (moves, moved) = watch::channel(());
        let work = async {
            for _ in 0..100 {
                sleep(IDLE / 10 * 9).await;
                moves.send_replace(());
            }
            drop(moves);
            sleep(IDLE / 10 * 9).await;
        };
        unless_it_stands_still(IDLE, moved, work).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_stands_still_or_goes_unanswered_ends() {
        let started = Instant::now();
        let (moves, moved) = watch::channel(());
        let work = async {
            moves.send_replace(());
            std::future::pending::<()>().await;
        };
        unless_it_stands_still(IDLE, moved, work).await.unwrap_err();
        let (moves, moved) = watch::channel(());
        let work = async {
            drop(moves);
            std::future::pending::<()>().await;
        };
        unless_it_stands_still(IDLE, moved, work).await.unwrap_err();
        assert!(started.elapsed() < IDLE * 3, "{:?}", started.elapsed());
    }

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
