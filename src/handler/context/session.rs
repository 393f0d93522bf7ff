//! Who answers the customer.

use super::code::Code;
use super::speech::{Failed, knows};
use super::{Context, ReplyError, Sent};
use crate::api::{ApiError, Client, ErrCode, EventMessage, ServiceSession, ServiceState, Transfer, TransferTo};
use crate::clock::UnixMillis;
use crate::id::ExternalUserid;

impl Context {
    pub(super) async fn ask_session(&self) -> Result<ServiceSession, ReplyError> {
        let client = self.client()?;
        let message = self.message();
        let customer = message.external_userid.as_ref().ok_or(ReplyError::NoCustomer)?;
        Ok(self.session_of(client, customer).await?)
    }

    pub(super) async fn transfer_as(
        &self,
        index: u32,
        to: TransferTo<'_>,
        notice: Option<EventMessage>,
    ) -> Result<Option<Sent>, ReplyError> {
        let client = self.client()?;
        let message = self.message();
        let customer = message.external_userid.as_ref().ok_or(ReplyError::NoCustomer)?;
        if let Some(notice) = &notice {
            notice.check().map_err(ReplyError::Invalid)?;
        }
        let lane = self.lane(&message);
        let transfer = Transfer {
            open_kfid: &self.account().open_kfid,
            external_userid: customer,
            to,
        };
        let _turn = self.turn().await;
        let code = match self.patiently(|| client.transfer(&transfer)).await {
            Ok(code) => code,
            Err(Failed { error, .. }) if is_refused_change(&error) => {
                let session = self.session_of(client, customer).await?;
                if !has_come_to(&session, to) {
                    return Err(ReplyError::of_refusal(error));
                }
                let msgid = self.reply_id(index, 0);
                let said = knows(&self.said(lane).await?, &msgid);
                let msgids = vec![msgid];
                return Ok(said.then_some(Sent { index, msgids }));
            }
            Err(failed) => return Err(failed.into()),
        };
        let (Some(code), Some(notice)) = (code, notice) else {
            return Ok(None);
        };
        let now = self.desk().map_or_else(UnixMillis::default, |desk| desk.clock().now());
        let code = Code::of_transfer(code.expose(), to, now);
        self.say_on_event(client, lane, index, &code, &notice).await.map(Some)
    }

    async fn session_of(&self, client: &Client, customer: &ExternalUserid) -> Result<ServiceSession, Failed> {
        let open_kfid = &self.account().open_kfid;
        self.patiently(|| client.service_state(open_kfid, customer)).await
    }

    /// What WeCom's refusal of a message means, where `needed` were still to be sent. One code of WeCom's has several
    /// meanings, among which the session's state decides.
    pub(super) async fn why_not(
        &self,
        client: &Client,
        customer: &ExternalUserid,
        error: ApiError,
        needed: usize,
    ) -> ReplyError {
        match error.errcode() {
            Some(ErrCode::TOO_MANY_MESSAGES) => ReplyError::OverBudget { needed, left: 0 },
            Some(ErrCode::SESSION_STATE_FORBIDS) => match self.session_of(client, customer).await {
                Ok(session) => ReplyError::of_session(session, error),
                Err(_) => error.into(),
            },
            _ => ReplyError::of_refusal(error),
        }
    }
}

impl ReplyError {
    /// What a refusal means that says it all.
    fn of_refusal(error: ApiError) -> Self {
        match error.errcode() {
            Some(ErrCode::REPLY_WINDOW_CLOSED | ErrCode::NO_MESSAGE_IN_48H | ErrCode::NO_CONSULTATION_IN_48H) => {
                Self::WindowClosed
            }
            Some(ErrCode::SESSION_ENDED) => Self::SessionEnded,
            _ => error.into(),
        }
    }

    /// What it means that a message was refused in this `session`.
    fn of_session(session: ServiceSession, error: ApiError) -> Self {
        match session.state {
            ServiceState::Pool => Self::SessionWithHuman { servicer_userid: None },
            ServiceState::Human => Self::SessionWithHuman {
                servicer_userid: session.servicer_userid,
            },
            ServiceState::Ended => Self::SessionEnded,
            // The session is ours: the other thing that this refusal may mean.
            ServiceState::Unhandled | ServiceState::Assistant => Self::WindowClosed,
            _ => error.into(),
        }
    }
}

/// Whether WeCom says that a session does not go from where it is to where it was to go.
fn is_refused_change(error: &ApiError) -> bool {
    matches!(
        error.errcode(),
        Some(ErrCode::INVALID_TRANSITION | ErrCode::SESSION_ENDED)
    )
}

/// Whether `session` is where it was to go, by an earlier try of ours or otherwise.
fn has_come_to(session: &ServiceSession, to: TransferTo<'_>) -> bool {
    match to {
        TransferTo::Assistant => session.state == ServiceState::Assistant,
        // Somebody may have taken it out of the pool.
        TransferTo::Pool => matches!(session.state, ServiceState::Pool | ServiceState::Human),
        TransferTo::Human(servicer) => {
            session.state == ServiceState::Human && session.servicer_userid.as_ref() == Some(servicer)
        }
        TransferTo::Ended => session.state == ServiceState::Ended,
    }
}
