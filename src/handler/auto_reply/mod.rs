//! Answers customers by itself: a welcome with a menu, keyword rules, opening hours, a fallback, and a way to a person.
//!
//! What it says stands in its [`Settings`]. What it does about a message depends on these and on the message, the time it
//! was sent included, and on nothing else, so that an attempt after a crash comes to the same and says nothing twice.
//!
//! * A **tap** on an entry of a menu goes to the rule with the id of the entry. If no rule has it, the words of the entry
//!   count like words that were typed.
//! * **Words** go to the first rule that has a keyword among them, compared as [`Keyword`] says.
//! * Rules answer at any hour. But a customer who asks for a person outside of the [`Hours`] is handed to nobody, and told
//!   when somebody will be there.
//! * Whatever no rule answers, pictures and the like among it, gets the notice of the hours while nobody is there, else
//!   the fallback: each once in a while for each customer, however much they write.
//! * While a colleague has the session, or it waits for one, the handler is **silent**. So it is where WeCom takes no
//!   more, and where a code has expired: an answer that may not be given is nothing that a person could mend later, so its
//!   message is skipped and counted, not kept as a dead letter.
//!
//! It is also the example of a handler that talks: all of that is a pure function and one method of
//! [`Context`] for each thing to be done.

use crate::api::{ApiError, ErrCode, Outgoing, ServiceState, TransferTo};
use crate::handler::{Context, Handler, HandlerError, Outcome, ReplyError};
use crate::message::Message;
use crate::metric;

mod hours;
mod keyword;
mod rule;
mod settings;
mod step;

#[cfg(test)]
mod tests;

pub use hours::{HoursError, OpeningHours, Stretch, UtcOffset};
pub use keyword::{EmptyKeyword, Keyword, Match};
pub use rule::{Answer, Rule};
pub use settings::{HandOver, Hours, Notice, Settings};

use step::Step;

/// A handler that answers customers by itself, see the [module](self).
///
/// ```
/// use wecom_kf::api::EventMessage;
/// use wecom_kf::handler::AutoReply;
/// use wecom_kf::handler::auto_reply::{Answer, Keyword, Match, Rule, Settings};
///
/// let prices = Rule {
///     keywords: vec![Keyword::new("price")?, Keyword::new("价格")?],
///     matching: Match::Contains,
///     menu_id: None,
///     answer: Answer::Say(EventMessage::text("一份 25 元。")),
/// };
/// let handler = AutoReply::new(Settings {
///     welcome: Some(EventMessage::text("您好！")),
///     rules: vec![prices],
///     ..Settings::default()
/// });
/// # fn is_handler(_: impl wecom_kf::handler::Handler) {}
/// # is_handler(handler);
/// # Ok::<(), wecom_kf::handler::auto_reply::EmptyKeyword>(())
/// ```
#[derive(Clone, Debug)]
pub struct AutoReply {
    settings: Settings,
}

impl AutoReply {
    /// A handler that says what stands in `settings`. WeCom refuses what is beyond its limits:
    /// [`EventMessage::check`](crate::api::EventMessage::check) tells beforehand.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// Takes `step`. Returns what was said, in one word; `None` if it had been said lately.
    async fn take(&self, cx: &Context, step: Step<'_>) -> Result<Option<&'static str>, ReplyError> {
        match step {
            Step::Welcome(content) => {
                cx.welcome(content.clone()).await?;
                Ok(Some("welcome"))
            }
            Step::Reply(occasion, content) => {
                cx.reply(Outgoing::from(content.clone())).await?;
                Ok(Some(occasion))
            }
            Step::Notice(occasion, notice) => {
                let content = Outgoing::from(notice.content.clone());
                let said = cx.notice(occasion, notice.every, content).await?;
                Ok(said.map(|_| occasion))
            }
            Step::HandOver => {
                self.hand_over(cx).await?;
                Ok(Some("handed_over"))
            }
        }
    }

    async fn hand_over(&self, cx: &Context) -> Result<(), ReplyError> {
        let HandOver { servicer_userid, reply } = &self.settings.hand_over;
        let session = cx.session().await?;
        // WeCom would take it from the colleague who has it.
        if matches!(session.state, ServiceState::Pool | ServiceState::Human) {
            let servicer_userid = session.servicer_userid;
            return Err(ReplyError::SessionWithHuman { servicer_userid });
        }
        if let Some(servicer) = servicer_userid {
            match cx.transfer_to(TransferTo::Human(servicer), reply.clone()).await {
                Err(ReplyError::Refused { source }) if cannot_receive(&source) => {
                    tracing::warn!(
                        handler = %cx.handler(),
                        servicer_userid = %servicer,
                        errcode = source.errcode().map(|code| code.0),
                        "the colleague to hand over to does not receive: the session goes to the pool"
                    );
                }
                other => return other.map(|_| ()),
            }
        }
        cx.transfer_to(TransferTo::Pool, reply.clone()).await.map(|_| ())
    }
}

impl Handler for AutoReply {
    async fn handle(&self, cx: &Context, message: &Message) -> Result<Outcome, HandlerError> {
        let Some(step) = self.settings.step(message) else {
            return Ok(Outcome::Skip);
        };
        let (outcome, result) = match self.take(cx, step).await {
            Ok(Some(said)) => (Outcome::Done, said),
            Ok(None) => (Outcome::Skip, "held_back"),
            Err(error) => match why_unsaid(&error) {
                Some(reason) => (Outcome::Skip, reason),
                None => return Err(error.into()),
            },
        };
        metrics::counter!(metric::AUTO_REPLIES, "handler" => cx.handler().to_string(), "result" => result).increment(1);
        Ok(outcome)
    }
}

/// Why something was rightly not said, in one word; `None` for a failure.
fn why_unsaid(error: &ReplyError) -> Option<&'static str> {
    match error {
        ReplyError::NoCode => Some("no_code"),
        ReplyError::CodeExpired | ReplyError::WindowClosed | ReplyError::SessionEnded => Some("too_late"),
        ReplyError::OverBudget { .. } => Some("over_budget"),
        ReplyError::SessionWithHuman { .. } => Some("with_human"),
        _ => None,
    }
}

/// Whether a colleague cannot be given a session, now or ever.
fn cannot_receive(error: &ApiError) -> bool {
    let codes = [
        ErrCode::RECEPTIONIST_NOT_ACTIVE,
        ErrCode::RECEPTIONIST_STOPPED,
        ErrCode::NOT_A_RECEPTIONIST,
        ErrCode::INVALID_USERID,
        ErrCode::USERID_NOT_FOUND,
    ];
    error.errcode().is_some_and(|code| codes.contains(&code))
}
