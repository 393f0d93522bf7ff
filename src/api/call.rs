//! The calls of WeCom's API, in one table.

use std::fmt;

/// Names the calls by their paths.
macro_rules! calls {
    ($($name:ident = $path:literal, $meaning:literal;)+) => {
        /// A call of WeCom's API, named by its path below `/cgi-bin/`.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum Call {
            $(
                #[doc = $meaning]
                $name,
            )+
        }

        impl Call {
            /// Every call, in the order of their numbers.
            pub(super) const ALL: &[Self] = &[$(Self::$name),+];

            /// Path below `/cgi-bin/`, which is also its name in metrics and logs.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $path,)+
                }
            }
        }
    };
}

calls! {
    GetToken = "gettoken", "Get an access token for the secret.";
    SyncMsg = "kf/sync_msg", "Read a page of an account's messages.";
    SendMsg = "kf/send_msg", "Send a message to a customer.";
    SendMsgOnEvent = "kf/send_msg_on_event", "Send the message that an event's code allows.";
    ServiceStateGet = "kf/service_state/get", "Ask who answers a customer.";
    ServiceStateTrans = "kf/service_state/trans", "Change who answers a customer.";
    AccountList = "kf/account/list", "List the accounts.";
    MediaUpload = "media/upload", "Keep a file for three days.";
    MediaGet = "media/get", "Get a file.";
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
