//! The callback side: `GET` and `POST /callback/{app}`.
//!
//! Every request ends in one of a few answers with an empty body, whatever was wrong with it: the reason goes to a
//! metric and, at most once in a while, to the log. Nothing here waits for anything but the request's own body.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/90930>

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Body;
use metrics::{Counter, Histogram, SharedString};
use tokio::time::Instant;
use tower::{Service, service_fn};
use tracing::Span;
use tracing::field::Empty;

use super::throttle::Throttle;
use crate::callback::{MAX_BODY_BYTES, Notification, Refusal, Verifier};
use crate::clock::Clock;
use crate::id::AppName;
use crate::metric;
use crate::span;

/// Least time between two lines about refusals of one app.
const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(5);

/// Takes an authentic notification of an app. Must return at once: WeCom is waiting for the answer.
pub type Notify = Arc<dyn Fn(&AppName, Notification) + Send + Sync>;

/// One application that receives callbacks.
#[derive(Clone, Debug)]
pub struct CallbackApp {
    /// Last part of its path, and its label in metrics.
    pub name: AppName,
    /// Checks what claims to be for it.
    pub verifier: Verifier,
}

/// Answers the callbacks of some applications: each at `/callback/{name}`, and an only one at `/callback` too; a
/// trailing slash is tolerated.
///
/// | Answer | When |
/// |---|---|
/// | 200 with the echo | a `GET` that verifies |
/// | 200 `success` | a `POST` that verifies, whatever it is about |
/// | 400 | not a callback at all |
/// | 403 | fails verification |
/// | 404 | no such app |
/// | 405 | another method |
/// | 413 | more than [`MAX_BODY_BYTES`] |
///
/// All but the first two have no body. The `Content-Type` of a request does not matter.
///
/// Cheap to clone. A [`service`](Self::service) is what [`serve()`](super::serve()) takes; a [`router`](Self::router)
/// is for other applications of axum.
#[derive(Clone)]
pub struct Callbacks(Arc<[Edge]>);

impl Callbacks {
    /// Answers for `apps`. `clock` tells the age of a request, `notify` is handed what is authentic.
    ///
    /// # Panics
    ///
    /// When two apps have the same name.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "every app keeps a share of both")]
    pub fn new(apps: Vec<CallbackApp>, clock: Arc<dyn Clock>, notify: Notify) -> Self {
        for (n, app) in apps.iter().enumerate() {
            let is_shared = apps[..n].iter().any(|other| other.name == app.name);
            assert!(!is_shared, "two apps are called {}", app.name);
        }
        let edge = |app: CallbackApp| Edge {
            counts: Counts::new(&app.name),
            name: app.name,
            verifier: app.verifier,
            clock: Arc::clone(&clock),
            notify: Arc::clone(&notify),
            refusals: Throttle::new(REFUSAL_LOG_INTERVAL),
        };
        Self(apps.into_iter().map(edge).collect())
    }

    /// Routes to be mounted, merged or nested in another application of axum.
    pub fn router(&self) -> Router {
        let of_an_only_app = (self.0.len() == 1).then(String::new);
        let by_name = self.0.iter().map(|edge| format!("/{}", edge.name));
        by_name.chain(of_an_only_app).fold(Router::new(), |router, rest| {
            let path = format!("/callback{rest}");
            router
                .route_service(&format!("{path}/"), self.service())
                .route_service(&path, self.service())
        })
    }

    /// The same without a router, which costs a request more than its verification does.
    pub fn service<B>(
        &self,
    ) -> impl Service<
        Request<B>,
        Response = Response<Full<Bytes>>,
        Error = Infallible,
        Future: Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send,
    > + Clone
    + Send
    + Sync
    + use<B>
    where
        B: Body<Data = Bytes> + Send + 'static,
    {
        let callbacks = self.clone();
        service_fn(move |request| {
            let callbacks = callbacks.clone();
            async move { Ok(callbacks.answer(request).await) }
        })
    }

    async fn answer<B: Body<Data = Bytes>>(&self, request: Request<B>) -> Response<Full<Bytes>> {
        let Some(edge) = self.edge(request.uri().path()) else {
            return empty(StatusCode::NOT_FOUND);
        };
        let (head, body) = request.into_parts();
        let query = head.uri.query().unwrap_or_default();
        match head.method {
            Method::POST => edge.receive(query, body).await,
            // hyper keeps the body of an answer to HEAD to itself.
            Method::GET | Method::HEAD => edge.verify_url(query),
            _ => {
                let mut answer = empty(StatusCode::METHOD_NOT_ALLOWED);
                let allowed = HeaderValue::from_static("GET,HEAD,POST");
                answer.headers_mut().insert(header::ALLOW, allowed);
                answer
            }
        }
    }

