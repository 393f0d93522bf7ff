//! Every sample of `fixtures/messages`: read field by field, written back, and checked against the JSON Schema.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use wecom_kf::id::OpenKfid;
use wecom_kf::message::{Content, Message, Origin};

mod content;
mod event;
mod lenient;
mod malformed;
mod properties;
mod schema;

const ALICE: Option<&str> = Some("wmQ7x2DAAAZ1pJcV8yTqHs3LfUeKoB6g");
const BOB: Option<&str> = Some("wmQ7x2DAAAb0RnXwGd5MiE7kSvAlPz9Q");
const LI: Option<&str> = Some("LiMing");

/// A sample: its file, the number in its msgid, customer, colleague, send time, origin, and what it says.
type Fixture = (
    &'static str,
    u8,
    Option<&'static str>,
    Option<&'static str>,
    u64,
    Origin,
    fn(&Content),
);

/// Declares one row for each file.
macro_rules! fixtures {
    ($(
        $file:ident: $number:literal, $customer:ident, $servicer:ident, $send_time:literal, $origin:ident, $check:path;
    )+) => {
        const FIXTURES: &[Fixture] = &[
            $((stringify!($file), $number, $customer, $servicer, $send_time, Origin::$origin, $check),)+
        ];
    };
}

fixtures! {
    text: 1, ALICE, None, 1785571212, Customer, content::text;
    text_menu_reply: 2, ALICE, None, 1785571220, Customer, content::text_menu_reply;
    text_from_servicer: 3, ALICE, LI, 1785571231, Servicer, content::text_from_servicer;
    image: 4, ALICE, None, 1785571240, Customer, content::image;
    voice: 5, ALICE, None, 1785571252, Customer, content::voice;
    video: 6, ALICE, None, 1785571266, Customer, content::video;
    file: 7, ALICE, None, 1785571280, Customer, content::file;
    location: 8, ALICE, None, 1785571295, Customer, content::location;
    link: 9, ALICE, None, 1785571310, Customer, content::link;
    business_card: 10, ALICE, LI, 1785571325, Servicer, content::business_card;
    miniprogram: 11, ALICE, None, 1785571340, Customer, content::miniprogram;
    msgmenu: 12, ALICE, LI, 1785571355, Servicer, content::msgmenu;
    channels_shop_product: 13, ALICE, None, 1785571370, Customer, content::channels_shop_product;
    channels_shop_order: 14, ALICE, None, 1785571385, Customer, content::channels_shop_order;
    merged_msg: 15, ALICE, None, 1785571400, Customer, content::merged_msg;
    channels: 16, ALICE, None, 1785571415, Customer, content::channels;
    channels_live: 17, ALICE, None, 1785571416, Customer, content::channels_live;
    meeting: 18, ALICE, None, 1785571430, Customer, content::meeting;
    calendar: 19, ALICE, None, 1785571445, Customer, content::calendar;
    note: 20, ALICE, None, 1785571460, Customer, content::note;
    event_enter_session: 21, ALICE, None, 1785571200, Event, event::enter_session;
    event_enter_session_no_welcome: 22, BOB, None, 1785571201, Event, event::enter_session_no_welcome;
    event_enter_session_channels: 23, BOB, None, 1785571202, Event, event::enter_session_channels;
    event_enter_session_channels_shop: 24, BOB, None, 1785571203, Event, event::enter_session_channels_shop;
    event_msg_send_fail: 25, ALICE, None, 1785571475, Event, event::msg_send_fail;
    event_servicer_status_change: 26, None, LI, 1785571490, Event, event::servicer_stopped;
    event_servicer_status_change_start: 27, None, LI, 1785571491, Event, event::servicer_started;
    event_session_status_change: 28, ALICE, None, 1785571500, Event, event::session_taken;
    event_session_status_change_transfer: 29, ALICE, None, 1785571510, Event, event::session_transferred;
    event_session_status_change_end: 30, ALICE, None, 1785571520, Event, event::session_ended;
    event_session_status_change_reaccess: 31, ALICE, None, 1785571530, Event, event::session_reopened;
    event_user_recall_msg: 32, ALICE, None, 1785571540, Event, event::user_recall_msg;
    event_servicer_recall_msg: 33, ALICE, LI, 1785571550, Event, event::servicer_recall_msg;
    event_reject_customer_msg_switch_change: 34, ALICE, LI, 1785571560, Event, event::reject_switch;
    unknown_msgtype: 35, ALICE, None, 1785571570, Customer, content::unknown;
    unknown_event_type: 36, ALICE, None, 1785571580, Event, content::unknown;
}

/// Files that are no item.
const PAGES: &[&str] = &[
    "sync_error_42001",
    "sync_error_95007",
    "sync_page",
    "sync_page_empty_has_more",
    "sync_page_last",
];

/// Asserts that `$content` is a `$variant` with these fields.
macro_rules! is {
    ($content:expr, $variant:path { $($field:ident: $value:expr),* $(,)? }) => {{
        let $variant(body) = $content else { panic!("not a {}: {:?}", stringify!($variant), $content) };
        let _ = body;
        $(assert_eq!(body.$field, $value, stringify!($field));)*
    }};
}
use is;

fn text(words: &str) -> Option<String> {
    Some(words.to_owned())
}

/// Every file, by its name without `.json`.
fn files() -> BTreeMap<String, Box<RawValue>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/messages");
    let paths = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let read = paths.map(|path| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
    });
    read.collect()
}

