//! WeCom's API for programs that must not learn an access token: `/apps/{app}/cgi-bin/…`, behind keys of our own.
//!
//! A bot in any language uses the SDK that it has, with another base URL: `https://here/apps/main` in the place of
//! `https://qyapi.weixin.qq.com`. An SDK that asks `gettoken` for an access token, with the key as `corpsecret`, is given
//! a [ticket](key) of ours; one that is given a token, or that can send `Authorization: Bearer`, takes the key itself.
//! WeCom's own token never leaves.
//!
//! | Answer | When | `errcode` |
//! |---|---|---|
//! | 200, 206 | WeCom answered, also if it refuses | WeCom's |
//! | 400, 408, 413 | the request is not whole, or too large | 40035, -1, 40206 |
//! | 401 | no key, a wrong one, or a ticket that has ended | 40014, 42001; 40001 of `gettoken` |
//! | 404 | no such app, or a call that is not on the list | 48002 |
//! | 405 | neither `GET` nor `POST` | 40035 |
//! | 429 | WeCom said lately that it is called too often; `Retry-After` | 45009 |
//! | 503 | too many at the same time, or no access token; `Retry-After` | 45033, -1 |
//! | 502, 504 | WeCom cannot be reached, or does not answer in time | -1 |
//!
//! Each has a JSON body of WeCom's shape. Those of ours have a status that is no success too, because there are SDKs that
//! answer 40014 with another call, and another, as long as the status is 200.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::BoxError;
use axum::http::request::Parts;
use axum::http::{Method, Request, Response, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Body;
use metrics::SharedString;
use serde_json::json;
use tokio::time::timeout;
use tower::{Service, service_fn};

use self::key::{Keys, TICKET_LIFETIME, Worth};
use self::refusal::{Refusal, json_answer};
use self::request::{KEPT_PATIENCE, Query};
use super::Limits;
use super::throttle::Throttle;
use crate::api::{Call, Client, Pass, Passed, Passing};
use crate::clock::Clock;
use crate::id::AppName;
use crate::metric;

mod key;
mod refusal;
mod request;
#[cfg(test)]
mod tests;

pub use key::{GatewayKey, GatewayKeyError};

/// Least time between two lines about requests without a key, or without an answer.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// Label of an app that there is not.
const NO_APP: &str = "unknown";

/// Who may call what.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "whoever opens a gateway says all of it")]
pub struct GatewaySettings {
    /// Keys that are good at the same time, at least one.
    pub keys: Vec<GatewayKey>,
    /// Calls that are passed on.
    pub calls: Vec<Call>,
    /// Longest a request may take from its turn on, the transfer of a file included.
    pub request_timeout: Duration,
}

/// Passes calls on to WeCom. Cheap to clone.
#[derive(Clone)]
pub struct Gateway(Arc<Shared>);

struct Shared {
    doors: Box<[Door]>,
    keys: Keys,
    calls: Box<[Call]>,
    request_timeout: Duration,
    clock: Arc<dyn Clock>,
    strangers: Throttle,
    failures: Throttle,
}

/// The way to one app.
struct Door {
    name: AppName,
    client: Client,
    /// Its name in metrics.
    label: SharedString,
}

impl Gateway {
    /// A gateway to `apps`.
    #[must_use]
    pub fn new(apps: Vec<(AppName, Client)>, settings: GatewaySettings, clock: Arc<dyn Clock>) -> Self {
        let door = |(name, client): (AppName, Client)| Door {
            label: Arc::<str>::from(name.as_str()).into(),
            name,
            client,
        };
        Self(Arc::new(Shared {
            doors: apps.into_iter().map(door).collect(),
            keys: Keys(settings.keys),
            calls: settings.calls.into(),
            request_timeout: settings.request_timeout,
            clock,
            strangers: Throttle::new(LOG_INTERVAL),
            failures: Throttle::new(LOG_INTERVAL),
        }))
    }

    /// What a connection may cost, with room for a file on a slow line.
    #[must_use]
    pub fn limits(&self, max_connections: usize) -> Limits {
        let transfer = self.0.request_timeout + Limits::default().header_timeout;
        Limits {
            max_connections,
            // The body of an answer counts as idling.
            idle_timeout: transfer.max(Limits::default().idle_timeout),
            request_timeout: KEPT_PATIENCE + transfer,
            drain_timeout: transfer,
            ..Limits::default()
        }
    }

    /// What [`serve()`](super::serve()) takes.
    pub fn service<B>(
        &self,
    ) -> impl Service<
        Request<B>,
        Response = Response<Passing>,
        Error = Infallible,
        Future: Future<Output = Result<Response<Passing>, Infallible>> + Send,
    > + Clone
    + Send
    + Sync
    + use<B>
    where
        B: Body<Data = Bytes> + Send + Sync + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let gateway = self.clone();
        service_fn(move |request| {
            let gateway = gateway.clone();
            async move { Ok(gateway.0.answer(request).await) }
        })
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.doors.iter().map(|door| &door.name))
            .finish()
    }
}

