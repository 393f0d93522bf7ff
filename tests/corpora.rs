//! Replays the corpora of the fuzz targets, and with them whatever a fuzzer once found, through the same functions.

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "elsewhere it is a library")]
mod targets;

use std::fs;
use std::path::Path;

/// Runs `target` on every file of its corpus, and on every one cut short and with each byte damaged.
fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files = 0;
    for entry in fs::read_dir(&folder).expect("the corpus can be listed") {
        let path = entry.expect("an entry").path();
        println!("{}", path.display());
        let input = fs::read(&path).expect("the corpus can be read");
        target(&input);
        for place in 0..input.len() {
            target(&input[..place]);
            let mut damaged = input.clone();
            damaged[place] ^= 1 << (place % 8);
            target(&damaged);
        }
        files += 1;
    }
    assert!(files >= 5, "{files} files are no corpus");
}

#[test]
fn the_corpus_of_envelopes_is_read_or_refused() {
    replay("envelope", targets::envelope);
}

#[test]
fn the_corpus_of_inner_xml_is_read() {
    replay("inner_xml", targets::inner_xml);
}

#[test]
fn the_corpus_of_queries_is_read_or_refused() {
    replay("query", targets::query);
}

#[test]
fn the_corpus_of_pages_is_read_or_refused() {
    replay("page", targets::page);
}

#[test]
fn the_corpus_of_configs_is_read_or_refused() {
    replay("config", targets::config);
}
