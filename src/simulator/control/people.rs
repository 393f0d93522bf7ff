//! People who act as somebody at a shell tells them, and what they saw.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, Response, Uri};
use axum::routing::{get, post};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ControlError, Partners, answer};
use crate::id::{ExternalUserid, Msgid, OpenKfid, ServicerUserid};
use crate::simulator::calls::Request;
use crate::simulator::conversation::Change;
use crate::simulator::world::World;

pub(super) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/simulator/enter", post(enter))
        .route("/simulator/tap", post(tap))
        .route("/simulator/session", post(change_session))
        .route("/simulator/failures", post(fail))
        .route("/simulator/seen", get(seen))
        .with_state(world)
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Enter {
    open_kfid: Option<OpenKfid>,
    external_userid: Option<ExternalUserid>,
    #[serde(default)]
    scene: String,
    #[serde(default)]
    scene_param: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tap {
    open_kfid: Option<OpenKfid>,
    external_userid: Option<ExternalUserid>,
    item: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeSession {
    open_kfid: Option<OpenKfid>,
    external_userid: Option<ExternalUserid>,
    change: Change,
    servicer_userid: ServicerUserid,
    other_servicer_userid: Option<ServicerUserid>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fail {
    open_kfid: Option<OpenKfid>,
    msgid: Msgid,
    fail_type: u32,
}

async fn enter(State(world): State<Arc<World>>, body: Bytes) -> Response<Body> {
    answer(enter_so(&world, &body))
}

fn enter_so(world: &Arc<World>, body: &[u8]) -> Result<Value, ControlError> {
    let asked: Enter = if body.is_empty() {
        Enter::default()
    } else {
        serde_json::from_slice(body)?
    };
    let (open_kfid, customer) = partners(asked.open_kfid, asked.external_userid).named_or_usual(world)?;
    let entry = world.enter(&open_kfid, &customer, &asked.scene, &asked.scene_param)?;
    let mut answer = json!({ "msgid": entry.msgid });
    if let Some(code) = entry.welcome_code {
        answer["welcome_code"] = json!(code);
    }
    Ok(answer)
}

async fn tap(State(world): State<Arc<World>>, body: Bytes) -> Response<Body> {
    answer(tap_so(&world, &body))
}

fn tap_so(world: &Arc<World>, body: &[u8]) -> Result<Value, ControlError> {
    let asked: Tap = serde_json::from_slice(body)?;
    let (open_kfid, customer) = partners(asked.open_kfid, asked.external_userid).named_or_usual(world)?;
    let msgid = world.tap(&open_kfid, &customer, &asked.item)?;
    Ok(json!({ "msgid": msgid }))
}

async fn change_session(State(world): State<Arc<World>>, body: Bytes) -> Response<Body> {
    answer(change_session_so(&world, &body))
}

fn change_session_so(world: &Arc<World>, body: &[u8]) -> Result<Value, ControlError> {
    let asked: ChangeSession = serde_json::from_slice(body)?;
    let (open_kfid, customer) = partners(asked.open_kfid, asked.external_userid).named_or_usual(world)?;
    let other = asked.other_servicer_userid.as_ref();
    let msgid = world.change_session(&open_kfid, &asked.servicer_userid, &customer, asked.change, other)?;
    Ok(json!({ "msgid": msgid }))
}

async fn fail(State(world): State<Arc<World>>, body: Bytes) -> Response<Body> {
    answer(fail_so(&world, &body))
}

fn fail_so(world: &Arc<World>, body: &[u8]) -> Result<Value, ControlError> {
    let asked: Fail = serde_json::from_slice(body)?;
    let open_kfid = world.wecom().account_or_first(asked.open_kfid)?;
    let msgid = world.fail_reply(&open_kfid, &asked.msgid, asked.fail_type)?;
    Ok(json!({ "msgid": msgid }))
}

async fn seen(State(world): State<Arc<World>>, method: Method, uri: Uri) -> Response<Body> {
    let request = Request {
        method: &method,
        uri: &uri,
        body: &[],
    };
    let [open_kfid, customer] = ["open_kfid", "external_userid"].map(|name| request.parameter(name));
    let all = world.wecom().replies.all().to_vec();
    let fits = |wanted: Option<&str>, id: &str| wanted.is_none_or(|wanted| wanted == id);
    let fitting = all.iter().filter(|seen| {
        fits(open_kfid.as_deref(), seen.open_kfid.as_str()) && fits(customer.as_deref(), seen.external_userid.as_str())
    });
    let seen: Vec<_> = fitting.map(Arc::as_ref).collect();
    answer(Ok(json!({ "seen": seen })))
}

fn partners(open_kfid: Option<OpenKfid>, external_userid: Option<ExternalUserid>) -> Partners {
    Partners {
        open_kfid,
        external_userid,
    }
}
