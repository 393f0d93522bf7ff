//! Menus: what may stand in one, and what tapping an entry says.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/94677>

use serde_json::Value;

use crate::simulator::calls::fields::{Fields, optional, required};
use crate::simulator::refusal::Refusal;

/// Longest words before and after the entries, in bytes.
const MAX_FRAME: usize = 1024;
/// Most entries that can be tapped.
const MAX_TAPPABLE: usize = 10;

/// Checks a menu of at most `most` entries.
pub(super) fn check(body: &Fields, most: usize) -> Result<(), Refusal> {
    let head = optional(body, "head_content", MAX_FRAME)?;
    let tail = optional(body, "tail_content", MAX_FRAME)?;
    let entries = match body.get("list") {
        None | Some(Value::Null) => &[],
        Some(Value::Array(entries)) => entries.as_slice(),
        Some(_) => return Err(Refusal::parameter("field `list` expects type `array`")),
    };
    let is_text = |entry: &&Value| entry.get("type").and_then(Value::as_str) == Some("text");
    let tappable = entries.len() - entries.iter().filter(is_text).count();
    if entries.len() > most || tappable > MAX_TAPPABLE {
        return Err(Refusal::TOO_MANY_MENU_ITEMS);
    }
    if entries.is_empty() && [head, tail].into_iter().flatten().all(str::is_empty) {
        return Err(Refusal::parameter("field `msgmenu` is empty"));
    }
    entries.iter().try_for_each(check_entry)
}

fn check_entry(entry: &Value) -> Result<(), Refusal> {
    let entry_type = entry.get("type").and_then(Value::as_str).unwrap_or_default();
    let inside = |name| {
        let fields = entry.get(name).and_then(Value::as_object);
        fields.ok_or_else(|| Refusal::parameter(format!("field `{name}` is missing")))
    };
    match entry_type {
        "click" => {
            let click = inside("click")?;
            if optional(click, "id", 128)?.is_some_and(str::is_empty) {
                return Err(Refusal::empty_string("id"));
            }
            required(click, "content", 128)?;
        }
        "view" => {
            let view = inside("view")?;
            required(view, "url", 2048)?;
            required(view, "content", 1024)?;
        }
        "miniprogram" => {
            let miniprogram = inside("miniprogram")?;
            required(miniprogram, "appid", 32)?;
            required(miniprogram, "pagepath", 1024)?;
            optional(miniprogram, "content", 1024)?;
        }
        "text" => {
            required(inside("text")?, "content", 256)?;
        }
        _ => return Err(Refusal::BAD_MENU_ITEM),
    }
    Ok(())
}

/// Everything that can be read in a menu, line by line.
pub(super) fn readable(body: &Fields) -> String {
    let frame = |field| body.get(field).and_then(Value::as_str);
    let lines = entries(body).filter_map(content);
    let lines: Vec<_> = frame("head_content")
        .into_iter()
        .chain(lines)
        .chain(frame("tail_content"))
        .collect();
    lines.join("\n")
}

/// Id, if it has one, and text of the entry that somebody means by `item`: its id or its text.
pub(super) fn tapped<'a>(body: &'a Fields, item: &str) -> Option<(Option<&'a str>, &'a str)> {
    let clicks = entries(body).filter_map(|entry| entry.get("click"));
    let mut clicks = clicks.filter_map(|click| {
        let text = |field| click.get(field).and_then(Value::as_str);
        Some((text("id"), text("content")?))
    });
    clicks.find(|(id, content)| *id == Some(item) || *content == item)
}

fn entries(body: &Fields) -> impl Iterator<Item = &Value> {
    body.get("list").and_then(Value::as_array).into_iter().flatten()
}

fn content(entry: &Value) -> Option<&str> {
    entry.get(entry.get("type")?.as_str()?)?.get("content")?.as_str()
}
