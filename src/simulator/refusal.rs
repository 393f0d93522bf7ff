//! How WeCom says no: status 200, and an errcode.
//!
//! The numbers are written down once more here, apart from the client's, so that a mistake in one of the two shows.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/90313>

use std::borrow::Cow;

use rand::{Rng, RngExt};
use serde_json::json;

use crate::clock::UnixMillis;

/// An answer other than success.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    pub(super) errcode: i64,
    errmsg: Cow<'static, str>,
}

impl Refusal {
    pub(super) const BUSY: Self = Self::new(-1, "system busy");
    pub(super) const WRONG_SECRET: Self = Self::new(40001, "invalid credential");
    pub(super) const WRONG_MEDIA_TYPE: Self = Self::new(40004, "invalid media type");
    pub(super) const BAD_TYPE_PARAMETER: Self = Self::new(40005, "invalid type parameter");
    pub(super) const BAD_FILE_SIZE: Self = Self::new(40006, "invalid file size");
    pub(super) const UNKNOWN_MEDIA_ID: Self = Self::new(40007, "invalid media_id");
    pub(super) const BAD_MSGTYPE: Self = Self::new(40008, "invalid message type");
    pub(super) const BAD_IMAGE_SIZE: Self = Self::new(40009, "invalid image size");
    pub(super) const BAD_VIDEO_SIZE: Self = Self::new(40011, "invalid video size");
    pub(super) const WRONG_CORPID: Self = Self::new(40013, "invalid corpid");
    pub(super) const UNKNOWN_ACCESS_TOKEN: Self = Self::new(40014, "invalid access_token");
    pub(super) const BAD_JSON: Self = Self::new(40035, "invalid parameter, Warning: wrong json format. ");
    pub(super) const BAD_CURSOR: Self = Self::new(40058, "invalid cursor");
    pub(super) const BAD_PAGING_CURSOR: Self = Self::new(50100, "invalid paging cursor");
    pub(super) const UNKNOWN_CUSTOMER: Self = Self::new(40096, "invalid external userid");
    pub(super) const EXPIRED_MEDIA_ID: Self = Self::new(40145, "media_id expired");
    pub(super) const BAD_RANGE: Self = Self::new(40146, "invalid range");
    pub(super) const NO_ACCESS_TOKEN: Self = Self::new(41001, "access_token missing");
    pub(super) const NO_CORPID: Self = Self::new(41002, "corpid missing");
    pub(super) const NO_SECRET: Self = Self::new(41004, "corpsecret missing");
    pub(super) const NO_MEDIA_ID: Self = Self::new(41006, "media_id missing");
    /// A guess: WeCom documents none for this call, and this one for the welcome of customer contact.
    pub(super) const BAD_CODE: Self = Self::new(41050, "invalid code");
    pub(super) const EXPIRED_ACCESS_TOKEN: Self = Self::new(42001, "access_token expired");
    pub(super) const EMPTY_MEDIA: Self = Self::new(44001, "empty media data");
    pub(super) const EMPTY_TEXT: Self = Self::new(44004, "content is empty");
    pub(super) const VOICE_TOO_LONG: Self = Self::new(45007, "voice time exceeded");
    pub(super) const TOO_OFTEN: Self = Self::new(45009, "api freq out of limit");
    pub(super) const TOO_MANY_AT_ONCE: Self = Self::new(45033, "api concurrent out of limit");
    pub(super) const NOT_GRANTED: Self = Self::new(48007, "no right to manage this open_kfid");
    pub(super) const NO_OPEN_KFID: Self = Self::new(60251, "missing open_kfid");
    pub(super) const BAD_APPID: Self = Self::new(90207, "invalid miniprogram appid");
    pub(super) const TOO_LARGE_AT_ONCE: Self = Self::new(830002, "file too large");
    pub(super) const DUPLICATE_QUESTION: Self = Self::new(511020, "duplicate question");
    pub(super) const BAD_OPEN_KFID: Self = Self::new(95000, "invalid open_kfid");
    pub(super) const BUDGET_SPENT: Self = Self::new(95001, "send msg count limit");
    pub(super) const WINDOW_CLOSED: Self = Self::new(95002, "send msg time limit");
    pub(super) const UNKNOWN_OPEN_KFID: Self = Self::new(95004, "open_kfid not exist");
    pub(super) const ACCOUNT_COUNT: Self = Self::new(95005, "open_kfid count limit");
    pub(super) const BAD_ACCOUNT_NAME: Self = Self::new(95006, "invalid account name");
    pub(super) const BAD_CALLBACK_TOKEN: Self = Self::new(95007, "invalid msg token");

