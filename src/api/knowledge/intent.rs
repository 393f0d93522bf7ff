//! Questions with their answers, which WeCom calls intents.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::attachment::WireAttachment;
use super::{Attachment, More, Page, StoredAttachment, check_limit};
use crate::api::answer::{Answer, done};
use crate::api::field::{at_most, required, required_characters};
use crate::api::{ApiError, Call, Client, FieldError, Problem, Unit};
use crate::id::{IntentId, KnowledgeGroupId};

/// Most characters of a question.
const QUESTION_CHARACTERS: usize = 200;

/// Most characters of an answer.
const ANSWER_CHARACTERS: usize = 500;

/// Most other ways to ask a question.
const SIMILAR_QUESTIONS: usize = 100;

/// Most attachments of an answer.
const ATTACHMENTS: usize = 4;

/// A question with its answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Intent {
    /// What is asked. 1–200 characters, and no other intent's.
    pub question: String,
    /// Other ways to ask it. At most 100, of 1–200 characters each.
    pub similar_questions: Vec<String>,
    /// What is answered.
    pub answer: IntentAnswer,
}

/// What is answered to a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IntentAnswer {
    /// Its words. 1–500 characters.
    pub text: String,
    /// What hangs on it. At most 4.
    pub attachments: Vec<Attachment>,
}

/// What to change of an intent. Each part that is given takes the place of the old one as a whole.
#[derive(Clone, Copy, Default, Debug)]
pub struct IntentChange<'a> {
    /// What is asked.
    pub question: Option<&'a str>,
    /// Other ways to ask it.
    pub similar_questions: Option<&'a [String]>,
    /// What is answered.
    pub answer: Option<&'a IntentAnswer>,
}

/// Which intents to list. [`Default`] lists the first page of all.
#[derive(Clone, Copy, Default, Debug, Serialize)]
pub struct ListIntents<'a> {
    /// `next_cursor` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<&'a str>,
    /// Most intents of a page, 1–1000; WeCom takes 500 if it is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only those of this group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_id: Option<&'a KnowledgeGroupId>,
    /// Only this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intent_id: Option<&'a IntentId>,
}

/// An intent as WeCom keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct StoredIntent {
    /// Group that it is in.
    pub group_id: KnowledgeGroupId,
    /// Its id.
    pub intent_id: IntentId,
    /// What is asked.
    pub question: Box<str>,
    /// Other ways to ask it.
    pub similar_questions: Vec<Box<str>>,
    /// What is answered. One, at present.
    pub answers: Vec<StoredAnswer>,
}

/// An answer as WeCom keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct StoredAnswer {
    /// Its words.
    pub text: Box<str>,
    /// What hangs on it.
    pub attachments: Vec<StoredAttachment>,
}

impl Client {
    /// Adds a question with its answer.
    ///
    /// # Errors
    ///
    /// [`ApiError::Rejected`] with 511020 when there is such a question already. See [`ApiError`] for the rest.
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/95972>
    pub async fn knowledge_add_intent(
        &self,
        group_id: &KnowledgeGroupId,
        intent: &Intent,
    ) -> Result<IntentId, ApiError> {
        let call = Call::KnowledgeAddIntent;
        call.checked(required("group_id", group_id.as_str()))?;
        let whole = IntentChange {
            question: Some(&intent.question),
            similar_questions: Some(&intent.similar_questions)
                .filter(|similar| !similar.is_empty())
                .map(Vec::as_slice),
            answer: Some(&intent.answer),
        };
        call.checked(whole.check())?;
        let body = whole.json(json!({ "group_id": group_id }));
        self.post(call, &body, &[], read_intent_id).await
    }

    /// Deletes a question.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/95972>
    pub async fn knowledge_del_intent(&self, intent_id: &IntentId) -> Result<(), ApiError> {
        let call = Call::KnowledgeDelIntent;
        call.checked(required("intent_id", intent_id.as_str()))?;
        self.post(call, &json!({ "intent_id": intent_id }), &[], done).await
    }

    /// Changes a question, the other ways to ask it, or its answer.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/95972>
    pub async fn knowledge_mod_intent(&self, intent_id: &IntentId, change: &IntentChange<'_>) -> Result<(), ApiError> {
        let call = Call::KnowledgeModIntent;
        call.checked(required("intent_id", intent_id.as_str()))?;
        call.checked(change.check())?;
        let body = change.json(json!({ "intent_id": intent_id }));
        self.post(call, &body, &[], done).await
    }

