//! What an endpoint says through its answer: read, checked as a whole, and only then carried out.
//!
//! Nothing of an answer reaches the customer before all of it is known to be good. Errors name the field and never
//! quote it: they end up in logs and dead letters.

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::HeaderMap;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use serde_json::Value;

use crate::api::outgoing::Fields;
use crate::api::{EventMessage, FieldError, Outgoing, TransferTo, Unit};
use crate::handler::context::{BUDGET, parts};
use crate::handler::{BoxError, Context, HandlerError, Outcome, ReplyError};
use crate::id::ServicerUserid;
use crate::message::{Content, Event, Message, Origin};

/// Most bytes of an answer. Five menus, as long as WeCom takes them, have fewer.
const MOST_BYTES: usize = 256 * 1024;

/// What an endpoint wants said and done.
#[derive(Debug, Default)]
pub(super) struct Answer {
    replies: Vec<Outgoing>,
    next: Option<Next>,
}

/// Who answers the customer from now on.
#[derive(Debug)]
enum Next {
    Assistant,
    Pool,
    Colleague(ServicerUserid),
    Nobody,
}

/// What can be sent in answer to a message: checked, and no more than WeCom takes.
enum Speech {
    /// By `send_msg`.
    Replies(Vec<Outgoing>),
    /// By the code that an event brought.
    OnEvent(EventMessage),
}

/// What is wrong with an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnswerError {
    #[error("endpoint's answer has more than {MOST_BYTES} bytes")]
    TooLong,
    #[error("endpoint's answer broke off")]
    BrokeOff(#[source] BoxError),
    #[error("endpoint's answer is declared as JSON and is none")]
    NoJson(#[source] serde_json::Error),
    #[error("endpoint answered a web page")]
    WebPage,
    /// It has not the documented shape.
    #[error("endpoint's answer: {0}")]
    Shape(FieldError),
    /// A reply is beyond WeCom's limits.
    #[error("endpoint's answer: replies[{index}].{source}")]
    Reply { index: usize, source: FieldError },
    #[error("endpoint's answer: replies make {0} messages, more than {BUDGET}")]
    OverBudget(usize),
    #[error("endpoint's answer: replies has {0} items, and an event is answered with one")]
    OverOne(usize),
    #[error("endpoint's answer: what a colleague said cannot be answered")]
    ToColleague,
}

/// An answer that was good, and was not carried out.
#[derive(Debug, thiserror::Error)]
#[error("cannot carry out {field} of the endpoint's answer")]
struct NotDone {
    field: Box<str>,
    source: BoxError,
}

/// Whether an answer with these `headers` is declared as JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let declared = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = declared.and_then(|declared| declared.split(';').next());
    let essence = essence.unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}

