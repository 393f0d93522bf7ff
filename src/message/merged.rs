//! Forwarded chat records: messages within a message, which may hold records again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::content::silent_debug;
use super::decode::{self, Fields, or_default, text_or_integer};
use super::{Content, Malformed};

silent_debug!(MergedMsg, MergedItem);

/// Forwarded chat records.
///
/// Source: <https://developer.work.weixin.qq.com/document/path/94670>
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct MergedMsg {
    /// Title of the records. Empty if absent.
    #[serde(default, deserialize_with = "or_default")]
    pub title: String,
    /// The messages, as the customer chose them.
    #[serde(default, deserialize_with = "or_default")]
    pub item: Vec<MergedItem>,
}

/// One message of forwarded chat records.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct MergedItem {
    /// When it was sent, Unix seconds. 0 if absent.
    #[serde(default, deserialize_with = "or_default")]
    pub send_time: u64,
    /// Its type; a number is read as its digits. Empty if absent.
    #[serde(default, deserialize_with = "text_or_integer")]
    #[schemars(extend("type" = ["string", "integer"]))]
    pub msgtype: String,
    /// Who wrote it, as the chat showed the name; a number is read as its digits. Empty if absent.
    #[serde(default, deserialize_with = "text_or_integer")]
    #[schemars(extend("type" = ["string", "integer"]))]
    pub sender_name: String,
    /// What it says, as the text of a JSON object like `{"msgtype":"text","text":{"content":"…"}}`. Empty if absent.
    #[serde(default, deserialize_with = "or_default")]
    pub msg_content: String,
    /// How many records this one is inside of, beyond the first.
    #[serde(skip)]
    depth: u8,
}

impl MergedItem {
    /// How many records inside one another can be read, the outermost included.
    pub const MAX_DEPTH: u8 = 5;

    /// Reads [`msg_content`](Self::msg_content), one level of it: records inside are read by their own items.
    ///
    /// [`Content::Malformed`] for what is no object with a `msgtype`, and for what lies within more than
    /// [`MAX_DEPTH`](Self::MAX_DEPTH) records, so that whoever reads all levels cannot be led down without end.
    #[must_use]
    pub fn content(&self) -> Content {
        if self.depth >= Self::MAX_DEPTH {
            return Malformed::new(format!("msg_content: within more than {} records", Self::MAX_DEPTH)).into();
        }
        let item = Fields::of_text(&self.msg_content).unwrap_or_default();
        let (_, mut content) = decode::content(&item);
        if let Content::MergedMsg(records) = &mut content {
            for item in &mut records.item {
                item.depth = self.depth + 1;
            }
        }
        content
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The innermost content of `levels` records inside one another.
    fn innermost(levels: usize) -> Content {
        let text = r#"{"msgtype":"text","text":{"content":"hello"}}"#.to_owned();
        let nested = (0..levels).fold(text, |inner, _| {
            serde_json::json!({"msgtype": "merged_msg", "merged_msg": {"item": [{"msg_content": inner}]}}).to_string()
        });
        let item = Fields::of_text(&nested).unwrap();
        let (_, mut content) = decode::content(&item);
        while let Content::MergedMsg(records) = &content {
            content = records.item[0].content();
        }
        content
    }

    #[test]
    fn five_records_inside_one_another_can_be_read() {
        for levels in 1..=5 {
            let Content::Text(text) = innermost(levels) else {
                panic!("{levels} levels")
            };
            assert_eq!(text.content, "hello");
        }
    }

    #[test]
    fn a_sixth_record_inside_is_refused() {
        for levels in 6..=8 {
            let Content::Malformed(malformed) = innermost(levels) else {
                panic!("{levels} levels")
            };
            assert_eq!(&*malformed.problem, "msg_content: within more than 5 records");
        }
    }

    #[test]
    fn what_cannot_be_read_inside_stays_as_it_came() {
        for hostile in ["", "no JSON", "[]", "{}", r#"{"msgtype":5}"#, &"[".repeat(100_000)] {
            let records: MergedMsg =
                serde_json::from_value(serde_json::json!({"item": [{"msg_content": hostile}]})).unwrap();
            assert!(
                matches!(records.item[0].content(), Content::Malformed(_)),
                "{hostile:.20}"
            );
            assert_eq!(records.item[0].msg_content, hostile);
        }
        let unknown: MergedItem =
            serde_json::from_value(serde_json::json!({"msg_content": r#"{"msgtype":"future_card"}"#})).unwrap();
        assert_eq!(unknown.content(), Content::Unknown);
    }

    #[test]
    fn a_type_or_name_that_is_a_number_is_read_as_its_digits() {
        let item: MergedItem = serde_json::from_str(r#"{"msgtype":1,"sender_name":4294967295}"#).unwrap();
        assert_eq!((&*item.msgtype, &*item.sender_name), ("1", "4294967295"));
    }
}
