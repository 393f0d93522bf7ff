//! `kf/customer/batchget`: who customers are.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/95159>

use serde::Deserialize;
use serde_json::json;

use super::answer::Answer;
use super::field::{at_most, required};
use super::{ApiError, Call, Client, FieldError, Problem, Unit};
use crate::id::ExternalUserid;
use crate::message::{WechatChannels, open_number, silent_debug};

silent_debug!(Customer, EnterSessionContext);

/// Most customers asked about at once.
const CUSTOMERS: usize = 100;

open_number! {
    /// A customer's gender, as their WeChat profile has it.
    pub enum Gender {
        /// Not told.
        Unknown = 0,
        /// Male.
        Male = 1,
        /// Female.
        Female = 2,
    }
}

/// What WeCom tells of a customer. Kept out of `Debug`: it describes a person.
#[derive(Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Customer {
    /// Id of the customer.
    pub external_userid: ExternalUserid,
    /// Name in WeChat.
    pub nickname: Option<String>,
    /// Address of the picture.
    pub avatar: Option<String>,
    /// Gender.
    pub gender: Option<Gender>,
    /// Id on WeChat's open platform, if an account there is bound.
    pub unionid: Option<String>,
    /// How they last came in, if that was asked for and is known.
    pub enter_session_context: Option<EnterSessionContext>,
}

/// How a customer came in.
#[derive(Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct EnterSessionContext {
    /// Scene of the link they came through.
    pub scene: Option<String>,
    /// What was appended to the link.
    pub scene_param: Option<String>,
    /// Where in WeChat Channels they came from.
    pub wechat_channels: Option<WechatChannels>,
}

/// Whether to ask how customers came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum EnterSession {
    /// Ask.
    Include,
    /// Do not ask.
    Omit,
}

/// What WeCom tells of customers.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[non_exhaustive]
pub struct Customers {
    /// Those who came in or wrote within the last 48 h.
    #[serde(rename = "customer_list", default)]
    pub known: Vec<Customer>,
    /// All others.
    #[serde(rename = "invalid_external_userid", default)]
    pub invalid: Vec<ExternalUserid>,
}

impl Client {
    /// Asks who customers are, 1–100 at once.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/95159>
    pub async fn customer_batchget(
        &self,
        customers: &[ExternalUserid],
        enter_session: EnterSession,
    ) -> Result<Customers, ApiError> {
        let call = Call::CustomerBatchget;
        call.checked(check(customers))?;
        let body = json!({
            "external_userid_list": customers,
            "need_enter_session_context": u8::from(enter_session == EnterSession::Include),
        });
        let private: Vec<_> = customers.iter().map(ExternalUserid::as_str).collect();
        self.post(call, &body, &private, read).await
    }
}

fn check(customers: &[ExternalUserid]) -> Result<(), FieldError> {
    let field = "external_userid_list";
    if customers.is_empty() {
        return Err(FieldError::empty(field));
    }
    at_most(field, customers.len(), CUSTOMERS, Unit::Items)?;
    let mut each = customers.iter().enumerate();
    each.try_for_each(|(index, customer)| required(&format!("{field}[{index}]"), customer.as_str()))
}

fn read(answer: &Answer) -> Result<Customers, Problem> {
    let customers: Customers = answer.read()?;
    if answer.errcode.is_none() && customers.known.is_empty() && customers.invalid.is_empty() {
        return Err(Problem::Shape { line: 1, column: 1 });
    }
    Ok(customers)
}
