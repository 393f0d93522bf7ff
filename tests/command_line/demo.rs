//! `demo`, which needs nothing and shows everything.

use std::collections::BTreeSet;
use std::path::Path;

use tempfile::TempDir;
use wecom_kf::message::KINDS;

use crate::command::{Ended, assert_says, run_with};

/// Plays with `temporary` as the folder for temporary files.
fn play(arguments: &[&str], temporary: &Path) -> Ended {
    run_with(arguments, &[("TMPDIR", temporary.to_str().unwrap())])
}

/// First words of the lines between the two blank ones: the types of what arrived.
fn kinds(stdout: &str) -> Vec<&str> {
    let lines = stdout.lines().skip_while(|line| !line.is_empty()).skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    lines.map(|line| line.split_whitespace().next().unwrap()).collect()
}

#[test]
fn everything_wecom_can_say_arrives_and_is_printed_and_nothing_is_left_behind() {
    let temporary = TempDir::new().unwrap();
    let stdout = play(&["demo", "--patience", "100s"], temporary.path()).good();

    let kinds = kinds(&stdout);
    assert_eq!(kinds.len(), 36, "{stdout}");
    let shown: BTreeSet<_> = kinds.into_iter().collect();
    let known: BTreeSet<_> = KINDS.iter().copied().collect();
    assert_eq!(known.difference(&shown).count(), 0, "{known:?} but {shown:?}");
    let unknown: Vec<_> = shown.difference(&known).copied().collect();
    assert_eq!(unknown, ["event.future_event", "future_card"]);

    let summary = stdout.lines().last().unwrap();
    assert_says(summary, &["36 of 36 messages and events of 26 types"]);
    assert!(summary.ends_with(": lost=0 double=0 order=0 overlap=0"), "{summary}");
    assert_eq!(temporary.path().read_dir().unwrap().count(), 0, "its store is gone");
}

#[test]
fn what_did_not_arrive_is_named_and_makes_it_fail() {
    let temporary = TempDir::new().unwrap();
    let ended = play(&["demo", "--patience", "0s"], temporary.path());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let missing = ended
        .stdout
        .lines()
        .filter(|line| line.starts_with("missing: "))
        .count();
    assert_eq!(missing + kinds(&ended.stdout).len(), 36, "{}", ended.stdout);
    assert_says(&ended.stdout, &[" of 36 messages", &format!("lost={missing} ")]);
    assert_eq!(temporary.path().read_dir().unwrap().count(), 0, "its store is gone");
}
