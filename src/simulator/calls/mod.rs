//! WeCom's calls: their names, and who answers which.
//!
//! `door` decides who may ask at all. Every other room answers one family of calls; those about customers and their
//! messages stand in [`conversation`](super::conversation), those about files in [`media`](super::media).

use std::borrow::Cow;

use axum::http::{Method, Uri};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::refusal::Refusal;
use super::wecom::Wecom;
use crate::clock::UnixMillis;

mod accounts;
mod contact_way;
mod customers;
mod door;
pub(super) mod fields;
mod knowledge;
mod servicers;
mod statistics;
mod sync_msg;

pub(super) use contact_way::Links;
pub(super) use customers::Upgrades;
pub(super) use door::Quotas;
pub(super) use knowledge::Knowledge;
pub(super) use servicers::Colleagues;
pub(super) use sync_msg::{Pull, SyncRequest};

super::named::named! {
    /// A call of WeCom's API, by its path below `/cgi-bin/`.
    Api {
        /// Hands out the access token.
        Gettoken = "gettoken",
        /// Reads an account's messages.
        SyncMsg = "kf/sync_msg",
        /// Sends a message to a customer.
        SendMsg = "kf/send_msg",
        /// Sends the one message that an event's code allows.
        SendMsgOnEvent = "kf/send_msg_on_event",
        /// Tells who has a session.
        ServiceStateGet = "kf/service_state/get",
        /// Gives a session to somebody else, or ends it.
        ServiceStateTrans = "kf/service_state/trans",
        /// Takes back a message.
        RecallMsg = "kf/recall_msg",
        /// Lists the accounts.
        AccountList = "kf/account/list",
        /// Lets people serve an account.
        ServicerAdd = "kf/servicer/add",
        /// Lets people serve an account no more.
        ServicerDel = "kf/servicer/del",
        /// Lists who serves an account.
        ServicerList = "kf/servicer/list",
        /// Creates an account.
        AccountAdd = "kf/account/add",
        /// Deletes an account.
        AccountDel = "kf/account/del",
        /// Changes an account's name or picture.
        AccountUpdate = "kf/account/update",
        /// Makes a link to an account.
        AddContactWay = "kf/add_contact_way",
        /// Tells who customers are.
        CustomerBatchget = "kf/customer/batchget",
        /// Tells who can be recommended to customers.
        UpgradeServiceConfig = "kf/customer/get_upgrade_service_config",
        /// Recommends a colleague or a group chat to a customer.
        UpgradeService = "kf/customer/upgrade_service",
        /// Takes the recommendation back.
        CancelUpgradeService = "kf/customer/cancel_upgrade_service",
        /// Tells what the corporation has.
        CorpQualification = "kf/get_corp_qualification",
        /// Tells how much was said on an account, day by day.
        CorpStatistic = "kf/get_corp_statistic",
        /// Tells how much a colleague did, day by day.
        ServicerStatistic = "kf/get_servicer_statistic",
        /// Adds a group of questions.
        KnowledgeAddGroup = "kf/knowledge/add_group",
        /// Deletes a group of questions.
        KnowledgeDelGroup = "kf/knowledge/del_group",
        /// Names a group of questions.
        KnowledgeModGroup = "kf/knowledge/mod_group",
        /// Lists the groups of questions.
        KnowledgeListGroup = "kf/knowledge/list_group",
        /// Adds a question and its answer.
        KnowledgeAddIntent = "kf/knowledge/add_intent",
        /// Deletes a question.
        KnowledgeDelIntent = "kf/knowledge/del_intent",
        /// Changes a question or its answer.
        KnowledgeModIntent = "kf/knowledge/mod_intent",
        /// Lists the questions.
        KnowledgeListIntent = "kf/knowledge/list_intent",
        /// Takes a file.
        MediaUpload = "media/upload",
        /// Hands a file out.
        MediaGet = "media/get",
    }
}

impl Api {
    /// Whether the wire treats it differently from all the others.
    pub(super) fn has_a_room_of_its_own(self) -> bool {
        matches!(self, Self::SyncMsg | Self::MediaUpload | Self::MediaGet)
    }

    /// How it must be called.
    pub(super) fn method(self) -> Method {
        match self {
            Self::Gettoken
            | Self::ServicerList
            | Self::UpgradeServiceConfig
            | Self::CorpQualification
            | Self::MediaGet => Method::GET,
            _ => Method::POST,
        }
    }
}