impl Answer {
    /// Reads an answer that is declared as JSON. It may take as long as the attempt lasts.
    pub(super) async fn read(body: Incoming) -> Result<Self, AnswerError> {
        match Limited::new(body, MOST_BYTES).collect().await {
            Ok(body) => Self::parse(&body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(AnswerError::TooLong),
            Err(error) => Err(AnswerError::BrokeOff(error)),
        }
    }

    /// Nothing, `null`, and JSON that is none of ours say nothing: web frameworks answer `"ok"` or `{"status":"ok"}`.
    pub(super) fn parse(body: &[u8]) -> Result<Self, AnswerError> {
        if body.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        // It nests 128 deep at most: serde_json sees to it.
        let value: Value = serde_json::from_slice(body).map_err(AnswerError::NoJson)?;
        if !value.is_object() {
            return Ok(Self::default());
        }
        Self::of(&value).map_err(AnswerError::Shape)
    }

    fn of(value: &Value) -> Result<Self, FieldError> {
        let answer = Fields::of("", value)?;
        let replies = answer.list("replies")?;
        if replies.len() > BUDGET {
            return Err(FieldError::TooLarge {
                field: "replies".into(),
                limit: BUDGET as u64,
                actual: replies.len() as u64,
                unit: Unit::Items,
            });
        }
        let ends = answer.optional_flag("end")?.unwrap_or(false);
        let next = match answer.optional_object("transfer")? {
            Some(_) if ends => return Err(malformed("end", "and transfer exclude each other")),
            Some(transfer) => Some(Next::of(&transfer)?),
            None => ends.then_some(Next::Nobody),
        };
        Ok(Self {
            replies: replies.iter().map(Outgoing::read).collect::<Result<_, _>>()?,
            next,
        })
    }

    /// Carries it out in answer to `message`: first what is to be said, in order.
    ///
    /// While a colleague has the session, WeCom takes nothing from a program, and nothing should come between them: such
    /// an answer is dropped and the message counts as skipped.
    pub(super) async fn carry_out(self, cx: &Context, message: &Message) -> Result<Outcome, HandlerError> {
        let Self { replies, next } = self;
        if replies.is_empty() && next.is_none() {
            return Ok(Outcome::Done);
        }
        if message.origin == Origin::Servicer {
            let source = Box::new(AnswerError::ToColleague);
            return Err(HandlerError::Reject { source });
        }
        let said = match Speech::of(replies, message)? {
            Speech::Replies(replies) => reply_each(cx, replies).await,
            Speech::OnEvent(content) => cx
                .welcome(content)
                .await
                .map(drop)
                .map_err(|error| ("replies[0]".into(), error)),
        };
        let done = match (said, next) {
            (Ok(()), Some(next)) => next.carry_out(cx).await,
            (said, _) => said,
        };
        match done {
            Ok(()) => Ok(Outcome::Done),
            Err((_, ReplyError::SessionWithHuman { .. })) => {
                tracing::info!(handler = %cx.handler(), msgid = %message.msgid, "answer dropped: a colleague has the session");
                Ok(Outcome::Skip)
            }
            Err((field, error)) => Err(not_done(field, error)),
        }
    }
}

/// A field of the answer, and why it was not carried out.
type Unheard = (Box<str>, ReplyError);

async fn reply_each(cx: &Context, replies: Vec<Outgoing>) -> Result<(), Unheard> {
    for (index, content) in replies.into_iter().enumerate() {
        let sent = cx.reply(content).await;
        sent.map_err(|error| (format!("replies[{index}]").into(), error))?;
    }
    Ok(())
}

/// The error stays what it is to whoever decides about another attempt; its text also names the field.
fn not_done(field: Box<str>, error: ReplyError) -> HandlerError {
    let named = |source| -> BoxError { Box::new(NotDone { field, source }) };
    match HandlerError::from(error) {
        HandlerError::Retry { after, source } => HandlerError::Retry {
            after,
            source: named(source),
        },
        HandlerError::Unavailable { after, source } => HandlerError::Unavailable {
            after,
            source: named(source),
        },
        HandlerError::Reject { source } => HandlerError::Reject { source: named(source) },
    }
}

impl Next {
    fn of(transfer: &Fields<'_>) -> Result<Self, FieldError> {
        match transfer.number("service_state")? {
            1.0 => Ok(Self::Assistant),
            2.0 => Ok(Self::Pool),
            3.0 => match transfer.string("servicer_userid")? {
                servicer if servicer.is_empty() => Err(FieldError::Empty {
                    field: transfer.path_of("servicer_userid"),
                }),
                servicer => Ok(Self::Colleague(ServicerUserid::new(servicer))),
            },
            _ => Err(malformed(
                "transfer.service_state",
                "must be 1 (assistant), 2 (pool) or 3 (a colleague); \"end\": true ends the session",
            )),
        }
    }

    async fn carry_out(self, cx: &Context) -> Result<(), Unheard> {
        let (field, to) = match &self {
            Self::Assistant => ("transfer", TransferTo::Assistant),
            Self::Pool => ("transfer", TransferTo::Pool),
            Self::Colleague(servicer) => ("transfer", TransferTo::Human(servicer)),
            Self::Nobody => ("end", TransferTo::Ended),
        };
        let done = cx.transfer_to(to, None).await;
        done.map(drop).map_err(|error| (field.into(), error))
    }
}

impl Speech {
    /// What `replies` come to in answer to `message`: an event that may bring a code is answered with it or not at all.
    fn of(mut replies: Vec<Outgoing>, message: &Message) -> Result<Self, AnswerError> {
        let reply = |index| move |source| AnswerError::Reply { index, source };
        let by_code = matches!(
            message.content,
            Content::Event(Event::EnterSession(_) | Event::SessionStatusChange(_))
        );
        if by_code && let Some(only) = replies.pop() {
            if !replies.is_empty() {
                return Err(AnswerError::OverOne(replies.len() + 1));
            }
            let content = EventMessage::try_from(only).map_err(reply(0))?;
            content.check().map_err(reply(0))?;
            return Ok(Self::OnEvent(content));
        }
        let mut messages = 0;
        for (index, content) in replies.iter().enumerate() {
            let parts = parts(content.clone());
            parts.iter().try_for_each(Outgoing::check).map_err(reply(index))?;
            messages += parts.len();
        }
        if messages > BUDGET {
            return Err(AnswerError::OverBudget(messages));
        }
        Ok(Self::Replies(replies))
    }
}

fn malformed(field: &str, problem: &str) -> FieldError {
    FieldError::Malformed {
        field: field.into(),
        problem: problem.into(),
    }
}

/// Whether an endpoint may answer `message` with `body`.
#[cfg(test)]
pub(super) fn is_taken(body: &[u8], message: &Message) -> bool {
    Answer::parse(body)
        .and_then(|answer| Speech::of(answer.replies, message))
        .is_ok()
}
