//! Menus that a customer can tap on, as a colleague or another program sent them.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::content::silent_debug;
use super::decode::or_default;

silent_debug!(Msgmenu, MenuClick, MenuView, MenuMiniprogram, MenuText);

/// A menu to tap on.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94670>
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Msgmenu {
    /// What stands above the items.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_content: Option<String>,
    /// Its items, top to bottom.
    #[serde(default, deserialize_with = "or_default")]
    pub list: Vec<MenuItem>,
    /// What stands below the items.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tail_content: Option<String>,
}

/// One item of a menu.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(from = "WireItem", into = "WireItem")]
#[non_exhaustive]
pub enum MenuItem {
    /// Says its words for the customer: they come back as a text with its id.
    Click(MenuClick),
    /// Opens a web page.
    View(MenuView),
    /// Opens a mini program.
    Miniprogram(MenuMiniprogram),
    /// Just stands there.
    Text(MenuText),
    /// An item of a type that this version does not know.
    Other {
        /// Its type, as WeCom names it. Empty if absent.
        r#type: String,
    },
}

/// Item that says its words for the customer.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct MenuClick {
    /// What comes back as the text's `menu_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its words. Empty if absent.
    #[serde(default, deserialize_with = "or_default")]
    pub content: String,
}

/// Item that opens a web page.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct MenuView {
    /// Address of the page, unchecked. Empty if absent.
    #[serde(default, deserialize_with = "or_default")]
    pub url: String,
    /// Its words. Empty if absent.
    #[serde(default, deserialize_with = "or_default")]
    pub content: String,
}

/// Item that opens a mini program.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct MenuMiniprogram {
    /// Id of the mini program, `wx…`. Empty if absent.
    #[serde(default, deserialize_with = "or_default")]
    pub appid: String,
    /// Page of it that opens, with its query. Empty if absent.
    #[serde(default, deserialize_with = "or_default")]
    pub pagepath: String,
    /// Its words. Empty if absent.
    #[serde(default, deserialize_with = "or_default")]
    pub content: String,
}

/// Item that just stands there.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct MenuText {
    /// Its words. Empty if absent.
    #[serde(default, deserialize_with = "or_default")]
    pub content: String,
    /// Whether the next item follows on the same line. On the wire 0 or 1; a boolean is read as well.
    #[serde(
        default,
        deserialize_with = "flag",
        serialize_with = "zero_or_one",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(extend("type" = ["boolean", "integer", "null"]))]
    pub no_newline: Option<bool>,
}

/// An item as WeCom writes it: its type, and under that name what is particular to the type.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
struct WireItem {
    /// `click`, `view`, `miniprogram`, `text`, or one that this version does not know.
    #[serde(default, deserialize_with = "or_default")]
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    click: Option<MenuClick>,
    #[serde(skip_serializing_if = "Option::is_none")]
    view: Option<MenuView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    miniprogram: Option<MenuMiniprogram>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<MenuText>,
}

impl From<WireItem> for MenuItem {
    fn from(item: WireItem) -> Self {
        match item.r#type.as_str() {
            "click" => Self::Click(item.click.unwrap_or_default()),
            "view" => Self::View(item.view.unwrap_or_default()),
            "miniprogram" => Self::Miniprogram(item.miniprogram.unwrap_or_default()),
            "text" => Self::Text(item.text.unwrap_or_default()),
            _ => Self::Other { r#type: item.r#type },
        }
    }
}

impl From<MenuItem> for WireItem {
    fn from(item: MenuItem) -> Self {
        let mut wire = Self::default();
        wire.r#type = match item {
            MenuItem::Click(click) => {
                wire.click = Some(click);
                "click".to_owned()
            }
            MenuItem::View(view) => {
                wire.view = Some(view);
                "view".to_owned()
            }
            MenuItem::Miniprogram(miniprogram) => {
                wire.miniprogram = Some(miniprogram);
                "miniprogram".to_owned()
            }
            MenuItem::Text(text) => {
                wire.text = Some(text);
                "text".to_owned()
            }
            MenuItem::Other { r#type } => r#type,
        };
        wire
    }
}

/// Writes a flag as 0 or 1.
fn zero_or_one<S: Serializer>(flag: &Option<bool>, serializer: S) -> Result<S::Ok, S::Error> {
    flag.map(u8::from).serialize(serializer)
}

/// Reads a boolean, or a number that is not 0.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    // Worded like serde's own errors, which are told apart by their text.
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "invalid type, expected a boolean or an integer")]
    enum Flag {
        Boolean(bool),
        Integer(i64),
    }

    Ok(Option::deserialize(deserializer)?.map(|flag| match flag {
        Flag::Boolean(flag) => flag,
        Flag::Integer(integer) => integer != 0,
    }))
}
