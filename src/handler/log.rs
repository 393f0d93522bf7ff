//! A handler that only writes down that a message came.

use super::{Context, Handler, HandlerError, Outcome};
use crate::message::Message;

/// Logs one line per message: its type and its ids, never what it says.
///
/// The customer's id is on a line of its own at `debug`, because it names a person.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogHandler;

impl Handler for LogHandler {
    async fn handle(&self, cx: &Context, message: &Message) -> Result<Outcome, HandlerError> {
        tracing::info!(
            handler = %cx.handler(),
            app = %cx.account().app,
            open_kfid = %message.open_kfid,
            msgid = %message.msgid,
            r#type = message.kind(),
            origin = message.origin.number(),
            send_time_secs = message.send_time,
            attempt = cx.attempt(),
            "message received"
        );
        if let Some(customer) = &message.external_userid {
            tracing::debug!(msgid = %message.msgid, external_userid = %customer, "customer of the message");
        }
        Ok(Outcome::Done)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing::Level;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::handler::samples::read;
    use crate::handler::{Attempt, Registration};
    use crate::id::{AccountKey, AppName, HandlerName};

    /// Keeps what is logged.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Kept {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    /// What handling the sample `name` writes at `level`.
    async fn logged(name: &str, level: Level) -> String {
        let kept = Kept::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(kept.clone())
            .with_max_level(level)
            .with_ansi(false)
            .finish();
        let _logging = tracing::subscriber::set_default(subscriber);
        let message = read(name);
        let account = Arc::new(AccountKey::new(
            AppName::new("main").unwrap(),
            message.open_kfid.clone(),
        ));
        let log = Registration::new(HandlerName::new("log").unwrap(), LogHandler);
        assert_eq!(log.attempt(&account, &message, 1).await, Attempt::Done);
        String::from_utf8(kept.0.lock().unwrap().clone()).unwrap()
    }

    #[tokio::test]
    async fn a_message_is_one_line_that_tells_neither_its_text_nor_its_customer() {
        let text = logged("text", Level::INFO).await;
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("msgid=7Kq01vXbT9cRzWm4NpYh2LdGsE8fUoA6jC1ikQ"), "{text}");
        assert!(text.contains(r#"type="text" origin=3"#), "{text}");
        assert!(
            !text.contains("wmQ7") && !text.contains("订单") && !text.contains("Thanks"),
            "{text}"
        );

        let event = logged("event_enter_session", Level::INFO).await;
        assert!(event.contains(r#"type="event.enter_session""#), "{event}");
        assert!(!event.contains("wmQ7") && !event.contains("WC5f"), "{event}");
    }

    #[tokio::test]
    async fn the_customer_is_named_at_debug_and_the_text_nowhere() {
        let text = logged("text", Level::TRACE).await;
        assert!(
            text.contains("external_userid=wmQ7x2DAAAZ1pJcV8yTqHs3LfUeKoB6g"),
            "{text}"
        );
        assert!(!text.contains("订单") && !text.contains("Thanks"), "{text}");
    }
}
