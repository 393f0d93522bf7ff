//! Questions and answers that the corporation has prepared, in groups.
//!
//! Sources: <https://developer.work.weixin.qq.com/document/path/95971> (groups),
//! <https://developer.work.weixin.qq.com/document/path/95972> (questions).

use rand::Rng;
use serde_json::{Value, json};

use super::Answer;
use super::fields::{Fields, number, of_characters, required, text};
use crate::simulator::refusal::Refusal;
use crate::simulator::samples::alphanumeric;

mod intent;

use intent::Intent;

const MOST_GROUPS: usize = 100;
/// Longest name of a group, in characters.
const MAX_NAME: usize = 12;
/// Entries of a list: unless something else is asked for, and at most.
const USUAL_PAGE: u64 = 500;
const MAX_PAGE: u64 = 1_000;

/// Everything that was prepared.
#[derive(Debug)]
pub(in crate::simulator) struct Knowledge {
    /// The first is the default one.
    groups: Vec<Group>,
    intents: Vec<Intent>,
}

#[derive(Debug)]
struct Group {
    id: String,
    name: String,
}

impl Default for Knowledge {
    fn default() -> Self {
        let default = Group {
            id: "kgDefault".to_owned(),
            name: "默认分组".to_owned(),
        };
        Self {
            groups: vec![default],
            intents: Vec::new(),
        }
    }
}

impl Knowledge {
    /// `POST /cgi-bin/kf/knowledge/add_group`.
    pub(super) fn add_group(&mut self, request: &Fields, rng: &mut impl Rng) -> Answer {
        let name = group_name(request)?.to_owned();
        if self.groups.len() >= MOST_GROUPS {
            return Err(Refusal::parameter("too many groups"));
        }
        let id = format!("kg{}", alphanumeric(20, rng));
        self.groups.push(Group { id: id.clone(), name });
        Ok(json!({ "group_id": id }))
    }

    /// `POST /cgi-bin/kf/knowledge/del_group`. What is in it goes with it.
    pub(super) fn del_group(&mut self, request: &Fields) -> Answer {
        let place = self.own_group(request)?;
        let group = self.groups.remove(place);
        self.intents.retain(|intent| intent.group_id != group.id);
        Ok(json!({}))
    }

    /// `POST /cgi-bin/kf/knowledge/mod_group`.
    pub(super) fn mod_group(&mut self, request: &Fields) -> Answer {
        let place = self.own_group(request)?;
        group_name(request)?.clone_into(&mut self.groups[place].name);
        Ok(json!({}))
    }

    /// `POST /cgi-bin/kf/knowledge/list_group`.
    pub(super) fn list_group(&self, request: &Fields) -> Answer {
        let wanted = text(request, "group_id")?;
        let groups = (0..)
            .zip(&self.groups)
            .filter(|(_, group)| wanted.is_none_or(|id| id == group.id));
        let groups = groups.map(
            |(place, group)| json!({ "group_id": group.id, "name": group.name, "is_default": u8::from(place == 0) }),
        );
        page(request, "group_list", groups.collect())
    }

    /// Place of the group that a request names, if it is not the default one.
    fn own_group(&self, request: &Fields) -> Result<usize, Refusal> {
        match self.group(request)? {
            0 => Err(Refusal::parameter("the default group cannot be changed")),
            place => Ok(place),
        }
    }

    /// Place of the group that a request names.
    fn group(&self, request: &Fields) -> Result<usize, Refusal> {
        let id = required(request, "group_id", 64)?;
        let place = self.groups.iter().position(|group| group.id == id);
        place.ok_or_else(|| Refusal::parameter("invalid group_id"))
    }
}

fn group_name(request: &Fields) -> Result<&str, Refusal> {
    of_characters(request, "name", MAX_NAME)?.ok_or_else(|| Refusal::parameter("field `name` is missing"))
}

/// One page of a list. The cursor is a place in it.
fn page(request: &Fields, field: &str, all: Vec<Value>) -> Answer {
    let limit = number(request, "limit")?.unwrap_or(USUAL_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Refusal::parameter("invalid limit"));
    }
    let start = match text(request, "cursor")? {
        None | Some("") => 0,
        Some(cursor) => cursor.parse().map_err(|_| Refusal::BAD_PAGING_CURSOR)?,
    };
    if start > all.len() {
        return Err(Refusal::BAD_PAGING_CURSOR);
    }
    let total = all.len();
    let entries: Vec<_> = all
        .into_iter()
        .skip(start)
        .take(usize::try_from(limit).unwrap_or(usize::MAX))
        .collect();
    let end = start + entries.len();
    Ok(json!({ "next_cursor": end.to_string(), "has_more": u8::from(end < total), field: entries }))
}
