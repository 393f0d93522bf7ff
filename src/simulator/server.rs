//! WeCom's calls over HTTP.
//!
//! Every answer has status 200, also a refusal; what the client called is told by the errcode.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, Response, Uri};
use axum::routing::any;
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use rand::RngExt;

use super::calls::{SyncRequest, parse};
use super::fault::Fault;
use super::refusal::Refusal;
use super::wecom::Wecom;
use super::wire;
use super::world::World;
use crate::clock::UnixMillis;
use crate::id::OpenKfid;

/// Serves the three calls that a client needs.
pub(super) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/cgi-bin/gettoken", any(gettoken))
        .route("/cgi-bin/kf/sync_msg", any(sync_msg))
        .route("/cgi-bin/kf/account/list", any(account_list))
        .with_state(world)
}

async fn gettoken(State(world): State<Arc<World>>, method: Method, uri: Uri) -> Response<Body> {
    let [corpid, secret] = ["corpid", "corpsecret"].map(|name| parameter(&uri, name));
    answer(&world, |wecom, now| {
        must_be(&Method::GET, &method)?;
        wecom.gettoken(corpid.as_deref(), secret.as_deref(), now)
    })
    .await
}

async fn account_list(State(world): State<Arc<World>>, method: Method, uri: Uri, body: Bytes) -> Response<Body> {
    let access_token = parameter(&uri, "access_token");
    answer(&world, |wecom, now| {
        must_be(&Method::POST, &method)?;
        wecom.account_list(access_token.as_deref(), &body, now)
    })
    .await
}

async fn sync_msg(State(world): State<Arc<World>>, method: Method, uri: Uri, body: Bytes) -> Response<Body> {
    let access_token = parameter(&uri, "access_token");
    let request: Result<SyncRequest, Refusal> = parse(&body);
    let account = request.as_ref().ok().and_then(|request| request.open_kfid.as_deref());
    let _under_way = account.map(|id| PullUnderWay::new(world.clone(), OpenKfid::from(id)));
    answer(&world, |wecom, now| {
        must_be(&Method::POST, &method)?;
        wecom.sync_msg(access_token.as_deref(), request, now)
    })
    .await
}

/// Answers a call, with whatever happens to it on the way.
async fn answer(world: &World, call: impl FnOnce(&mut Wecom, UnixMillis) -> Result<String, Refusal>) -> Response<Body> {
    let latency = world.wecom().latency();
    if !latency.is_zero() {
        world.stop.run_until_cancelled(tokio::time::sleep(latency)).await;
    }
    let now = world.clock.now();
    let mut wecom = world.wecom();
    let json = match call(&mut wecom, now) {
        Ok(json) => json,
        Err(refusal) => wecom.refuse(&refusal, now),
    };
    wire::respond(json, wecom.damage())
}

impl Wecom {
    fn latency(&mut self) -> Duration {
        if self.suffers(Fault::Latency) {
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

fn must_be(expected: &Method, method: &Method) -> Result<(), Refusal> {
    if method == expected {
        Ok(())
    } else {
        Err(Refusal::parameter(format!("require {expected} method")))
    }
}

/// First value of the query parameter `name`, decoded.
fn parameter<'a>(uri: &'a Uri, name: &str) -> Option<Cow<'a, str>> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(key, _)| *key == name)?;
    Some(percent_decode_str(value).decode_utf8_lossy())
}
