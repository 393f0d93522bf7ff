//! Colleagues who serve an account.
//!
//! Sources: <https://developer.work.weixin.qq.com/document/path/94646> (add),
//! <https://developer.work.weixin.qq.com/document/path/94647> (del),
//! <https://developer.work.weixin.qq.com/document/path/94645> (list).

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Request};
use crate::id::{OpenKfid, ServicerUserid};
use crate::simulator::draft::Draft;
use crate::simulator::refusal::Refusal;
use crate::simulator::samples::SERVICERS;
use crate::simulator::wecom::Wecom;

/// Most people and departments in one call, and most that an account can have.
const MAX_PEOPLE_AT_ONCE: usize = 100;
const MAX_DEPARTMENTS_ADDED_AT_ONCE: usize = 20;
const MAX_DEPARTMENTS_REMOVED_AT_ONCE: usize = 100;
const MAX_PEOPLE: usize = 2000;
const MAX_DEPARTMENTS: usize = 20;

/// Who serves which account.
#[derive(Debug, Default)]
pub(in crate::simulator) struct Colleagues(BTreeMap<OpenKfid, Team>);

/// Who serves one account.
#[derive(Debug)]
struct Team {
    people: BTreeMap<ServicerUserid, Reception>,
    departments: Vec<u64>,
}

/// Whether a colleague takes sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reception {
    Open,
    /// With its `stop_type`: 0 stopped, 1 suspended.
    Closed(u64),
}

impl Default for Team {
    /// The colleagues whom the samples know.
    fn default() -> Self {
        let people = SERVICERS.map(|servicer| (ServicerUserid::from(servicer), Reception::Open));
        Self {
            people: people.into(),
            departments: Vec::new(),
        }
    }
}

/// What a client sends to `servicer/add` and `servicer/del`.
#[derive(Deserialize, Debug)]
pub(super) struct TeamRequest {
    open_kfid: Option<String>,
    #[serde(default)]
    userid_list: Vec<String>,
    #[serde(default)]
    department_id_list: Vec<u64>,
}

impl Colleagues {
    fn of(&mut self, open_kfid: &OpenKfid) -> &mut Team {
        self.0.entry(open_kfid.clone()).or_default()
    }

    /// Refuses to give a session to somebody who does not take any.
    pub(in crate::simulator) fn must_receive(
        &mut self,
        open_kfid: &OpenKfid,
        servicer: &ServicerUserid,
    ) -> Result<(), Refusal> {
        match self.of(open_kfid).people.get(servicer) {
            None => Err(Refusal::NO_SERVICER),
            Some(Reception::Closed(_)) => Err(Refusal::SERVICER_STOPPED),
            Some(Reception::Open) => Ok(()),
        }
    }

    /// Takes note of a colleague who starts or stops receiving in the client.
    pub(in crate::simulator) fn witness(&mut self, open_kfid: &OpenKfid, draft: &Draft) {
        let servicer = draft.field("servicer_userid").and_then(Value::as_str);
        let status = draft.field("status").and_then(Value::as_u64);
        let stop_type = draft.field("stop_type").and_then(Value::as_u64);
        let reception = match status {
            Some(1) => Reception::Open,
            Some(2) => Reception::Closed(stop_type.unwrap_or(0)),
            _ => return,
        };
        if let Some(known) = servicer.and_then(|servicer| self.of(open_kfid).people.get_mut(servicer)) {
            *known = reception;
        }
    }
}