    fn edge(&self, path: &str) -> Option<&Edge> {
        let rest = path.strip_prefix("/callback")?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        match (rest.strip_prefix('/'), &*self.0) {
            (Some(name), edges) => edges.iter().find(|edge| edge.name.as_str() == name),
            (None, [only]) if rest.is_empty() => Some(only),
            (None, _) => None,
        }
    }
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|edge| &edge.name)).finish()
    }
}

/// What the requests of one app share.
struct Edge {
    name: AppName,
    verifier: Verifier,
    clock: Arc<dyn Clock>,
    notify: Notify,
    refusals: Throttle,
    counts: Counts,
}

impl Edge {
    fn verify_url(&self, query: &str) -> Response<Full<Bytes>> {
        let answering = Answering::begin(self);
        match self.verifier.verify_url(query, self.clock.now()) {
            Ok(echo) => answering.end("echo", text(echo.into())),
            Err(refusal) => answering.refuse(refusal),
        }
    }

    async fn receive<B: Body<Data = Bytes>>(&self, query: &str, body: B) -> Response<Full<Bytes>> {
        let answering = Answering::begin(self);
        let body = match read(body).await {
            Ok(body) => body,
            Err(BodyError::TooLong) => return answering.end("too_large", empty(StatusCode::PAYLOAD_TOO_LARGE)),
            Err(BodyError::Broken) => return answering.end("incomplete", empty(StatusCode::BAD_REQUEST)),
        };
        match self.verifier.open(query, &body, self.clock.now()) {
            Ok(notification) => {
                let kind = notification.kind();
                if let Notification::Other { name } = &notification {
                    tracing::debug!(app = %self.name, event = %name, "callback is not about customer service");
                }
                answering.span.in_scope(|| (self.notify)(&self.name, notification));
                answering.end(kind, text(Bytes::from_static(b"success")))
            }
            Err(refusal) => answering.refuse(refusal),
        }
    }
}

/// Why a body could not be had.
enum BodyError {
    TooLong,
    Broken,
}

async fn read<B: Body<Data = Bytes>>(body: B) -> Result<Bytes, BodyError> {
    // What is announced too long is not read at all.
    if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Err(BodyError::TooLong);
    }
    let mut body = std::pin::pin!(body);
    // Most bodies come in one piece, which is not copied.
    let (mut first, mut whole) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(|_| BodyError::Broken)?.into_data() else {
            continue;
        };
        if first.len().max(whole.len()) + piece.len() > MAX_BODY_BYTES {
            return Err(BodyError::TooLong);
        }
        if first.is_empty() {
            first = piece;
        } else {
            if whole.is_empty() {
                whole.extend_from_slice(&first);
            }
            whole.extend_from_slice(&piece);
        }
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

fn text(body: Bytes) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body));
    let text = HeaderValue::from_static("text/plain");
    answer.headers_mut().insert(header::CONTENT_TYPE, text);
    answer
}

/// Where the requests of one app are counted. What happens with nearly every one is looked up in the recorder once.
struct Counts {
    app: SharedString,
    messages: OnceLock<Counter>,
    seconds: OnceLock<Histogram>,
}

impl Counts {
    fn new(app: &AppName) -> Self {
        Self {
            app: Arc::<str>::from(app.as_str()).into(),
            messages: OnceLock::new(),
            seconds: OnceLock::new(),
        }
    }

    fn count(&self, result: &'static str, took: Duration) {
        let counter = || metrics::counter!(metric::CALLBACKS, "app" => self.app.clone(), "result" => result);
        match result {
            "message" => self.messages.get_or_init(counter).increment(1),
            _ => counter().increment(1),
        }
        let seconds = self
            .seconds
            .get_or_init(|| metrics::histogram!(metric::CALLBACK_SECONDS));
        seconds.record(took);
    }
}

/// A request that is being answered. Counted when it ends, also when it is dropped unanswered because the peer went
/// away or took too long.
struct Answering<'a> {
    edge: &'a Edge,
    since: Instant,
    span: Span,
    result: &'static str,
}

impl<'a> Answering<'a> {
    fn begin(edge: &'a Edge) -> Self {
        Self {
            edge,
            since: Instant::now(),
            span: tracing::info_span!(target: span::TARGET, "callback", app = %edge.name, result = Empty),
            result: "abandoned",
        }
    }

    fn end(mut self, result: &'static str, answer: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
        self.result = result;
        answer
    }

    fn refuse(self, refusal: Refusal) -> Response<Full<Bytes>> {
        let reason = refusal.reason();
        if let Some(suppressed) = self.edge.refusals.admit() {
            let error: &dyn std::error::Error = &refusal;
            tracing::warn!(app = %self.edge.name, reason, suppressed, error, "callback refused");
        }
        match refusal {
            Refusal::Shape(_) => self.end(reason, empty(StatusCode::BAD_REQUEST)),
            Refusal::Verify(_) => self.end(reason, empty(StatusCode::FORBIDDEN)),
        }
    }
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.edge.counts.count(self.result, self.since.elapsed());
        self.span.record("result", self.result);
    }
}
