//! Traces, sent to an OpenTelemetry collector: OTLP over HTTP, in protobuf.
//!
//! Spans wait in a queue of bounded length and are sent in batches by a thread of its own; those that find it full are
//! dropped. Nothing of the server waits for the collector, except its end: two seconds at most.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::{self, Runtime};
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;
use url::Url;

use crate::span;

/// Longest time a batch may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time the end may take.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Events of one span: the messages that a pull stored.
const MOST_EVENTS: u32 = 1_000;

/// Sends traces until it is dropped.
#[derive(Debug)]
pub(super) struct Traces(SdkTracerProvider);

impl Traces {
    /// Will send traces to the collector at `endpoint`.
    pub(super) fn to(endpoint: &Url) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let mut address = endpoint.clone();
        address.set_path(&format!("{}/v1/traces", endpoint.path().trim_end_matches('/')));
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Sender::new()?)
            .with_endpoint(address)
            .with_timeout(TIMEOUT)
            .build()?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_max_events_per_span(MOST_EVENTS)
            .with_resource(Resource::builder().with_service_name("wecom-kf").build());
        Ok(Self(provider.build()))
    }

    /// What hears of spans.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("wecom-kf"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_level(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(|metadata| metadata.target() == span::TARGET))
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(LAST_WORDS) {
            tracing::warn!(error = &error as &dyn Error, "the last traces were not sent");
        }
    }
}

/// The current span as W3C's `traceparent`, to be passed on with a request. `None` if nobody collects it.
#[must_use]
pub fn traceparent() -> Option<String> {
    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    let (trace, id, flags) = (span.trace_id(), span.span_id(), span.trace_flags());
    (span.is_valid() && span.is_sampled()).then(|| format!("00-{trace}-{id}-{flags:02x}"))
}

/// Sends batches. Has a runtime of its own, because the thread that asks has none.
#[derive(Debug)]
struct Sender {
    http: reqwest::Client,
    runtime: Runtime,
    /// Whether the last batch did not get through: an outage is told once.
    failing: AtomicBool,
}

impl Sender {
    fn new() -> Result<Self, Box<dyn Error + Send + Sync>> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("wecom-kf/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self {
            http,
            runtime,
            failing: AtomicBool::new(false),
        })
    }

    async fn post(&self, request: Request<Bytes>) -> reqwest::Result<Response<Bytes>> {
        let (parts, body) = request.into_parts();
        let request = self.http.post(parts.uri.to_string()).headers(parts.headers).body(body);
        let answer = request.send().await.map_err(reqwest::Error::without_url)?;
        let answer = answer.error_for_status().map_err(reqwest::Error::without_url)?;
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = answer.status();
        *response.body_mut() = answer.bytes().await.map_err(reqwest::Error::without_url)?;
        Ok(response)
    }
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self.runtime.block_on(self.post(request));
        let was_failing = self.failing.swap(sent.is_err(), Ordering::Relaxed);
        if let Err(error) = &sent
            && !was_failing
        {
            tracing::warn!(
                error = error as &dyn Error,
                "traces do not get through: they are dropped until they do"
            );
        }
        Ok(sent?)
    }
}
