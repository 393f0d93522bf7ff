//! `kf/service_state`: who answers a customer, and handing over.
//!
//! A session is new, with the assistant (that is us), waiting in the pool, with a colleague, or over. It ends 48 h
//! after it began, or when a colleague or the API ends it; the customer's next message begins another.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/94669>

use std::fmt;

use serde::Deserialize;
use serde_json::json;

use super::answer::Answer;
use super::field::required;
use super::{ApiError, Call, Client, FieldError, Problem};
use crate::id::{ExternalUserid, OpenKfid, ServicerUserid};
use crate::message::open_number;

open_number! {
    /// Who answers a customer.
    pub enum ServiceState {
        /// Nobody yet: the API may, and thereby becomes the assistant.
        Unhandled = 0,
        /// The assistant, by API.
        Assistant = 1,
        /// A colleague, as soon as one takes the session out of the pool.
        Pool = 2,
        /// A colleague.
        Human = 3,
        /// Nobody: the session is over, or has not begun.
        Ended = 4,
    }
}

impl ServiceState {
    /// Whether [`Client::send_msg`] is accepted (else 95018).
    #[must_use]
    pub fn may_send(self) -> bool {
        matches!(self, Self::Unhandled | Self::Assistant)
    }
}

/// Who answers a customer, and by name if it is a colleague.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ServiceSession {
    /// Which kind of answerer.
    pub state: ServiceState,
    /// Which colleague, while the state is [`Human`](ServiceState::Human).
    pub servicer_userid: Option<ServicerUserid>,
}

/// Whom a session is handed to. Those that the session's state does not allow are refused with 95016.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TransferTo<'a> {
    /// The assistant, by API. From a new session only.
    Assistant,
    /// Whoever takes it out of the pool.
    Pool,
    /// This colleague, who must be receiving (else 95014 or 95019).
    Human(&'a ServicerUserid),
    /// Nobody: the session ends.
    Ended,
}

impl TransferTo<'_> {
    fn state(self) -> ServiceState {
        match self {
            Self::Assistant => ServiceState::Assistant,
            Self::Pool => ServiceState::Pool,
            Self::Human(_) => ServiceState::Human,
            Self::Ended => ServiceState::Ended,
        }
    }
}

/// A change of who answers.
#[derive(Clone, Copy, Debug)]
pub struct Transfer<'a> {
    /// Account of the session.
    pub open_kfid: &'a OpenKfid,
    /// Customer of the session.
    pub external_userid: &'a ExternalUserid,
    /// Who answers from now on.
    pub to: TransferTo<'a>,
}

/// Code for one [`SendMsgOnEvent`](super::SendMsgOnEvent). Not shown in `Debug`: whoever has it may speak.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct MsgCode(Box<str>);

impl MsgCode {
    /// The code itself, for the one request that must carry it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for MsgCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MsgCode(…)")
    }
}

impl Client {
    /// Asks who answers a customer.
    ///
    /// # Errors
    ///
    /// [`ApiError::Invalid`] for an empty id, without a call. See [`ApiError`] for the rest.
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/94669>
    pub async fn service_state(
        &self,
        open_kfid: &OpenKfid,
        external_userid: &ExternalUserid,
    ) -> Result<ServiceSession, ApiError> {
        let call = Call::ServiceStateGet;
        call.checked(check(open_kfid, external_userid))?;
        let body = json!({ "open_kfid": open_kfid, "external_userid": external_userid });
        self.post(call, &body, &[external_userid.as_str()], read_session).await
    }

    /// Changes who answers a customer. The first change to the pool or to a colleague and each change to the end return
    /// a code, with which one message may be sent: words that hand over or say goodbye.
    ///
    /// Not safe to repeat blindly: after a success that was not heard of, the same change may be refused with 95016 or
    /// 95013. Ask for the [`service_state`](Self::service_state) then.
    ///
    /// # Errors
    ///
    /// [`ApiError::Invalid`] for an empty id, without a call. [`ApiError::Rejected`] when WeCom says no. See
    /// [`ApiError`] for the rest.
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/94669>
    pub async fn transfer(&self, transfer: &Transfer<'_>) -> Result<Option<MsgCode>, ApiError> {
        let call = Call::ServiceStateTrans;
        let Transfer {
            open_kfid,
            external_userid,
            to,
        } = transfer;
        call.checked(check(open_kfid, external_userid))?;
        let mut body = json!({
            "open_kfid": open_kfid,
            "external_userid": external_userid,
            "service_state": to.state(),
        });
        if let TransferTo::Human(servicer) = to {
            call.checked(required("servicer_userid", servicer.as_str()))?;
            body["servicer_userid"] = servicer.as_str().into();
        }
        self.post(call, &body, &[external_userid.as_str()], read_msg_code).await
    }
}

fn check(open_kfid: &OpenKfid, external_userid: &ExternalUserid) -> Result<(), FieldError> {
    required("open_kfid", open_kfid.as_str())?;
    required("external_userid", external_userid.as_str())
}

#[derive(Deserialize)]
struct SessionBody {
    service_state: ServiceState,
    servicer_userid: Option<ServicerUserid>,
}

fn read_session(answer: &Answer) -> Result<ServiceSession, Problem> {
    let body: SessionBody = answer.read()?;
    Ok(ServiceSession {
        state: body.service_state,
        servicer_userid: body.servicer_userid.filter(|servicer| !servicer.as_str().is_empty()),
    })
}

#[derive(Deserialize)]
struct TransferBody {
    msg_code: Option<MsgCode>,
}

fn read_msg_code(answer: &Answer) -> Result<Option<MsgCode>, Problem> {
    let body: TransferBody = answer.read()?;
    Ok(body.msg_code.filter(|code| !code.expose().is_empty()))
}
