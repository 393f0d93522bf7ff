//! One question, the ways to ask it, and its answer.

use std::collections::HashSet;

use rand::Rng;
use serde_json::{Value, json};

use super::{Knowledge, page};
use crate::clock::UnixMillis;
use crate::simulator::calls::Answer;
use crate::simulator::calls::fields::{Fields, of_characters, required, text};
use crate::simulator::media::{Library, MediaKind};
use crate::simulator::refusal::Refusal;
use crate::simulator::samples::alphanumeric;

const MOST_IN_A_GROUP: usize = 200;
const MOST_SIMILAR: usize = 100;
const MOST_ATTACHMENTS: usize = 4;
/// Longest question and longest answer, in characters.
const MAX_QUESTION: usize = 200;
const MAX_ANSWER: usize = 500;

/// A question as it is listed.
#[derive(Debug)]
pub(super) struct Intent {
    pub(super) group_id: String,
    id: String,
    question: Value,
    similar_questions: Value,
    answers: Value,
}

/// Where a question is checked.
struct Desk<'a> {
    media: &'a Library,
    now: UnixMillis,
}

impl Intent {
    /// Every way to ask it.
    fn wordings(&self) -> impl Iterator<Item = &str> {
        let similar = self.similar_questions["items"].as_array().into_iter().flatten();
        std::iter::once(&self.question)
            .chain(similar)
            .filter_map(|asked| asked["text"]["content"].as_str())
    }

    fn listed(&self) -> Value {
        json!({
            "group_id": self.group_id, "intent_id": self.id, "question": self.question,
            "similar_questions": self.similar_questions, "answers": self.answers
        })
    }
}

impl Knowledge {
    /// `POST /cgi-bin/kf/knowledge/add_intent`.
    pub(in crate::simulator::calls) fn add_intent(
        &mut self,
        request: Fields,
        media: &Library,
        rng: &mut impl Rng,
        now: UnixMillis,
    ) -> Answer {
        let group = self.group(&request)?;
        let group_id = self.groups[group].id.clone();
        let mut intent = Intent {
            group_id,
            id: format!("ki{}", alphanumeric(20, rng)),
            question: Value::Null,
            similar_questions: json!({ "items": [] }),
            answers: Value::Null,
        };
        Desk { media, now }.change(&mut intent, request)?;
        if intent.question.is_null() || intent.answers.is_null() {
            return Err(Refusal::parameter("question or answers missing"));
        }
        let in_group = self.intents.iter().filter(|other| other.group_id == intent.group_id);
        if in_group.count() >= MOST_IN_A_GROUP {
            return Err(Refusal::parameter("too many intents"));
        }
        self.must_be_unique(&intent)?;
        let answer = json!({ "intent_id": intent.id });
        self.intents.push(intent);
        Ok(answer)
    }

    /// `POST /cgi-bin/kf/knowledge/del_intent`.
    pub(in crate::simulator::calls) fn del_intent(&mut self, request: &Fields) -> Answer {
        let place = self.intent(request)?;
        self.intents.remove(place);
        Ok(json!({}))
    }

    /// `POST /cgi-bin/kf/knowledge/mod_intent`. Each part that is given is replaced as a whole.
    pub(in crate::simulator::calls) fn mod_intent(
        &mut self,
        request: Fields,
        media: &Library,
        now: UnixMillis,
    ) -> Answer {
        let place = self.intent(&request)?;
        let before = &self.intents[place];
        let mut intent = Intent {
            group_id: before.group_id.clone(),
            id: before.id.clone(),
            question: before.question.clone(),
            similar_questions: before.similar_questions.clone(),
            answers: before.answers.clone(),
        };
        Desk { media, now }.change(&mut intent, request)?;
        self.must_be_unique(&intent)?;
        self.intents[place] = intent;
        Ok(json!({}))
    }

    /// `POST /cgi-bin/kf/knowledge/list_intent`.
    pub(in crate::simulator::calls) fn list_intent(&self, request: &Fields) -> Answer {
        let (group_id, intent_id) = (text(request, "group_id")?, text(request, "intent_id")?);
        let wanted = self.intents.iter().filter(|intent| {
            group_id.is_none_or(|id| id == intent.group_id) && intent_id.is_none_or(|id| id == intent.id)
        });
        page(request, "intent_list", wanted.map(Intent::listed).collect())
    }