/// Items of the page in the file `name`.
fn page(name: &str) -> Vec<Box<RawValue>> {
    #[derive(serde::Deserialize)]
    struct Page {
        msg_list: Vec<Box<RawValue>>,
    }
    serde_json::from_str::<Page>(files()[name].get()).unwrap().msg_list
}

/// Every sample item, by the name of its file.
fn fixtures() -> Vec<(String, Value)> {
    let items = files().into_iter().filter(|(name, _)| !PAGES.contains(&&**name));
    items.map(|(name, item)| (name, value(&item))).collect()
}

/// The sample item in the file `name`.
fn fixture(name: &str) -> Value {
    value(&files()[name])
}

/// Account that every item is pulled for.
const PULLED: &str = "wkPulled";

fn decode(item: &RawValue) -> Message {
    Message::decode(Arc::from(item.to_owned()), &OpenKfid::from(PULLED))
}

fn decode_text(json: &str) -> Message {
    decode(&RawValue::from_string(json.to_owned()).unwrap())
}

fn decode_value(item: &Value) -> Message {
    decode_text(&item.to_string())
}

fn value(item: &RawValue) -> Value {
    serde_json::from_str(item.get()).unwrap()
}

/// Reads `item` and checks it against the row of the fixture `name`.
fn check(name: &str, item: &RawValue) {
    let found = FIXTURES.iter().find(|(fixture, ..)| *fixture == name);
    let (_, number, customer, servicer, send_time, origin, check) =
        found.unwrap_or_else(|| panic!("no row for {name}"));
    let message = decode(item);
    assert_eq!(message.raw().get(), item.get(), "{name}");
    assert_eq!(
        message.msgid.as_str(),
        format!("7Kq{number:02}vXbT9cRzWm4NpYh2LdGsE8fUoA6jC1ikQ"),
        "{name}"
    );
    assert_eq!(message.open_kfid.as_str(), "wkQ7x2DAAA8nTfL3mRzPpVbC5uYkHs0w", "{name}");
    assert_eq!(
        message.external_userid.as_ref().map(|id| id.as_str()),
        *customer,
        "{name}"
    );
    assert_eq!(
        message.servicer_userid.as_ref().map(|id| id.as_str()),
        *servicer,
        "{name}"
    );
    assert_eq!((message.send_time, message.origin), (*send_time, *origin), "{name}");
    let item = value(item);
    let kind = match item["msgtype"].as_str().unwrap() {
        "event" => format!("event.{}", item["event"]["event_type"].as_str().unwrap()),
        msgtype => msgtype.to_owned(),
    };
    assert_eq!(message.kind(), Some(&*kind));
    check(&message.content);
}

#[test]
fn every_fixture_is_read_field_by_field() {
    let mut files = files();
    for (name, ..) in FIXTURES {
        check(
            name,
            &files.remove(*name).unwrap_or_else(|| panic!("{name}.json is gone")),
        );
    }
    assert_eq!(
        files.into_keys().collect::<Vec<_>>(),
        PAGES,
        "no test reads one of these"
    );
}

#[test]
fn items_on_a_page_are_read_like_those_alone() {
    let files = files();
    let items = page("sync_page");
    assert_eq!(items.len(), 29);
    for item in &items {
        let alone = files.iter().find(|(_, file)| value(file) == value(item));
        let (name, _) = alone.unwrap_or_else(|| panic!("no fixture is {item}"));
        check(name, item);
    }
    assert!(page("sync_page_empty_has_more").is_empty());
    let [last] = &page("sync_page_last")[..] else {
        panic!("not one item")
    };
    let last = decode(last);
    assert_eq!(last.msgid.as_str(), "7Kq40vXbT9cRzWm4NpYh2LdGsE8fUoA6jC1ikQ");
    assert_eq!((last.send_time, last.origin), (1785571600, Origin::Customer));
    is!(
        &last.content,
        Content::Text {
            content: "好的，谢谢",
            menu_id: None
        }
    );
}

#[test]
fn every_fixture_is_written_back_as_it_was() {
    for (name, ..) in FIXTURES {
        let item = &files()[*name];
        assert_eq!(serde_json::to_value(decode(item)).unwrap(), value(item), "{name}");
    }
}

#[test]
fn debug_output_names_the_message_and_neither_the_customer_nor_what_people_wrote() {
    for (name, item) in fixtures() {
        let message = decode_value(&item);
        let shown = format!("{message:?}");
        assert!(shown.contains(message.msgid.as_str()), "{name}: {shown}");
        let customer = message.external_userid.iter().map(|id| id.as_str());
        let json = item.to_string();
        // The people of the samples write Chinese; nothing else in them is.
        let words = json
            .split(|letter: char| letter.is_ascii())
            .filter(|words| !words.is_empty());
        for secret in customer.chain(words) {
            assert!(!shown.contains(secret), "{name}: {shown}");
        }
    }
}

#[test]
fn a_known_type_is_written_from_its_fields_and_not_copied() {
    let mut item = json!({
        "msgid": "a", "open_kfid": "wk", "send_time": 1, "origin": 3, "msgtype": "text", "text": { "content": "hi" }
    });
    let documented = item.clone();
    item["new"] = 1.into();
    item["text"]["new"] = 1.into();
    let message = decode_value(&item);
    assert_eq!(serde_json::to_value(message).unwrap(), documented);
}
