//! What the samples of messages say.

use wecom_kf::message::{ChannelsSubType, Content, MenuItem};

use super::{is, text as some};

/// Declares a check of each sample: its variant, and the value of every field.
macro_rules! checks {
    ($($name:ident: $variant:ident { $($fields:tt)* })+) => {$(
        pub(super) fn $name(content: &Content) {
            is!(content, Content::$variant { $($fields)* });
        }
    )+};
}

checks! {
    text: Text { content: "你好，订单 20260801-0042 什么时候发货？\nThanks 🙏", menu_id: None }
    text_menu_reply: Text { content: "查询物流", menu_id: some("track_order") }
    text_from_servicer: Text { content: "您好，已为您加急处理。", menu_id: None }
    image: Image { media_id: "1aQ9vN3kTzR7dXcL0bWmEoPyGhUf2jS5iK8rVtAqZxCnBpMl4DwHeYsJgF6uOI1Xv".into() }
    voice: Voice { media_id: "1bT4mJ8sPzK2wVqR6cXnEyLdGfHu0oA9iS3rWtBpZxCvMkNl5DqHeUyJgF7jOI2Xw".into() }
    video: Video { media_id: "1cW7nL5tQzM1xUpS4dYoFvKeHgIr3jB8kT2sXuCqAyDwNlOm6ErJfVzKhG9iPR0Zb".into() }
    file: File { media_id: "1dX0oM6uRzN2yVqT5eZpGwLfIhJs4kC9lU3tYvDrBzExOmPn7FsKgWaLiH8jQS1Ac".into() }
    location: Location {
        latitude: 30.274151,
        longitude: 120.155067,
        name: "武林广场",
        address: "浙江省杭州市拱墅区中山北路与体育场路交叉口",
    }
    link: Link {
        title: "退换货说明",
        desc: "七天无理由退货的办理流程",
        url: "https://shop.example.com/help/returns?from=kf&id=42",
        pic_url: "https://shop.example.com/static/returns-thumb.png",
    }
    business_card: BusinessCard { userid: "WangFang" }
    miniprogram: Miniprogram {
        title: "我的订单",
        appid: "wx3f6a9c20b14d75e8",
        pagepath: "pages/order/detail.html?id=42",
        thumb_media_id: Some("1eY1pN7vSzO3zWrU6fAqHxMgJiKt5lD0mV4uZwEsCaFyPnQo8GtLhXbMjI9kRT2Bd".into()),
    }
    channels_shop_product: ChannelsShopProduct {
        product_id: "10000117862034",
        head_image: "https://mmecimage.example.com/p/10000117862034/head.jpg",
        title: "便携式手冲咖啡套装",
        sales_price: "12900",
        shop_nickname: "山野咖啡",
        shop_head_image: "https://mmecimage.example.com/shop/5521/head.jpg",
    }
    channels_shop_order: ChannelsShopOrder {
        order_id: "3712598044160032256",
        product_titles: "便携式手冲咖啡套装 等2件商品",
        price_wording: "¥258.00",
        state: "待发货",
        image_url: "https://mmecimage.example.com/o/3712598044160032256.jpg",
        shop_nickname: "山野咖啡",
    }
    channels: Channels {
        sub_type: Some(ChannelsSubType::Post),
        nickname: some("山野咖啡"),
        title: some("三分钟学会手冲"),
    }
    channels_live: Channels { sub_type: Some(ChannelsSubType::Live), nickname: some("山野咖啡"), title: None }
    meeting: Meeting {}
    calendar: Calendar {}
    note: Note {}
}

pub(super) fn msgmenu(content: &Content) {
    let Content::Msgmenu(menu) = content else {
        panic!("{content:?}")
    };
    assert_eq!(menu.head_content, some("请问本次服务是否解决了您的问题？"));
    assert_eq!(menu.tail_content, some("感谢您的咨询"));
    let [yes, no, view, miniprogram, words] = &menu.list[..] else {
        panic!("{} items", menu.list.len())
    };
    is!(
        yes,
        MenuItem::Click {
            id: some("solved_yes"),
            content: "已解决"
        }
    );
    is!(
        no,
        MenuItem::Click {
            id: some("solved_no"),
            content: "未解决"
        }
    );
    is!(
        view,
        MenuItem::View {
            url: "https://shop.example.com/help",
            content: "打开帮助中心"
        }
    );
    is! { miniprogram, MenuItem::Miniprogram {
        appid: "wx3f6a9c20b14d75e8",
        pagepath: "pages/service/index.html?from=kf",
        content: "在小程序中查看",
    } }
    is!(
        words,
        MenuItem::Text {
            content: "工作时间 9:00-18:00",
            no_newline: Some(false)
        }
    );
}

pub(super) fn merged_msg(content: &Content) {
    let Content::MergedMsg(records) = content else {
        panic!("{content:?}")
    };
    assert_eq!(records.title, "群聊的聊天记录");
    let [words, picture, inner] = &records.item[..] else {
        panic!("{} items", records.item.len())
    };
    assert_eq!(
        (words.send_time, &*words.msgtype, &*words.sender_name),
        (1785564000, "text", "小周")
    );
    assert_eq!(
        words.msg_content,
        r#"{"msgtype": "text", "text": {"content": "你们的快递到了吗"}}"#
    );
    is!(
        &words.content(),
        Content::Text {
            content: "你们的快递到了吗",
            menu_id: None
        }
    );
    assert_eq!(
        (picture.send_time, &*picture.msgtype, &*picture.sender_name),
        (1785564100, "image", "阿青")
    );
    let media_id = "1fZ2qO8wTzP4aXsV7gBrIyNhKjLu6mE1nW5vAxFtDbGzQoRp9HuMiYcNkJ0lSU3Ce";
    is!(
        &picture.content(),
        Content::Image {
            media_id: media_id.into()
        }
    );
    assert_eq!(
        (inner.send_time, &*inner.msgtype, &*inner.sender_name),
        (1785564300, "merged_msg", "阿青")
    );

    let Content::MergedMsg(records) = inner.content() else {
        panic!("{:?}", inner.content())
    };
    assert_eq!(records.title, "小周的聊天记录");
    let [words] = &records.item[..] else {
        panic!("{} items", records.item.len())
    };
    assert_eq!(
        (words.send_time, &*words.msgtype, &*words.sender_name),
        (1785564200, "text", "小周")
    );
    is!(
        &words.content(),
        Content::Text {
            content: "包裹外包装破了",
            menu_id: None
        }
    );
}

pub(super) fn unknown(content: &Content) {
    assert_eq!(content, &Content::Unknown);
}
