//! Prints the table of figures: each beside a floor that is measured in the same run, on the same work.
//!
//! Rounds of ours and of the floor take turns, and each is compared with the one beside it, so that what else the
//! machine does hits both. Shown are medians, and in brackets the lowest and the highest round.
//!
//!     cargo bench                 # everything, some minutes
//!     cargo bench -- messages     # some rows

use std::process::ExitCode;

/// The binary's, for ours and for the floors.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod callbacks;
mod forwarded;
mod latency;
mod line;
mod messages;
mod million;
#[path = "../../tests/postgres/mod.rs"]
mod postgres;
mod process;
mod replicas;
mod replies;
mod serve;
mod stage;

use line::Line;

/// What can be asked for, and how its lines are measured.
type Row = (&'static str, fn() -> Vec<Line>);

const ROWS: [Row; 8] = [
    ("callbacks", callbacks::measure),
    ("messages", messages::measure),
    ("replicas", replicas::measure),
    ("forward", forwarded::measure),
    ("latency", latency::measure),
    ("replies", replies::measure),
    ("binary", process::measure),
    ("million", million::measure),
];

fn main() -> ExitCode {
    if callbacks::serves() {
        return ExitCode::SUCCESS;
    }
    // Cargo adds `--bench`.
    let asked: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    if let Some(unknown) = asked.iter().find(|name| ROWS.iter().all(|(row, _)| row != name)) {
        let known = ROWS.map(|(row, _)| row).join(", ");
        eprintln!("there is no row {unknown}; there are {known}");
        return ExitCode::from(2);
    }
    let mut lines = Vec::new();
    for (row, measure) in ROWS {
        if asked.is_empty() || asked.iter().any(|name| name == row) {
            eprintln!("measuring {row}");
            lines.extend(measure());
        }
    }
    line::print(&lines);
    ExitCode::SUCCESS
}
