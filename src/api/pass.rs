//! Calls passed on for somebody who must not learn the access token.
//!
//! The request goes out with our token in its query and under our limits, and the answer goes back as it came, read only
//! as far as it takes to know what WeCom says of the token and of the limits. A file is not read at all: it runs through.
//!
//! What is passed on takes at most half of the places that a call has, so that the server's own replies always find one.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use reqwest::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RANGE,
};
use reqwest::{Body, Method, Response, StatusCode};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use super::access_token::AccessToken;
use super::answer::Answer;
use super::governor::Limit;
use super::{ApiError, Call, Client, ErrCode, ErrorClass, Problem, Settings, wire};

/// Longest wait for a turn. Whoever asked gives up soon after, and asks again.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Headers of an answer that go back. The others are about the connection, or about WeCom's servers.
const ANSWERED: [HeaderName; 4] = [CONTENT_TYPE, CONTENT_DISPOSITION, CONTENT_RANGE, ACCEPT_RANGES];

/// The body of an answer on its way through. Its errors name no URL.
pub type Passing = BoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// A request to pass on.
#[expect(clippy::exhaustive_structs, reason = "whoever passes something on says all of it")]
pub struct Pass {
    /// What is called.
    pub call: Call,
    /// How.
    pub method: Method,
    /// Parameters of the URL, decoded. Not `access_token`, which is ours to add.
    pub query: Vec<(String, String)>,
    /// Of the body.
    pub content_type: Option<HeaderValue>,
    /// Which part of a file is wanted.
    pub range: Option<HeaderValue>,
    /// What is sent.
    pub body: PassBody,
    /// How long the exchange may take, to the last byte of the answer; as long as our own calls if `None`.
    pub timeout: Option<Duration>,
}

/// The body of a request on its way through.
#[expect(clippy::exhaustive_enums, reason = "it is one or the other")]
pub enum PassBody {
    /// All of it, so that it can be sent again with the next access token.
    Whole(Bytes),
    /// As it comes, once.
    Streamed(BoxBody<Bytes, BodyError>),
}

impl fmt::Debug for Pass {
    /// Leaves out what is said, to whom, and about which file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass")
            .field("call", &self.call)
            .field("method", &self.method)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PassBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(body) => write!(f, "Whole({} bytes)", body.len()),
            Self::Streamed(_) => f.write_str("Streamed(…)"),
        }
    }
}

/// Why the body of a request ended early.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// It is longer than anything that WeCom takes.
    #[error("the body is too long")]
    TooLong,
    /// Whoever sent it stopped.
    #[error("the body broke off")]
    BrokenOff,
}

/// WeCom's answer: a success or a refusal, which only its `errcode` tells.
#[non_exhaustive]
pub struct Passed {
    /// 200, or 206 for a part of a file.
    pub status: StatusCode,
    /// What the caller may see of the headers.
    pub headers: HeaderMap,
    /// A file as it comes, anything else whole. Without the access token, should WeCom quote it.
    pub body: Passing,
}

impl fmt::Debug for Passed {
    /// Leaves the headers out: a customer may have named the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Passed({}, …)", self.status)
    }
}

/// Why nothing can be answered that WeCom said.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PassError {
    /// Too many are passed on at the same time.
    #[error("{call} had no turn within {} s", LONGEST_WAIT.as_secs())]
    Crowded {
        /// What was to be called.
        call: Call,
    },
    /// The request did not come whole.
    #[error("{call} was not asked to the end")]
    Body {
        /// What was to be called.
        call: Call,
        /// What became of it.
        source: BodyError,
    },
    /// WeCom did not answer in time.
    #[error("{call} took too long")]
    Late {
        /// What was called.
        call: Call,
        /// What the client was waiting for.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// As for our own calls.
    #[error(transparent)]
    Api(#[from] ApiError),
}

impl Call {
    /// Calls that can be passed on: all but `gettoken`, whose answer is what must stay here.
    pub fn passable() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|call| *call != Self::GetToken)
    }
}

/// Room for what is passed on, a share of that for each call.
#[derive(Debug)]
pub(super) struct Lines(Box<[Semaphore]>);

