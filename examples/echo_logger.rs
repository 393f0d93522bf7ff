//! Prints what customers write, and who comes in: a handler with one method per type.

use tokio_util::sync::CancellationToken;
use wecom_kf::app::App;
use wecom_kf::config::{Config, Environment};
use wecom_kf::handler::{Context, HandlerError, Outcome, Registration, Typed, TypedHandler};
use wecom_kf::id::HandlerName;
use wecom_kf::message::{EnterSession, Message, Text};

struct EchoLogger;

impl TypedHandler for EchoLogger {
    async fn text(&self, cx: &Context, _: &Message, text: &Text) -> Result<Outcome, HandlerError> {
        println!("{}: somebody says {:?}", cx.account(), text.content);
        Ok(Outcome::Done)
    }

    async fn enter_session(&self, cx: &Context, _: &Message, _: &EnterSession) -> Result<Outcome, HandlerError> {
        println!("{}: somebody comes in", cx.account());
        Ok(Outcome::Done)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::load("config.toml".as_ref(), &Environment::of_process())?.config;
    let echo = Registration::new(HandlerName::new("echo")?, Typed(EchoLogger));
    let server = App::builder(config).handler(echo).build().await?.bind().await?;
    server.run(CancellationToken::new()).await;
    Ok(())
}