    /// Lists questions with their answers, page by page.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/95972>
    pub async fn knowledge_list_intent(&self, which: &ListIntents<'_>) -> Result<Page<StoredIntent>, ApiError> {
        let call = Call::KnowledgeListIntent;
        call.checked(check_limit(which.limit))?;
        self.post(call, which, &[], read_page).await
    }
}

impl IntentChange<'_> {
    fn check(&self) -> Result<(), FieldError> {
        if let Some(question) = self.question {
            required_characters("question.text.content", question, QUESTION_CHARACTERS)?;
        }
        let similar = self.similar_questions.unwrap_or_default();
        at_most("similar_questions.items", similar.len(), SIMILAR_QUESTIONS, Unit::Items)?;
        for (index, question) in similar.iter().enumerate() {
            let field = format!("similar_questions.items[{index}].text.content");
            required_characters(&field, question, QUESTION_CHARACTERS)?;
        }
        let Some(answer) = self.answer else {
            return Ok(());
        };
        required_characters("answers[0].text.content", &answer.text, ANSWER_CHARACTERS)?;
        let field = "answers[0].attachments";
        at_most(field, answer.attachments.len(), ATTACHMENTS, Unit::Items)?;
        let mut attachments = answer.attachments.iter().enumerate();
        attachments.try_for_each(|(index, attachment)| attachment.check(&format!("{field}[{index}]")))
    }

    /// Puts what is given into `body`.
    fn json(&self, mut body: Value) -> Value {
        if let Some(question) = self.question {
            body["question"] = text(question);
        }
        if let Some(similar) = self.similar_questions {
            let items: Vec<_> = similar.iter().map(|question| text(question)).collect();
            body["similar_questions"] = json!({ "items": items });
        }
        if let Some(answer) = self.answer {
            let mut answer_json = text(&answer.text);
            if !answer.attachments.is_empty() {
                answer_json["attachments"] = answer.attachments.iter().map(Attachment::json).collect();
            }
            body["answers"] = json!([answer_json]);
        }
        body
    }
}

fn text(content: &str) -> Value {
    json!({ "text": { "content": content } })
}

#[derive(Deserialize)]
struct Added {
    intent_id: IntentId,
}

fn read_intent_id(answer: &Answer) -> Result<IntentId, Problem> {
    let Added { intent_id } = answer.read()?;
    Ok(intent_id)
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireText {
    content: Box<str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireItem {
    text: WireText,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireItems {
    items: Vec<WireItem>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireAnswer {
    text: WireText,
    attachments: Vec<WireAttachment>,
}

/// WeCom's sample has the other ways to ask and the answers inside the question, its table beside it.
#[derive(Deserialize, Default)]
#[serde(default)]
struct WireQuestion {
    text: WireText,
    similar_questions: Option<WireItems>,
    answers: Option<Vec<WireAnswer>>,
}

#[derive(Deserialize)]
struct WireIntent {
    group_id: KnowledgeGroupId,
    intent_id: IntentId,
    #[serde(default)]
    question: WireQuestion,
    similar_questions: Option<WireItems>,
    answers: Option<Vec<WireAnswer>>,
}

impl From<WireIntent> for StoredIntent {
    fn from(wire: WireIntent) -> Self {
        let similar = wire.similar_questions.or(wire.question.similar_questions);
        let answers = wire.answers.or(wire.question.answers);
        let answer = |answer: WireAnswer| StoredAnswer {
            text: answer.text.content,
            attachments: answer.attachments.into_iter().map(StoredAttachment::from).collect(),
        };
        Self {
            group_id: wire.group_id,
            intent_id: wire.intent_id,
            question: wire.question.text.content,
            similar_questions: similar
                .unwrap_or_default()
                .items
                .into_iter()
                .map(|item| item.text.content)
                .collect(),
            answers: answers.unwrap_or_default().into_iter().map(answer).collect(),
        }
    }
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    intent_list: Vec<WireIntent>,
    #[serde(flatten)]
    more: More,
}

fn read_page(answer: &Answer) -> Result<Page<StoredIntent>, Problem> {
    done(answer)?;
    let list: List = answer.read()?;
    let intents = list.intent_list.into_iter().map(StoredIntent::from).collect();
    Ok(list.more.page(intents))
}
