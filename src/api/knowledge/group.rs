//! Groups of questions.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{More, Page, check_limit};
use crate::api::answer::{Answer, LooseInt, done};
use crate::api::field::{required, required_characters};
use crate::api::{ApiError, Call, Client, FieldError, Problem};
use crate::id::KnowledgeGroupId;

/// Most characters of a group's name.
const NAME_CHARACTERS: usize = 12;

/// A group of questions.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Group {
    /// Its id.
    pub group_id: KnowledgeGroupId,
    /// Its name.
    pub name: Box<str>,
    /// Whether WeCom made it: such a group can be neither changed nor deleted.
    pub is_default: bool,
}

/// Which groups to list. [`Default`] lists the first page of all.
#[derive(Clone, Copy, Default, Debug, Serialize)]
pub struct ListGroups<'a> {
    /// `next_cursor` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<&'a str>,
    /// Most groups of a page, 1–1000; WeCom takes 500 if it is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_id: Option<&'a KnowledgeGroupId>,
}

impl Client {
    /// Adds a group of questions. Its name has 1–12 characters, and no other group's.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/95971>
    pub async fn knowledge_add_group(&self, name: &str) -> Result<KnowledgeGroupId, ApiError> {
        let call = Call::KnowledgeAddGroup;
        call.checked(check_name(name))?;
        self.post(call, &json!({ "name": name }), &[], read_group_id).await
    }

    /// Deletes a group and the questions in it.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/95971>
    pub async fn knowledge_del_group(&self, group_id: &KnowledgeGroupId) -> Result<(), ApiError> {
        let call = Call::KnowledgeDelGroup;
        call.checked(required("group_id", group_id.as_str()))?;
        self.post(call, &json!({ "group_id": group_id }), &[], done).await
    }

    /// Renames a group. Its name has 1–12 characters, and no other group's.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/95971>
    pub async fn knowledge_mod_group(&self, group_id: &KnowledgeGroupId, name: &str) -> Result<(), ApiError> {
        let call = Call::KnowledgeModGroup;
        call.checked(required("group_id", group_id.as_str()))?;
        call.checked(check_name(name))?;
        let body = json!({ "group_id": group_id, "name": name });
        self.post(call, &body, &[], done).await
    }

    /// Lists groups, page by page.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/95971>
    pub async fn knowledge_list_group(&self, which: &ListGroups<'_>) -> Result<Page<Group>, ApiError> {
        let call = Call::KnowledgeListGroup;
        call.checked(check_limit(which.limit))?;
        self.post(call, which, &[], read_page).await
    }
}

fn check_name(name: &str) -> Result<(), FieldError> {
    required_characters("name", name, NAME_CHARACTERS)
}

#[derive(Deserialize)]
struct Added {
    group_id: KnowledgeGroupId,
}

fn read_group_id(answer: &Answer) -> Result<KnowledgeGroupId, Problem> {
    let Added { group_id } = answer.read()?;
    Ok(group_id)
}

#[derive(Deserialize)]
struct Entry {
    group_id: KnowledgeGroupId,
    name: Option<Box<str>>,
    is_default: Option<LooseInt>,
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    group_list: Vec<Entry>,
    #[serde(flatten)]
    more: More,
}

fn read_page(answer: &Answer) -> Result<Page<Group>, Problem> {
    done(answer)?;
    let list: List = answer.read()?;
    let groups = list.group_list.into_iter().map(|entry| Group {
        group_id: entry.group_id,
        name: entry.name.unwrap_or_default(),
        is_default: entry.is_default.is_some_and(|default| default.0 != 0),
    });
    Ok(list.more.page(groups.collect()))
}