impl Lines {
    pub(super) fn new(settings: &Settings) -> Self {
        let half = (settings.concurrency / 2).max(1);
        Self(Call::ALL.iter().map(|_| Semaphore::new(half)).collect())
    }

    async fn enter(&self, call: Call) -> SemaphorePermit<'_> {
        // Unwrap safety: nobody closes the semaphore.
        self.0[call as usize].acquire().await.expect("a line is never closed")
    }
}

impl Client {
    /// Passes a call on and its answer back. If the access token is refused, the next one is fetched, and a body that is
    /// there as a whole is sent once more; who streams one is answered the refusal, which SDKs take as a reason to try
    /// again.
    ///
    /// # Errors
    ///
    /// [`PassError`]; a refusal by WeCom is none, except that of a second access token.
    pub async fn pass(&self, mut pass: Pass) -> Result<Passed, PassError> {
        let call = pass.call;
        let turn = async {
            let line = self.0.lines.enter(call).await;
            let limit = match call {
                // Nobody but the server has callback tokens, so this is a pull without one.
                Call::SyncMsg => Limit::Tokenless,
                _ => Limit::Ordinary,
            };
            let turn = self.0.governor.turn(call, limit).await?;
            Ok::<_, ApiError>((line, turn))
        };
        // Given back with the head of the answer, or with the whole of one that is read.
        let _turn = timeout(LONGEST_WAIT, turn)
            .await
            .map_err(|_| PassError::Crowded { call })??;
        let body = std::mem::replace(&mut pass.body, PassBody::Whole(Bytes::new()));
        let again = match &body {
            PassBody::Whole(body) => Some(body.clone()),
            PassBody::Streamed(_) => None,
        };
        let token = self.access_token().await?;
        let (passed, refusal) = self.relay(&token, &pass, body).await?;
        let (Some(_), Some(body)) = (refusal, again) else {
            return Ok(passed);
        };
        let token = self.access_token().await?;
        match self.relay(&token, &pass, PassBody::Whole(body)).await? {
            (passed, None) => Ok(passed),
            (_, Some(refusal)) => Err(refusal.into()),
        }
    }

    /// Asks with `token`, and notes what the answer says about it and about the limits. With the answer comes the
    /// refusal of the token, if that is what it is.
    async fn relay(
        &self,
        token: &Arc<AccessToken>,
        pass: &Pass,
        body: PassBody,
    ) -> Result<(Passed, Option<ApiError>), PassError> {
        let (call, shared) = (pass.call, &*self.0);
        let since = Instant::now();
        let read = self.exchange(token, pass, body).await;
        let said = match &read {
            Ok(read) => Ok(read.errcode),
            Err(PassError::Api(error)) => wire::said(error),
            Err(_) => Err("transport"),
        };
        wire::count(call, said, since);
        let Read {
            errcode,
            errmsg,
            passed,
        } = read?;
        if errcode.refuses_access_token() {
            let refusal = ApiError::Rejected {
                call,
                code: errcode,
                errmsg,
            };
            shared.access_tokens.invalidate(token, &refusal);
            return Ok((passed, Some(refusal)));
        }
        shared.access_tokens.served(token);
        if errcode == ErrCode::OK {
            shared.governor.succeeded(call);
        } else if errcode.class() == ErrorClass::RetryLong {
            shared.governor.limited(call);
        }
        Ok((passed, None))
    }

