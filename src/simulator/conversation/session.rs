//! Who has a session, and giving it to somebody else: `service_state/get` and `service_state/trans`.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/94669>

use serde_json::{Value, json};

use super::code::{Occasion, new_code};
use super::{Conversation, ServiceState};
use crate::clock::UnixMillis;
use crate::id::{ExternalUserid, OpenKfid, ServicerUserid};
use crate::simulator::calls::Answer;
use crate::simulator::calls::fields::{Fields, required, text};
use crate::simulator::refusal::Refusal;
use crate::simulator::wecom::Wecom;

impl Wecom {
    /// `POST /cgi-bin/kf/service_state/get`.
    pub(in crate::simulator) fn service_state(&mut self, request: &Fields, now: UnixMillis) -> Answer {
        let (open_kfid, customer) = self.parties(request)?;
        let conversation = self.conversations.between(&open_kfid, &customer);
        let state = conversation.state(&self.settings.replies, now);
        let mut answer = json!({ "service_state": state.number() });
        if state == ServiceState::Servicer {
            answer["servicer_userid"] = json!(conversation.servicer);
        }
        Ok(answer)
    }

    /// `POST /cgi-bin/kf/service_state/trans`.
    pub(in crate::simulator) fn transfer(&mut self, request: &Fields, now: UnixMillis) -> Answer {
        let (open_kfid, customer) = self.parties(request)?;
        let wanted = request.get("service_state").and_then(Value::as_u64);
        let wanted = wanted
            .and_then(ServiceState::of)
            .ok_or_else(|| Refusal::parameter("invalid service_state"))?;
        let rules = self.settings.replies;
        let state = self.conversations.between(&open_kfid, &customer).state(&rules, now);
        if state == ServiceState::Ended {
            return Err(Refusal::SESSION_ENDED);
        }
        if !state.leads_to(wanted) {
            return Err(Refusal::WRONG_TRANSITION);
        }
        let servicer = if wanted == ServiceState::Servicer {
            let servicer = ServicerUserid::from(required(request, "servicer_userid", 64)?);
            self.colleagues.must_receive(&open_kfid, &servicer)?;
            Some(servicer)
        } else {
            None
        };
        let conversation = self.conversations.between(&open_kfid, &customer);
        let Some(occasion) = conversation.give_to(wanted, servicer) else {
            return Ok(json!({}));
        };
        let code = new_code(&mut self.rng);
        self.codes.issue(&code, &open_kfid, &customer, occasion, now);
        Ok(json!({ "msg_code": code }))
    }

    /// Account and customer that a request names.
    fn parties(&mut self, request: &Fields) -> Result<(OpenKfid, ExternalUserid), Refusal> {
        let open_kfid = self.granted_account(text(request, "open_kfid")?)?;
        Ok((open_kfid, self.known_customer(request, "external_userid")?))
    }
}

impl Conversation {
    /// Gives the session to whoever `state` means. Tells what a code is for that comes with it, if one does: the first
    /// time into the pool or to a colleague, and at the end.
    fn give_to(&mut self, state: ServiceState, servicer: Option<ServicerUserid>) -> Option<Occasion> {
        self.state = state;
        if servicer.is_some() {
            self.servicer = servicer;
        }
        let occasion = match state {
            ServiceState::Pool => Occasion::Pooled,
            ServiceState::Servicer => Occasion::Assigned,
            ServiceState::Ended => return Some(Occasion::Ended),
            ServiceState::New | ServiceState::Assistant => return None,
        };
        if self.coded.contains(&state) {
            return None;
        }
        self.coded.push(state);
        Some(occasion)
    }
}
