//! What each sample looks like.

use rand::distr::Alphanumeric;
use rand::{Rng, RngExt};
use serde_json::{Value, json};

use super::Sample;
use crate::id::ExternalUserid;
use crate::simulator::draft::Draft;

const QUESTIONS: [&str; 12] = [
    "你好，请问订单 {} 什么时候发货？",
    "Hi, where is my parcel {}?",
    "收到的杯子有裂纹，可以换一个吗？订单号 {}",
    "退货地址发我一下，谢谢 🙏",
    "发票抬头写错了，能重开吗？\n单号：{}",
    "Do you ship to Hong Kong? My last order was {}.",
    "满减券怎么用不了？",
    "咖啡豆是什么时候烘焙的？",
    "尺码偏大还是偏小呀",
    "Could you change the address of order {} before it leaves?",
    "还在吗？",
    "好的，明白了，谢谢！",
];

const ANSWERS: [&str; 4] = [
    "您好，已为您加急处理。",
    "Thanks for waiting, it leaves our warehouse today.",
    "请把照片发给我看一下，好吗？",
    "已经帮您登记，三个工作日内退款。",
];

pub(in crate::simulator) const SERVICERS: [&str; 3] = ["LiMing", "WangFang", "ZhaoLei"];

impl Sample {
    /// This sample, from or about `customer`.
    #[must_use]
    pub fn draft(self, customer: &ExternalUserid, rng: &mut impl Rng) -> Draft {
        let [servicer, other] = [pick(&SERVICERS, rng), pick(&SERVICERS, rng)];
        let sends = |msgtype, body| Draft::from_customer(customer, msgtype, Some(body));
        let sends_only = |msgtype| Draft::from_customer(customer, msgtype, None);
        let answers = |msgtype, body| Draft::from_servicer(servicer, customer, msgtype, body);
        let event = |event_type, fields| Draft::event(event_type, Some(customer), fields);
        match self {
            Self::Text => Draft::text(customer, question(rng)),
            Self::TextMenuReply => sends("text", json!({ "content": "已解决", "menu_id": "solved_yes" })),
            Self::Image => sends("image", json!({ "media_id": media_id(rng) })),
            Self::Voice => sends("voice", json!({ "media_id": media_id(rng) })),
            Self::Video => sends("video", json!({ "media_id": media_id(rng) })),
            Self::File => sends("file", json!({ "media_id": media_id(rng) })),
            Self::Location => sends("location", location()),
            Self::Link => sends("link", link()),
            Self::Miniprogram => sends("miniprogram", miniprogram(rng)),
            Self::ChannelsShopProduct => sends("channels_shop_product", product(rng)),
            Self::ChannelsShopOrder => sends("channels_shop_order", order(rng)),
            Self::MergedMsg => sends("merged_msg", merged(rng)),
            Self::Channels => sends(
                "channels",
                json!({ "sub_type": 1, "nickname": "山野咖啡", "title": "三分钟学会手冲" }),
            ),
            Self::ChannelsLive => sends("channels", json!({ "sub_type": 2, "nickname": "山野咖啡" })),
            Self::Meeting => sends_only("meeting"),
            Self::Calendar => sends_only("calendar"),
            Self::Note => sends_only("note"),
            Self::UnknownMsgtype => sends("future_card", json!({ "title": "not documented today", "n": 1 })),

            Self::TextFromServicer => answers("text", json!({ "content": pick(&ANSWERS, rng) })),
            Self::BusinessCard => answers("business_card", json!({ "userid": other })),
            Self::Msgmenu => answers("msgmenu", menu()),

            Self::EnterSession => event(
                "enter_session",
                json!({ "scene": "homepage_button", "scene_param": "order=42&src=h5", "welcome_code": code(rng) }),
            ),
            Self::EnterSessionAgain => event("enter_session", json!({ "scene": "", "scene_param": "" })),
            Self::EnterSessionFromChannels => event(
                "enter_session",
                json!({ "scene": "channels", "scene_param": "", "welcome_code": code(rng),
                        "wechat_channels": { "nickname": "山野咖啡", "scene": 1 } }),
            ),
            Self::EnterSessionFromShop => event(
                "enter_session",
                json!({ "scene": "", "scene_param": "",
                        "wechat_channels": { "shop_nickname": "山野咖啡旗舰店", "scene": 5 } }),
            ),
            Self::SessionTaken => event(
                "session_status_change",
                json!({ "change_type": 1, "new_servicer_userid": servicer, "msg_code": code(rng) }),
            ),
            Self::SessionTransferred => event(
                "session_status_change",
                json!({ "change_type": 2, "old_servicer_userid": servicer, "new_servicer_userid": other }),
            ),
            Self::SessionEnded => event(
                "session_status_change",
                json!({ "change_type": 3, "old_servicer_userid": servicer, "msg_code": code(rng) }),
            ),
            Self::SessionReopened => event(
                "session_status_change",
                json!({ "change_type": 4, "old_servicer_userid": servicer, "new_servicer_userid": other }),
            ),
            Self::ServicerStarts => Draft::event(
                "servicer_status_change",
                None,
                json!({ "servicer_userid": servicer, "status": 1 }),
            ),
            Self::ServicerStops => Draft::event(
                "servicer_status_change",
                None,
                json!({ "servicer_userid": servicer, "status": 2, "stop_type": 1 }),
            ),
            // Which message it was is filled in when it is said.
            Self::UserRecall => event("user_recall_msg", json!({})),
            Self::ServicerRecall => event("servicer_recall_msg", json!({ "servicer_userid": servicer })),
            Self::MsgSendFail => event(
                "msg_send_fail",
                json!({ "fail_msgid": format!("reply_{}", alphanumeric(14, rng)), "fail_type": 6 }),
            ),
            Self::RejectSwitch => event(
                "reject_customer_msg_switch_change",
                json!({ "servicer_userid": servicer, "reject_switch": 1 }),
            ),
            Self::UnknownEvent => event("future_event", json!({ "anything": { "nested": true } })),
        }
    }
}

