//! A handler with one method per type of message.

use std::future::Future;

use super::{Context, Handler, HandlerError, Outcome};
use crate::message::{
    BusinessCard, Calendar, Channels, ChannelsShopOrder, ChannelsShopProduct, Content, EnterSession, Event, File,
    Image, Link, Location, Malformed, Meeting, MergedMsg, Message, Miniprogram, MsgSendFail, Msgmenu, Note,
    RejectCustomerMsgSwitchChange, ServicerRecallMsg, ServicerStatusChange, SessionStatusChange, Text, UserRecallMsg,
    Video, Voice,
};

/// Declares [`TypedHandler`] and how [`Typed`] finds the method: one line per type, named as WeCom names it.
macro_rules! typed_handler {
    (
        contents { $($(#[$doc:meta])* $method:ident: $body:ident,)+ }
        events { $($(#[$event_doc:meta])* $event_method:ident: $event:ident,)+ }
    ) => {
        /// Is handed messages, each type by a method of its own. A method that is not implemented skips its messages.
        ///
        /// [`Typed`] makes a [`Handler`] of it; what is said there of order, repetition and errors holds here.
        ///
        /// ```
        /// use wecom_kf::handler::{Context, HandlerError, Outcome, Typed, TypedHandler};
        /// use wecom_kf::message::{EnterSession, Message, Text};
        ///
        /// struct Counter;
        ///
        /// impl TypedHandler for Counter {
        ///     async fn text(&self, _: &Context, message: &Message, text: &Text) -> Result<Outcome, HandlerError> {
        ///         println!("{}: {} bytes", message.msgid, text.content.len());
        ///         Ok(Outcome::Done)
        ///     }
        ///
        ///     async fn enter_session(
        ///         &self,
        ///         cx: &Context,
        ///         _: &Message,
        ///         _: &EnterSession,
        ///     ) -> Result<Outcome, HandlerError> {
        ///         println!("somebody came to {}", cx.account());
        ///         Ok(Outcome::Done)
        ///     }
        /// }
        /// # fn is_handler(_: impl wecom_kf::handler::Handler) {}
        /// # is_handler(Typed(Counter));
        /// ```
        pub trait TypedHandler: Send + Sync + 'static {
            $($(#[$doc])*
            fn $method(
                &self,
                cx: &Context,
                message: &Message,
                body: &$body,
            ) -> impl Future<Output = Result<Outcome, HandlerError>> + Send {
                let _ = (cx, message, body);
                async { Ok(Outcome::Skip) }
            })+

            $($(#[$event_doc])*
            fn $event_method(
                &self,
                cx: &Context,
                message: &Message,
                body: &$event,
            ) -> impl Future<Output = Result<Outcome, HandlerError>> + Send {
                let _ = (cx, message, body);
                async { Ok(Outcome::Skip) }
            })+

            /// A message or an event of a type that this version does not know; see [`Message::raw`].
            fn unknown(
                &self,
                cx: &Context,
                message: &Message,
            ) -> impl Future<Output = Result<Outcome, HandlerError>> + Send {
                let _ = (cx, message);
                async { Ok(Outcome::Skip) }
            }

            /// A message of a known type that does not have the documented shape; see [`Message::raw`].
            fn malformed(
                &self,
                cx: &Context,
                message: &Message,
                body: &Malformed,
            ) -> impl Future<Output = Result<Outcome, HandlerError>> + Send {
                let _ = (cx, message, body);
                async { Ok(Outcome::Skip) }
            }
        }

        impl<H: TypedHandler> Handler for Typed<H> {
            async fn handle(&self, cx: &Context, message: &Message) -> Result<Outcome, HandlerError> {
                match &message.content {
                    $(Content::$body(body) => self.0.$method(cx, message, body).await,)+
                    Content::Event(event) => match event {
                        $(Event::$event(body) => self.0.$event_method(cx, message, body).await,)+
                    },
                    Content::Unknown => self.0.unknown(cx, message).await,
                    Content::Malformed(body) => self.0.malformed(cx, message, body).await,
                }
            }
        }
    };
}

/// A [`TypedHandler`] as a [`Handler`]. (A wrapper, because one type may implement both.)
#[derive(Clone, Copy, Debug, Default)]
pub struct Typed<H>(pub H);

typed_handler! {
    contents {
        /// Words.
        text: Text,
        /// A picture.
        image: Image,
        /// A voice recording.
        voice: Voice,
        /// A video.
        video: Video,
        /// Any other file.
        file: File,
        /// A place.
        location: Location,
        /// A link to a web page.
        link: Link,
        /// A colleague's business card.
        business_card: BusinessCard,
        /// A mini program's card.
        miniprogram: Miniprogram,
        /// A menu to tap on.
        msgmenu: Msgmenu,
        /// A product of a Channels shop.
        channels_shop_product: ChannelsShopProduct,
        /// An order at a Channels shop.
        channels_shop_order: ChannelsShopOrder,
        /// Forwarded chat records.
        merged_msg: MergedMsg,
        /// Something from Channels.
        channels: Channels,
        /// A meeting, without details.
        meeting: Meeting,
        /// A calendar entry, without details.
        calendar: Calendar,
        /// A note, without details.
        note: Note,
    }
    events {
        /// Event: a customer came in through one of our links. Its welcome code lives 20 seconds.
        enter_session: EnterSession,
        /// Event: a message of ours did not reach the customer.
        msg_send_fail: MsgSendFail,
        /// Event: a colleague began or stopped receiving.
        servicer_status_change: ServicerStatusChange,
        /// Event: a colleague took, passed on or ended a session.
        session_status_change: SessionStatusChange,
        /// Event: a customer withdrew a message.
        user_recall_msg: UserRecallMsg,
        /// Event: a colleague withdrew a message.
        servicer_recall_msg: ServicerRecallMsg,
        /// Event: a colleague refuses a customer's messages, or accepts them again.
        reject_customer_msg_switch_change: RejectCustomerMsgSwitchChange,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::handler::samples::{decoded, every_name, read};
    use crate::handler::{Attempt, Registration};
    use crate::id::{AccountKey, AppName, HandlerName, OpenKfid};
    use crate::message::KINDS;

    /// Notes which of its methods was called.
    #[derive(Clone, Default)]
    struct Spy(Arc<Mutex<Vec<&'static str>>>);

    impl Spy {
        fn called(&self, method: &'static str) -> Result<Outcome, HandlerError> {
            self.0.lock().unwrap().push(method);
            Ok(Outcome::Done)
        }
    }

    macro_rules! spies_on {
        ($($method:ident: $body:ident),+ $(,)?) => {
            impl TypedHandler for Spy {
                $(async fn $method(&self, _: &Context, _: &Message, _: &$body) -> Result<Outcome, HandlerError> {
                    self.called(stringify!($method))
                })+

                async fn unknown(&self, _: &Context, _: &Message) -> Result<Outcome, HandlerError> {
                    self.called("unknown")
                }
            }
        };
    }

    spies_on! {
        text: Text,
        image: Image,
        voice: Voice,
        video: Video,
        file: File,
        location: Location,
        link: Link,
        business_card: BusinessCard,
        miniprogram: Miniprogram,
        msgmenu: Msgmenu,
        channels_shop_product: ChannelsShopProduct,
        channels_shop_order: ChannelsShopOrder,
        merged_msg: MergedMsg,
        channels: Channels,
        meeting: Meeting,
        calendar: Calendar,
        note: Note,
        enter_session: EnterSession,
        msg_send_fail: MsgSendFail,
        servicer_status_change: ServicerStatusChange,
        session_status_change: SessionStatusChange,
        user_recall_msg: UserRecallMsg,
        servicer_recall_msg: ServicerRecallMsg,
        reject_customer_msg_switch_change: RejectCustomerMsgSwitchChange,
        malformed: Malformed,
    }

    async fn attempted(handler: impl TypedHandler, message: &Message) -> Attempt {
        let account = Arc::new(AccountKey::new(AppName::new("main").unwrap(), OpenKfid::from("wk1")));
        let registration = Registration::new(HandlerName::new("typed").unwrap(), Typed(handler));
        registration.attempt(&account, message, 1).await
    }

    /// The methods called for `message`.
    async fn called(message: &Message) -> Vec<&'static str> {
        let spy = Spy::default();
        assert_eq!(attempted(spy.clone(), message).await, Attempt::Done);
        spy.0.lock().unwrap().clone()
    }

    #[tokio::test]
    async fn every_type_goes_to_the_method_of_its_name() {
        let mut seen = BTreeSet::new();
        for name in every_name() {
            let message = read(&name);
            let kind = message.kind().unwrap();
            if KINDS.contains(&kind) {
                assert_eq!(called(&message).await, [kind.trim_start_matches("event.")], "{name}");
                seen.insert(kind.to_owned());
            }
        }
        assert_eq!(seen, KINDS.iter().map(|&kind| kind.to_owned()).collect());
    }

    #[tokio::test]
    async fn what_is_not_known_or_not_readable_has_methods_of_its_own() {
        assert_eq!(called(&read("unknown_msgtype")).await, ["unknown"]);
        assert_eq!(called(&read("unknown_event_type")).await, ["unknown"]);
        let misshapen = decoded(r#"{"msgid":"m","msgtype":"image","image":{"media_id":{}}}"#);
        assert_eq!(called(&misshapen).await, ["malformed"]);
    }

    #[tokio::test]
    async fn a_method_that_is_not_implemented_skips() {
        struct Indifferent;
        impl TypedHandler for Indifferent {}

        for name in every_name() {
            assert_eq!(attempted(Indifferent, &read(&name)).await, Attempt::Skip, "{name}");
        }
    }
}
