use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::*;
use crate::clock::UnixMillis;
use crate::id::Msgid;

fn said(sample: Sample) -> Value {
    let mut rng = SmallRng::seed_from_u64(1);
    let mut draft = sample.draft(&ExternalUserid::from("wm1"), &mut rng);
    if draft.recalls_last_of().is_some() {
        draft.recall(&Msgid::from("m0"));
    }
    let raw = draft.finish(&Msgid::from("m1"), UnixMillis(1_000), &OpenKfid::from("wk1"));
    serde_json::from_str(&raw).unwrap()
}

/// Every path in a JSON value, with the kind of what stands there.
fn shape(value: &Value, path: &str, into: &mut BTreeMap<String, &'static str>) {
    let kind = match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                shape(field, &format!("{path}.{name}"), into);
            }
            "object"
        }
        Value::Array(items) => {
            for item in items {
                shape(item, &format!("{path}[]"), into);
            }
            "array"
        }
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "bool",
        Value::Null => "null",
    };
    into.insert(path.to_owned(), kind);
}

#[test]
fn every_sample_has_the_shape_of_its_fixture() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/messages");
    for sample in Sample::ALL {
        let fixture = std::fs::read_to_string(fixtures.join(format!("{}.json", sample.name()))).unwrap();
        let [mut expected, mut actual] = [BTreeMap::new(), BTreeMap::new()];
        shape(&serde_json::from_str(&fixture).unwrap(), "", &mut expected);
        shape(&said(*sample), "", &mut actual);
        assert_eq!(actual, expected, "{sample}");
    }
}

#[test]
fn every_fixture_of_a_message_has_a_sample() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/messages");
    let names: BTreeSet<String> = std::fs::read_dir(fixtures)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| !name.starts_with("sync_"))
        .collect();
    let samples: BTreeSet<String> = Sample::ALL.iter().map(|sample| sample.name().to_owned()).collect();
    assert_eq!(samples, names);
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let story = |seed| Chatter::new(seed, customers(seed, 3)).take(50).collect::<Vec<_>>();
    assert_eq!(story(1), story(1));
    assert_ne!(story(1), story(2));
}

#[test]
fn a_chat_without_customers_is_silent() {
    assert_eq!(Chatter::new(1, Vec::new()).next(), None);
}
