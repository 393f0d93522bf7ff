//! `kf/customer/upgrade_service`: passes a customer on to a person or a group of their own.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/94674>

use serde::Deserialize;
use serde_json::json;

use super::answer::{Answer, LooseInt, done};
use super::field::required;
use super::{ApiError, Ask, Call, Client, DepartmentId, FieldError, Problem};
use crate::id::{ChatId, ExternalUserid, OpenKfid, ServicerUserid};

/// To whom customers can be passed on, as the console has it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct UpgradeServiceConfig {
    /// Employees.
    pub userid_list: Vec<ServicerUserid>,
    /// Departments, with all who are in them.
    pub department_id_list: Vec<DepartmentId>,
    /// Groups.
    pub chat_id_list: Vec<ChatId>,
}

/// To whom a customer is passed on. Must be in the [config](UpgradeServiceConfig), else 95021.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum UpgradeTo<'a> {
    /// An employee.
    Member(&'a ServicerUserid),
    /// A group.
    Groupchat(&'a ChatId),
}

/// The offer of a person or a group of their own.
#[derive(Clone, Copy)]
pub struct UpgradeService<'a> {
    /// Account that speaks.
    pub open_kfid: &'a OpenKfid,
    /// Customer it is made to.
    pub external_userid: &'a ExternalUserid,
    /// Whom they are offered.
    pub to: UpgradeTo<'a>,
    /// What is said with it.
    pub wording: Option<&'a str>,
}

impl std::fmt::Debug for UpgradeService<'_> {
    /// Leaves out what is said.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpgradeService")
            .field("open_kfid", self.open_kfid)
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Asks to whom customers can be passed on.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/94674>
    pub async fn upgrade_service_config(&self) -> Result<UpgradeServiceConfig, ApiError> {
        self.call(&Ask::get(Call::GetUpgradeServiceConfig, &[]), read_config)
            .await
    }

    /// Offers a customer a person or a group of their own.
    ///
    /// # Errors
    ///
    /// [`ApiError::Rejected`] with 95021 when they are not in the config. See [`ApiError`] for the rest.
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/94674>
    pub async fn upgrade_service(&self, offer: &UpgradeService<'_>) -> Result<(), ApiError> {
        let call = Call::UpgradeService;
        call.checked(check(offer.open_kfid, offer.external_userid))?;
        let (number, name, mut target) = match offer.to {
            UpgradeTo::Member(userid) => {
                call.checked(required("member.userid", userid.as_str()))?;
                (1, "member", json!({ "userid": userid }))
            }
            UpgradeTo::Groupchat(chat_id) => {
                call.checked(required("groupchat.chat_id", chat_id.as_str()))?;
                (2, "groupchat", json!({ "chat_id": chat_id }))
            }
        };
        if let Some(wording) = offer.wording.filter(|wording| !wording.is_empty()) {
            target["wording"] = wording.into();
        }
        let body = json!({
            "open_kfid": offer.open_kfid,
            "external_userid": offer.external_userid,
            "type": number,
            name: target,
        });
        self.post(call, &body, &[offer.external_userid.as_str()], done).await
    }

    /// Withdraws the offer.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/94674>
    pub async fn cancel_upgrade_service(
        &self,
        open_kfid: &OpenKfid,
        external_userid: &ExternalUserid,
    ) -> Result<(), ApiError> {
        let call = Call::CancelUpgradeService;
        call.checked(check(open_kfid, external_userid))?;
        let body = json!({ "open_kfid": open_kfid, "external_userid": external_userid });
        self.post(call, &body, &[external_userid.as_str()], done).await
    }
}

fn check(open_kfid: &OpenKfid, external_userid: &ExternalUserid) -> Result<(), FieldError> {
    required("open_kfid", open_kfid.as_str())?;
    required("external_userid", external_userid.as_str())
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct MemberRange {
    userid_list: Vec<ServicerUserid>,
    /// WeCom's table has one name for it and its sample another.
    #[serde(alias = "department_list")]
    department_id_list: Vec<LooseInt>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct GroupchatRange {
    chat_id_list: Vec<ChatId>,
}

#[derive(Deserialize)]
struct Config {
    member_range: Option<MemberRange>,
    groupchat_range: Option<GroupchatRange>,
}

fn read_config(answer: &Answer) -> Result<UpgradeServiceConfig, Problem> {
    done(answer)?;
    let config: Config = answer.read()?;
    let members = config.member_range.unwrap_or_default();
    let departments = members.department_id_list.iter();
    Ok(UpgradeServiceConfig {
        userid_list: members.userid_list,
        department_id_list: departments
            .filter_map(|id| u64::try_from(id.0).ok().map(DepartmentId))
            .collect(),
        chat_id_list: config.groupchat_range.unwrap_or_default().chat_id_list,
    })
}
