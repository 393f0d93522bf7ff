//! An item that has not been said yet.

use serde_json::{Map, Value, json};

use super::media::MediaKind;
use crate::clock::UnixMillis;
use crate::id::{ExternalUserid, MediaId, Msgid, OpenKfid};

/// An item of `sync_msg` without what only saying it gives: msgid, send time and account.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94670>
#[derive(Clone, PartialEq, Debug)]
pub struct Draft(Map<String, Value>);

/// Why a JSON value is no item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DraftError {
    /// It is no object.
    #[error("an item must be a JSON object")]
    NoObject,
    /// It does not say what it is.
    #[error("an item must have a msgtype")]
    NoMsgtype,
    /// It calls itself an event, but there is none in it.
    #[error("an item of msgtype event must have an event with an event_type")]
    NoEvent,
}

impl Draft {
    /// A text that `customer` writes.
    pub fn text(customer: &ExternalUserid, content: impl Into<String>) -> Self {
        let mut body = Map::new();
        body.insert("content".to_owned(), Value::String(content.into()));
        Self::from_customer(customer, "text", Some(body.into()))
    }

    /// Takes any object that says what type it is. A msgid, send time or account in it is replaced when it is said.
    ///
    /// # Errors
    ///
    /// [`DraftError`] when it does not say what it is.
    pub fn from_json(item: Value) -> Result<Self, DraftError> {
        let Value::Object(item) = item else {
            return Err(DraftError::NoObject);
        };
        let msgtype = item
            .get("msgtype")
            .and_then(Value::as_str)
            .ok_or(DraftError::NoMsgtype)?;
        if msgtype == "event" {
            item.get("event")
                .and_then(|event| event.get("event_type")?.as_str())
                .ok_or(DraftError::NoEvent)?;
        }
        Ok(Self(item))
    }

    /// What `customer` sends, of type `msgtype`. Some types have no body.
    pub(super) fn from_customer(customer: &ExternalUserid, msgtype: &str, body: Option<Value>) -> Self {
        let mut item = Map::new();
        item.insert("external_userid".to_owned(), customer.as_str().into());
        item.insert("origin".to_owned(), 3.into());
        item.insert("msgtype".to_owned(), msgtype.into());
        if let Some(body) = body {
            item.insert(msgtype.to_owned(), body);
        }
        Self(item)
    }

    /// What the colleague `servicer` sends to `customer`.
    pub(super) fn from_servicer(servicer: &str, customer: &ExternalUserid, msgtype: &str, body: Value) -> Self {
        let mut draft = Self::from_customer(customer, msgtype, Some(body));
        draft.0.insert("origin".to_owned(), 5.into());
        draft.0.insert("servicer_userid".to_owned(), servicer.into());
        draft
    }

    /// An event with these `fields` that concerns `customer`, if anyone.
    pub(super) fn event(event_type: &str, customer: Option<&ExternalUserid>, mut fields: Value) -> Self {
        fields["event_type"] = event_type.into();
        if let Some(customer) = customer {
            fields["external_userid"] = customer.as_str().into();
        }
        let mut item = Map::new();
        item.insert("origin".to_owned(), 4.into());
        item.insert("msgtype".to_owned(), "event".into());
        item.insert("event".to_owned(), fields);
        Self(item)
    }

    /// What `customer` sends when they send a file that is kept under `media_id`.
    #[must_use]
    pub fn media(customer: &ExternalUserid, kind: MediaKind, media_id: &MediaId) -> Self {
        Self::from_customer(customer, kind.name(), Some(json!({ "media_id": media_id })))
    }

    /// Type as filters name it: the msgtype, or `event.` and the event type.
    #[must_use]
    pub fn kind(&self) -> String {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        match self.event_body() {
            Some(event) => format!("event.{}", text(event.get("event_type"))),
            None => text(self.0.get("msgtype")),
        }
    }

    /// Customer it comes from or is about.
    #[must_use]
    pub fn external_userid(&self) -> Option<ExternalUserid> {
        let holder = self.event_body().unwrap_or(&self.0);
        holder.get("external_userid")?.as_str().map(ExternalUserid::from)
    }

    /// A field of the event, or of the item if it is none.
    pub(super) fn field(&self, name: &str) -> Option<&Value> {
        self.event_body().unwrap_or(&self.0).get(name)
    }