impl Shared {
    async fn answer<B>(&self, request: Request<B>) -> Response<Passing>
    where
        B: Body<Data = Bytes> + Send + Sync + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let (head, body) = request.into_parts();
        let (app, call) = request::address(head.uri.path()).unwrap_or_default();
        let door = self.doors.iter().find(|door| door.name.as_str() == app);
        let mut serving = Serving {
            app: door.map_or_else(|| NO_APP.into(), |door| door.label.clone()),
            result: "abandoned",
        };
        let query = Query::parse(head.uri.query());
        let answer = if call == Call::GetToken.as_str() {
            let ticket = self.ticket(&head.method, door, app, &query);
            ticket.map(|answer| ("ticket", answer.map(whole)))
        } else {
            let passed = self.pass(&head, door, app, call, query, body).await;
            passed.map(|answer| ("passed", answer))
        };
        let (result, answer) = answer.unwrap_or_else(|refusal| (refusal.result(), refusal.answer().map(whole)));
        serving.result = result;
        answer
    }

    /// What `gettoken` is answered: never what WeCom would.
    fn ticket(
        &self,
        method: &Method,
        door: Option<&Door>,
        app: &str,
        query: &Query,
    ) -> Result<Response<Bytes>, Refusal> {
        let key = query.only("corpsecret").unwrap_or_default();
        let ticket = self.keys.issue(key, app, self.clock.now());
        let ticket = ticket.ok_or_else(|| self.turned_away(Refusal::NoKey))?;
        door.ok_or(Refusal::NotFound)?;
        must_be_get_or_post(method)?;
        Ok(json_answer(&json!({
            "errcode": 0, "errmsg": "ok", "access_token": ticket, "expires_in": TICKET_LIFETIME.as_secs()
        })))
    }

    /// Tells the operator that somebody came without a key.
    fn turned_away(&self, refusal: Refusal) -> Refusal {
        if let Some(suppressed) = self.strangers.admit() {
            let reason = refusal.result();
            tracing::warn!(reason, suppressed, "gateway turned a request away");
        }
        refusal
    }

    async fn pass<B>(
        &self,
        head: &Parts,
        door: Option<&Door>,
        app: &str,
        call: &str,
        query: Query,
        body: B,
    ) -> Result<Response<Passing>, Refusal>
    where
        B: Body<Data = Bytes> + Send + Sync + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        // First, so that a stranger learns nothing of what there is.
        let shown = request::shown(&head.headers, &query).unwrap_or_default();
        match self.keys.worth(shown, app, self.clock.now()) {
            Worth::Good => {}
            Worth::Ended => return Err(self.turned_away(Refusal::Ended)),
            Worth::None => return Err(self.turned_away(Refusal::Stranger)),
        }
        let call = self.calls.iter().copied().find(|known| known.as_str() == call);
        let (Some(door), Some(call)) = (door, call) else {
            return Err(Refusal::NotFound);
        };
        must_be_get_or_post(&head.method)?;
        let pass = Pass {
            call,
            method: head.method.clone(),
            query: query.passed_on(),
            content_type: head.headers.get(header::CONTENT_TYPE).cloned(),
            range: head.headers.get(header::RANGE).cloned(),
            body: request::body(call, body).await?,
            timeout: moves_files(call).then_some(self.request_timeout),
        };
        match timeout(self.request_timeout, door.client.pass(pass)).await {
            Ok(Ok(Passed {
                status, headers, body, ..
            })) => {
                let mut answer = Response::new(body);
                *answer.status_mut() = status;
                *answer.headers_mut() = headers;
                Ok(answer)
            }
            Ok(Err(error)) => {
                let refusal = Refusal::from(&error);
                if let Some(suppressed) = self.failures.admit() {
                    let (call, reason) = (call.as_str(), refusal.result());
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(app, call, reason, suppressed, error, "gateway got no answer");
                }
                Err(refusal)
            }
            Err(_) => Err(Refusal::Late),
        }
    }
}

fn moves_files(call: Call) -> bool {
    matches!(call, Call::MediaUpload | Call::MediaGet)
}

fn must_be_get_or_post(method: &Method) -> Result<(), Refusal> {
    if matches!(*method, Method::GET | Method::POST) {
        Ok(())
    } else {
        Err(Refusal::Method)
    }
}

fn whole(body: Bytes) -> Passing {
    Full::new(body).map_err(|never| match never {}).boxed()
}

/// A request that is being answered. Counted when it ends, also when it is dropped unanswered because the peer went
/// away or took too long.
struct Serving {
    app: SharedString,
    result: &'static str,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let labels = [("app", self.app.clone()), ("result", self.result.into())];
        metrics::counter!(metric::GATEWAY_REQUESTS, &labels).increment(1);
    }
}
