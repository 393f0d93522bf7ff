//! What a simulator is told at its start.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::limits::Limits;
use crate::callback::{KeyError, KeyPair};
use crate::clock::{Clock, SystemClock};
use crate::id::{CorpId, OpenKfid, ServicerUserid};

/// What a simulator is told at its start.
///
/// The defaults are WeCom's own rules; a [`ScaledClock`](crate::clock::ScaledClock) turns its three days into three
/// minutes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Corporation that clients must name.
    pub corp_id: CorpId,
    /// Secret that clients must know.
    pub secret: SecretString,
    /// Customer service accounts that exist at the start.
    pub accounts: Vec<Account>,
    /// Where callbacks go. Without it none are sent.
    pub callback: Option<CallbackTarget>,
    /// Certificates in PEM that callbacks over HTTPS trust beside the system's: those of a proxy under test.
    pub callback_authorities: String,
    /// Time for everything that WeCom measures in minutes, hours and days.
    pub clock: Arc<dyn Clock>,
    /// What all chance depends on: the same seed and the same calls in the same order make the same answers.
    pub seed: u64,
    /// How long an access token lives on the clock: 7,200 s.
    pub access_token_lifetime: Duration,
    /// How long a callback token lives on the clock: 10 minutes.
    pub callback_token_lifetime: Duration,
    /// How long messages are kept on the clock: 72 hours.
    pub history: Duration,
    /// People who work for the corporation, and can be made to serve an account.
    pub employees: Vec<ServicerUserid>,
    /// Whom customers can be recommended to.
    pub upgrade: UpgradeRange,
    /// Whether the corporation is bound to a Channels account.
    pub wechat_channels_binding: bool,
    /// What may be sent to customers, and how long.
    pub replies: ReplyRules,
    /// How long files are kept on the clock: 3 days.
    pub media_lifetime: Duration,
    /// Most items in a page: 1,000.
    pub page_maximum: u32,
    /// How often calls may be made.
    pub limits: Limits,
    /// How callbacks are sent and repeated.
    pub bell: BellRules,
}

impl Default for Settings {
    /// One account of a made-up corporation, on a free port of the loopback, without a callback.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            corp_id: CorpId::from("ww0123456789abcdef"),
            secret: SecretString::from("simulated-secret"),
            accounts: vec![Account::new("wkSimulatedAccount00000000000001", "客服小助手")],
            callback: None,
            callback_authorities: String::new(),
            clock: Arc::new(SystemClock),
            seed: 0,
            access_token_lifetime: Duration::from_secs(7_200),
            callback_token_lifetime: Duration::from_secs(10 * 60),
            history: Duration::from_secs(72 * 60 * 60),
            employees: ["LiMing", "WangFang", "ZhaoLei", "ChenJie", "SunTao"]
                .map(ServicerUserid::from)
                .into(),
            upgrade: UpgradeRange::default(),
            wechat_channels_binding: true,
            replies: ReplyRules::default(),
            media_lifetime: Duration::from_secs(72 * 60 * 60),
            page_maximum: 1_000,
            limits: Limits::default(),
            bell: BellRules::default(),
        }
    }
}

/// A customer service account.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Account {
    /// Its id.
    pub open_kfid: OpenKfid,
    /// Its name, as customers see it.
    pub name: String,
    /// Where its picture is.
    pub avatar: String,
}

impl Account {
    /// An account of this id and name.
    pub fn new(open_kfid: impl Into<Box<str>>, name: impl Into<String>) -> Self {
        Self {
            open_kfid: OpenKfid::new(open_kfid),
            name: name.into(),
            avatar: "https://images.example.com/avatar.png".to_owned(),
        }
    }
}

/// Whom customers can be recommended to, as the console has it.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94674>
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct UpgradeRange {
    /// Colleagues.
    pub members: Vec<ServicerUserid>,
    /// Departments.
    pub departments: Vec<u64>,
    /// Group chats.
    pub chats: Vec<String>,
}

impl Default for UpgradeRange {
    fn default() -> Self {
        Self {
            members: vec![ServicerUserid::from("LiMing"), ServicerUserid::from("WangFang")],
            departments: vec![2],
            chats: vec!["wrSimulatedGroupChat000000000001".to_owned()],
        }
    }
}

/// What may be sent to customers, and how long, on the simulator's clock. On one that runs fast twenty seconds pass in
/// an instant: lengthen what a client should be able to meet.
///
/// Sources: <https://developer.work.weixin.qq.com/document/path/94677>,
/// <https://developer.work.weixin.qq.com/document/path/95122>
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ReplyRules {
    /// How long after a customer's last message one may answer: 48 hours.
    pub window: Duration,
    /// Most messages since a customer's last one: 5.
    pub budget: u32,
    /// How long after it began a session ends by itself: 48 hours.
    pub session: Duration,
    /// How long a welcome code lives, and one that came with the end of a session: 20 s.
    pub welcome_code: Duration,
    /// How long any other message code lives: 48 hours.
    pub msg_code: Duration,
}

impl Default for ReplyRules {
    fn default() -> Self {
        let two_days = Duration::from_secs(48 * 60 * 60);
        Self {
            window: two_days,
            budget: 5,
            session: two_days,
            welcome_code: Duration::from_secs(20),
            msg_code: two_days,
        }
    }
}

/// How callbacks are sent and repeated, in real time.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/90930>
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct BellRules {
    /// How long an answer may take: 5 s.
    pub answer_within: Duration,
    /// How often a request is repeated that was not answered in time, or with anything but 200: 3 times.
    pub retries: u32,
    /// Wait before each repeat: 1 s. WeCom does not say.
    pub pause: Duration,
    /// How long the check of the URL may take: 1 s.
    pub echo_within: Duration,
}

impl Default for BellRules {
    fn default() -> Self {
        Self {
            answer_within: Duration::from_secs(5),
            retries: 3,
            pause: Duration::from_secs(1),
            echo_within: Duration::from_secs(1),
        }
    }
}

/// Where callbacks go, and the keys they are sealed with.
#[derive(Clone)]
pub struct CallbackTarget {
    pub(super) url: reqwest::Url,
    pub(super) keys: KeyPair,
    pub(super) receiveid: String,
}

/// Why callbacks cannot be sent there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// It is no URL that can be posted to. The text is left out: it may hold credentials.
    #[error("callback url is not an http or https url")]
    Url,
    /// The keys are not what the console would have taken.
    #[error("callback keys are wrong")]
    Keys(#[from] KeyError),
}

impl CallbackTarget {
    /// Sends callbacks to `url`, sealed with `token` and `encoding_aes_key` for `receiveid` (the corporation's id).
    ///
    /// # Errors
    ///
    /// [`TargetError`] when the URL or a key is malformed.
    pub fn new(
        url: &str,
        token: SecretString,
        encoding_aes_key: SecretString,
        receiveid: impl Into<String>,
    ) -> Result<Self, TargetError> {
        let url = reqwest::Url::parse(url).map_err(|_| TargetError::Url)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(TargetError::Url);
        }
        Ok(Self {
            url,
            keys: KeyPair::new(token, encoding_aes_key)?,
            receiveid: receiveid.into(),
        })
    }
}

impl fmt::Debug for CallbackTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackTarget")
            .field("host", &self.url.host_str())
            .field("receiveid", &self.receiveid)
            .finish_non_exhaustive()
    }
}
