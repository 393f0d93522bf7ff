//! Repeats what customers write: a handler that answers.

use tokio_util::sync::CancellationToken;
use wecom_kf::api::TransferTo;
use wecom_kf::app::App;
use wecom_kf::config::{Config, Environment};
use wecom_kf::handler::{Context, HandlerError, Outcome, Registration, ReplyError, Typed, TypedHandler};
use wecom_kf::id::HandlerName;
use wecom_kf::message::{EnterSession, Message, MsgSendFail, Text};

struct Parrot;

impl TypedHandler for Parrot {
    async fn text(&self, cx: &Context, _: &Message, text: &Text) -> Result<Outcome, HandlerError> {
        if text.content == "人工" {
            cx.transfer_to(TransferTo::Pool, Some("正在为您转接人工客服".into()))
                .await?;
            return Ok(Outcome::Done);
        }
        cx.reply(text.content.as_str()).await?;
        Ok(Outcome::Done)
    }

    async fn enter_session(&self, cx: &Context, _: &Message, _: &EnterSession) -> Result<Outcome, HandlerError> {
        match cx.welcome("我会重复您说的话。回复“人工”转人工客服。").await {
            Ok(_) => Ok(Outcome::Done),
            // Not everybody who comes in may be welcomed, and nobody after 20 seconds.
            Err(ReplyError::NoCode | ReplyError::CodeExpired) => Ok(Outcome::Skip),
            Err(error) => Err(error.into()),
        }
    }

    async fn msg_send_fail(&self, cx: &Context, _: &Message, _: &MsgSendFail) -> Result<Outcome, HandlerError> {
        let Some(failed) = cx.failed_reply().await? else {
            return Ok(Outcome::Skip);
        };
        eprintln!(
            "the answer to {} did not arrive: {:?}",
            failed.in_reply_to, failed.reason
        );
        Ok(Outcome::Done)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::load("config.toml".as_ref(), &Environment::of_process())?.config;
    let parrot = Registration::new(HandlerName::new("parrot")?, Typed(Parrot));
    let server = App::builder(config).handler(parrot).build().await?.bind().await?;
    server.run(CancellationToken::new()).await;
    Ok(())
}
