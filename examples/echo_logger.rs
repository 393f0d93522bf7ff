//! Prints what customers write, and who comes in: a handler with one method per type.
//!
//! Run it with `cargo run --example echo_logger`.

use serde_json::value::RawValue;
use wecom_kf::handler::{Context, HandlerError, Outcome, Registration, Typed, TypedHandler};
use wecom_kf::id::{AccountKey, AppName, HandlerName, OpenKfid};
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

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let echo = Registration::new(HandlerName::new("echo")?, Typed(EchoLogger));
    let account = AccountKey::new(AppName::new("main")?, OpenKfid::from("wk1"));
    let items = [
        r#"{ "msgtype": "event", "event": { "event_type": "enter_session", "external_userid": "wm1" } }"#,
        r#"{ "msgtype": "text", "external_userid": "wm1", "text": { "content": "Is anybody there?" } }"#,
    ];
    for item in items {
        let message = Message::decode(serde_json::from_str::<Box<RawValue>>(item)?.into(), &account.open_kfid);
        println!("{:?}", echo.attempt(&account, &message, 1).await);
    }
    Ok(())
}
