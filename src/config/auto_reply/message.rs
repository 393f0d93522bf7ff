//! What is said: words, and the menu below them.

use crate::api::outgoing::{MenuItem, Msgmenu};
use crate::api::{EventMessage, FieldError, Unit};
use crate::config::raw;
use crate::config::section::Section;

/// Longest id of a menu entry, in bytes.
const MENU_ID_BYTES: usize = 128;

/// Reads words, and the menu below them.
pub(super) fn message(
    reply: Option<String>,
    menu: Option<Vec<raw::MenuEntry>>,
    section: &mut Section<'_>,
) -> Option<EventMessage> {
    let Some(entries) = menu else {
        return spoken("reply", reply, "what to say", section);
    };
    let words = words("reply", reply, "what to say", section);
    let list: Vec<_> = entries
        .into_iter()
        .enumerate()
        .map(|(index, raw)| entry(raw, &mut section.at(&format!("menu[{index}]"))))
        .collect();
    let (words, list) = (words?, list.into_iter().collect::<Option<Vec<_>>>()?);
    let above = Msgmenu {
        head_content: Some(words),
        ..Msgmenu::default()
    };
    let above = checked("reply", EventMessage::Msgmenu(above), section);
    if list.is_empty() {
        section.wrong(
            "menu",
            "is empty: give it an entry, { id = \"price\", text = \"Prices\" }, or leave it out",
        );
        return None;
    }
    let EventMessage::Msgmenu(above) = above? else {
        return None;
    };
    checked("menu", EventMessage::Msgmenu(Msgmenu { list, ..above }), section)
}

/// Reads words alone.
pub(super) fn spoken(key: &str, raw: Option<String>, what: &str, section: &mut Section<'_>) -> Option<EventMessage> {
    let words = words(key, raw, what, section)?;
    checked(key, EventMessage::text(words), section)
}

/// Reads words that say something.
fn words(key: &str, raw: Option<String>, what: &str, section: &mut Section<'_>) -> Option<String> {
    let words = section.required(key, raw, what)?;
    if words.trim().is_empty() {
        section.wrong(key, format!("is empty: write {what}"));
        return None;
    }
    Some(words)
}

fn entry(raw: raw::MenuEntry, section: &mut Section<'_>) -> Option<MenuItem> {
    let id = section.required(
        "id",
        raw.id,
        "a name for rules to refer to as their menu_id, such as \"price\"",
    );
    let id = id.and_then(|id| menu_id("id", id, section));
    let text = words("text", raw.text, "what the customer sees and taps", section);
    let (id, content) = (Some(id?), text?);
    let item = MenuItem::Click { id, content };
    let menu = Msgmenu {
        list: vec![item.clone()],
        ..Msgmenu::default()
    };
    checked("text", EventMessage::Msgmenu(menu), section).map(|_| item)
}

pub(super) fn menu_id(key: &str, id: String, section: &mut Section<'_>) -> Option<String> {
    let is_plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_plain && (1..=MENU_ID_BYTES).contains(&id.len()) {
        return Some(id);
    }
    let what = format!("must be 1 to {MENU_ID_BYTES} characters of a-z, A-Z, 0-9 and \"_\", but is {id:?}");
    section.wrong(key, what);
    None
}

/// Holds what `key` adds to `message` to WeCom's limits.
fn checked(key: &str, message: EventMessage, section: &mut Section<'_>) -> Option<EventMessage> {
    let problem = match message.check() {
        Ok(()) => return Some(message),
        Err(FieldError::TooLarge {
            limit, actual, unit, ..
        }) => {
            let hint = if unit == Unit::Bytes {
                " (a Chinese character has three)"
            } else {
                ""
            };
            format!("must have at most {limit} {unit}{hint}, but has {actual}")
        }
        Err(error) => error.to_string(),
    };
    section.wrong(key, problem);
    None
}

/// Id and words of each entry of a menu, top to bottom.
pub(in crate::config) fn entries(content: &EventMessage) -> impl Iterator<Item = (&str, &str)> {
    let list = match content {
        EventMessage::Msgmenu(menu) => menu.list.as_slice(),
        EventMessage::Text(_) => &[],
    };
    // Nothing else is read from a config.
    list.iter().filter_map(|item| match item {
        MenuItem::Click { id: Some(id), content } => Some((id.as_str(), content.as_str())),
        _ => None,
    })
}

/// The words, above the menu if there is one.
pub(in crate::config) fn words_of(content: &EventMessage) -> &str {
    match content {
        EventMessage::Text(text) => &text.content,
        EventMessage::Msgmenu(menu) => menu.head_content.as_deref().unwrap_or_default(),
    }
}
