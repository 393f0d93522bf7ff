//! The gateway before a WeCom that keeps what it is asked, without a socket on the side of the caller.

mod doors;
mod fake;
mod files;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use axum::BoxError;
use axum::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;
use tower::ServiceExt as _;

use self::fake::Fake;
use super::{Gateway, GatewayKey, GatewaySettings};
use crate::api::{self, Call, Client};
use crate::clock::{ManualClock, SystemClock, UnixMillis};
use crate::http::Limits;
use crate::id::{AppName, CorpId};

const KEY: &str = "key-key-key-key-key-key-key-key-1";
const OTHER_KEY: &str = "other-key-other-key-other-key-ok";
/// WeCom's own, which no caller may ever see.
const TOKEN: &str = "canary-token";
const SECRET: &str = "canary-secret";
const OK: &str = r#"{"errcode":0,"errmsg":"ok"}"#;

type Body = BoxBody<Bytes, BoxError>;

/// The gateway, with the clock that its tickets go by.
struct Stage {
    gateway: Gateway,
    clock: ManualClock,
}

/// What the caller got.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    fn errcode(&self) -> i64 {
        self.json()["errcode"].as_i64().unwrap()
    }
}

impl Stage {
    fn before(fake: &Fake) -> Self {
        Self::with(fake, |_| {})
    }

    /// Two apps, `main` and `second`, at the same WeCom.
    fn with(fake: &Fake, change: impl Fn(&mut api::Settings)) -> Self {
        let app = |name: &str| {
            let mut settings = api::Settings::new(CorpId::from("ww1"), SECRET.into());
            fake.base.clone_into(&mut settings.api_base);
            change(&mut settings);
            let client = Client::new(settings, Arc::new(SystemClock)).unwrap();
            (AppName::new(name).unwrap(), client)
        };
        let clock = ManualClock::new(UnixMillis(1_760_000_000_000));
        let settings = GatewaySettings {
            keys: [OTHER_KEY, KEY]
                .map(|key| GatewayKey::parse(&key.into()).unwrap())
                .into(),
            // Not all, so that it shows what is on the list.
            calls: vec![Call::SendMsg, Call::SyncMsg, Call::MediaUpload, Call::MediaGet],
            request_timeout: Duration::from_secs(60),
        };
        let gateway = Gateway::new(vec![app("main"), app("second")], settings, Arc::new(clock.clone()));
        Self { gateway, clock }
    }

    async fn ask(&self, request: Request<Body>) -> Answer {
        let answer = self.gateway.service().oneshot(request).await.unwrap();
        let (head, body) = answer.into_parts();
        Answer {
            status: head.status,
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    async fn post(&self, path_and_query: &str, body: impl Into<Bytes>) -> Answer {
        self.ask(with_key(Request::post(path_and_query), whole(body))).await
    }

    async fn get(&self, path_and_query: &str) -> Answer {
        self.ask(with_key(Request::get(path_and_query), whole(""))).await
    }

    async fn send_msg(&self) -> Answer {
        self.post("/apps/main/cgi-bin/kf/send_msg", r#"{"touser":"wm1"}"#).await
    }
}

fn whole(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).map_err(|never| match never {}).boxed()
}

fn with_key(request: axum::http::request::Builder, body: Body) -> Request<Body> {
    let request = request.header("authorization", format!("Bearer {KEY}"));
    request.body(body).unwrap()
}

#[test]
fn a_connection_may_last_as_long_as_a_file_takes() {
    let settings = GatewaySettings {
        keys: vec![],
        calls: vec![],
        request_timeout: Duration::from_secs(600),
    };
    let gateway = Gateway::new(vec![], settings, Arc::new(SystemClock));
    let limits = gateway.limits(7);
    assert_eq!(limits.max_connections, 7);
    for limit in [limits.idle_timeout, limits.request_timeout, limits.drain_timeout] {
        assert!(limit > Duration::from_secs(600), "{limits:?}");
    }
    assert_eq!(
        limits.header_timeout,
        Limits::default().header_timeout,
        "strangers are not waited for"
    );
}
