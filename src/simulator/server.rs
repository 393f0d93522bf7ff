//! WeCom's calls over HTTP.
//!
//! Every answer has status 200, also a refusal; what the client called is told by the errcode.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{CONTENT_TYPE, RANGE};
use axum::http::{HeaderMap, HeaderName, Method, Response, Uri};
use axum::routing::any;
use bytes::Bytes;
use rand::RngExt;

use super::bell::News;
use super::calls::{Api, Request, SyncRequest, parse, well};
use super::fault::Fault;
use super::refusal::Refusal;
use super::wecom::Wecom;
use super::wire::{self, Reply};
use super::world::World;
use crate::clock::UnixMillis;
use crate::id::OpenKfid;

/// Largest form that is read, in bytes: more than any file in it may have, so that WeCom's own refusal is seen.
const LARGEST_FORM: usize = 64 << 20;

/// Serves WeCom's calls.
pub(super) fn router(world: Arc<World>) -> Router {
    let plain = Api::ALL.iter().filter(|api| !api.has_a_room_of_its_own());
    let router = plain.fold(Router::new(), |router, api| {
        let handler = move |State(world): State<Arc<World>>, method: Method, uri: Uri, body: Bytes| {
            plain_call(*api, world, method, uri, body)
        };
        router.route(&path(*api), any(handler))
    });
    router
        .route(&path(Api::SyncMsg), any(sync_msg))
        .route(
            &path(Api::MediaUpload),
            any(media_upload).layer(DefaultBodyLimit::max(LARGEST_FORM)),
        )
        .route(&path(Api::MediaGet), any(media_get))
        .with_state(world)
}

fn path(api: Api) -> String {
    format!("/cgi-bin/{api}")
}

async fn plain_call(api: Api, world: Arc<World>, method: Method, uri: Uri, body: Bytes) -> Response<Body> {
    let request = Request {
        method: &method,
        uri: &uri,
        body: &body,
    };
    answer(api, &world, |wecom, now| wecom.call(api, &request, now)).await
}

async fn sync_msg(State(world): State<Arc<World>>, method: Method, uri: Uri, body: Bytes) -> Response<Body> {
    let asked: Result<SyncRequest, Refusal> = parse(&body);
    let account = asked.as_ref().ok().and_then(|asked| asked.open_kfid.as_deref());
    let _under_way = account.map(|id| PullUnderWay::new(world.clone(), OpenKfid::from(id)));
    let request = Request {
        method: &method,
        uri: &uri,
        body: &body,
    };
    answer(Api::SyncMsg, &world, |wecom, now| wecom.sync_msg(&request, asked, now)).await
}

async fn media_upload(
    State(world): State<Arc<World>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let request = Request {
        method: &method,
        uri: &uri,
        body: &body,
    };
    let content_type = text(&headers, CONTENT_TYPE).unwrap_or_default();
    let kind = request.parameter("type");
    answer(Api::MediaUpload, &world, |wecom, now| {
        wecom.admit(Api::MediaUpload, &request, now)?;
        wecom.media_upload(kind.as_deref(), content_type, &body, now).map(well)
    })
    .await
}

async fn media_get(State(world): State<Arc<World>>, method: Method, uri: Uri, headers: HeaderMap) -> Response<Body> {
    let request = Request {
        method: &method,
        uri: &uri,
        body: &[],
    };
    let media_id = request.parameter("media_id");
    answer(Api::MediaGet, &world, |wecom, now| {
        wecom.admit(Api::MediaGet, &request, now)?;
        wecom.media_get(media_id.as_deref(), text(&headers, RANGE), now)
    })
    .await
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Answers a call, with whatever happens to it on the way.
async fn answer<R: Into<Reply>>(
    api: Api,
    world: &Arc<World>,
    call: impl FnOnce(&mut Wecom, UnixMillis) -> Result<R, Refusal>,
) -> Response<Body> {
    let (latency, is_lost) = {
        let mut wecom = world.wecom();
        (wecom.latency(api), wecom.suffers_on(api, Fault::CallLost))
    };
    if !latency.is_zero() {
        world.stop.run_until_cancelled(tokio::time::sleep(latency)).await;
    }
    if is_lost {
        return wire::hang_up();
    }
    let now = world.clock.now();
    let (reply, damage, news) = {
        let mut wecom = world.wecom();
        let reply = match call(&mut wecom, now) {
            Ok(reply) => reply.into(),
            Err(refusal) => wecom.refuse(&refusal, now).into(),
        };
        (reply, wecom.damage(api), std::mem::take(&mut wecom.news))
    };
    for open_kfid in &news {
        world.ring(&News::Messages(open_kfid));
    }
    wire::respond(reply, damage)
}

impl Wecom {
    fn latency(&mut self, api: Api) -> Duration {
        if self.suffers_on(api, Fault::Latency) {
            self.faults.slowness.mul_f64(self.rng.random())
        } else {
            Duration::ZERO
        }
    }

    fn refuse(&mut self, refusal: &Refusal, now: UnixMillis) -> String {
        *self.counts.refused.entry(refusal.errcode).or_default() += 1;
        refusal.body(now, &mut self.rng)
    }
}

/// A pull that is being answered. Over before the answer leaves, so that a client who waits for it never overlaps; and
/// when the client hangs up, which is noticed a moment later.
pub(super) struct PullUnderWay {
    world: Arc<World>,
    open_kfid: OpenKfid,
}

impl PullUnderWay {
    pub(super) fn new(world: Arc<World>, open_kfid: OpenKfid) -> Self {
        {
            let mut wecom = world.wecom();
            let pulls = wecom.pulls.entry(open_kfid.clone()).or_default();
            *pulls += 1;
            if *pulls > 1 {
                wecom.counts.overlap += 1;
            }
        }
        Self { world, open_kfid }
    }
}

impl Drop for PullUnderWay {
    fn drop(&mut self) {
        let mut wecom = self.world.wecom();
        if let Some(pulls) = wecom.pulls.get_mut(&self.open_kfid) {
            *pulls -= 1;
            if *pulls == 0 {
                wecom.pulls.remove(&self.open_kfid);
            }
        }
    }
}
