//! Describes an endpoint's answer to those who write it, by JSON Schema (draft 2020-12).

use serde_json::{Value, json};

/// JSON Schema of what an endpoint may answer a forwarded message with; see the [module](super).
///
/// It counts characters where WeCom counts bytes, and texts one by one: what it takes may still be too long.
#[must_use]
pub fn answer_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What an endpoint answers a message or event of WeCom customer service with",
        "type": "object",
        "properties": {
            "replies": {
                "description": "Messages to the customer, in order. One text or menu in answer to an event with a code.",
                "type": ["array", "null"],
                "maxItems": 5,
                "items": { "type": "object", "required": ["msgtype"], "oneOf": replies() },
            },
            "transfer": {
                "description": "Hands the session over, after the replies.",
                "type": ["object", "null"],
                "properties": {
                    "service_state": { "description": "1 us, 2 the pool, 3 a colleague.", "enum": [1, 2, 3] },
                },
                "required": ["service_state"],
                "if": { "properties": { "service_state": { "const": 3 } } },
                "then": { "properties": { "servicer_userid": required(64) }, "required": ["servicer_userid"] },
            },
            "end": { "description": "Ends the session, after the replies.", "enum": [true, false, 0, 1, null] },
        },
        "not": {
            "properties": { "end": { "enum": [true, 1] }, "transfer": { "type": "object" } },
            "required": ["end", "transfer"],
        },
    })
}

/// One schema for each `msgtype`.
fn replies() -> Vec<Value> {
    let media = || json!({ "media_id": required(128) });
    let degrees = |most: i32| json!({ "type": "number", "minimum": -most, "maximum": most });
    vec![
        // Five messages of 2048 bytes.
        reply("text", &["content"], &json!({ "content": required(10_240) })),
        reply("image", &["media_id"], &media()),
        reply("voice", &["media_id"], &media()),
        reply("video", &["media_id"], &media()),
        reply("file", &["media_id"], &media()),
        reply(
            "link",
            &["title", "url", "thumb_media_id"],
            &json!({
                "title": required(128),
                "desc": optional(512),
                "url": web_address(),
                "thumb_media_id": required(128),
            }),
        ),
        reply(
            "miniprogram",
            &["appid", "thumb_media_id", "pagepath"],
            &json!({
                "appid": required(128),
                "title": optional(64),
                "thumb_media_id": required(128),
                "pagepath": { "type": "string", "pattern": "^[^?]*\\.html(\\?|$)" },
            }),
        ),
        menu(),
        reply(
            "location",
            &["latitude", "longitude"],
            &json!({
                "name": optional(1024),
                "address": optional(1024),
                "latitude": degrees(90),
                "longitude": degrees(180),
            }),
        ),
        reply("ca_link", &["link_url"], &json!({ "link_url": web_address() })),
        reply("business_card", &["userid"], &json!({ "userid": required(64) })),
    ]
}

fn menu() -> Value {
    let item = |kind: &str, needed: &[&str], fields: Value| {
        json!({
            "properties": {
                "type": { "const": kind },
                kind: { "type": "object", "properties": fields, "required": needed },
            },
            "required": ["type", kind],
        })
    };
    let page = json!({ "appid": required(32), "pagepath": required(1024), "content": words(0, 1024) });
    let flag = json!({ "enum": [true, false, 0, 1, null] });
    let fields = json!({
        "head_content": optional(1024),
        "list": {
            "type": ["array", "null"],
            "maxItems": 50,
            "contains": { "properties": { "type": { "not": { "const": "text" } } } },
            "minContains": 0,
            "maxContains": 10,
            "items": {
                "type": "object",
                "oneOf": [
                    item("click", &["content"], json!({ "id": optional(128), "content": required(128) })),
                    item("view", &["url", "content"], json!({ "url": web_address(), "content": required(1024) })),
                    item("miniprogram", &["appid", "pagepath", "content"], page),
                    item("text", &["content"], json!({ "content": required(256), "no_newline": flag })),
                ],
            },
        },
        "tail_content": optional(1024),
    });
    let holds = |name: &str, something: Value| json!({ "properties": { name: something }, "required": [name] });
    let mut menu = reply("msgmenu", &[], &fields);
    menu["properties"]["msgmenu"]["anyOf"] = json!([
        holds("head_content", required(1024)),
        holds("list", json!({ "type": "array", "minItems": 1 })),
        holds("tail_content", required(1024)),
    ]);
    menu
}

/// A message whose body has `fields`, of which some are `needed`.
fn reply(msgtype: &str, needed: &[&str], fields: &Value) -> Value {
    json!({
        "title": msgtype,
        "properties": {
            "msgtype": { "const": msgtype },
            msgtype: { "type": "object", "properties": fields, "required": needed },
        },
        "required": [msgtype],
    })
}

fn required(most: u32) -> Value {
    words(1, most)
}

fn words(least: u32, most: u32) -> Value {
    json!({ "type": "string", "minLength": least, "maxLength": most })
}

fn optional(most: u32) -> Value {
    json!({ "type": ["string", "null"], "maxLength": most })
}

fn web_address() -> Value {
    json!({ "type": "string", "pattern": "^[hH][tT][tT][pP][sS]?://", "maxLength": 2048 })
}

