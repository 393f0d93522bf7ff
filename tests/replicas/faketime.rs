//! A process whose clock is wrong: libfaketime answers what it asks the system.

use std::path::PathBuf;
use std::process::Command;

use crate::debian;

/// Lets `command`'s wall clock be wrong by `offset`, such as `+1h`. Timers go on as they are.
pub(crate) fn skew(command: &mut Command, offset: &str) {
    let library = PathBuf::from(format!(
        "/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1",
        std::env::consts::ARCH
    ));
    debian::ensure("libfaketime", &library);
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME", offset)
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skewed_process_reads_another_hour() {
        let hour = |offset: Option<&str>| -> i64 {
            let mut date = Command::new("/bin/date");
            date.arg("+%s");
            if let Some(offset) = offset {
                skew(&mut date, offset);
            }
            let said = date.output().unwrap().stdout;
            String::from_utf8(said).unwrap().trim().parse::<i64>().unwrap() / 60
        };
        let ahead = hour(Some("+1h")) - hour(None);
        assert!((59..=61).contains(&ahead), "{ahead} minutes");
    }
}
