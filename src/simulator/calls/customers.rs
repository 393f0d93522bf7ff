//! Who customers are, and whom they are recommended to.
//!
//! Sources: <https://developer.work.weixin.qq.com/document/path/95159> (batchget),
//! <https://developer.work.weixin.qq.com/document/path/94674> (upgrade service),
//! <https://developer.work.weixin.qq.com/document/path/95153> (qualification).

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Answer;
use super::fields::{Fields, number, optional, required, text};
use crate::clock::UnixMillis;
use crate::id::{ExternalUserid, OpenKfid};
use crate::simulator::refusal::Refusal;
use crate::simulator::wecom::Wecom;

/// Most customers in one call.
const MAX_CUSTOMERS: usize = 100;
/// Longest words that go with a recommendation, in bytes. A guess.
const MAX_WORDING: usize = 1024;

/// What a client sends to `customer/batchget`.
#[derive(Deserialize, Debug)]
pub(super) struct BatchRequest {
    #[serde(default)]
    external_userid_list: Vec<String>,
    need_enter_session_context: Option<u8>,
}

/// Who was recommended to whom, and since when.
#[derive(Debug, Default)]
pub(in crate::simulator) struct Upgrades(HashMap<(OpenKfid, ExternalUserid), Upgrade>);

#[derive(Debug)]
struct Upgrade {
    to: UpgradeTo,
    at: UnixMillis,
}

/// What a customer was recommended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum UpgradeTo {
    Member,
    GroupChat,
}

impl Upgrades {
    /// What customers of an account were recommended, and when.
    pub(super) fn of<'a>(&'a self, open_kfid: &'a OpenKfid) -> impl Iterator<Item = (UpgradeTo, UnixMillis)> + 'a {
        let theirs = self.0.iter().filter(move |((account, _), _)| account == open_kfid);
        theirs.map(|(_, upgrade)| (upgrade.to, upgrade.at))
    }
}

impl Wecom {
    /// `POST /cgi-bin/kf/customer/batchget`. Only who entered or wrote within 48 hours is told.
    pub(super) fn customer_batchget(&self, request: &BatchRequest, now: UnixMillis) -> Answer {
        let ids = &request.external_userid_list;
        if !(1..=MAX_CUSTOMERS).contains(&ids.len()) {
            return Err(Refusal::parameter("invalid external_userid_list"));
        }
        let wants_context = match request.need_enter_session_context {
            None | Some(0) => false,
            Some(1) => true,
            Some(_) => return Err(Refusal::parameter("invalid need_enter_session_context")),
        };
        let (mut known, mut invalid) = (Vec::new(), Vec::new());
        for id in ids {
            match self.about(id, wants_context, now) {
                Some(customer) => known.push(customer),
                None => invalid.push(id),
            }
        }
        Ok(json!({ "customer_list": known, "invalid_external_userid": invalid }))
    }

    fn about(&self, id: &str, wants_context: bool, now: UnixMillis) -> Option<Value> {
        let mut recent = self.recent_conversations(id, now);
        let first = recent.next()?;
        // Names are taken from the id, so that each customer has one of their own.
        let tail = &id[id.floor_char_boundary(id.len().saturating_sub(4))..];
        let mut customer = json!({
            "external_userid": id, "nickname": format!("客户{tail}"),
            "avatar": format!("https://images.example.com/customers/{id}"), "gender": id.len() % 3
        });
        if wants_context {
            let contexts = std::iter::once(first).chain(recent);
            if let Some(context) = contexts.filter_map(|conversation| conversation.context()).next() {
                customer["enter_session_context"] = context.clone();
            }
        }
        Some(customer)
    }

    fn recent_conversations<'a>(
        &'a self,
        customer: &'a str,
        now: UnixMillis,
    ) -> impl Iterator<Item = &'a crate::simulator::conversation::Conversation> {
        let all = self.conversations.with(customer);
        all.filter(move |conversation| conversation.is_recent(&self.settings.replies, now))
    }

    /// `GET /cgi-bin/kf/customer/get_upgrade_service_config`.
    pub(super) fn upgrade_service_config(&self) -> Value {
        let range = &self.settings.upgrade;
        json!({
            "member_range": { "userid_list": range.members, "department_id_list": range.departments },
            "groupchat_range": { "chat_id_list": range.chats }
        })
    }

    /// `POST /cgi-bin/kf/customer/upgrade_service`.
    pub(super) fn upgrade_service(&mut self, request: &Fields, now: UnixMillis) -> Answer {
        let open_kfid = self.granted_account(text(request, "open_kfid")?)?;
        let customer = self.known_customer(request, "external_userid")?;
        let inside = |name: &'static str| {
            let inside = request.get(name).and_then(Value::as_object);
            inside.ok_or_else(|| Refusal::parameter(format!("field `{name}` is missing")))
        };
        let range = &self.settings.upgrade;
        let (to, is_offered) = match number(request, "type")? {
            Some(1) => {
                let member = inside("member")?;
                optional(member, "wording", MAX_WORDING)?;
                let userid = required(member, "userid", 64)?;
                let is_offered = range.members.iter().any(|member| member.as_str() == userid);
                (UpgradeTo::Member, is_offered)
            }
            Some(2) => {
                let chat = inside("groupchat")?;
                optional(chat, "wording", MAX_WORDING)?;
                let chat_id = required(chat, "chat_id", 64)?;
                (UpgradeTo::GroupChat, range.chats.iter().any(|chat| chat == chat_id))
            }
            _ => return Err(Refusal::parameter("invalid type")),
        };
        if !is_offered {
            return Err(Refusal::NOT_CONFIGURED);
        }
        if self.recent_conversations(customer.as_str(), now).next().is_none() {
            return Err(Refusal::NO_RECENT_CONTACT);
        }
        self.upgrades.0.insert((open_kfid, customer), Upgrade { to, at: now });
        Ok(json!({}))
    }

    /// `POST /cgi-bin/kf/customer/cancel_upgrade_service`.
    pub(super) fn cancel_upgrade_service(&mut self, request: &Fields) -> Answer {
        let open_kfid = self.granted_account(text(request, "open_kfid")?)?;
        let customer = self.known_customer(request, "external_userid")?;
        self.upgrades.0.remove(&(open_kfid, customer));
        Ok(json!({}))
    }

    /// `GET /cgi-bin/kf/get_corp_qualification`.
    pub(super) fn corp_qualification(&self) -> Value {
        json!({ "wechat_channels_binding": self.settings.wechat_channels_binding })
    }
}
