//! Moving a store: what is said when it cannot be, and that it is never said with which password.

use tempfile::TempDir;
use wecom_kf::store::{Settings, open};

use crate::command::{assert_says, run, run_with};

/// Nobody listens there.
const NOWHERE: &str = "postgres://kf@127.0.0.1:1/kf";

/// A folder, and the address of a new store in it.
async fn source() -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let url = format!("sqlite://{}", folder.path().join("kf.db").display());
    drop(open(&Settings::new(&*url)).await.unwrap());
    (folder, url)
}

#[tokio::test]
async fn a_store_that_cannot_be_moved_says_what_to_do() {
    let (folder, from) = source().await;
    let missing = format!("{from}.missing");
    let said = |from: &str, to: &str| {
        let ended = run(["migrate-store", "--from", from, "--to", to]);
        ended.complaint(1).to_owned()
    };
    assert_says(
        &said(&from, NOWHERE),
        &["nothing was moved", "cannot be reached", "correct the address"],
    );
    assert_says(&said(&missing, NOWHERE), &["there is no such file", "correct the path"]);
    assert_says(&said(&from, &from), &["from sqlite:// to postgres://"]);
    assert_says(&said(NOWHERE, &from), &["from sqlite:// to postgres://"]);
    let nothing = folder.path().join("nothing");
    for option in ["--password-file", "--ca-file"] {
        let ended = run([
            "migrate-store",
            "--from",
            &from,
            "--to",
            NOWHERE,
            option,
            nothing.to_str().unwrap(),
        ]);
        assert_says(ended.complaint(78), &[option, "cannot be read"]);
    }
}

#[tokio::test]
async fn a_password_is_never_shown_wherever_it_comes_from() {
    let (folder, from) = source().await;
    let file = folder.path().join("password");
    std::fs::write(&file, "canary\n").unwrap();
    let with = NOWHERE.replace("kf@", "kf:canary@");
    let file = file.to_str().unwrap();
    for (to, more, variables) in [
        (&*with, &[][..], &[][..]),
        ("canary", &[], &[]),
        (NOWHERE, &["--password-file", file], &[]),
        (NOWHERE, &[], &[("WECOM_KF_STORE_PASSWORD", "canary")]),
    ] {
        let arguments = ["migrate-store", "--from", &from, "--to", to];
        let ended = run_with(arguments.iter().chain(more), variables);
        let said = ended.complaint(1);
        assert!(said.contains("nothing was moved") && !said.contains("canary"), "{said}");
    }
}
