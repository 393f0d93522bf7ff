//! WeCom's error codes, and what to do about each.
//!
//! Decisions are made by number: `errmsg` is for people, changes without notice and holds the caller's IP.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/90313> (read 2026-08)

use std::borrow::Cow;
use std::fmt;

/// A number that WeCom answers with. 0 is success; anything else is a failure, also a number not named here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ErrCode(pub i64);

/// What a failure asks of the caller.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ErrorClass {
    /// Passing trouble: try again soon, waiting longer each time.
    Retry,
    /// A limit on frequency was hit: try again after a minute or more.
    RetryLong,
    /// The access token is no longer good: get a new one, then try again once.
    Refresh,
    /// The same request will fail again.
    Permanent,
    /// Nothing helps until a person changes something at WeCom or in the config; see [`ErrCode::remedy`].
    Operator,
}

impl ErrorClass {
    /// Name as a metric's label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::RetryLong => "retry_long",
            Self::Refresh => "refresh",
            Self::Permanent => "permanent",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for ErrCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ErrCode {
    /// Success.
    pub const OK: Self = Self(0);

    /// Whether the same request may succeed later without anybody doing anything.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        match self.class() {
            ErrorClass::Retry | ErrorClass::RetryLong | ErrorClass::Refresh => true,
            ErrorClass::Permanent | ErrorClass::Operator => false,
        }
    }

    /// Whether a pull that got this answer may have sent a cursor that WeCom does not accept. It does not document
    /// which code says so: these are the candidates.
    #[must_use]
    pub fn may_mean_a_bad_cursor(self) -> bool {
        [
            Self::INVALID_CURSOR,
            Self::MALFORMED_CURSOR,
            Self::INVALID_REQUEST_PARAMETER,
        ]
        .contains(&self)
    }

    /// Whether another machine with the same credentials may be answered otherwise.
    pub(super) fn is_about_this_machine(self) -> bool {
        [Self::UNTRUSTED_IP, Self::IP_NOT_ALLOWED, Self::TLS_UNSUPPORTED].contains(&self)
    }

    /// Whether an access token that got this answer on a business call is to be replaced.
    ///
    /// 40001 is among them because some calls are reported to answer it for a dead token. It stays a matter for the
    /// operator: if the next token fares no better, the secret really is wrong.
    pub(super) fn refuses_access_token(self) -> bool {
        self.class() == ErrorClass::Refresh || self == Self::INVALID_SECRET
    }
}

/// Names the codes and gives each its class, in one table.
macro_rules! errcodes {
    ($($name:ident = $code:literal, $class:ident, $meaning:literal;)+) => {
        impl ErrCode {
            $(
                #[doc = $meaning]
                pub const $name: Self = Self($code);
            )+

            /// What this failure asks of the caller.
            ///
            /// A code not named here is [`Permanent`](ErrorClass::Permanent): repeating the same request at once is
            /// not known to help. Whoever cannot drop the request, like the pull of an account, has to come back to it
            /// slowly rather than give it up.
            #[must_use]
            pub fn class(self) -> ErrorClass {
                match self.0 {
                    $($code => ErrorClass::$class,)+
                    _ => ErrorClass::Permanent,
                }
            }
        }

        impl ErrCode {
            /// What it means, in a sentence for people; `None` for one not named here.
            #[must_use]
            pub fn meaning(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some($meaning),)+
                    _ => None,
                }
            }

            /// Its number as a metric's label, and `other` for one not named here: whoever answers must not decide how
            /// many labels there are.
            pub(super) fn label(self) -> Cow<'static, str> {
                match self.0 {
                    0 $(| $code)+ => self.to_string().into(),
                    _ => "other".into(),
                }
            }
        }

        #[cfg(test)]
        pub(super) const KNOWN: &[ErrCode] = &[$(ErrCode::$name),+];
    };
}