    pub(super) const TOO_MANY_MENU_ITEMS: Self = Self::new(95008, "msgmenu item count limit");
    pub(super) const BAD_MENU_ITEM: Self = Self::new(95009, "invalid msgmenu item type");
    pub(super) const SESSION_ENDED: Self = Self::new(95013, "session already ended");
    pub(super) const NO_SERVICER: Self = Self::new(95014, "user is not a servicer");
    pub(super) const WRONG_TRANSITION: Self = Self::new(95016, "invalid service state transition");
    pub(super) const WRONG_STATE: Self = Self::new(95018, "send msg session status invalid");
    pub(super) const SERVICER_STOPPED: Self = Self::new(95019, "servicer stopped or suspended");
    pub(super) const TOO_MANY_SERVICERS: Self = Self::new(95020, "servicer count limit");
    pub(super) const NOT_CONFIGURED: Self = Self::new(95021, "upgrade service not configured");
    pub(super) const UNKNOWN_MSGID: Self = Self::new(95028, "msgid not exist");
    pub(super) const TOO_LATE_TO_RECALL: Self = Self::new(95029, "recall time limit");
    pub(super) const NO_RECENT_CONTACT: Self = Self::new(95031, "customer not active");
    pub(super) const DUPLICATE_MSGID: Self = Self::new(95033, "duplicate msgid");

    const fn new(errcode: i64, errmsg: &'static str) -> Self {
        Self {
            errcode,
            errmsg: Cow::Borrowed(errmsg),
        }
    }

    /// A parameter that cannot be what it is.
    pub(super) fn parameter(errmsg: impl Into<Cow<'static, str>>) -> Self {
        Self {
            errcode: 40058,
            errmsg: errmsg.into(),
        }
    }

    /// An optional field that was sent empty instead of being left out.
    pub(super) fn empty_string(field: &str) -> Self {
        Self::parameter(format!("field `{field}` unexpected empty string"))
    }

    /// Whatever the operator of the simulator wants to be answered.
    pub(super) fn of(errcode: i64) -> Self {
        Self::new(errcode, "refused by the simulator")
    }

    /// The body that WeCom answers.
    pub(super) fn body(&self, now: UnixMillis, rng: &mut impl Rng) -> String {
        let Self { errcode, errmsg } = self;
        let (secs, host, hint) = (now.as_secs(), rng.random_range(1..100), rng.random::<u128>());
        let errmsg = format!(
            "{errmsg}, hint: [{secs}_{host}_{hint:032x}], from ip: 127.0.0.1, \
             more info at https://open.work.weixin.qq.com/devtool/query?e={errcode}"
        );
        json!({ "errcode": errcode, "errmsg": errmsg }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_refusal_looks_like_wecoms() {
        let fixture: Value =
            serde_json::from_str(include_str!("../../tests/fixtures/messages/sync_error_42001.json")).unwrap();
        let body = Refusal::EXPIRED_ACCESS_TOKEN.body(UnixMillis::from_secs(1), &mut SmallRng::seed_from_u64(1));
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["errcode"], fixture["errcode"]);
        let without_numbers = |body: &Value| {
            let errmsg = body["errmsg"]
                .as_str()
                .unwrap()
                .split(['[', ']'])
                .step_by(2)
                .collect::<String>();
            errmsg.replace("203.0.113.7", "127.0.0.1")
        };
        assert_eq!(without_numbers(&body), without_numbers(&fixture));
    }
}
