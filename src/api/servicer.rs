//! `kf/servicer`: who receives an account's customers.
//!
//! Sources: <https://developer.work.weixin.qq.com/document/path/94646> (add),
//! <https://developer.work.weixin.qq.com/document/path/94647> (del) and
//! <https://developer.work.weixin.qq.com/document/path/94645> (list)

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::{Answer, LooseInt};
use super::field::{at_most, required};
use super::{ApiError, Ask, Call, Client, ErrCode, FieldError, Problem, Unit};
use crate::id::{OpenKfid, ServicerUserid};
use crate::message::{StopType, open_number};

/// A department of the corporation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize)]
#[serde(transparent)]
pub struct DepartmentId(pub u64);

/// Who receives: somebody, or whoever is in a department.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Receptionist {
    /// An employee.
    User(ServicerUserid),
    /// All of a department.
    Department(DepartmentId),
}

open_number! {
    /// Whether a colleague receives, as the list has it. The event about it uses other numbers for the same.
    pub enum Reception {
        /// Receives.
        Receiving = 0,
        /// Does not receive.
        Stopped = 1,
    }
}

/// A receptionist of an account.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Servicer {
    /// Who it is.
    pub receptionist: Receptionist,
    /// Whether they receive now. Absent for departments, and where this app does not manage the account.
    pub status: Option<Reception>,
    /// How they stopped.
    pub stop_type: Option<StopType>,
}

/// What became of one receptionist who was to be added or removed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ServicerResult {
    /// Who it is.
    pub receptionist: Receptionist,
    /// [`ErrCode::OK`], or WeCom's reason.
    pub code: ErrCode,
    /// WeCom's explanation, for people: `success`, or `ignored` when there was nothing to do.
    pub errmsg: Box<str>,
}

/// Receptionists to add to an account or remove from it. At least one.
#[derive(Clone, Copy, Debug)]
pub struct Servicers<'a> {
    /// Account that they receive for.
    pub open_kfid: &'a OpenKfid,
    /// Employees. At most 100 in one call, 2000 for an account.
    pub userid_list: &'a [ServicerUserid],
    /// Departments. At most 20 in one call to add, 100 to remove.
    pub department_id_list: &'a [DepartmentId],
}

impl Client {
    /// Adds receptionists to an account. Each has a result of its own, and success means only that there are results.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/94646>
    pub async fn servicer_add(&self, servicers: &Servicers<'_>) -> Result<Vec<ServicerResult>, ApiError> {
        self.servicers(Call::ServicerAdd, servicers, 20).await
    }

    /// Removes receptionists from an account. Each has a result of its own, and success means only that there are
    /// results.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/94647>
    pub async fn servicer_del(&self, servicers: &Servicers<'_>) -> Result<Vec<ServicerResult>, ApiError> {
        self.servicers(Call::ServicerDel, servicers, 100).await
    }

    async fn servicers(
        &self,
        call: Call,
        servicers: &Servicers<'_>,
        most_departments: usize,
    ) -> Result<Vec<ServicerResult>, ApiError> {
        call.checked(check(servicers, most_departments))?;
        let mut body = json!({ "open_kfid": servicers.open_kfid });
        if !servicers.userid_list.is_empty() {
            body["userid_list"] = json!(servicers.userid_list);
        }
        if !servicers.department_id_list.is_empty() {
            body["department_id_list"] = json!(servicers.department_id_list);
        }
        self.post(call, &body, &[], read_results).await
    }

    /// Lists an account's receptionists.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/94645>
    pub async fn servicer_list(&self, open_kfid: &OpenKfid) -> Result<Vec<Servicer>, ApiError> {
        let call = Call::ServicerList;
        call.checked(required("open_kfid", open_kfid.as_str()))?;
        let query = [("open_kfid", open_kfid.as_str())];
        self.call(&Ask::get(call, &query), read_list).await
    }
}

fn check(servicers: &Servicers<'_>, most_departments: usize) -> Result<(), FieldError> {
    let (users, departments) = (servicers.userid_list.len(), servicers.department_id_list.len());
    required("open_kfid", servicers.open_kfid.as_str())?;
    if users + departments == 0 {
        return Err(FieldError::empty("userid_list"));
    }
    at_most("userid_list", users, 100, Unit::Items)?;
    at_most("department_id_list", departments, most_departments, Unit::Items)
}

#[derive(Deserialize)]
struct Entry {
    userid: Option<ServicerUserid>,
    department_id: Option<LooseInt>,
    status: Option<Reception>,
    stop_type: Option<StopType>,
    errcode: Option<LooseInt>,
    errmsg: Option<Box<str>>,
}

impl Entry {
    fn receptionist(&self) -> Result<Receptionist, Problem> {
        let user = self.userid.clone().filter(|userid| !userid.as_str().is_empty());
        let department = self.department_id.and_then(|id| u64::try_from(id.0).ok());
        let department = department.map(DepartmentId).map(Receptionist::Department);
        let receptionist = user.map(Receptionist::User).or(department);
        receptionist.ok_or(Problem::Shape { line: 1, column: 1 })
    }
}

#[derive(Deserialize)]
struct Results {
    result_list: Vec<Entry>,
}

fn read_results(answer: &Answer) -> Result<Vec<ServicerResult>, Problem> {
    let results: Results = answer.read()?;
    let result = |entry: &Entry| {
        Ok(ServicerResult {
            receptionist: entry.receptionist()?,
            code: entry.errcode.map_or(ErrCode::OK, |code| ErrCode(code.0)),
            errmsg: entry.errmsg.clone().unwrap_or_default(),
        })
    };
    results.result_list.iter().map(result).collect()
}

#[derive(Deserialize)]
struct List {
    servicer_list: Vec<Entry>,
}

fn read_list(answer: &Answer) -> Result<Vec<Servicer>, Problem> {
    let list: List = answer.read()?;
    let servicer = |entry: &Entry| {
        Ok(Servicer {
            receptionist: entry.receptionist()?,
            status: entry.status,
            stop_type: entry.stop_type,
        })
    };
    list.servicer_list.iter().map(servicer).collect()
}
