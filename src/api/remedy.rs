//! What a person has to do about an error code, and on which page of the console.
//!
//! Page names stand in Chinese, as the console shows them. `check` prints them, and so does the log line of whoever
//! stops because of such a code.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/90313> and the setup guide,
//! <https://developer.work.weixin.qq.com/document/path/94638>

use super::ErrCode;

/// Why WeCom refuses, and where a person can change that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Remedy {
    /// Likely cause, as a phrase in plain English.
    pub cause: &'static str,
    /// Page to visit: of the admin console at <https://work.weixin.qq.com>, unless it is an address or says otherwise.
    pub page: &'static str,
}

const CORP: &str = "我的企业 → 企业信息";
const APP: &str = "应用管理 → 自建 → (your app)";
const SECRET: &str = "应用管理 → 自建 → (your app) → Secret";
const TRUSTED_IP: &str = "应用管理 → 自建 → (your app) → 企业可信IP";
const VISIBLE_RANGE: &str = "应用管理 → 自建 → (your app) → 可见范围";
const CUSTOMER_SERVICE: &str = "微信客服";
const CALLABLE_APPS: &str = "微信客服 → 可调用接口的应用";
const API_ACCOUNTS: &str = "微信客服 → 通过API管理微信客服账号 → 企业内部开发";

impl ErrCode {
    /// What a person has to do, for every code of class [`Operator`](super::ErrorClass::Operator) and a few others.
    #[must_use]
    pub fn remedy(self) -> Option<Remedy> {
        let (cause, page) = match self {
            Self::INVALID_SECRET => (
                "the secret does not belong to this corp id, was reset, or its app is disabled; repeated wrong secrets \
                 get this server's IP blocked for an hour",
                SECRET,
            ),
            Self::INVALID_CORPID => (
                "the corp id is not that of a corporation",
                "我的企业 → 企业信息 → 企业ID",
            ),
            Self::INVALID_SUITE_TOKEN
            | Self::INVALID_PERMANENT_CODE
            | Self::INVALID_SUITE_TICKET
            | Self::SUITE_TOKEN_EXPIRED => (
                "the credentials are those of a third-party suite; take the secret of a self-built app",
                SECRET,
            ),
            Self::CORP_NOT_VERIFIED | Self::CONSULTATION_QUOTA | Self::UNVERIFIED_ACCOUNT_LIMIT => {
                ("the corporation is not verified", CORP)
            }
            Self::CORP_UNAVAILABLE => ("the corporation is dissolved or banned", CORP),
            Self::FREQUENCY_LIMIT => (
                "too many calls; the block lasts as long as the exceeded window, and some can be lifted by hand",
                "https://open.work.weixin.qq.com/wwopen/devtool/checkCorpSpamBlock",
            ),
            Self::API_NOT_AUTHORIZED | Self::API_FORBIDDEN => (
                "the app is not listed as one that may call the customer service API",
                CALLABLE_APPS,
            ),
            Self::ACCOUNT_NOT_GRANTED => ("this customer service account is not handed to the app", API_ACCOUNTS),
            Self::AUTHORIZATION_INVALID | Self::AUTHORIZATION_LAPSED => ("the app's authorisation was withdrawn", APP),
            Self::TLS_UNSUPPORTED => (
                "something between this server and WeCom speaks a TLS version older than 1.2",
                "none: look at the proxies and gateways on the way out",
            ),
            Self::APP_DISABLED | Self::SYSTEM_APP_DISABLED => ("the app is disabled", APP),
            Self::APP_BARRED => ("the app is barred from the API", APP),
            Self::NO_RIGHT_OVER_APP => ("the secret is that of another app", SECRET),
            Self::UNTRUSTED_IP | Self::IP_NOT_ALLOWED => (
                "this server's outgoing IP is not in the app's trusted list; a change takes about a minute",
                TRUSTED_IP,
            ),
            Self::NO_PERMISSION | Self::USER_NOT_VISIBLE | Self::OUT_OF_VISIBLE_RANGE => {
                ("a receptionist is outside the app's visible range", VISIBLE_RANGE)
            }
            Self::UNKNOWN_OPEN_KFID | Self::INVALID_OPEN_KFID | Self::MALFORMED_OPEN_KFID => (
                "the account does not exist: it was deleted, or is another corporation's",
                CUSTOMER_SERVICE,
            ),
            Self::INDEPENDENT_SECRET => (
                "customer service runs inside WeCom, but the secret is that of independent customer service",
                SECRET,
            ),
            Self::WECOM_SECRET => (
                "customer service runs independently of WeCom, but the secret is that of a WeCom app",
                "the console of independent customer service, at https://kf.weixin.qq.com",
            ),
            Self::DEDICATED_SERVICE_EXISTS => (
                "a dedicated service is already configured in the console",
                CUSTOMER_SERVICE,
            ),
            Self::API_SWITCHED_OFF => ("the API switch is off", API_ACCOUNTS),
            Self::API_GRANTED_ELSEWHERE => (
                "the API right is granted to an app that a provider develops for you",
                API_ACCOUNTS,
            ),
            Self::UPGRADE_NOT_CONFIGURED => ("the upgrade target is not configured", CUSTOMER_SERVICE),
            Self::LOW_USAGE => (
                "the existing accounts are used too little to add another",
                CUSTOMER_SERVICE,
            ),
            Self::CHAT_RECORD_RIGHT_LOST => (
                "the customer service component lost its right to chat records",
                "none: ask your contact at WeCom",
            ),
            _ => return None,
        };
        Some(Remedy { cause, page })
    }
}

#[cfg(test)]
mod tests {
    use super::super::errcode::{ErrorClass, KNOWN};
    use super::*;

    #[test]
    fn every_code_that_needs_a_person_says_where_to_go() {
        for code in KNOWN.iter().filter(|code| code.class() == ErrorClass::Operator) {
            let remedy = code
                .remedy()
                .unwrap_or_else(|| panic!("{code} leaves its reader alone"));
            assert!(!remedy.cause.is_empty() && !remedy.page.is_empty(), "{code}");
        }
        assert_eq!(ErrCode::UNTRUSTED_IP.remedy().unwrap().page, TRUSTED_IP);
        assert_eq!(ErrCode::OK.remedy(), None);
    }
}