    /// One exchange over the wire.
    async fn exchange(&self, token: &AccessToken, pass: &Pass, body: PassBody) -> Result<Read, PassError> {
        let (call, wire) = (pass.call, &self.0.wire);
        let ours = ("access_token", token.expose());
        let theirs = pass.query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let url = wire.url(call, [ours].into_iter().chain(theirs));
        let mut request = wire.http.request(pass.method.clone(), url).body(match body {
            PassBody::Whole(body) => Body::from(body),
            PassBody::Streamed(body) => Body::wrap(body),
        });
        for (name, value) in [(CONTENT_TYPE, &pass.content_type), (RANGE, &pass.range)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let request = request.timeout(pass.timeout.unwrap_or(wire.timeout));
        let response = request.send().await.map_err(|error| failure(call, error))?;
        Read::from(call, response, token.expose(), wire.max_response_bytes).await
    }
}

/// An answer, and what it says.
struct Read {
    errcode: ErrCode,
    errmsg: Box<str>,
    passed: Passed,
}

impl Read {
    async fn from(call: Call, response: Response, token: &str, limit_bytes: u64) -> Result<Self, PassError> {
        let status = response.status();
        if !matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
            let status = status.as_u16();
            return Err(ApiError::Status { call, status }.into());
        }
        let kept =
            |(name, value): (&HeaderName, &HeaderValue)| ANSWERED.contains(name).then(|| (name.clone(), value.clone()));
        let headers: HeaderMap = response.headers().iter().filter_map(kept).collect();
        // A refusal comes with status 200 as well, but has no name.
        if headers.contains_key(CONTENT_DISPOSITION) {
            let body = Body::from(response).map_err(|error| error.without_url().into()).boxed();
            return Ok(Self::file(Passed { status, headers, body }));
        }
        let body = whole(call, response, limit_bytes).await?;
        let answer = Answer::parse(body.to_vec());
        let body = Full::new(strike_out(body, token))
            .map_err(|never| match never {})
            .boxed();
        let passed = Passed { status, headers, body };
        match answer {
            Ok(answer) => Ok(Self {
                errcode: answer.errcode.unwrap_or(ErrCode::OK),
                errmsg: answer.explanation(&[token]),
                passed,
            }),
            Err(Problem::NotJson) if call == Call::MediaGet => Ok(Self::file(passed)),
            Err(problem) => Err(ApiError::Unreadable { call, problem }.into()),
        }
    }

    fn file(passed: Passed) -> Self {
        Self {
            errcode: ErrCode::OK,
            errmsg: "".into(),
            passed,
        }
    }
}

/// Reads a body piece by piece, so that a huge one is refused before it is in memory.
async fn whole(call: Call, mut response: Response, limit_bytes: u64) -> Result<Bytes, PassError> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| failure(call, error))? {
        if (body.len() + piece.len()) as u64 > limit_bytes {
            let problem = Problem::TooLarge { limit_bytes };
            return Err(ApiError::Unreadable { call, problem }.into());
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.into())
}

/// `body` without the access token: WeCom likes to quote what it refuses.
fn strike_out(body: Bytes, token: &str) -> Bytes {
    let find = |text: &[u8]| text.windows(token.len()).position(|window| window == token.as_bytes());
    let (mut kept, mut rest) = (Vec::new(), &body[..]);
    while let Some(at) = find(rest) {
        kept.extend_from_slice(&rest[..at]);
        kept.extend_from_slice("…".as_bytes());
        rest = &rest[at + token.len()..];
    }
    if kept.is_empty() {
        return body;
    }
    kept.extend_from_slice(rest);
    kept.into()
}

fn failure(call: Call, error: reqwest::Error) -> PassError {
    let error = error.without_url();
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if let Some(source) = error.downcast_ref::<BodyError>() {
            let source = *source;
            return PassError::Body { call, source };
        }
        cause = error.source();
    }
    let is_late = error.is_timeout();
    let source: Arc<dyn Error + Send + Sync> = Arc::new(error);
    if is_late {
        PassError::Late { call, source }
    } else {
        ApiError::Transport { call, source }.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_says_nothing_of_what_is_passed_on() {
        let pass = Pass {
            call: Call::SendMsg,
            method: Method::POST,
            query: vec![("media_id".into(), "canary".into())],
            content_type: None,
            range: None,
            body: PassBody::Whole("canary".into()),
            timeout: None,
        };
        let shown = format!("{pass:?}");
        assert!(shown.contains("6 bytes") && !shown.contains("canary"), "{shown}");
    }

    #[test]
    fn gettoken_is_not_passed_on_and_everything_else_can_be() {
        let passable: Vec<_> = Call::passable().collect();
        assert!(!passable.contains(&Call::GetToken));
        assert_eq!(passable.len(), Call::ALL.len() - 1);
        assert!(
            passable
                .iter()
                .all(|call| call.as_str().starts_with("kf/") || call.as_str().starts_with("media/"))
        );
    }
}
