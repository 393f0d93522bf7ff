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
    RecallMsg = "kf/recall_msg", "Take a message back.";
    ServiceStateGet = "kf/service_state/get", "Ask who answers a customer.";
    ServiceStateTrans = "kf/service_state/trans", "Change who answers a customer.";
    MediaUpload = "media/upload", "Hand a file to WeCom.";
    MediaGet = "media/get", "Fetch a file.";
    CustomerBatchget = "kf/customer/batchget", "Ask about customers.";
    GetUpgradeServiceConfig = "kf/customer/get_upgrade_service_config", "Ask to whom customers can be passed on.";
    UpgradeService = "kf/customer/upgrade_service", "Offer a customer a person or a group of their own.";
    CancelUpgradeService = "kf/customer/cancel_upgrade_service", "Withdraw that offer.";
    AccountAdd = "kf/account/add", "Add an account.";
    AccountDel = "kf/account/del", "Delete an account.";
    AccountUpdate = "kf/account/update", "Change an account's name or picture.";
    AccountList = "kf/account/list", "List the accounts.";
    AddContactWay = "kf/add_contact_way", "Get a link to an account.";
    ServicerAdd = "kf/servicer/add", "Add receptionists.";
    ServicerDel = "kf/servicer/del", "Remove receptionists.";
    ServicerList = "kf/servicer/list", "List the receptionists.";
    GetCorpQualification = "kf/get_corp_qualification", "Ask what the corporation has been granted.";
    GetCorpStatistic = "kf/get_corp_statistic", "Read the figures of an account.";
    GetServicerStatistic = "kf/get_servicer_statistic", "Read the figures of receptionists.";
    KnowledgeAddGroup = "kf/knowledge/add_group", "Add a group of questions.";
    KnowledgeDelGroup = "kf/knowledge/del_group", "Delete a group of questions.";
    KnowledgeModGroup = "kf/knowledge/mod_group", "Rename a group of questions.";
    KnowledgeListGroup = "kf/knowledge/list_group", "List the groups of questions.";
    KnowledgeAddIntent = "kf/knowledge/add_intent", "Add a question with its answer.";
    KnowledgeDelIntent = "kf/knowledge/del_intent", "Delete a question.";
    KnowledgeModIntent = "kf/knowledge/mod_intent", "Change a question or its answer.";
    KnowledgeListIntent = "kf/knowledge/list_intent", "List the questions.";
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
