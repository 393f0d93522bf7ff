//! Messages for the tests of this module.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::id::OpenKfid;
use crate::message::Message;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/messages")
}

/// Names of all samples of one message; the others are whole pages.
pub(super) fn every_name() -> Vec<String> {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let names = files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned());
    names.filter(|name| !name.starts_with("sync_")).collect()
}

/// The sample of that name.
pub(super) fn read(name: &str) -> Message {
    decoded(&fs::read_to_string(folder().join(name).with_extension("json")).unwrap())
}

/// `item` as the syncer would read it.
pub(super) fn decoded(item: &str) -> Message {
    let raw = RawValue::from_string(item.to_owned()).unwrap();
    Message::decode(Arc::from(raw), &OpenKfid::from("wkPulled"))
}
