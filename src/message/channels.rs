//! What comes from Channels (视频号): posts, live streams, and its shops.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::content::silent_debug;
use super::decode::{or_default, text_or_integer};
use super::number::open_number;

silent_debug!(Channels, ChannelsShopProduct, ChannelsShopOrder);

/// A post, live stream or card from Channels.
///
/// WeCom gives details for part of these messages only, so that all fields may be absent.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94670>
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Channels {
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_type: Option<ChannelsSubType>,
    /// Name of the channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nickname: Option<String>,
    /// Title; of a post only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

open_number! {
    /// What a message from Channels is.
    pub enum ChannelsSubType {
        /// A post (动态).
        Post = 1,
        /// A live stream.
        Live = 2,
        /// A channel's card.
        Card = 3,
    }
}

/// A product of a Channels shop.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94670>
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct ChannelsShopProduct {
    /// Id of the product.
    pub product_id: String,
    /// Address of its picture, unchecked; `head_img` is read as the same. Empty if absent.
    #[serde(default, deserialize_with = "or_default", alias = "head_img")]
    pub head_image: String,
    /// What it is called. Empty if absent.
    #[serde(default, deserialize_with = "or_default")]
    pub title: String,
    /// Price in fen (0.01 CNY), in digits; a number is read as its digits. Empty if absent.
    #[serde(default, deserialize_with = "text_or_integer")]
    #[schemars(extend("type" = ["string", "integer"]))]
    pub sales_price: String,
    /// Name of the shop. Empty if absent.
    #[serde(default, deserialize_with = "or_default")]
    pub shop_nickname: String,
    /// Address of the shop's picture, unchecked; `shop_head_img` is read as the same. Empty if absent.
    #[serde(default, deserialize_with = "or_default", alias = "shop_head_img")]
    pub shop_head_image: String,
}

/// An order at a Channels shop.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94670>
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct ChannelsShopOrder {
    /// Id of the order.
    pub order_id: String,
    /// What was ordered, for people. Empty if absent.
    #[serde(default, deserialize_with = "or_default")]
    pub product_titles: String,
    /// Price, for people: with its currency, in yuan. Empty if absent.
    #[serde(default, deserialize_with = "or_default")]
    pub price_wording: String,
    /// How far it is, for people. Empty if absent.
    #[serde(default, deserialize_with = "or_default")]
    pub state: String,
    /// Address of its picture, unchecked. Empty if absent.
    #[serde(default, deserialize_with = "or_default")]
    pub image_url: String,
    /// Name of the shop. Empty if absent.
    #[serde(default, deserialize_with = "or_default")]
    pub shop_nickname: String,
}
