//! The callback side: `GET` and `POST /callback/{app}`.
//!
//! Every request ends in one of a few answers with an empty body, whatever was wrong with it: the reason goes to a
//! metric and, at most once in a while, to the log. Nothing here waits for anything but the request's own body.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/90930>

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use metrics::SharedString;
use tokio::time::Instant;
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

/// Serves the callbacks of `apps`: each at `/callback/{name}`, and an only one at `/callback` too; a trailing slash is
/// tolerated. `clock` tells the age of a request, `notify` is handed what is authentic.
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
/// # Panics
///
/// When two apps have the same name, as axum does when two routes have the same path.
#[expect(clippy::needless_pass_by_value, reason = "every route keeps a share of both")]
pub fn callback_router(apps: Vec<CallbackApp>, clock: Arc<dyn Clock>, notify: Notify) -> Router {
    let is_only = apps.len() == 1;
    let mut router = Router::new();
    for app in apps {
        let edge = Arc::new(Edge {
            label: Arc::<str>::from(app.name.as_str()).into(),
            name: app.name,
            verifier: app.verifier,
            clock: Arc::clone(&clock),
            notify: Arc::clone(&notify),
            refusals: Throttle::new(REFUSAL_LOG_INTERVAL),
        });
        let own = format!("/callback/{}", edge.name);
        let mut paths = vec![format!("{own}/"), own];
        if is_only {
            paths.extend(["/callback".to_owned(), "/callback/".to_owned()]);
        }
        for path in paths {
            let methods = get(verify_url).post(receive).with_state(Arc::clone(&edge));
            router = router.route(&path, methods);
        }
    }
    router
}

/// What the routes of one app share.
struct Edge {
    name: AppName,
    /// The name again, as metrics take it without a copy.
    label: SharedString,
    verifier: Verifier,
    clock: Arc<dyn Clock>,
    notify: Notify,
    refusals: Throttle,
}

async fn verify_url(State(edge): State<Arc<Edge>>, RawQuery(query): RawQuery) -> Response {
    let answering = Answering::begin(&edge);
    match edge.verifier.verify_url(&query.unwrap_or_default(), edge.clock.now()) {
        Ok(echo) => answering.end("echo", text(echo)),
        Err(refusal) => answering.refuse(refusal),
    }
}

async fn receive(State(edge): State<Arc<Edge>>, RawQuery(query): RawQuery, body: Body) -> Response {
    let answering = Answering::begin(&edge);
    let body = match read(body).await {
        Ok(body) => body,
        Err(BodyError::TooLong) => return answering.end("too_large", StatusCode::PAYLOAD_TOO_LARGE),
        Err(BodyError::Broken) => return answering.end("incomplete", StatusCode::BAD_REQUEST),
    };
    match edge.verifier.open(&query.unwrap_or_default(), &body, edge.clock.now()) {
        Ok(notification) => {
            let kind = notification.kind();
            if let Notification::Other { name } = &notification {
                tracing::debug!(app = %edge.name, event = %name, "callback is not about customer service");
            }
            answering.span.in_scope(|| (edge.notify)(&edge.name, notification));
            answering.end(kind, text("success"))
        }
        Err(refusal) => answering.refuse(refusal),
    }
}

/// Why a body could not be had.
enum BodyError {
    TooLong,
    Broken,
}

async fn read(body: Body) -> Result<Bytes, BodyError> {
    // What is announced too long is not read at all.
    if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Err(BodyError::TooLong);
    }
    match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BodyError::TooLong),
        Err(_) => Err(BodyError::Broken),
    }
}

fn text(body: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain")], body.into()).into_response()
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

    fn end(mut self, result: &'static str, answer: impl IntoResponse) -> Response {
        self.result = result;
        answer.into_response()
    }

    fn refuse(self, refusal: Refusal) -> Response {
        let reason = refusal.reason();
        if let Some(suppressed) = self.edge.refusals.admit() {
            let error: &dyn std::error::Error = &refusal;
            tracing::warn!(app = %self.edge.name, reason, suppressed, error, "callback refused");
        }
        match refusal {
            Refusal::Shape(_) => self.end(reason, StatusCode::BAD_REQUEST),
            Refusal::Verify(_) => self.end(reason, StatusCode::FORBIDDEN),
        }
    }
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.span.record("result", self.result);
        metrics::counter!(metric::CALLBACKS, "app" => self.edge.label.clone(), "result" => self.result).increment(1);
        metrics::histogram!(metric::CALLBACK_SECONDS).record(self.since.elapsed());
    }
}
