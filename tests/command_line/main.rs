//! The binary as its operator meets it: what it prints, the code it ends with, and what it says when something is wrong.
//!
//! Every command is the real one, in a process of its own, on loopback and free ports.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod bad_input;
mod bot;
mod check;
mod command;
mod contract;
mod dead;
mod demo;
mod live;
mod migrate;
#[path = "../end_to_end/server.rs"]
mod server;
mod stage;
mod talk;
mod usage;
