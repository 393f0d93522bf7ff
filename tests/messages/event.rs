//! What the samples of events say.

use wecom_kf::message::{
    ChangeType, ChannelsScene, Content, Event, FailType, RejectSwitch, ServicerStatus, StopType, WechatChannels,
};

use super::{ALICE, BOB, LI, is, text as some};

/// Declares a check of each sample: its variant, and the value of every field.
macro_rules! checks {
    ($($name:ident: $variant:ident { $($fields:tt)* })+) => {$(
        pub(super) fn $name(content: &Content) {
            let Content::Event(event) = content else { panic!("no event: {content:?}") };
            is!(event, Event::$variant { $($fields)* });
        }
    )+};
}

/// What a [`WechatChannels`] says.
fn says(channels: &WechatChannels) -> (Option<&str>, Option<&str>, Option<ChannelsScene>) {
    (
        channels.nickname.as_deref(),
        channels.shop_nickname.as_deref(),
        channels.scene,
    )
}

checks! {
    enter_session: EnterSession {
        external_userid: ALICE.unwrap().into(),
        scene: some("homepage_button"),
        scene_param: some("order=42&src=h5"),
        welcome_code: some("WC5f0cQ2mZ8tR1xJ7nLvKb3"),
        wechat_channels: None,
    }
    enter_session_no_welcome: EnterSession {
        external_userid: BOB.unwrap().into(),
        scene: some(""),
        scene_param: some(""),
        welcome_code: None,
        wechat_channels: None,
    }
    msg_send_fail: MsgSendFail {
        external_userid: ALICE.unwrap().into(),
        fail_msgid: "reply_01J4ZC8Q2V6N7T",
        fail_type: FailType::TooManyMessages,
    }
    servicer_stopped: ServicerStatusChange {
        servicer_userid: LI.unwrap().into(),
        status: ServicerStatus::Stopped,
        stop_type: Some(StopType::Suspended),
    }
    servicer_started: ServicerStatusChange {
        servicer_userid: LI.unwrap().into(),
        status: ServicerStatus::Receiving,
        stop_type: None,
    }
    session_taken: SessionStatusChange {
        external_userid: ALICE.unwrap().into(),
        change_type: ChangeType::Taken,
        old_servicer_userid: None,
        new_servicer_userid: Some("LiMing".into()),
        msg_code: some("MC9d2LpX7cV0qT4hZr6nKwEy"),
    }
    session_transferred: SessionStatusChange {
        external_userid: ALICE.unwrap().into(),
        change_type: ChangeType::Transferred,
        old_servicer_userid: Some("LiMing".into()),
        new_servicer_userid: Some("WangFang".into()),
        msg_code: None,
    }
    session_ended: SessionStatusChange {
        external_userid: ALICE.unwrap().into(),
        change_type: ChangeType::Ended,
        old_servicer_userid: Some("WangFang".into()),
        new_servicer_userid: None,
        msg_code: some("MC1s8NvB5yQ3gJ7mUa0tRzXk"),
    }
    session_reopened: SessionStatusChange {
        external_userid: ALICE.unwrap().into(),
        change_type: ChangeType::Reopened,
        old_servicer_userid: Some("WangFang".into()),
        new_servicer_userid: Some("LiMing".into()),
        msg_code: None,
    }
    user_recall_msg: UserRecallMsg {
        external_userid: ALICE.unwrap().into(),
        recall_msgid: "7Kq01vXbT9cRzWm4NpYh2LdGsE8fUoA6jC1ikQ".into(),
    }
    servicer_recall_msg: ServicerRecallMsg {
        external_userid: ALICE.unwrap().into(),
        recall_msgid: "7Kq03vXbT9cRzWm4NpYh2LdGsE8fUoA6jC1ikQ".into(),
        servicer_userid: LI.unwrap().into(),
    }
    reject_switch: RejectCustomerMsgSwitchChange {
        servicer_userid: LI.unwrap().into(),
        external_userid: ALICE.unwrap().into(),
        reject_switch: RejectSwitch::Refuses,
    }
}

pub(super) fn enter_session_channels(content: &Content) {
    let Content::Event(Event::EnterSession(event)) = content else {
        panic!("{content:?}")
    };
    assert_eq!(event.external_userid.as_str(), BOB.unwrap());
    assert_eq!((&event.scene, &event.scene_param), (&some("channels"), &some("")));
    assert_eq!(event.welcome_code, some("WC81hTq4Zc6yM0eVkR2uPsN"));
    let channels = event.wechat_channels.as_ref().map(says);
    assert_eq!(channels, Some((Some("山野咖啡"), None, Some(ChannelsScene::HomePage))));
}

pub(super) fn enter_session_channels_shop(content: &Content) {
    let Content::Event(Event::EnterSession(event)) = content else {
        panic!("{content:?}")
    };
    assert_eq!(event.external_userid.as_str(), BOB.unwrap());
    assert_eq!((&event.scene, &event.scene_param), (&some(""), &some("")));
    assert_eq!(event.welcome_code, None);
    let channels = event.wechat_channels.as_ref().map(says);
    assert_eq!(
        channels,
        Some((None, Some("山野咖啡旗舰店"), Some(ChannelsScene::ShopOrder)))
    );
}
