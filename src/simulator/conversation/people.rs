//! People who act as a test tells them: a customer in WeChat, a colleague in the WeCom client.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::code::new_code;
use super::menu;
use super::seen::Seen;
use crate::id::{ExternalUserid, Msgid, OpenKfid, ServicerUserid};
use crate::simulator::Simulator;
use crate::simulator::draft::Draft;
use crate::simulator::media::MediaKind;
use crate::simulator::wecom::{UnknownAccount, Wecom};
use crate::simulator::world::World;

/// A customer of one account who does what they are told. Everything they do rings.
#[derive(Debug)]
pub struct Customer<'a> {
    simulator: &'a Simulator,
    open_kfid: OpenKfid,
    id: ExternalUserid,
}

/// A colleague in the WeCom client. Everything they do rings.
#[derive(Debug)]
pub struct Servicer<'a> {
    simulator: &'a Simulator,
    open_kfid: OpenKfid,
    id: ServicerUserid,
}

/// What entering a chat brought about.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// Id of the event.
    pub msgid: Msgid,
    /// Code for a welcome; there is none for whoever wrote before, or was welcomed within 48 hours.
    pub welcome_code: Option<String>,
}

/// The customer sees no menu with such an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnknownEntry {
    /// No menu of this account that the customer saw has an entry of this id or text.
    #[error("the customer sees no menu entry {0:?}")]
    Item(String),
    /// There is no such account.
    #[error(transparent)]
    Account(#[from] UnknownAccount),
}

/// What a colleague does with a session in the client, in the order of its `change_type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::simulator) enum Change {
    Take,
    Transfer,
    End,
    Reopen,
}

impl Customer<'_> {
    /// Writes a text.
    ///
    /// # Errors
    ///
    /// [`UnknownAccount`] when the account does not exist. So everywhere below.
    pub fn writes(&self, text: impl Into<String>) -> Result<Msgid, UnknownAccount> {
        self.simulator.say(&self.open_kfid, Draft::text(&self.id, text))
    }

    /// Sends a picture, a voice message, a video or a file with this `content`.
    ///
    /// # Errors
    ///
    /// [`UnknownAccount`].
    pub fn sends(&self, kind: MediaKind, name: &str, content: Vec<u8>) -> Result<Msgid, UnknownAccount> {
        let media_id = self.simulator.keep_media(kind, name, content);
        self.simulator
            .say(&self.open_kfid, Draft::media(&self.id, kind, &media_id))
    }

    /// Opens the chat.
    ///
    /// # Errors
    ///
    /// [`UnknownAccount`].
    pub fn enters(&self) -> Result<Entry, UnknownAccount> {
        self.enters_from("", "")
    }

    /// Opens the chat by a link with this `scene` and `scene_param`.
    ///
    /// # Errors
    ///
    /// [`UnknownAccount`].
    pub fn enters_from(&self, scene: &str, scene_param: &str) -> Result<Entry, UnknownAccount> {
        self.simulator
            .world
            .enter(&self.open_kfid, &self.id, scene, scene_param)
    }

    /// Opens the chat by a link of `add_contact_way`. `None` if the link was changed, or leads to another account:
    /// WeCom shows the chat then, and tells nobody.
    ///
    /// # Errors
    ///
    /// [`UnknownAccount`].
    pub fn follows(&self, link: &str) -> Result<Option<Entry>, UnknownAccount> {
        let arrival = self.simulator.world.wecom().links.follow(link);
        let Some(arrival) = arrival.filter(|arrival| arrival.open_kfid == self.open_kfid) else {
            return Ok(None);
        };
        self.enters_from(&arrival.scene, &arrival.scene_param).map(Some)
    }

    /// Taps the entry of this id or text in the last menu that has one.
    ///
    /// # Errors
    ///
    /// [`UnknownEntry`] when there is none, or no such account.
    pub fn taps(&self, item: &str) -> Result<Msgid, UnknownEntry> {
        self.simulator.world.tap(&self.open_kfid, &self.id, item)
    }

    /// Takes back what they said last.
    ///
    /// # Errors
    ///
    /// [`UnknownAccount`].
    pub fn recalls(&self) -> Result<Msgid, UnknownAccount> {
        let recall = Draft::event("user_recall_msg", Some(&self.id), json!({}));
        self.simulator.say(&self.open_kfid, recall)
    }

    /// Everything they saw from this account, in order.
    #[must_use]
    pub fn saw(&self) -> Vec<Arc<Seen>> {
        let wecom = self.simulator.world.wecom();
        wecom.replies.seen_by(&self.open_kfid, &self.id).cloned().collect()
    }

    /// What can be read in everything they saw, in order.
    #[must_use]
    pub fn read(&self) -> Vec<String> {
        let saw = self.saw();
        saw.iter().filter_map(|seen| seen.text.clone()).collect()
    }
}

