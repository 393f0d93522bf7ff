//! One example of everything a customer service account can see, and customers who never stop talking.
//!
//! The texts are made up; the shapes are WeCom's. Everything comes from the generator that is passed in: the same seed
//! tells the same story.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/94670>

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt, SeedableRng};

use super::Draft;
use crate::id::{ExternalUserid, OpenKfid};

mod example;
#[cfg(test)]
mod tests;

pub(super) use example::{SERVICERS, alphanumeric};

super::named::named! {
    /// One message or event type, or a variant of one. Declared in the order in which a long conversation would show
    /// them.
    Sample {
        /// The customer opens the chat for the first time, and can be welcomed.
        EnterSession = "event_enter_session",
        /// The customer writes.
        Text = "text",
        /// A colleague starts receiving.
        ServicerStarts = "event_servicer_status_change_start",
        /// A colleague takes the conversation from the pool.
        SessionTaken = "event_session_status_change",
        /// A colleague writes.
        TextFromServicer = "text_from_servicer",
        /// The customer sends a picture.
        Image = "image",
        /// The customer sends a voice message.
        Voice = "voice",
        /// The customer sends a video.
        Video = "video",
        /// The customer sends a file.
        File = "file",
        /// The customer sends a place.
        Location = "location",
        /// The customer sends a link.
        Link = "link",
        /// The customer sends a mini-program.
        Miniprogram = "miniprogram",
        /// The customer sends a product of a Channels shop.
        ChannelsShopProduct = "channels_shop_product",
        /// The customer sends an order of a Channels shop.
        ChannelsShopOrder = "channels_shop_order",
        /// The customer forwards a chat record, with another one inside.
        MergedMsg = "merged_msg",
        /// The customer forwards a Channels post.
        Channels = "channels",
        /// The customer forwards a Channels live room.
        ChannelsLive = "channels_live",
        /// The customer sends a meeting, of which WeCom tells nothing.
        Meeting = "meeting",
        /// The customer sends a calendar entry, of which WeCom tells nothing.
        Calendar = "calendar",
        /// The customer sends a note, of which WeCom tells nothing.
        Note = "note",
        /// The customer takes back their last message.
        UserRecall = "event_user_recall_msg",
        /// A colleague sends a business card.
        BusinessCard = "business_card",
        /// The conversation goes to another colleague.
        SessionTransferred = "event_session_status_change_transfer",
        /// A colleague sends a menu.
        Msgmenu = "msgmenu",
        /// The customer taps an entry of the menu.
        TextMenuReply = "text_menu_reply",
        /// A colleague takes back their last message.
        ServicerRecall = "event_servicer_recall_msg",
        /// A reply did not reach the customer.
        MsgSendFail = "event_msg_send_fail",
        /// A colleague refuses this customer's messages.
        RejectSwitch = "event_reject_customer_msg_switch_change",
        /// The conversation ends.
        SessionEnded = "event_session_status_change_end",
        /// A colleague stops receiving for a while.
        ServicerStops = "event_servicer_status_change",
        /// The customer opens the chat again; there is no second welcome.
        EnterSessionAgain = "event_enter_session_no_welcome",
        /// The customer comes from a Channels home page.
        EnterSessionFromChannels = "event_enter_session_channels",
        /// The customer comes from a Channels shop's order.
        EnterSessionFromShop = "event_enter_session_channels_shop",
        /// An ended conversation is opened again.
        SessionReopened = "event_session_status_change_reaccess",
        /// A message of a type that does not exist yet.
        UnknownMsgtype = "unknown_msgtype",
        /// An event of a type that does not exist yet.
        UnknownEvent = "unknown_event_type",
    }
}

/// Events other than customer service's that an application's callback may get.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/90240>
pub const OTHER_EVENTS: [&str; 12] = [
    "subscribe",
    "unsubscribe",
    "enter_agent",
    "LOCATION",
    "click",
    "view",
    "batch_job_result",
    "change_contact",
    "change_external_contact",
    "open_approval_change",
    "upload_media_job_finish",
    "template_card_event",
];

/// A conversation in which everything happens once: every message and event type, in an order that makes sense.
pub fn conversation(customer: &ExternalUserid, rng: &mut impl Rng) -> Vec<Draft> {
    Sample::ALL.iter().map(|sample| sample.draft(customer, rng)).collect()
}

/// `count` customers.
#[must_use]
pub fn customers(seed: u64, count: usize) -> Vec<ExternalUserid> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut next = || ExternalUserid::new(format!("wm{}", alphanumeric(30, &mut rng)));
    (0..count).map(|_| next()).collect()
}

/// `count` accounts.
#[must_use]
pub fn accounts(seed: u64, count: usize) -> Vec<OpenKfid> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut next = || OpenKfid::new(format!("wk{}", alphanumeric(30, &mut rng)));
    (0..count).map(|_| next()).collect()
}

/// Customers who never stop talking: mostly text, and now and then anything else. Endless.
#[derive(Clone, Debug)]
pub struct Chatter {
    rng: SmallRng,
    customers: Vec<ExternalUserid>,
}

impl Chatter {
    /// Lets `customers` talk. Without any, nobody does.
    #[must_use]
    pub fn new(seed: u64, customers: Vec<ExternalUserid>) -> Self {
        Self {
            rng: SmallRng::seed_from_u64(seed),
            customers,
        }
    }
}

impl Iterator for Chatter {
    type Item = Draft;

    fn next(&mut self) -> Option<Draft> {
        let customer = self.customers.choose(&mut self.rng)?;
        let sample = match Sample::ALL.choose(&mut self.rng) {
            Some(sample) if self.rng.random_ratio(1, 5) => *sample,
            _ => Sample::Text,
        };
        Some(sample.draft(customer, &mut self.rng))
    }
}