errcodes! {
    SYSTEM_BUSY = -1, Retry, "System busy.";
    VERSION_CONFLICT = 6000, Retry, "Another call changed the same data.";
    INVALID_SECRET = 40001, Operator, "Wrong secret, or its app is disabled.";
    INVALID_USERID = 40003, Permanent, "Malformed userid.";
    INVALID_MEDIA_TYPE = 40004, Permanent, "Kind of media file not accepted.";
    INVALID_TYPE_PARAMETER = 40005, Permanent, "Bad `type` parameter.";
    INVALID_FILE_SIZE = 40006, Permanent, "File size out of bounds.";
    INVALID_MEDIA_ID = 40007, Permanent, "Bad media id.";
    INVALID_MSGTYPE = 40008, Permanent, "Bad `msgtype`.";
    INVALID_IMAGE_SIZE = 40009, Permanent, "Image size out of bounds.";
    INVALID_VIDEO_SIZE = 40011, Permanent, "Video size out of bounds.";
    INVALID_CORPID = 40013, Operator, "Wrong corp id.";
    INVALID_ACCESS_TOKEN = 40014, Refresh, "Access token is invalid.";
    INVALID_CHARACTERS = 40033, Permanent, "Characters that are not accepted, such as `\\uXXXX`.";
    INVALID_PARAMETER = 40035, Permanent, "Bad parameter.";
    INVALID_REQUEST_PARAMETER = 40058, Permanent, "Bad parameter or bad JSON; perhaps a bad cursor.";
    EMPTY_PARAMETER = 40063, Permanent, "A parameter is empty.";
    INVALID_SUITE_TOKEN = 40082, Operator, "Suite token is invalid (third-party apps).";
    INVALID_PERMANENT_CODE = 40084, Operator, "Permanent code is invalid (third-party apps).";
    INVALID_SUITE_TICKET = 40085, Operator, "Suite ticket is invalid (third-party apps).";
    INVALID_EXTERNAL_USERID = 40096, Permanent, "Bad external_userid.";
    BROKEN_IMAGE = 40123, Permanent, "Image is broken.";
    MEDIA_ID_EXPIRED = 40145, Permanent, "Media id has expired.";
    INVALID_RANGE = 40146, Permanent, "Bad Range header.";
    SENSITIVE_CONTENT = 40201, Permanent, "Stopped by the spam filter.";
    WECHAT_SPAM = 40204, Permanent, "Stopped by WeChat's spam filter.";
    BODY_TOO_LARGE = 40206, Permanent, "Request body is too large.";
    MISSING_ACCESS_TOKEN = 41001, Refresh, "No access token arrived, though one is always sent.";
    MISSING_CORPID = 41002, Permanent, "No corp id arrived.";
    MISSING_SECRET = 41004, Permanent, "No secret arrived.";
    MISSING_MEDIA_ID = 41006, Permanent, "No media id arrived.";
    INVALID_WELCOME_CODE = 41050, Permanent, "Welcome code is stale or used.";
    CHAT_ALREADY_STARTED = 41051, Permanent, "Chat has already started.";
    WELCOME_ALREADY_SENDING = 41096, Permanent, "A welcome is already being sent.";
    ACCESS_TOKEN_EXPIRED = 42001, Refresh, "Access token has expired.";
    SUITE_TOKEN_EXPIRED = 42009, Operator, "Suite token has expired (third-party apps).";
    CORP_NOT_VERIFIED = 43009, Operator, "Corporation is not verified.";
    EMPTY_MEDIA = 44001, Permanent, "Media file is empty.";
    EMPTY_TEXT = 44004, Permanent, "Text is empty.";
    MEDIA_TOO_LARGE = 45001, Permanent, "Media file is too large.";
    CONTENT_TOO_LONG = 45002, Permanent, "Content is too long.";
    VOICE_TOO_LONG = 45007, Permanent, "Voice is longer than 60 s.";
    FREQUENCY_LIMIT = 45009, RetryLong, "Too many calls; blocked for as long as the exceeded window.";
    CONCURRENCY_LIMIT = 45033, Retry, "Too many calls at the same time.";
    CONCURRENT_CONFLICT = 45035, Retry, "Concurrent operations collided.";
    DATA_ACCESS_LIMIT = 45036, RetryLong, "Too much data was asked for.";
    API_NOT_AUTHORIZED = 48001, Operator, "API is not granted to this app.";
    API_FORBIDDEN = 48002, Operator, "This app may not make this call.";
    AUTHORIZATION_INVALID = 48004, Operator, "Authorisation does not exist or was withdrawn.";
    AUTHORIZATION_LAPSED = 48006, Operator, "Authorisation was withdrawn after long disuse.";
    ACCOUNT_NOT_GRANTED = 48007, Operator, "Customer service account is not granted to this app.";
    TLS_UNSUPPORTED = 48010, Operator, "TLS version is too old.";
    APP_DISABLED = 50003, Operator, "App is disabled.";
    SYSTEM_APP_DISABLED = 50006, Operator, "System app is disabled.";
    INVALID_CURSOR = 50100, Permanent, "Paging cursor is invalid.";
    NO_PERMISSION = 60011, Operator, "No right over this member.";
    UNTRUSTED_IP = 60020, Operator, "Caller's IP is not in the app's trusted list.";
    USER_NOT_VISIBLE = 60021, Operator, "User is not in the app's visible range.";
    OUT_OF_VISIBLE_RANGE = 60030, Operator, "Outside the app's visible range.";
    APP_BARRED = 60031, Operator, "App is barred from the API.";
    USERID_NOT_FOUND = 60111, Permanent, "No such userid.";
    MISSING_OPEN_KFID = 60251, Permanent, "No open_kfid arrived.";
    MALFORMED_OPEN_KFID = 60252, Permanent, "Malformed open_kfid.";
    NOT_A_RECEPTIONIST = 60253, Permanent, "User is not in the receptionist list.";
    MALFORMED_CURSOR = 60268, Permanent, "Malformed cursor.";
    INVALID_MINIPROGRAM = 90207, Permanent, "Mini-program appid is invalid.";
    MINIPROGRAM_NOT_ASSOCIATED = 90208, Permanent, "Mini-program is not associated with the corporation.";
    NO_RIGHT_OVER_APP = 301_002, Operator, "No right over this app.";
    CORP_UNAVAILABLE = 301_007, Operator, "Corporation is dissolved or banned.";
    IP_NOT_ALLOWED = 301_042, Operator, "Caller's IP is not on the allow list.";
    DUPLICATE_QUESTION = 511_020, Permanent, "Knowledge base already has this question.";
    DOWNLOAD_TOO_LARGE = 830_002, Permanent, "Too large for one download; use Range.";
    INVALID_OPEN_KFID = 95000, Permanent, "Bad open_kfid.";
    TOO_MANY_MESSAGES = 95001, Permanent, "More than five messages since the customer last wrote.";
    REPLY_WINDOW_CLOSED = 95002, Permanent, "More than 48 h since the customer last wrote.";
    CONSULTATION_QUOTA = 95003, Operator, "Unverified corporation has used up its consultations.";
    UNKNOWN_OPEN_KFID = 95004, Operator, "No such account: deleted, or another corporation's.";
    ACCOUNT_COUNT = 95005, Permanent, "Too many accounts, or the last one.";
    INVALID_ACCOUNT_NAME = 95006, Permanent, "Bad account name.";
    INVALID_CALLBACK_TOKEN = 95007, Retry, "Callback token is bad or older than ten minutes: repeat once without it.";
    TOO_MANY_MENU_ITEMS = 95008, Permanent, "Too many menu items.";
    INVALID_MENU_ITEM = 95009, Permanent, "Bad type of menu item.";
    UNDOCUMENTED_95010 = 95010, Permanent, "In no current table.";
    INDEPENDENT_SECRET = 95011, Operator, "Joint mode, but the secret is that of independent customer service.";
    WECOM_SECRET = 95012, Operator, "Independent mode, but the secret is WeCom's.";
    SESSION_ENDED = 95013, Permanent, "Session has ended.";
    RECEPTIONIST_NOT_ACTIVE = 95014, Permanent, "User is no receptionist, or not activated in WeCom.";
    DEDICATED_SERVICE_EXISTS = 95015, Operator, "A dedicated service is configured in the console.";
    INVALID_TRANSITION = 95016, Permanent, "Session cannot change to this state.";
    API_SWITCHED_OFF = 95017, Operator, "API switch is off.";
    SESSION_STATE_FORBIDS = 95018, Permanent, "Session's state does not allow sending by API.";
    RECEPTIONIST_STOPPED = 95019, Permanent, "Receptionist has stopped or is suspended.";
    RECEPTIONIST_LIMIT = 95020, Permanent, "Too many receptionists.";
    UPGRADE_NOT_CONFIGURED = 95021, Operator, "Upgrade target is not configured.";
    INVALID_LOCATION_TYPE = 95022, Permanent, "Bad location_type.";
    API_GRANTED_ELSEWHERE = 95023, Operator, "API right is granted to an app developed by a provider.";
    NO_MESSAGE_IN_48H = 95024, Permanent, "No message of the customer within 48 h (independent mode).";
    BUSINESS_CARD_LIMIT = 95025, Permanent, "One business card per 48 h (independent mode).";
    LOW_USAGE = 95026, Operator, "Existing accounts are used too little to add one.";
    UNVERIFIED_ACCOUNT_LIMIT = 95027, Operator, "Unverified corporations may have ten accounts.";
    RECALL_UNKNOWN = 95028, Permanent, "Message to recall is unknown (independent mode).";
    RECALL_TOO_LATE = 95029, Permanent, "Too late to recall (independent mode).";
    MSGTYPE_FORBIDDEN = 95030, Permanent, "Message type is forbidden by the customer service component.";
    NO_CONSULTATION_IN_48H = 95031, Permanent, "Customer did not consult within 48 h.";
    CHAT_RECORD_RIGHT_LOST = 95032, Operator, "Customer service component lost its right to chat records.";
    DUPLICATE_MSGID = 95033, Permanent, "Message with this msgid was sent already; on a repeat, success.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_cannot_make_up_labels() {
        assert_eq!(ErrCode::OK.label(), "0");
        assert_eq!(ErrCode::SYSTEM_BUSY.label(), "-1");
        assert_eq!(ErrCode::NO_RIGHT_OVER_APP.label(), "301002");
        assert_eq!(ErrCode(123_456_789).label(), "other");
    }

    /// The table of the protocol, typed once more by hand: (class, codes).
    const DOCUMENTED: &[(ErrorClass, &[i64])] = &[
        (ErrorClass::Retry, &[-1, 6000, 45033, 45035, 95007]),
        (ErrorClass::RetryLong, &[45009, 45036]),
        (ErrorClass::Refresh, &[40014, 41001, 42001]),
        (
            ErrorClass::Operator,
            &[
                40001, 40013, 40082, 40084, 40085, 42009, 43009, 48001, 48002, 48004, 48006, 48007, 48010, 50003,
                50006, 60011, 60020, 60021, 60030, 60031, 301_002, 301_007, 301_042, 95003, 95004, 95011, 95012, 95015,
                95017, 95021, 95023, 95026, 95027, 95032,
            ],
        ),
        (
            ErrorClass::Permanent,
            &[
                40003, 60111, 40004, 40005, 40006, 40009, 40011, 40007, 40008, 40033, 40035, 40058, 40063, 40096,
                40123, 40145, 40146, 40201, 40204, 40206, 41002, 41004, 41006, 41050, 41051, 41096, 44001, 44004,
                45001, 45002, 45007, 50100, 60268, 60251, 60252, 60253, 90207, 90208, 511_020, 830_002, 95000, 95001,
                95002, 95005, 95006, 95008, 95009, 95010, 95013, 95014, 95016, 95018, 95019, 95020, 95022, 95024,
                95025, 95028, 95029, 95030, 95031, 95033,
            ],
        ),
    ];

    #[test]
    fn every_documented_code_has_a_name_and_its_class() {
        let mut documented = Vec::new();
        for (class, codes) in DOCUMENTED {
            for code in *codes {
                assert_eq!(ErrCode(*code).class(), *class, "{code}");
                documented.push(ErrCode(*code));
            }
        }
        documented.sort();
        let mut known = KNOWN.to_vec();
        known.sort();
        assert_eq!(documented, known);
    }

    #[test]
    fn an_unknown_code_is_not_repeated_at_once() {
        assert_eq!(ErrCode(123_456).class(), ErrorClass::Permanent);
        assert!(!ErrCode(123_456).is_retryable());
        assert!(ErrCode::CONCURRENCY_LIMIT.is_retryable());
    }
}