/// What a client sent.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) body: &'a [u8],
}

impl<'a> Request<'a> {
    /// First value of the query parameter `name`, decoded.
    pub(super) fn parameter(&self, name: &str) -> Option<Cow<'a, str>> {
        let pairs = self.uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.into_iter().find(|(key, _)| *key == name)?;
        Some(percent_decode_str(value).decode_utf8_lossy())
    }

    /// Refuses any other method than the one of `api`.
    pub(super) fn must_suit(&self, api: Api) -> Result<(), Refusal> {
        let expected = api.method();
        if *self.method == expected {
            Ok(())
        } else {
            Err(Refusal::parameter(format!("require {expected} method")))
        }
    }
}

/// Reads a request as WeCom does: what is no JSON and what is the wrong JSON are two errors.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        if error.is_data() {
            Refusal::parameter("invalid Request Parameter")
        } else {
            Refusal::BAD_JSON
        }
    })
}

/// What a call tells besides that it went well.
pub(super) type Answer = Result<Value, Refusal>;

impl Wecom {
    /// Answers any call but those that need a room of their own on the wire: `sync_msg` and those of media.
    pub(super) fn call(&mut self, api: Api, request: &Request<'_>, now: UnixMillis) -> Result<String, Refusal> {
        if api == Api::Gettoken {
            request.must_suit(api)?;
            return self.gettoken(request, now).map(well);
        }
        self.admit(api, request, now)?;
        let body = request.body;
        let answer = match api {
            Api::SendMsg => self.send_msg(parse(body)?, now),
            Api::SendMsgOnEvent => self.send_msg_on_event(parse(body)?, now),
            Api::ServiceStateGet => self.service_state(&parse(body)?, now),
            Api::ServiceStateTrans => self.transfer(&parse(body)?, now),
            Api::RecallMsg => self.recall_msg(&parse(body)?, now),
            Api::ServicerAdd => self.servicer_add(&parse(body)?),
            Api::ServicerDel => self.servicer_del(&parse(body)?),
            Api::ServicerList => self.servicer_list(request),
            Api::AccountList => self.account_list(&parse(body)?),
            Api::AccountAdd => self.account_add(&parse(body)?, now),
            Api::AccountDel => self.account_del(&parse(body)?),
            Api::AccountUpdate => self.account_update(&parse(body)?, now),
            Api::AddContactWay => self.add_contact_way(&parse(body)?),
            Api::CustomerBatchget => self.customer_batchget(&parse(body)?, now),
            Api::UpgradeServiceConfig => Ok(self.upgrade_service_config()),
            Api::UpgradeService => self.upgrade_service(&parse(body)?, now),
            Api::CancelUpgradeService => self.cancel_upgrade_service(&parse(body)?),
            Api::CorpQualification => Ok(self.corp_qualification()),
            Api::CorpStatistic => self.corp_statistic(&parse(body)?, now),
            Api::ServicerStatistic => self.servicer_statistic(&parse(body)?, now),
            Api::KnowledgeAddGroup => self.knowledge.add_group(&parse(body)?, &mut self.rng),
            Api::KnowledgeDelGroup => self.knowledge.del_group(&parse(body)?),
            Api::KnowledgeModGroup => self.knowledge.mod_group(&parse(body)?),
            Api::KnowledgeListGroup => self.knowledge.list_group(&parse(body)?),
            Api::KnowledgeAddIntent => self.knowledge.add_intent(parse(body)?, &self.media, &mut self.rng, now),
            Api::KnowledgeDelIntent => self.knowledge.del_intent(&parse(body)?),
            Api::KnowledgeModIntent => self.knowledge.mod_intent(parse(body)?, &self.media, now),
            Api::KnowledgeListIntent => self.knowledge.list_intent(&parse(body)?),
            Api::Gettoken | Api::SyncMsg | Api::MediaUpload | Api::MediaGet => Err(Refusal::parameter("invalid path")),
        };
        answer.map(well)
    }
}

/// An answer as WeCom writes it when all is well.
pub(super) fn well(fields: Value) -> String {
    let mut answer = Map::new();
    answer.insert("errcode".to_owned(), json!(0));
    answer.insert("errmsg".to_owned(), json!("ok"));
    if let Value::Object(fields) = fields {
        answer.extend(fields);
    }
    Value::Object(answer).to_string()
}