    fn intent(&self, request: &Fields) -> Result<usize, Refusal> {
        let id = required(request, "intent_id", 64)?;
        let place = self.intents.iter().position(|intent| intent.id == id);
        place.ok_or_else(|| Refusal::parameter("invalid intent_id"))
    }

    /// No question may be asked in the same words as another, of whichever group.
    fn must_be_unique(&self, intent: &Intent) -> Result<(), Refusal> {
        let others = self.intents.iter().filter(|other| other.id != intent.id);
        let taken: HashSet<_> = others.flat_map(Intent::wordings).collect();
        if intent.wordings().any(|wording| taken.contains(wording)) {
            return Err(Refusal::DUPLICATE_QUESTION);
        }
        Ok(())
    }
}

impl Desk<'_> {
    /// Replaces what `request` brings, once it has been looked at.
    fn change(&self, intent: &mut Intent, mut request: Fields) -> Result<(), Refusal> {
        if let Some(question) = request.remove("question") {
            checked_text(&question, MAX_QUESTION)?;
            intent.question = question;
        }
        if let Some(similar) = request.remove("similar_questions") {
            let items = similar["items"].as_array().map(Vec::as_slice).unwrap_or_default();
            if items.len() > MOST_SIMILAR {
                return Err(Refusal::parameter("too many similar_questions"));
            }
            items.iter().try_for_each(|item| checked_text(item, MAX_QUESTION))?;
            intent.similar_questions = json!({ "items": items });
        }
        if let Some(answers) = request.remove("answers") {
            let Some([answer]) = answers.as_array().map(Vec::as_slice) else {
                return Err(Refusal::parameter("answers must have one entry"));
            };
            checked_text(answer, MAX_ANSWER)?;
            let attachments = answer["attachments"].as_array().map(Vec::as_slice).unwrap_or_default();
            if attachments.len() > MOST_ATTACHMENTS {
                return Err(Refusal::parameter("too many attachments"));
            }
            let attachments: Result<Vec<_>, _> = attachments.iter().map(|given| self.attachment(given)).collect();
            intent.answers = json!([{ "text": answer["text"], "attachments": attachments? }]);
        }
        Ok(())
    }

    /// An attachment as it is listed: a file by its name, where it was written by its id.
    fn attachment(&self, given: &Value) -> Result<Value, Refusal> {
        let msgtype = given["msgtype"].as_str().unwrap_or_default();
        let body = given[msgtype].as_object().ok_or(Refusal::BAD_MSGTYPE)?;
        match msgtype {
            "image" => {
                Ok(json!({ "msgtype": msgtype, msgtype: { "name": self.name(body, "media_id", MediaKind::Image)? } }))
            }
            "video" => {
                Ok(json!({ "msgtype": msgtype, msgtype: { "name": self.name(body, "media_id", MediaKind::Video)? } }))
            }
            "link" => {
                required(body, "title", 128)?;
                required(body, "url", 2048)?;
                Ok(given.clone())
            }
            "miniprogram" => {
                required(body, "appid", 32)?;
                required(body, "pagepath", 1024)?;
                self.name(body, "thumb_media_id", MediaKind::Image)?;
                let mut listed = given.clone();
                if let Some(body) = listed[msgtype].as_object_mut() {
                    body.remove("thumb_media_id");
                }
                Ok(listed)
            }
            _ => Err(Refusal::BAD_MSGTYPE),
        }
    }

    fn name(&self, body: &Fields, field: &'static str, kind: MediaKind) -> Result<&str, Refusal> {
        let media_id = text(body, field)?.filter(|id| !id.is_empty());
        let media = self.media.find(media_id.ok_or(Refusal::NO_MEDIA_ID)?, self.now)?;
        if media.kind == kind {
            Ok(&media.name)
        } else {
            Err(Refusal::WRONG_MEDIA_TYPE)
        }
    }
}

fn checked_text(holder: &Value, max: usize) -> Result<(), Refusal> {
    let text = holder["text"].as_object();
    let text = text.ok_or_else(|| Refusal::parameter("field `text` is missing"))?;
    of_characters(text, "content", max)?.ok_or_else(|| Refusal::parameter("field `content` is missing"))?;
    Ok(())
}
