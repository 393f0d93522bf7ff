//! The simulator's own endpoints, for people who write a bot and have no WeCom.
//!
//! Described in the documentation of the [module](super).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response, StatusCode};
use axum::routing::{get, post};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::draft::{Draft, DraftError};
use super::fault::{Dial, Fault, Faults};
use super::samples::Sample;
use super::wecom::{UnknownAccount, Wecom};
use super::world::World;
use super::{UnknownEntry, UnknownName, UnknownReply};
use crate::id::{ExternalUserid, OpenKfid};

mod people;

/// Who speaks when a request does not say.
const SOMEBODY: &str = "wmSimulatedCustomer000000000001";

/// Serves `/simulator/…`.
pub(super) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/simulator/messages", post(say))
        .route("/simulator/conversation", post(converse))
        .route("/simulator/faults", get(faults).put(set_faults))
        .route("/simulator/ledger", get(ledger))
        .with_state(world.clone())
        .merge(people::router(world))
}

/// A message in few words.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Brief {
    open_kfid: Option<OpenKfid>,
    external_userid: Option<ExternalUserid>,
    text: Option<String>,
    sample: Option<String>,
}

/// Between whom a conversation takes place.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Partners {
    open_kfid: Option<OpenKfid>,
    external_userid: Option<ExternalUserid>,
}

impl Partners {
    fn named_or_usual(self, world: &World) -> Result<(OpenKfid, ExternalUserid), ControlError> {
        let customer = self.external_userid.unwrap_or_else(|| ExternalUserid::from(SOMEBODY));
        Ok((world.wecom().account_or_first(self.open_kfid)?, customer))
    }
}

/// Why a request to the simulator itself was refused. The answer tells: whoever asks sits at the same machine.
#[derive(Debug, thiserror::Error)]
enum ControlError {
    #[error("wrong json: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Draft(#[from] DraftError),
    #[error(transparent)]
    Account(#[from] UnknownAccount),
    #[error(transparent)]
    Sample(#[from] UnknownName),
    #[error(transparent)]
    Entry(#[from] UnknownEntry),
    #[error(transparent)]
    Reply(#[from] UnknownReply),
    #[error("a message must have a msgtype, a text or a sample")]
    NothingToSay,
    #[error("there is no account to say it on")]
    NoAccount,
}

async fn say(State(world): State<Arc<World>>, body: Bytes) -> Response<Body> {
    answer(say_it(&world, &body))
}

fn say_it(world: &Arc<World>, body: &[u8]) -> Result<Value, ControlError> {
    let item: Value = serde_json::from_slice(body)?;
    let (open_kfid, draft) = if item.get("msgtype").is_some() {
        let named = item.get("open_kfid").or_else(|| item.get("event")?.get("open_kfid"));
        (
            named.and_then(Value::as_str).map(OpenKfid::from),
            Draft::from_json(item)?,
        )
    } else {
        let brief: Brief = serde_json::from_value(item)?;
        let customer = brief.external_userid.unwrap_or_else(|| ExternalUserid::from(SOMEBODY));
        let draft = match (brief.text, brief.sample) {
            (Some(text), None) => Draft::text(&customer, text),
            (None, Some(sample)) => sample.parse::<Sample>()?.draft(&customer, &mut world.wecom().rng),
            _ => return Err(ControlError::NothingToSay),
        };
        (brief.open_kfid, draft)
    };
    let open_kfid = world.wecom().account_or_first(open_kfid)?;
    let msgid = world.say(&open_kfid, draft)?;
    Ok(json!({ "msgid": msgid }))
}

async fn converse(State(world): State<Arc<World>>, body: Bytes) -> Response<Body> {
    answer(converse_so(&world, &body))
}

fn converse_so(world: &Arc<World>, body: &[u8]) -> Result<Value, ControlError> {
    let partners: Partners = if body.is_empty() {
        Partners::default()
    } else {
        serde_json::from_slice(body)?
    };
    let (open_kfid, customer) = partners.named_or_usual(world)?;
    let msgids = world.converse(&open_kfid, &customer)?;
    Ok(json!({ "msgids": msgids }))
}

async fn faults(State(world): State<Arc<World>>) -> Response<Body> {
    answer(Ok(every_dial(&world)))
}

async fn set_faults(State(world): State<Arc<World>>, body: Bytes) -> Response<Body> {
    let set = serde_json::from_slice(&body).map(|faults| world.wecom().faults = faults);
    answer(set.map(|()| every_dial(&world)).map_err(ControlError::from))
}

/// The faults as they are set, those that are off included, so that one sees what there is.
fn every_dial(world: &World) -> Faults {
    let mut faults = world.wecom().faults.clone();
    let off: BTreeMap<_, _> = Fault::ALL.iter().map(|fault| (*fault, Dial::Chance(0.0))).collect();
    let set = std::mem::replace(&mut faults.dials, off);
    faults.dials.extend(set);
    faults
}

async fn ledger(State(world): State<Arc<World>>) -> Response<Body> {
    let counts = world.wecom().counts.clone();
    answer(Ok(counts))
}

impl Wecom {
    fn account_or_first(&self, named: Option<OpenKfid>) -> Result<OpenKfid, ControlError> {
        let first = || self.settings.accounts.first().map(|account| account.open_kfid.clone());
        named.or_else(first).ok_or(ControlError::NoAccount)
    }
}

fn answer<T: Serialize>(outcome: Result<T, ControlError>) -> Response<Body> {
    let (status, json) = match outcome.and_then(|body| Ok(serde_json::to_string(&body)?)) {
        Ok(json) => (StatusCode::OK, json),
        Err(error) => (
            StatusCode::BAD_REQUEST,
            json!({ "error": error.to_string() }).to_string(),
        ),
    };
    let mut response = Response::new(Body::from(json + "\n"));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