#[cfg(test)]
mod tests {
    use jsonschema::Validator;

    use super::*;
    use crate::api::Outgoing;
    use crate::handler::forward::answer;
    use crate::handler::samples::read;

    /// A good answer of each kind.
    fn samples() -> Vec<Value> {
        let item = |kind: &str, fields: Value| json!({ "type": kind, kind: fields });
        let menu = json!({
            "head_content": "选一个",
            "list": [
                item("click", json!({ "id": "1", "content": "订单" })),
                item("view", json!({ "url": "https://example.com", "content": "看" })),
                item("miniprogram", json!({ "appid": "wx1", "pagepath": "a.html", "content": "开" })),
                item("text", json!({ "content": "或者", "no_newline": 1 })),
            ],
            "tail_content": "谢谢",
        });
        let link = json!({ "title": "t", "desc": "d", "url": "http://example.com", "thumb_media_id": "m" });
        let program = json!({ "appid": "wx1", "title": "t", "thumb_media_id": "m", "pagepath": "a.html?b=1" });
        let place = json!({ "name": "n", "address": "a", "latitude": 23.1, "longitude": -113.3 });
        let bodies = [
            ("text", json!({ "content": "您好" })),
            ("image", json!({ "media_id": "m" })),
            ("voice", json!({ "media_id": "m" })),
            ("video", json!({ "media_id": "m" })),
            ("file", json!({ "media_id": "m" })),
            ("link", link),
            ("miniprogram", program),
            ("msgmenu", menu),
            ("location", place),
            ("ca_link", json!({ "link_url": "https://example.com/l" })),
            ("business_card", json!({ "userid": "LiMing" })),
        ];
        assert!(
            bodies
                .iter()
                .map(|(msgtype, _)| *msgtype)
                .eq(Outgoing::MSGTYPES.iter().copied())
        );
        let reply = |(msgtype, body): (&str, Value)| json!({ "replies": [{ "msgtype": msgtype, msgtype: body }] });
        let mut samples: Vec<_> = bodies.into_iter().map(reply).collect();
        samples.push(json!({ "transfer": { "service_state": 3, "servicer_userid": "LiMing" } }));
        samples.push(json!({ "transfer": { "service_state": 2 } }));
        samples.push(json!({ "end": true }));
        samples
    }

    fn assert_agreed(schema: &Validator, answer: &Value) -> bool {
        let taken = answer::is_taken(answer.to_string().as_bytes(), &read("text"));
        assert_eq!(schema.is_valid(answer), taken, "{answer}");
        taken
    }

    /// Where values stand in `value`.
    fn places(value: &Value) -> Vec<String> {
        let children: Vec<(String, &Value)> = match value {
            Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
            Value::Array(list) => list
                .iter()
                .enumerate()
                .map(|(at, value)| (at.to_string(), value))
                .collect(),
            _ => Vec::new(),
        };
        let below = |(key, value): (String, &Value)| {
            let deeper = places(value)
                .into_iter()
                .map(|place| format!("/{key}{place}"))
                .collect::<Vec<_>>();
            [vec![format!("/{key}")], deeper].concat()
        };
        children.into_iter().flat_map(below).collect()
    }

    #[test]
    fn the_schema_takes_what_the_server_takes_and_nothing_with_a_field_missing_or_of_another_type() {
        let schema = jsonschema::validator_for(&answer_schema()).unwrap();
        for sample in samples() {
            assert!(assert_agreed(&schema, &sample), "{sample}");
            for place in places(&sample) {
                for other in [
                    Value::Null,
                    json!(""),
                    json!("x"),
                    json!(7),
                    json!([]),
                    json!({}),
                    json!([7]),
                ] {
                    let mut changed = sample.clone();
                    *changed.pointer_mut(&place).unwrap() = other;
                    assert_agreed(&schema, &changed);
                }
                let (parent, key) = place.rsplit_once('/').unwrap();
                let mut changed = sample.clone();
                if let Some(Value::Object(parent)) = changed.pointer_mut(parent) {
                    parent.remove(key);
                    assert_agreed(&schema, &changed);
                }
            }
        }
    }

    #[test]
    fn the_schema_counts() {
        let schema = jsonschema::validator_for(&answer_schema()).unwrap();
        let text = json!({ "msgtype": "text", "text": { "content": "x" } });
        for (count, taken) in [(5, true), (6, false)] {
            let answer = json!({ "replies": vec![text.clone(); count] });
            assert_eq!(assert_agreed(&schema, &answer), taken, "{count}");
        }
        for (kind, count, taken) in [
            ("text", 50, true),
            ("text", 51, false),
            ("click", 10, true),
            ("click", 11, false),
        ] {
            let list = vec![json!({ "type": kind, kind: { "content": "x" } }); count];
            let answer = json!({ "replies": [{ "msgtype": "msgmenu", "msgmenu": { "list": list } }] });
            assert_eq!(assert_agreed(&schema, &answer), taken, "{count} {kind}");
        }
        let both = json!({ "end": true, "transfer": { "service_state": 2 } });
        assert!(!assert_agreed(&schema, &both));
    }
}