fn location() -> Value {
    json!({
        "latitude": 30.274_151,
        "longitude": 120.155_067,
        "name": "武林广场",
        "address": "浙江省杭州市拱墅区中山北路与体育场路交叉口"
    })
}

fn link() -> Value {
    json!({
        "title": "退换货说明",
        "desc": "七天无理由退货的办理流程",
        "url": "https://shop.example.com/help/returns?from=kf&id=42",
        "pic_url": ""
    })
}

fn miniprogram(rng: &mut impl Rng) -> Value {
    json!({
        "title": "我的订单",
        "appid": "wx3f6a9c20b14d75e8",
        "pagepath": format!("pages/order/detail.html?id={}", digits(6, rng)),
        "thumb_media_id": media_id(rng)
    })
}

fn product(rng: &mut impl Rng) -> Value {
    json!({
        "product_id": digits(14, rng),
        "head_image": "https://images.example.com/p/head.jpg",
        "title": "便携式手冲咖啡套装",
        "sales_price": "12900",
        "shop_nickname": "山野咖啡",
        "shop_head_image": "https://images.example.com/shop/head.jpg"
    })
}

fn order(rng: &mut impl Rng) -> Value {
    json!({
        "order_id": digits(19, rng),
        "product_titles": "便携式手冲咖啡套装 等2件商品",
        "price_wording": "¥258.00",
        "state": "待发货",
        "image_url": "https://images.example.com/o/order.jpg",
        "shop_nickname": "山野咖啡"
    })
}

fn menu() -> Value {
    json!({
        "head_content": "请问本次服务是否解决了您的问题？",
        "list": [
            { "type": "click", "click": { "id": "solved_yes", "content": "已解决" } },
            { "type": "click", "click": { "id": "solved_no", "content": "未解决" } },
            { "type": "view", "view": { "url": "https://shop.example.com/help", "content": "帮助中心" } },
            { "type": "miniprogram", "miniprogram": {
                "appid": "wx3f6a9c20b14d75e8", "pagepath": "pages/index.html", "content": "打开小程序" } },
            { "type": "text", "text": { "content": "工作时间 9:00-18:00", "no_newline": 0 } }
        ],
        "tail_content": "感谢您的咨询"
    })
}

/// A chat record as WeCom writes it: the items are JSON inside of JSON.
fn merged(rng: &mut impl Rng) -> Value {
    let text = json!({ "msgtype": "text", "text": { "content": "包裹外包装破了" } }).to_string();
    let image = json!({ "msgtype": "image", "image": { "media_id": media_id(rng) } }).to_string();
    let inner = json!({ "msgtype": "merged_msg", "merged_msg": { "title": "小周的聊天记录", "item": [
        { "send_time": 1_785_564_200, "msgtype": "text", "sender_name": "小周", "msg_content": text }
    ] } });
    json!({ "title": "群聊的聊天记录", "item": [
        { "send_time": 1_785_564_100, "msgtype": "image", "sender_name": "阿青", "msg_content": image },
        { "send_time": 1_785_564_300, "msgtype": "merged_msg", "sender_name": "阿青", "msg_content": inner.to_string() }
    ] })
}

/// `length` letters and digits.
pub(in crate::simulator) fn alphanumeric(length: usize, rng: &mut impl Rng) -> String {
    rng.sample_iter(Alphanumeric).take(length).map(char::from).collect()
}

fn digits(length: usize, rng: &mut impl Rng) -> String {
    (0..length).map(|_| char::from(rng.random_range(b'1'..=b'9'))).collect()
}

fn media_id(rng: &mut impl Rng) -> String {
    format!("1{}", alphanumeric(64, rng))
}

/// A ticket for one message in answer to an event.
fn code(rng: &mut impl Rng) -> String {
    alphanumeric(24, rng)
}

fn pick<'a>(texts: &[&'a str], rng: &mut impl Rng) -> &'a str {
    texts[rng.random_range(0..texts.len())]
}

fn question(rng: &mut impl Rng) -> String {
    pick(&QUESTIONS, rng).replace("{}", &format!("2026{}", digits(8, rng)))
}