    /// Where a customer who enters comes from, as `customer/batchget` tells it again.
    pub(super) fn entry(&self) -> Value {
        let fields = ["scene", "scene_param", "wechat_channels"].into_iter();
        let known = fields.filter_map(|name| Some((name.to_owned(), self.field(name)?.clone())));
        Value::Object(known.collect())
    }

    /// The file that it is, if it is one.
    pub(super) fn file(&self) -> Option<(MediaKind, &str)> {
        let msgtype = self.0.get("msgtype")?.as_str()?;
        let media_id = self.0.get(msgtype)?.get("media_id")?.as_str()?;
        Some((msgtype.parse().ok()?, media_id))
    }

    /// Whose message it recalls, when it is a recall that does not yet say which message: origin 3 or 5.
    pub(super) fn recalls_last_of(&self) -> Option<u64> {
        let event = self.event_body()?;
        if event.contains_key("recall_msgid") {
            return None;
        }
        match event.get("event_type")?.as_str()? {
            "user_recall_msg" => Some(3),
            "servicer_recall_msg" => Some(5),
            _ => None,
        }
    }

    /// Says which message it recalls.
    pub(super) fn recall(&mut self, msgid: &Msgid) {
        if let Some(Value::Object(event)) = self.0.get_mut("event") {
            event.insert("recall_msgid".to_owned(), msgid.as_str().into());
        }
    }

    /// Who sends it: 3 the customer, 4 the system, 5 a colleague; 0 if it does not say.
    pub(super) fn origin(&self) -> u64 {
        self.0.get("origin").and_then(Value::as_u64).unwrap_or(0)
    }

    /// Its JSON, once said.
    pub(super) fn finish(mut self, msgid: &Msgid, at: UnixMillis, open_kfid: &OpenKfid) -> String {
        match self.0.get_mut("event") {
            Some(Value::Object(event)) => event.insert("open_kfid".to_owned(), open_kfid.as_str().into()),
            _ => self.0.insert("open_kfid".to_owned(), open_kfid.as_str().into()),
        };
        self.0.insert("msgid".to_owned(), msgid.as_str().into());
        self.0.insert("send_time".to_owned(), at.as_secs().into());
        Value::Object(self.0).to_string()
    }

    fn event_body(&self) -> Option<&Map<String, Value>> {
        if self.0.get("msgtype")? != "event" {
            return None;
        }
        self.0.get("event")?.as_object()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_carries_its_account_inside_and_a_message_outside() {
        let customer = ExternalUserid::from("wm1");
        let say = |draft: Draft| -> Value {
            let raw = draft.finish(&Msgid::from("m1"), UnixMillis(5_999), &OpenKfid::from("wk1"));
            serde_json::from_str(&raw).unwrap()
        };
        assert_eq!(
            say(Draft::text(&customer, "你好")),
            json!({"msgid": "m1", "open_kfid": "wk1", "external_userid": "wm1", "send_time": 5, "origin": 3,
                   "msgtype": "text", "text": {"content": "你好"}})
        );
        assert_eq!(
            say(Draft::event("enter_session", Some(&customer), json!({"scene": "s"}))),
            json!({"msgid": "m1", "send_time": 5, "origin": 4, "msgtype": "event", "event": {
                   "event_type": "enter_session", "open_kfid": "wk1", "external_userid": "wm1", "scene": "s"}})
        );
    }

    #[test]
    fn a_draft_knows_its_kind_and_customer() {
        let event = json!({"msgtype": "event", "event": {"event_type": "enter_session", "external_userid": "wm1"}});
        let draft = Draft::from_json(event).unwrap();
        assert_eq!(
            (draft.kind().as_str(), draft.external_userid()),
            ("event.enter_session", Some(ExternalUserid::from("wm1")))
        );
    }

    #[test]
    fn what_does_not_say_what_it_is_is_refused() {
        for (item, error) in [
            (json!("text"), DraftError::NoObject),
            (json!({"text": {}}), DraftError::NoMsgtype),
            (json!({"msgtype": 1}), DraftError::NoMsgtype),
            (json!({"msgtype": "event"}), DraftError::NoEvent),
            (json!({"msgtype": "event", "event": {}}), DraftError::NoEvent),
        ] {
            assert_eq!(Draft::from_json(item), Err(error));
        }
    }
}
