//! What can happen: one struct per `event_type`, with WeCom's own field names.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::content::silent_debug;
use super::decode::or_default;
use super::number::open_number;
use crate::id::{ExternalUserid, Msgid, ServicerUserid};

silent_debug!(EnterSession, WechatChannels, SessionStatusChange);

/// A customer came in through one of our links. Opening the chat from the list of chats does not count.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94670>
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct EnterSession {
    /// Who came in.
    pub external_userid: ExternalUserid,
    /// What the link was made for, as given to `add_contact_way`. May be empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scene: Option<String>,
    /// What was appended to the link. May be empty, and may be URL-encoded.
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/94665>
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scene_param: Option<String>,
    /// Ticket for one welcome message, within 20 seconds. Absent if the customer was welcomed in the last 48 hours or
    /// has written before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub welcome_code: Option<String>,
    /// Where in Channels the customer came from. Absent for all other ways in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wechat_channels: Option<WechatChannels>,
}

/// Where in Channels (视频号) a customer came from.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94670>
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct WechatChannels {
    /// Name of the channel; for the home page, a live stream and the showcase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nickname: Option<String>,
    /// Name of the shop; for its product and order pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shop_nickname: Option<String>,
    /// Which page it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scene: Option<ChannelsScene>,
}

open_number! {
    /// A page of Channels that customers come in from.
    pub enum ChannelsScene {
        /// Home page of a channel.
        HomePage = 1,
        /// List of products in a live stream.
        LiveProducts = 2,
        /// A channel's showcase of products.
        Showcase = 3,
        /// A shop's page of a product.
        ShopProduct = 4,
        /// A shop's page of an order.
        ShopOrder = 5,
    }
}

/// A message of ours did not reach the customer.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94670>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct MsgSendFail {
    /// Whom it did not reach.
    pub external_userid: ExternalUserid,
    /// Id of the message, as given to or by `send_msg`.
    pub fail_msgid: String,
    /// Why. Unknown (0) if absent.
    #[serde(default, deserialize_with = "or_default")]
    pub fail_type: FailType,
}

open_number! {
    /// Why a message did not reach the customer. 7 and 9 have vanished from WeCom's documents, 3 never was in them.
    pub enum FailType {
        /// WeCom does not know either.
        Unknown = 0,
        /// The customer service account was deleted.
        AccountDeleted = 1,
        /// The application was closed.
        ApplicationClosed = 2,
        /// The customer last wrote more than 48 hours ago.
        SessionExpired = 4,
        /// The session was closed.
        SessionClosed = 5,
        /// More than five messages since the customer last wrote.
        TooManyMessages = 6,
        /// The corporation is not verified.
        CorporationNotVerified = 8,
        /// The customer refuses messages.
        CustomerRefuses = 10,
        /// No employee has ever logged in to the WeCom app.
        NobodyLoggedIn = 11,
        /// The component does not permit messages of this type.
        TypeForbidden = 12,
        /// WeCom's security rules forbid it.
        SecurityRestriction = 13,
    }
}

impl Default for FailType {
    fn default() -> Self {
        Self::from(0)
    }
}

/// A colleague began or stopped receiving. Concerns no customer.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94670>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct ServicerStatusChange {
    /// Who began or stopped.
    pub servicer_userid: ServicerUserid,
    /// Which of the two.
    pub status: ServicerStatus,
    /// How they stopped. Absent when they began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_type: Option<StopType>,
}

open_number! {
    /// Whether a colleague receives. The calls that list colleagues use other numbers for the same.
    pub enum ServicerStatus {
        /// Receives.
        Receiving = 1,
        /// Does not receive.
        Stopped = 2,
    }
}

open_number! {
    /// How a colleague stopped receiving.
    pub enum StopType {
        /// For good.
        Stopped = 0,
        /// For a while (暂时挂起).
        Suspended = 1,
    }
}

/// A colleague took, passed on or ended a session in the WeCom client. What a program does with a session is not told.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94670>
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct SessionStatusChange {
    /// Whose session it is.
    pub external_userid: ExternalUserid,
    /// What became of it.
    pub change_type: ChangeType,
    /// Who had it before; absent when it came from the pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_servicer_userid: Option<ServicerUserid>,
    /// Who has it now; absent when it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_servicer_userid: Option<ServicerUserid>,
    /// Ticket for one message on the event: 48 hours when it was taken from the pool, 20 seconds when it ended. Else
    /// absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msg_code: Option<String>,
}

open_number! {
    /// What became of a session.
    pub enum ChangeType {
        /// Taken from the pool.
        Taken = 1,
        /// Passed on to another colleague.
        Transferred = 2,
        /// Ended.
        Ended = 3,
        /// Opened again after it had ended or was passed on.
        Reopened = 4,
    }
}

/// A customer withdrew a message.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94670>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct UserRecallMsg {
    /// Who withdrew it.
    pub external_userid: ExternalUserid,
    /// Which message.
    pub recall_msgid: Msgid,
}

/// A colleague withdrew a message.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94670>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct ServicerRecallMsg {
    /// Customer it was written to.
    pub external_userid: ExternalUserid,
    /// Which message.
    pub recall_msgid: Msgid,
    /// Who withdrew it.
    pub servicer_userid: ServicerUserid,
}

/// A colleague refuses a customer's messages, or accepts them again.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94670>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct RejectCustomerMsgSwitchChange {
    /// Who refuses or accepts.
    pub servicer_userid: ServicerUserid,
    /// Whose messages.
    pub external_userid: ExternalUserid,
    /// Which of the two.
    pub reject_switch: RejectSwitch,
}

open_number! {
    /// Whether a colleague refuses a customer's messages.
    pub enum RejectSwitch {
        /// Accepts them again.
        Accepts = 0,
        /// Refuses them from now on.
        Refuses = 1,
    }
}