impl Wecom {
    /// `POST /cgi-bin/kf/servicer/add`.
    pub(super) fn servicer_add(&mut self, request: &TeamRequest) -> Answer {
        let open_kfid = self.granted_account(request.open_kfid.as_deref())?;
        request.check(MAX_DEPARTMENTS_ADDED_AT_ONCE)?;
        let employees: HashSet<_> = self.settings.employees.iter().map(ServicerUserid::as_str).collect();
        let team = self.colleagues.of(&open_kfid);
        let new = |userid: &&String| !team.people.contains_key(userid.as_str());
        let people = team.people.len() + request.userid_list.iter().filter(new).count();
        let new = |id: &&u64| !team.departments.contains(id);
        let departments = team.departments.len() + request.department_id_list.iter().filter(new).count();
        if people > MAX_PEOPLE || departments > MAX_DEPARTMENTS {
            return Err(Refusal::TOO_MANY_SERVICERS);
        }
        let mut results = Vec::new();
        for userid in &request.userid_list {
            let outcome = if !employees.contains(userid.as_str()) {
                Outcome::Invalid
            } else if team.people.contains_key(userid.as_str()) {
                Outcome::Ignored
            } else {
                team.people
                    .insert(ServicerUserid::from(userid.as_str()), Reception::Open);
                Outcome::Done
            };
            results.push(outcome.about("userid", &json!(userid)));
        }
        for id in &request.department_id_list {
            let outcome = if *id == 0 {
                Outcome::Invalid
            } else if team.departments.contains(id) {
                Outcome::Ignored
            } else {
                team.departments.push(*id);
                Outcome::Done
            };
            results.push(outcome.about("department_id", &json!(id)));
        }
        Ok(json!({ "result_list": results }))
    }

    /// `POST /cgi-bin/kf/servicer/del`.
    pub(super) fn servicer_del(&mut self, request: &TeamRequest) -> Answer {
        let open_kfid = self.granted_account(request.open_kfid.as_deref())?;
        request.check(MAX_DEPARTMENTS_REMOVED_AT_ONCE)?;
        let team = self.colleagues.of(&open_kfid);
        let mut results = Vec::new();
        for userid in &request.userid_list {
            let outcome = match team.people.remove(userid.as_str()) {
                Some(_) => Outcome::Done,
                None => Outcome::Ignored,
            };
            results.push(outcome.about("userid", &json!(userid)));
        }
        for id in &request.department_id_list {
            let before = team.departments.len();
            team.departments.retain(|known| known != id);
            let outcome = if team.departments.len() < before {
                Outcome::Done
            } else {
                Outcome::Ignored
            };
            results.push(outcome.about("department_id", &json!(id)));
        }
        Ok(json!({ "result_list": results }))
    }

    /// `GET /cgi-bin/kf/servicer/list`.
    pub(super) fn servicer_list(&mut self, request: &Request<'_>) -> Answer {
        let open_kfid = self.granted_account(request.parameter("open_kfid").as_deref())?;
        let team = self.colleagues.of(&open_kfid);
        let people = team.people.iter().map(|(userid, reception)| match reception {
            Reception::Open => json!({ "userid": userid, "status": 0 }),
            Reception::Closed(stop_type) => json!({ "userid": userid, "status": 1, "stop_type": stop_type }),
        });
        let departments = team.departments.iter().map(|id| json!({ "department_id": id }));
        let list: Vec<_> = people.chain(departments).collect();
        Ok(json!({ "servicer_list": list }))
    }
}

impl TeamRequest {
    fn check(&self, max_departments: usize) -> Result<(), Refusal> {
        let (people, departments) = (self.userid_list.len(), self.department_id_list.len());
        if people + departments == 0 {
            return Err(Refusal::parameter("userid_list and department_id_list are both empty"));
        }
        if people > MAX_PEOPLE_AT_ONCE || departments > max_departments {
            return Err(Refusal::parameter("userid_list or department_id_list is too long"));
        }
        Ok(())
    }
}

/// What became of one entry of a list.
#[derive(Clone, Copy)]
enum Outcome {
    Done,
    /// It was so already.
    Ignored,
    Invalid,
}

impl Outcome {
    fn about(self, field: &str, id: &Value) -> Value {
        let (errcode, errmsg) = match self {
            Self::Done => (0, "success"),
            Self::Ignored => (0, "ignored"),
            Self::Invalid => (60111, "invalid string value"),
        };
        json!({ field: id, "errcode": errcode, "errmsg": errmsg })
    }
}
