//! The admin side: health, readiness and metrics, on a listener of its own.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// Longest wait for a [`ReadyCheck`]: a store that hangs is a store that is not there.
const READY_DEADLINE: Duration = Duration::from_secs(2);

/// Whether work should be sent here.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Readiness {
    /// Yes.
    Ready,
    /// Not now.
    NotReady {
        /// Why, in a few words for the operator. Shown to whoever asks.
        reason: Box<str>,
    },
}

/// Finds out whether work should be sent here. Given two seconds for it.
pub type ReadyCheck = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Readiness> + Send>> + Send + Sync>;

/// Renders the metrics as Prometheus text.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// Serves `/healthz` (the process lives), `/readyz` (what `ready` says: 200, or 503 and the reason) and `/metrics`.
///
/// Nothing here is authenticated: it belongs on a listener that strangers do not reach.
pub fn admin_router(ready: ReadyCheck, render_metrics: RenderMetrics) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(readyz).with_state(ready))
        .route("/metrics", get(metrics).with_state(render_metrics))
}

async fn readyz(State(ready): State<ReadyCheck>) -> Response {
    match tokio::time::timeout(READY_DEADLINE, ready()).await {
        Ok(Readiness::Ready) => "ready".into_response(),
        Ok(Readiness::NotReady { reason }) => (StatusCode::SERVICE_UNAVAILABLE, String::from(reason)).into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the check took too long").into_response(),
    }
}

async fn metrics(State(render): State<RenderMetrics>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], render()).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn ask(path: &str, ready: ReadyCheck) -> (StatusCode, String, String) {
        let router = admin_router(ready, Arc::new(|| "wecom_kf_callbacks_total 1\n".to_owned()));
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = router.oneshot(request).await.unwrap();
        let content_type = answer.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, content_type, String::from_utf8(body.into()).unwrap())
    }

    fn says(readiness: Readiness) -> ReadyCheck {
        Arc::new(move || Box::pin(std::future::ready(readiness.clone())))
    }

    fn draining() -> ReadyCheck {
        says(Readiness::NotReady {
            reason: "draining".into(),
        })
    }

    #[tokio::test]
    async fn readiness_is_what_the_check_says() {
        let (status, _, body) = ask("/readyz", says(Readiness::Ready)).await;
        assert_eq!((status, &*body), (StatusCode::OK, "ready"));
        let (status, _, body) = ask("/readyz", draining()).await;
        assert_eq!((status, &*body), (StatusCode::SERVICE_UNAVAILABLE, "draining"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_hangs_means_not_ready() {
        let (status, _, _) = ask("/readyz", Arc::new(|| Box::pin(std::future::pending()))).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn health_does_not_depend_on_readiness() {
        let (status, _, body) = ask("/healthz", draining()).await;
        assert_eq!((status, &*body), (StatusCode::OK, "ok"));
    }

    #[tokio::test]
    async fn metrics_are_served_as_prometheus_text() {
        let (status, content_type, body) = ask("/metrics", draining()).await;
        assert_eq!((status, &*content_type), (StatusCode::OK, "text/plain; version=0.0.4"));
        assert_eq!(body, "wecom_kf_callbacks_total 1\n");
    }
}
