//! What the PostgreSQL store promises beyond the contract.

pub(crate) mod bench;
mod opening;
mod sharing;
mod wire;

#[path = "../../postgres/mod.rs"]
mod cluster;
