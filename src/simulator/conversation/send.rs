//! Sending to a customer: `send_msg` and `send_msg_on_event`.
//!
//! A repeated msgid is refused before anything else about the conversation is looked at, so that whoever repeats a
//! call whose answer was lost learns that it had been accepted. WeCom does not say in which order it looks.
//!
//! Sources: <https://developer.work.weixin.qq.com/document/path/94677>,
//! <https://developer.work.weixin.qq.com/document/path/95122>

use serde_json::{Value, json};

use super::code::Occasion;
use super::content::{Surroundings, check};
use super::seen::Accepted;
use crate::clock::UnixMillis;
use crate::id::{ExternalUserid, Msgid, OpenKfid};
use crate::simulator::calls::Answer;
use crate::simulator::calls::fields::{Fields, required, text};
use crate::simulator::refusal::Refusal;
use crate::simulator::samples::alphanumeric;
use crate::simulator::wecom::Wecom;

/// Most entries of a menu: in an answer, and in a message on an event.
const MENU_ENTRIES: usize = 50;
const MENU_ENTRIES_ON_EVENT: usize = 10;
/// Longest msgid that a client may choose, in bytes.
const MAX_MSGID: usize = 32;

impl Wecom {
    /// `POST /cgi-bin/kf/send_msg`.
    pub(in crate::simulator) fn send_msg(&mut self, mut request: Fields, now: UnixMillis) -> Answer {
        let open_kfid = self.granted_account(text(&request, "open_kfid")?)?;
        let customer = self.known_customer(&request, "touser")?;
        let msgid = self.chosen_msgid(&request)?;
        let msgtype = msgtype(&request)?;
        let body = self.content(&msgtype, &mut request, MENU_ENTRIES, now)?;
        self.must_be_new(&open_kfid, msgid.as_ref())?;
        let rules = self.settings.replies;
        let conversation = self.conversations.get_mut(&open_kfid, customer.as_str());
        let conversation = conversation.ok_or(Refusal::WRONG_STATE)?;
        conversation.may_be_answered(&rules, now)?;
        conversation.answered();
        let accepted = Accepted {
            open_kfid,
            customer,
            msgid: msgid.unwrap_or_else(|| self.made_up_msgid()),
            occasion: Occasion::Reply,
            msgtype,
            body,
        };
        Ok(self.accept(accepted, now))
    }

    /// `POST /cgi-bin/kf/send_msg_on_event`.
    pub(in crate::simulator) fn send_msg_on_event(&mut self, mut request: Fields, now: UnixMillis) -> Answer {
        let code_text = required(&request, "code", usize::MAX)?.to_owned();
        let code = self.codes.get(&code_text).ok_or(Refusal::BAD_CODE)?;
        let (open_kfid, customer, occasion) = (code.open_kfid.clone(), code.customer.clone(), code.occasion);
        self.granted_account(Some(open_kfid.as_str()))?;
        let msgid = self.chosen_msgid(&request)?;
        let msgtype = msgtype(&request)?;
        let body = self.content(&msgtype, &mut request, MENU_ENTRIES_ON_EVENT, now)?;
        self.must_be_new(&open_kfid, msgid.as_ref())?;
        let code = self.codes.get(&code_text).ok_or(Refusal::BAD_CODE)?;
        let conversation = self.conversations.get(&open_kfid, customer.as_str());
        code.check(conversation, &self.settings.replies, now)?;
        if !code.allows(&msgtype) {
            return Err(Refusal::BAD_MSGTYPE);
        }
        self.codes.use_up(&code_text);
        if occasion == Occasion::Welcome {
            self.conversations.between(&open_kfid, &customer).last_welcome = Some(now);
        }
        let accepted = Accepted {
            open_kfid,
            customer,
            msgid: msgid.unwrap_or_else(|| self.made_up_msgid()),
            occasion,
            msgtype,
            body,
        };
        Ok(self.accept(accepted, now))
    }

    fn accept(&mut self, accepted: Accepted, now: UnixMillis) -> Value {
        let (open_kfid, msgid) = (accepted.open_kfid.clone(), accepted.msgid.clone());
        self.replies.accept(accepted.seen(now));
        self.counts.replies += 1;
        if let Some(fail_type) = self.faults.fails(&mut self.rng) {
            // It exists: it was accepted a line above.
            let _ = self.fail_reply(&open_kfid, &msgid, fail_type, now);
            self.news.push(open_kfid);
        }
        json!({ "msgid": msgid })
    }

    /// The customer that `field` names, if this corporation ever met them.
    pub(in crate::simulator) fn known_customer(
        &self,
        request: &Fields,
        field: &'static str,
    ) -> Result<ExternalUserid, Refusal> {
        let id = required(request, field, 64)?;
        if self.conversations.with(id).next().is_none() {
            return Err(Refusal::UNKNOWN_CUSTOMER);
        }
        Ok(ExternalUserid::from(id))
    }

    fn chosen_msgid(&mut self, request: &Fields) -> Result<Option<Msgid>, Refusal> {
        let Some(msgid) = text(request, "msgid")? else {
            return Ok(None);
        };
        if msgid.is_empty() {
            self.counts.violations.empty_strings += 1;
            return Err(Refusal::empty_string("msgid"));
        }
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if msgid.len() > MAX_MSGID || !msgid.bytes().all(is_allowed) {
            return Err(Refusal::parameter("invalid msgid"));
        }
        Ok(Some(Msgid::from(msgid)))
    }

    fn must_be_new(&self, open_kfid: &OpenKfid, msgid: Option<&Msgid>) -> Result<(), Refusal> {
        match msgid {
            Some(msgid) if self.replies.get(open_kfid, msgid.as_str()).is_some() => Err(Refusal::DUPLICATE_MSGID),
            _ => Ok(()),
        }
    }

    fn made_up_msgid(&mut self) -> Msgid {
        Msgid::new(alphanumeric(MAX_MSGID, &mut self.rng))
    }

    /// The body of a message, as the customer will see it.
    fn content(
        &self,
        msgtype: &str,
        request: &mut Fields,
        menu_entries: usize,
        now: UnixMillis,
    ) -> Result<Fields, Refusal> {
        let mut body = match request.remove(msgtype) {
            Some(Value::Object(body)) => body,
            Some(_) => return Err(Refusal::parameter(format!("field `{msgtype}` expects type `object`"))),
            // What is wrong with it is told by the check: an unknown type before a missing body.
            None => Fields::new(),
        };
        let around = Surroundings {
            media: &self.media,
            now,
            menu_entries,
        };
        check(msgtype, &mut body, &around)?;
        Ok(body)
    }
}

fn msgtype(request: &Fields) -> Result<String, Refusal> {
    let msgtype = text(request, "msgtype")?.filter(|msgtype| !msgtype.is_empty());
    Ok(msgtype.ok_or(Refusal::BAD_MSGTYPE)?.to_owned())
}