impl Servicer<'_> {
    /// Takes the session from the pool.
    ///
    /// # Errors
    ///
    /// [`UnknownAccount`]. So everywhere below.
    pub fn takes(&self, customer: &ExternalUserid) -> Result<Msgid, UnknownAccount> {
        self.changes(customer, Change::Take, None)
    }

    /// Hands the session to `other`.
    ///
    /// # Errors
    ///
    /// [`UnknownAccount`].
    pub fn transfers(&self, customer: &ExternalUserid, other: &ServicerUserid) -> Result<Msgid, UnknownAccount> {
        self.changes(customer, Change::Transfer, Some(other))
    }

    /// Ends the session.
    ///
    /// # Errors
    ///
    /// [`UnknownAccount`].
    pub fn ends(&self, customer: &ExternalUserid) -> Result<Msgid, UnknownAccount> {
        self.changes(customer, Change::End, None)
    }

    /// Takes up a session that had ended.
    ///
    /// # Errors
    ///
    /// [`UnknownAccount`].
    pub fn reopens(&self, customer: &ExternalUserid) -> Result<Msgid, UnknownAccount> {
        self.changes(customer, Change::Reopen, None)
    }

    /// Writes to the customer, and has the session from then on.
    ///
    /// # Errors
    ///
    /// [`UnknownAccount`].
    pub fn writes(&self, customer: &ExternalUserid, text: &str) -> Result<Msgid, UnknownAccount> {
        let draft = Draft::from_servicer(self.id.as_str(), customer, "text", json!({ "content": text }));
        self.simulator.say(&self.open_kfid, draft)
    }

    /// Receives sessions from now on.
    ///
    /// # Errors
    ///
    /// [`UnknownAccount`].
    pub fn starts(&self) -> Result<Msgid, UnknownAccount> {
        self.changes_status(json!({ "servicer_userid": self.id, "status": 1 }))
    }

    /// Receives no sessions from now on.
    ///
    /// # Errors
    ///
    /// [`UnknownAccount`].
    pub fn stops(&self) -> Result<Msgid, UnknownAccount> {
        self.changes_status(json!({ "servicer_userid": self.id, "status": 2, "stop_type": 0 }))
    }

    fn changes_status(&self, fields: Value) -> Result<Msgid, UnknownAccount> {
        let event = Draft::event("servicer_status_change", None, fields);
        self.simulator.say(&self.open_kfid, event)
    }

    fn changes(
        &self,
        customer: &ExternalUserid,
        change: Change,
        other: Option<&ServicerUserid>,
    ) -> Result<Msgid, UnknownAccount> {
        self.simulator
            .world
            .change_session(&self.open_kfid, &self.id, customer, change, other)
    }
}

impl Simulator {
    /// A customer of an account, to act as they are told.
    #[must_use]
    pub fn customer(&self, open_kfid: &OpenKfid, id: &ExternalUserid) -> Customer<'_> {
        Customer {
            simulator: self,
            open_kfid: open_kfid.clone(),
            id: id.clone(),
        }
    }

    /// A colleague who serves an account, to act as they are told.
    #[must_use]
    pub fn servicer(&self, open_kfid: &OpenKfid, id: &ServicerUserid) -> Servicer<'_> {
        Servicer {
            simulator: self,
            open_kfid: open_kfid.clone(),
            id: id.clone(),
        }
    }
}

impl World {
    pub(in crate::simulator) fn enter(
        self: &Arc<Self>,
        open_kfid: &OpenKfid,
        customer: &ExternalUserid,
        scene: &str,
        scene_param: &str,
    ) -> Result<Entry, UnknownAccount> {
        let now = self.clock.now();
        let welcome_code = {
            let mut wecom = self.wecom();
            let conversation = wecom.conversations.get(open_kfid, customer.as_str());
            let is_welcome = conversation.is_none_or(|known| known.may_be_welcomed(&wecom.settings.replies, now));
            is_welcome.then(|| new_code(&mut wecom.rng))
        };
        let mut fields = json!({ "scene": scene, "scene_param": scene_param });
        if let Some(code) = &welcome_code {
            fields["welcome_code"] = json!(code);
        }
        let msgid = self.say(open_kfid, Draft::event("enter_session", Some(customer), fields))?;
        Ok(Entry { msgid, welcome_code })
    }

    pub(in crate::simulator) fn tap(
        self: &Arc<Self>,
        open_kfid: &OpenKfid,
        customer: &ExternalUserid,
        item: &str,
    ) -> Result<Msgid, UnknownEntry> {
        let tapped = self.wecom().tapped(open_kfid, customer, item);
        let draft = tapped.ok_or_else(|| UnknownEntry::Item(item.to_owned()))?;
        Ok(self.say(open_kfid, draft)?)
    }

    pub(in crate::simulator) fn change_session(
        self: &Arc<Self>,
        open_kfid: &OpenKfid,
        servicer: &ServicerUserid,
        customer: &ExternalUserid,
        change: Change,
        other: Option<&ServicerUserid>,
    ) -> Result<Msgid, UnknownAccount> {
        let fields = match change {
            Change::Take => {
                let code = new_code(&mut self.wecom().rng);
                json!({ "change_type": 1, "new_servicer_userid": servicer, "msg_code": code })
            }
            Change::Transfer => {
                json!({ "change_type": 2, "old_servicer_userid": servicer, "new_servicer_userid": other })
            }
            Change::End => {
                let code = new_code(&mut self.wecom().rng);
                json!({ "change_type": 3, "old_servicer_userid": servicer, "msg_code": code })
            }
            Change::Reopen => {
                json!({ "change_type": 4, "old_servicer_userid": servicer, "new_servicer_userid": servicer })
            }
        };
        self.say(open_kfid, Draft::event("session_status_change", Some(customer), fields))
    }
}

impl Wecom {
    /// What tapping `item` says: the text of the entry, in the customer's name.
    fn tapped(&self, open_kfid: &OpenKfid, customer: &ExternalUserid, item: &str) -> Option<Draft> {
        let menus = self.replies.seen_by(open_kfid, customer).rev();
        let mut menus = menus.filter(|seen| &*seen.msgtype == "msgmenu");
        menus.find_map(|menu| {
            let (id, content) = menu::tapped(menu.body.as_object()?, item)?;
            let mut body = json!({ "content": content });
            if let Some(id) = id {
                body["menu_id"] = json!(id);
            }
            Some(Draft::from_customer(customer, "text", Some(body)))
        })
    }
}
